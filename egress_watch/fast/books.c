/* The books of names: what egress_watch/names/book.py and asked.py do with Python's objects, in rows of one size.
 *
 * In: keys and runs to note; flow records to name. Out: the same books and the same names. Never: memory of its own, a
 * text (a name is a number here), or an answer that differs from the one without this file; tests/test_names_books.py
 * holds both to the same.
 *
 * Row 0 of lines and runs is none of either, so that 0 leads nowhere; line 0 holds both ends of the list by hearing.
 */

#include <stdint.h>
#include <string.h>

enum { KEY_ROOM = 40, MOST_RUNS = 64, MOST_OTHERS = 3, NOBODY = -1 };
enum { ADDRESS_BYTES = 16, PAIR_BYTES = 32 };

/* RUN and LINE in egress_watch/fast/books.py. */
struct run {
    int64_t start, until, heard;
    int32_t name, rank; /* the name is NOBODY where the run is free */
    int32_t older;      /* in its line; the next free one where it is free */
    int32_t spare;
};

struct line {
    uint8_t key[KEY_ROOM]; /* zeros behind it */
    uint32_t hash;
    int32_t next;          /* in the same place of the index; the next free one where it is free */
    int32_t before, after; /* heard less lately and later */
    int32_t newest, runs;
};

/* BookRows in egress_watch/fast/layout.py. */
struct book {
    struct line *lines;
    struct run *runs;
    int32_t *index; /* lines by hash, a power of two of places */
    int64_t index_size, key_bytes, limit;
    uint64_t seed;
    int64_t lines_used, free_line, runs_used, free_run; /* rows ever used, and the first of those free again */
    int64_t kept, forgotten;
};

/* BookNotes in egress_watch/fast/layout.py: runs to note, one after the other. */
struct notes {
    const uint8_t *keys;
    int64_t stride, count;
    const int64_t *start, *until;
    const int32_t *name, *rank;
};

/* BookNaming in egress_watch/fast/layout.py. */
struct naming {
    struct book *connections, *asked, *known, *local;
    int64_t count;
    const int64_t *order;
    const uint64_t *device, *remote;
    const uint16_t *device_port, *remote_port;
    const uint8_t *protocol, *continued;
    const int64_t *first_ns, *last_ns, *since_ns;
    int32_t *name; /* out, along with the others; what is not found stays as it is */
    int64_t *rank, *heard_ns;
    int32_t *others; /* MOST_OTHERS for each record */
};

int64_t ew_line_bytes(void) { return sizeof(struct line); }

int64_t ew_run_bytes(void) { return sizeof(struct run); }

/* ---- lines ---------------------------------------------------------------------------------------------------------- */

static uint32_t hashed(const struct book *b, const uint8_t *key) {
    uint64_t hash = b->seed, word;

    for (int64_t at = 0; at < b->key_bytes; at += 8) {
        memcpy(&word, key + at, 8);
        hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
    }
    hash *= 0xD6E8FEB86659FD93u;
    return (uint32_t)(hash ^ hash >> 29);
}

static int32_t *place(const struct book *b, uint32_t hash) { return b->index + (hash & (uint64_t)(b->index_size - 1)); }

/* The line of a key, which lies in KEY_ROOM bytes with zeros behind it; 0 without one. */
static int32_t seek(const struct book *b, const uint8_t *key, uint32_t hash) {
    int32_t at = *place(b, hash);

    while (at && (b->lines[at].hash != hash || memcmp(b->lines[at].key, key, KEY_ROOM)))
        at = b->lines[at].next;
    return at;
}

static void put_last(struct book *b, int32_t at) {
    struct line *ends = b->lines, *line = b->lines + at;

    line->before = ends->before;
    line->after = 0;
    b->lines[ends->before].after = at;
    ends->before = at;
}

static void take_out(struct book *b, int32_t at) {
    const struct line *line = b->lines + at;

    b->lines[line->before].after = line->after;
    b->lines[line->after].before = line->before;
}

static void enter(struct book *b, int32_t at) {
    int32_t *first = place(b, b->lines[at].hash);

    b->lines[at].next = *first;
    *first = at;
}

static int32_t new_line(struct book *b, const uint8_t *key, uint32_t hash) {
    int32_t at = (int32_t)b->free_line;

    if (at)
        b->free_line = b->lines[at].next;
    else
        at = (int32_t)b->lines_used++;
    memcpy(b->lines[at].key, key, KEY_ROOM);
    b->lines[at].hash = hash;
    b->lines[at].newest = b->lines[at].runs = 0;
    enter(b, at);
    put_last(b, at);
    return at;
}

/* ---- runs ----------------------------------------------------------------------------------------------------------- */

static int32_t new_run(struct book *b, const struct run *run, int32_t older) {
    int32_t at = (int32_t)b->free_run;

    if (at)
        b->free_run = b->runs[at].older;
    else
        at = (int32_t)b->runs_used++;
    b->runs[at] = *run;
    b->runs[at].older = older;
    return at;
}

static void free_run(struct book *b, int32_t at) {
    b->runs[at].name = NOBODY;
    b->runs[at].older = (int32_t)b->free_run;
    b->free_run = at;
}

/* Drop the line that was not heard of for longest, and count its names. */
static void forget(struct book *b) {
    int32_t at = b->lines->after, *from = place(b, b->lines[at].hash), run, older;

    while (*from != at)
        from = &b->lines[*from].next;
    *from = b->lines[at].next;
    take_out(b, at);
    for (run = b->lines[at].newest; run; run = older) {
        older = b->runs[run].older;
        free_run(b, run);
    }
    b->kept -= b->lines[at].runs;
    b->forgotten += b->lines[at].runs;
    b->lines[at].next = (int32_t)b->free_line;
    b->free_line = at;
}

