/* Which packets may say what a device is: what egress_watch/devices does with NumPy, one packet at a time.
 *
 * In: packets and the tables of their readers. Out: the rows of those that are worth a look, and the kind of each.
 * Never: a read outside of a payload, or an answer that differs from the one without this file; tests/test_devices.py
 * holds both to the same.
 */

#include <stdint.h>
#include <string.h>

enum { TCP = 6, UDP = 17, LEAST_BYTES = 8, TCP_KINDS = 128 };

/* DeviceSift in egress_watch/fast/layout.py. */
struct sift {
    const uint8_t *ports; /* (65536,) the reader of a UDP port, 0 for none */
    const uint8_t *first; /* (256,) 1 for the first bytes of what TCP may begin with */
    const uint8_t *starts;
    int64_t start_count; /* and its first four bytes */
    int64_t *row;        /* out, with room for all packets */
    uint8_t *kind;       /* the reader of UDP, or TCP_KINDS and more: which of the starts */
    const uint8_t *data;
    int64_t size;
    const int64_t *rows; /* which packets are looked at */
    int64_t row_count;
    const uint16_t *src_port, *dst_port;
    const uint8_t *protocol, *fragment;
    const int64_t *payload, *payload_bytes;
};

/* Return the kind of a TCP payload, 0 for none. */
static uint8_t kind_of(const struct sift *s, const uint8_t *payload) {
    int64_t one;

    if (s->first[*payload])
        for (one = 0; one < s->start_count; one++)
            if (!memcmp(s->starts + 4 * one, payload, 4))
                return (uint8_t)(TCP_KINDS + one);
    return 0;
}

/* Return how many packets are worth a look. */
int64_t ew_devices(struct sift *s) {
    int64_t one, count = 0;

    for (one = 0; one < s->row_count; one++) {
        int64_t packet = s->rows[one], at = s->payload[packet], size = s->payload_bytes[packet];
        uint8_t kind = 0;

        if (s->fragment[packet] || size < LEAST_BYTES || at < 0 || at > s->size - size)
            continue;
        if (s->protocol[packet] == TCP) {
            kind = kind_of(s, s->data + at);
        } else if (s->protocol[packet] == UDP) {
            uint8_t here = s->ports[s->src_port[packet]], there = s->ports[s->dst_port[packet]];
            kind = here > there ? here : there;
        }
        if (kind) {
            s->row[count] = packet;
            s->kind[count++] = kind;
        }
    }
    return count;
}
