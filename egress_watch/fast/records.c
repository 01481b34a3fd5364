/* Rows of whole numbers as SQLite keeps them: what egress_watch/fast/records.py does with NumPy.
 *
 * In: row numbers and columns. Out: cells of a table, end to end (sqlite.org/fileformat2.html, sections 1.6 and 2.1), and
 * where each ends. Never: a byte that differs from those without this file; tests/test_fast_records.py holds both to it.
 */

#include <stdint.h>
#include <string.h>

/* Alike in egress_watch/fast/layout.py. */
struct records {
    const int64_t *number;   /* (rows,) rising */
    const int64_t *column;   /* (width, stride), of which the first rows count */
    const int64_t *nothing;  /* (width,) what stands for NULL in a column */
    const uint8_t *nullable; /* (width,) whether anything does */
    int64_t rows, stride;
    int64_t width;           /* width below 120, so that the length of a head is one byte */
    uint8_t *cells;          /* out, with room for 11 + 1 + 1 + 9 * width bytes a row */
    int64_t *end;            /* out (rows,) */
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

/* Return how many bytes all cells take. */
int64_t ew_records(struct records *r) {
    uint8_t *to = r->cells;
    int64_t head = 2 + r->width; /* its own length, and nothing in place of the row's number */

    for (int64_t row = 0; row < r->rows; row++) {
        uint8_t kind[120];
        int64_t value[120];
        int64_t bytes = head;

        for (int64_t at = 0; at < r->width; at++) {
            int64_t one = value[at] = r->column[at * r->stride + row];

            kind[at] = r->nullable[at] && one == r->nothing[at] ? 0 : kind_of(one);
            bytes += SIZE[kind[at]];
        }
        to = varint(to, (uint64_t)bytes);
        to = varint(to, (uint64_t)r->number[row]);
        *to++ = (uint8_t)head;
        *to++ = 0;
        memcpy(to, kind, (size_t)r->width);
        to += r->width;
        for (int64_t at = 0; at < r->width; at++)
            to = last_bytes(to, (uint64_t)value[at], SIZE[kind[at]]);
        r->end[row] = to - r->cells;
    }
    return to - r->cells;
}