static void drop_oldest(struct book *b, struct line *line) {
    int32_t *link = &line->newest;

    while (b->runs[*link].older)
        link = &b->runs[*link].older;
    free_run(b, *link);
    *link = 0;
    line->runs--;
    b->forgotten++;
}

/* Put a run into a line; return whether there is one more. */
static int lengthened(struct book *b, struct line *line, const struct run *run) {
    int32_t *link = &line->newest;
    struct run *last;

    while (*link && b->runs[*link].start > run->start)
        link = &b->runs[*link].older;
    last = b->runs + *link;
    if (*link && last->until >= run->start && last->name == run->name && last->rank == run->rank) {
        last->until = run->until > last->until ? run->until : last->until;
        return 0;
    }
    *link = new_run(b, run, *link);
    if (++line->runs <= MOST_RUNS)
        return 1;
    drop_oldest(b, line);
    return 0;
}

/* Note a run under a key in KEY_ROOM bytes; the book has room for one more line and two more runs. */
static void note(struct book *b, const uint8_t *key, const struct run *run) {
    uint32_t hash = hashed(b, key);
    int32_t at = seek(b, key, hash);

    if (at) {
        take_out(b, at);
        put_last(b, at);
    } else {
        at = new_line(b, key, hash);
    }
    if (lengthened(b, b->lines + at, run) && ++b->kept > b->limit)
        forget(b);
}

/* The newest run of the best rank heard by `last` that still held at `first`; 0 without one. */
static int32_t find(const struct book *b, int32_t line, int64_t first, int64_t last) {
    int32_t at, best = 0;

    for (at = b->lines[line].newest; at; at = b->runs[at].older)
        if (b->runs[at].start <= last && b->runs[at].until >= first && (!best || b->runs[at].rank < b->runs[best].rank))
            best = at;
    return best;
}

void ew_book_note(struct book *b, const struct notes *n) {
    uint8_t key[KEY_ROOM] = {0};

    for (int64_t one = 0; one < n->count; one++) {
        struct run run = {n->start[one], n->until[one], n->start[one], n->name[one], n->rank[one], 0, 0};
        memcpy(key, n->keys + one * n->stride, (size_t)b->key_bytes);
        note(b, key, &run);
    }
}

/* Enter all lines into an index that is empty. */
void ew_book_index(struct book *b) {
    for (int32_t at = b->lines->after; at; at = b->lines[at].after)
        enter(b, at);
}

/* ---- flow records --------------------------------------------------------------------------------------------------- */

static void lay(uint8_t *into, uint64_t word, int bytes) {
    while (bytes--) {
        into[bytes] = (uint8_t)word;
        word >>= 8;
    }
}

/* Lay the key of a record's connection, with the device as client. */
static void lay_key(const struct naming *n, int64_t row, uint8_t *key) {
    lay(key, n->device[2 * row], 8);
    lay(key + 8, n->device[2 * row + 1], 8);
    lay(key + 16, n->remote[2 * row], 8);
    lay(key + 24, n->remote[2 * row + 1], 8);
    lay(key + 32, (uint64_t)n->device_port[row] << 16 | n->remote_port[row], 4);
    key[36] = n->protocol[row];
}

static int32_t line_of(const struct book *b, const uint8_t *bytes) {
    uint8_t key[KEY_ROOM] = {0};

    if (!b->kept)
        return 0;
    memcpy(key, bytes, (size_t)b->key_bytes);
    return seek(b, key, hashed(b, key));
}

/* Find the best name of a record by the key of its connection; false without one. */
static int best(const struct naming *n, int64_t row, const uint8_t *key, int32_t known, struct run *found) {
    const struct book *b = n->connections;
    int64_t first = n->first_ns[row];
    int32_t run = find(b, line_of(b, key), n->since_ns[row], n->last_ns[row]);

    if (!run && known) {
        b = n->asked;
        if (!(run = find(b, line_of(b, key), first, first))) {
            b = n->known;
            run = find(b, known, first, first);
        }
    }
    if (!run) {
        b = n->local;
        run = find(b, line_of(b, key + ADDRESS_BYTES), first, first);
    }
    if (run)
        *found = b->runs[run];
    return run != 0;
}

/* Tell the newest names of an address that held at a time, beside the best one. */
static void tell_others(const struct book *b, int32_t line, int32_t name, int64_t when, int32_t *others) {
    int count = 0, one;

    for (int32_t at = b->lines[line].newest; at && count < MOST_OTHERS; at = b->runs[at].older) {
        const struct run *run = b->runs + at;
        if (run->start > when || run->until < when || run->name == name)
            continue;
        for (one = 0; one < count && others[one] != run->name; one++)
            ;
        if (one == count)
            others[count++] = run->name;
    }
}

/* Name records in their order; one whose connection goes on hands its name to the next. */
void ew_books_name(const struct naming *n) {
    uint8_t key[KEY_ROOM] = {0};

    for (int64_t one = 0; one < n->count; one++) {
        int64_t row = n->order[one];
        int32_t known;
        struct run run;

        lay_key(n, row, key);
        known = line_of(n->known, key + ADDRESS_BYTES);
        if (!best(n, row, key, known, &run))
            continue;
        n->name[row] = run.name;
        n->rank[row] = run.rank;
        n->heard_ns[row] = run.heard;
        tell_others(n->known, known, run.name, n->first_ns[row], n->others + MOST_OTHERS * row);
        if (n->continued[row]) {
            run.start = run.until = n->last_ns[row];
            note(n->connections, key, &run);
        }
    }
}
