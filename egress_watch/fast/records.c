/* Rows of whole numbers as pages of an SQLite table: what egress_watch/fast/records.py does with NumPy.
 *
 * In: row numbers and columns. Out: pages of rows (sqlite.org/fileformat2.html, sections 1.6 and 2.1). Never: a byte that
 * differs from those without this file; tests/test_fast_records.py holds both to it.
 */

#include <stdint.h>
#include <string.h>

enum { PAGE = 65536, HEAD = 8, LEAF = 13, WIDEST = 119, BLOCK = 32 };

/* Alike in egress_watch/fast/layout.py. */
struct records {
    const int64_t *number;      /* (rows,) rising */
    const void *const *column;  /* (width,) of (rows,) each */
    const uint8_t *bytes;       /* (width,) of a number of each column: 8, signed; 1, 2 or 4, not */
    const int64_t *nothing;     /* (width,) what stands for NULL in a column */
    const uint8_t *nullable;    /* (width,) whether anything does */
    int64_t rows, width, most;  /* width up to WIDEST, so that the length of a head is one byte; rows of a page */
    uint8_t *cells;             /* room for a page and a row */
    uint8_t *page;              /* out, with room for all */
    int64_t *end;               /* out: at which row each page ends */
};

/* A few rows, so that their numbers are in the cache when they are written. */
struct block {
    int64_t value[WIDEST][BLOCK];
    uint8_t kind[WIDEST][BLOCK];
    uint16_t bytes[BLOCK];
};

/* How many bytes a number of each kind takes. */
static const uint8_t SIZE[] = {0, 1, 2, 3, 4, 6, 8, 0, 0, 0};

/* The kind of a number of so many bits without its sign: the narrowest that holds it. */
static const uint8_t KIND[64] = {
    1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4,
    5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
};

/* Return the kind of a number; 0 and 1 take no byte. */
static uint8_t kind_of(int64_t value) {
    uint64_t most = (uint64_t)(value ^ -(int64_t)(value < 0));

    return (uint64_t)value <= 1 ? (uint8_t)(8 + value) : KIND[64 - __builtin_clzll(most | 1)];
}

/* Write a number's last bytes, the highest first, where there is room for eight. */
static uint8_t *last_bytes(uint8_t *to, uint64_t value, int size) {
    uint64_t high = size ? value << (64 - 8 * size) : 0;

    to[0] = (uint8_t)(high >> 56); /* one by one, which compilers make one store of */
    to[1] = (uint8_t)(high >> 48);
    to[2] = (uint8_t)(high >> 40);
    to[3] = (uint8_t)(high >> 32);
    to[4] = (uint8_t)(high >> 24);
    to[5] = (uint8_t)(high >> 16);
    to[6] = (uint8_t)(high >> 8);
    to[7] = (uint8_t)high;
    return to + size;
}

/* Write a number as a varint and return where it ends: seven bits a byte, eight in the ninth. */
static uint8_t *varint(uint8_t *to, uint64_t value) {
    int bytes = 1;

    if (value >> 56) {
        for (int at = 0; at < 8; at++)
            *to++ = (uint8_t)(value >> (57 - 7 * at) | 128);
        *to++ = (uint8_t)value;
        return to;
    }
    while (bytes < 8 && value >> (7 * bytes))
        bytes++;
    while (--bytes)
        *to++ = (uint8_t)(value >> (7 * bytes) | 128);
    *to++ = (uint8_t)(value & 127);
    return to;
}

/* Fetch numbers of one column. */
static void fetch(const void *column, int bytes, int64_t row, int64_t count, int64_t *value) {
    if (bytes == 8)
        memcpy(value, (const int64_t *)column + row, (size_t)count * sizeof *value);
    else if (bytes == 4)
        for (int64_t at = 0; at < count; at++)
            value[at] = ((const uint32_t *)column)[row + at];
    else if (bytes == 2)
        for (int64_t at = 0; at < count; at++)
            value[at] = ((const uint16_t *)column)[row + at];
    else
        for (int64_t at = 0; at < count; at++)
            value[at] = ((const uint8_t *)column)[row + at];
}

/* Fetch rows, and tell how long their records are. */
static void load(const struct records *r, int64_t row, int64_t count, struct block *b) {
    for (int64_t at = 0; at < count; at++)
        b->bytes[at] = (uint16_t)(2 + r->width); /* of the head: its own length, and nothing in place of the number */
    for (int64_t which = 0; which < r->width; which++) {
        int64_t *value = b->value[which], nothing = r->nothing[which];
        uint8_t *kind = b->kind[which], nullable = r->nullable[which];

        fetch(r->column[which], r->bytes[which], row, count, value);
        for (int64_t at = 0; at < count; at++) {
            kind[at] = nullable && value[at] == nothing ? 0 : kind_of(value[at]);
            b->bytes[at] = (uint16_t)(b->bytes[at] + SIZE[kind[at]]);
        }
    }
}

/* Write the cell of a row and return where it ends. */
static uint8_t *cell(uint8_t *to, const struct records *r, const struct block *b, int64_t row, int64_t at) {
    to = varint(to, b->bytes[at]);
    to = varint(to, (uint64_t)r->number[row]);
    *to++ = (uint8_t)(2 + r->width);
    *to++ = 0;
    for (int64_t which = 0; which < r->width; which++)
        *to++ = b->kind[which][at];
    for (int64_t which = 0; which < r->width; which++)
        to = last_bytes(to, (uint64_t)b->value[which][at], SIZE[b->kind[which][at]]);
    return to;
}

static void put_two(uint8_t *to, int64_t value) {
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

/* Finish a page: its cells go to its end, and nothing lies before them; their places are there already, counted from the
 * first one. */
static void close_page(uint8_t *page, const uint8_t *cells, int64_t count, int64_t used) {
    int64_t start = PAGE - used, places = HEAD + 2 * count;

    memset(page, 0, HEAD);
    page[0] = LEAF;
    put_two(page + 3, count);
    put_two(page + 5, start);
    for (uint8_t *place = page + HEAD; place < page + places; place += 2)
        put_two(place, start + (place[0] << 8 | place[1]));
    memset(page + places, 0, (size_t)(start - places));
    memcpy(page + start, cells, (size_t)used);
}

/* Return how many pages there are. */
int64_t ew_records(struct records *r) {
    struct block b;
    uint8_t *page = r->page;
    int64_t pages = 0, count = 0, used = 0;

    for (int64_t row = 0; row < r->rows; row++) {
        int64_t at = row % BLOCK, size;

        if (at == 0)
            load(r, row, r->rows - row < BLOCK ? r->rows - row : BLOCK, &b);
        size = cell(r->cells + used, r, &b, row, at) - (r->cells + used);
        if (count == r->most || HEAD + 2 * (count + 1) + used + size > PAGE) {
            close_page(page, r->cells, count, used);
            memmove(r->cells, r->cells + used, (size_t)size);
            page += PAGE;
            r->end[pages++] = row;
            count = used = 0;
        }
        put_two(page + HEAD + 2 * count++, used);
        used += size;
    }
    if (count) {
        close_page(page, r->cells, count, used);
        r->end[pages++] = r->rows;
    }
    return pages;
}
