/* Second copies of packets: what egress_watch/flows/duplicates.py does with NumPy, one packet at a time.
 *
 * In: fingerprints and times of packets in order, and the table of those seen before. Out: the table brought up to date,
 * and the rows of copies. Never: an answer that differs from the one without this file; tests/test_fast.py holds both to
 * the same.
 */

#include <stdint.h>

enum { AHEAD = 64, PLACE_SHIFT = 40, PLACE_MASK = 0xFFFF };

/* The last fingerprint of a place, and its time: beside each other, so that memory is waited for once. */
struct seen {
    uint64_t print;
    int64_t time_ns;
};

/* Copies in egress_watch/fast/layout.py. */
struct copies {
    struct seen *seen; /* (65536,) by place */
    int64_t packets;
    const uint64_t *print;
    const int64_t *time_ns;
    uint64_t window_ns, moment_ns; /* how far apart copies may be: with an identification of their own, and without */
    int64_t *row;                  /* out, with room for all packets */
};

static int64_t place_of(uint64_t print) { return (int64_t)(print >> PLACE_SHIFT & PLACE_MASK); }

/* How far two times lie apart, for any two times. */
static uint64_t apart(int64_t one, int64_t other) {
    return one > other ? (uint64_t)one - (uint64_t)other : (uint64_t)other - (uint64_t)one;
}

/* Return how many copies there are. */
int64_t ew_copies(struct copies *c) {
    int64_t packet, count = 0;

    for (packet = 0; packet < c->packets; packet++) {
        uint64_t print = c->print[packet];
        struct seen *seen = c->seen + place_of(print);

        if (packet + AHEAD < c->packets)
            __builtin_prefetch(c->seen + place_of(c->print[packet + AHEAD]));
        if (!print)
            continue;
        if (seen->print == print &&
            apart(c->time_ns[packet], seen->time_ns) <= (print & 1 ? c->window_ns : c->moment_ns))
            c->row[count++] = packet;
        seen->print = print;
        seen->time_ns = c->time_ns[packet];
    }
    return count;
}
