/* Which rows of a table of words are alike: what egress_watch/fast/distinct.py does with NumPy, by hashing.
 *
 * In: rows of words. Out: the first row of each kind, in order of appearance, and the kind of each row. Never: an answer
 * that differs from the one without this file; tests/test_fast_distinct.py holds both to the same.
 */

#include <stdint.h>
#include <string.h>

/* Alike in egress_watch/fast/layout.py. */
struct alike {
    const uint64_t *words;
    int64_t width, rows;
    int32_t *index; /* kind by place, all -1 at first; a power of two of places, more than there are rows */
    int64_t index_size;
    int64_t *first, *which; /* out, with room for all rows */
};

static uint64_t mixed(const uint64_t *row, int64_t width) {
    uint64_t hash = 0x9E3779B97F4A7C15u;

    for (int64_t word = 0; word < width; word++) {
        hash = (hash ^ row[word]) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
    }
    hash *= 0xD6E8FEB86659FD93u;
    return hash ^ hash >> 29;
}

/* Return how many kinds there are. */
int64_t ew_distinct(struct alike *a) {
    uint64_t mask = (uint64_t)a->index_size - 1;
    size_t bytes = (size_t)a->width * sizeof(uint64_t);
    int64_t kinds = 0;

    for (int64_t row = 0; row < a->rows; row++) {
        const uint64_t *words = a->words + row * a->width;
        uint64_t at = mixed(words, a->width) & mask;

        while (a->index[at] >= 0 && memcmp(a->words + a->first[a->index[at]] * a->width, words, bytes))
            at = (at + 1) & mask;
        if (a->index[at] < 0) {
            a->index[at] = (int32_t)kinds;
            a->first[kinds++] = row;
        }
        a->which[row] = a->index[at];
    }
    return kinds;
}
