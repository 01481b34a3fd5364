/* Numbers of keys: what egress_watch/fast/known.py keeps in a dict of Python.
 *
 * In: keys of words, with their numbers. Out: the numbers of keys. Never: memory of its own; whoever calls has made room.
 */

#include <stdint.h>
#include <string.h>

/* Alike in egress_watch/fast/layout.py. */
struct known {
    uint64_t *words; /* (room, width) */
    int64_t *number; /* (room,) */
    int32_t *index;  /* rows by place, -1 for none; a power of two of places, more than rows are used */
    int64_t index_size, width, used;
    uint64_t seed;
};

static uint64_t place_of(const struct known *k, const uint64_t *key) {
    uint64_t hash = k->seed;

    for (int64_t word = 0; word < k->width; word++) {
        hash = (hash ^ key[word]) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
    }
    hash *= 0xD6E8FEB86659FD93u;
    return (hash ^ hash >> 29) & (uint64_t)(k->index_size - 1);
}

/* Return the place of a key's row in the index, or the empty one where it would be. */
static uint64_t find(const struct known *k, const uint64_t *key) {
    uint64_t at = place_of(k, key);

    while (k->index[at] >= 0 && memcmp(k->words + k->index[at] * k->width, key, (size_t)k->width * sizeof *key))
        at = (at + 1) & (uint64_t)(k->index_size - 1);
    return at;
}

/* Put the numbers of keys into their place, -1 where there is none. */
void ew_known_numbers(const struct known *k, const uint64_t *keys, int64_t count, int64_t *number) {
    for (int64_t one = 0; one < count; one++) {
        int32_t row = k->index[find(k, keys + one * k->width)];

        number[one] = row < 0 ? -1 : k->number[row];
    }
}

/* Note the numbers of keys; the last one of a key holds. */
void ew_known_learn(struct known *k, const uint64_t *keys, int64_t count, const int64_t *number) {
    for (int64_t one = 0; one < count; one++) {
        const uint64_t *key = keys + one * k->width;
        uint64_t at = find(k, key);

        if (k->index[at] < 0) {
            memcpy(k->words + k->used * k->width, key, (size_t)k->width * sizeof *key);
            k->index[at] = (int32_t)k->used++;
        }
        k->number[k->index[at]] = number[one];
    }
}

/* Fill an empty index with all rows. */
void ew_known_index(struct known *k) {
    for (int64_t row = 0; row < k->used; row++)
        k->index[find(k, k->words + row * k->width)] = (int32_t)row;
}
