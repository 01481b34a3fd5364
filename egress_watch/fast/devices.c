/* Which packets may say what a device is: what egress_watch/devices does with NumPy, one packet at a time.
 *
 * In: packets and the tables of their readers. Out: of those that are worth a look the kind, the sender and the payload.
 * Never: a read outside of a payload, a write outside of the columns, or an answer that differs from the one without
 * this file; tests/test_fast.py holds both to the same.
 */

#include <stdint.h>
#include <string.h>

enum { TCP = 6, UDP = 17, LEAST_BYTES = 8, TCP_KINDS = 128, MARK = 2 }; /* the last: model.DEVICES */

/* DeviceSift in egress_watch/fast/layout.py. */
struct sift {
    const uint8_t *ports; /* (65536,) the reader of a UDP port, 0 for none */
    const uint8_t *first; /* (256,) 1 for the first bytes of what TCP may begin with */
    const uint8_t *starts;
    int64_t start_count; /* and its first four bytes */
    int64_t room, text_room, most_bytes; /* rows, bytes of text, bytes of one payload */
    uint8_t *kind;  /* out: the reader of UDP, or TCP_KINDS and more: which of the starts */
    int64_t *time_ns;
    uint64_t *mac, *src; /* the sender; two words a row */
    uint16_t *vlan;
    int64_t *end;  /* of its payload, */
    uint8_t *text; /* all of which lie here in turn */
    int64_t count, text_bytes; /* go on from call to call */
    const uint8_t *data;       /* the packets, as model.Packets */
    int64_t size;
    int64_t packets;
    const uint8_t *mark; /* who wants to look at each; NULL where all are looked at */
    const uint64_t *src_mac, *src_word;
    const uint16_t *packet_vlan, *src_port, *dst_port;
    const uint8_t *protocol, *fragment;
    const int64_t *payload, *payload_bytes, *packet_ns;
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

/* Note a packet; false where there is no room. */
static int note(struct sift *s, int64_t packet, uint8_t kind) {
    int64_t row = s->count, size = s->payload_bytes[packet];

    size = size < s->most_bytes ? size : s->most_bytes;
    if (row == s->room || size > s->text_room - s->text_bytes)
        return 0;
    s->kind[row] = kind;
    s->time_ns[row] = s->packet_ns[packet];
    s->mac[row] = s->src_mac[packet];
    s->src[2 * row] = s->src_word[2 * packet];
    s->src[2 * row + 1] = s->src_word[2 * packet + 1];
    s->vlan[row] = s->packet_vlan[packet];
    memcpy(s->text + s->text_bytes, s->data + s->payload[packet], (size_t)size);
    s->end[row] = s->text_bytes += size;
    s->count++;
    return 1;
}

/* Look at the packets from this one on; return the first one for which there was no room, or their number. */
int64_t ew_devices(struct sift *s, int64_t packet) {
    for (; packet < s->packets; packet++) {
        int64_t at, size;
        uint8_t kind = 0;

        if (s->mark && !(s->mark[packet] & MARK))
            continue;
        at = s->payload[packet];
        size = s->payload_bytes[packet];
        if (s->fragment[packet] || size < LEAST_BYTES || at < 0 || at > s->size - size)
            continue;
        if (s->protocol[packet] == TCP) {
            kind = kind_of(s, s->data + at);
        } else if (s->protocol[packet] == UDP) {
            uint8_t here = s->ports[s->src_port[packet]], there = s->ports[s->dst_port[packet]];
            kind = here > there ? here : there;
        }
        if (kind && !note(s, packet, kind))
            return packet;
    }
    return s->packets;
}
