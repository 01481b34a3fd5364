/* The reading of plain frames: what egress_watch/decode does with NumPy, one frame at a time.
 *
 * In: a buffer and columns with room. Out: rows in the columns. Never: a read outside of the frame or the buffer, a
 * write outside of the columns, or an answer that differs from the one without this file; tests/test_fast.py holds both
 * to the same.
 *
 * Bytes are read one by one, so that neither alignment nor the byte order of the machine matters.
 */

#include <stddef.h>
#include <stdint.h>

#ifndef EW_SOURCE
#define EW_SOURCE 0
#endif

/* The checksum of the sources this was built from: a library of other sources is not used. */
uint32_t ew_source(void) { return EW_SOURCE; }

static uint32_t big16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }

static uint32_t big32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint64_t big48(const uint8_t *at) { return (uint64_t)big16(at) << 32 | big32(at + 2); }

static uint64_t big64(const uint8_t *at) { return (uint64_t)big32(at) << 32 | big32(at + 4); }

static uint32_t little32(const uint8_t *at) {
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

/* ---- frames ---------------------------------------------------------------------------------------------------- */

enum { ETHERNET = 1, LOWEST_ETHERTYPE = 0x600, MOST_TAGS = 4 };
enum { ICMP = 1, TCP = 6, UDP = 17, ICMPV6 = 58, LEAST_WISHED_BYTES = 2 };
enum { UNREAD, TAG, READ }; /* what `kinds` says of an EtherType: nobody reads it; a VLAN tag; another reader's */
enum { LEFT = -1 };         /* what read_frame says of a frame that it leaves to the columns */
enum { AHEAD = 8 };         /* frames whose memory is asked for before they are read */

/* Frames in, packets out; FrameBatch in egress_watch/fast/layout.py. Columns are those of model.Frames and Packets. */
struct batch {
    const uint8_t *data;
    int64_t size; /* bytes in data */
    int64_t frames;
    const int64_t *start, *caught, *frame_time_ns;
    const int32_t *link;
    const uint8_t *kinds; /* (65536,) UNREAD, TAG or READ */
    const uint8_t *ports; /* (65536,) 1 for UDP ports whose packets may carry others, and are left to the columns */
    const uint8_t *port_marks, *first_marks; /* (65536,) and (256,) see decode/marks.py; NULL where nobody wishes */
    /* out, each with room for all frames */
    int64_t *time_ns;
    uint64_t *src_mac, *dst_mac;
    uint16_t *vlan;
    uint8_t *version;
    uint64_t *src, *dst; /* two words a row */
    uint16_t *src_port, *dst_port;
    uint8_t *protocol, *tcp_flags;
    int64_t *packet_bytes;
    uint8_t *fragment;
    uint32_t *fragment_id;
    int64_t *payload, *payload_bytes;
    uint64_t *print;       /* NULL where nobody asked for fingerprints */
    uint8_t *mark;
    int64_t *left, *place; /* frames left to the columns, and the row kept free for each */
    int32_t *reason;       /* EtherTypes of frames that are no packet */
    int64_t left_count, reason_count;
};

static int64_t least(int64_t one, int64_t other) { return one < other ? one : other; }

/* ---- fingerprints: egress_watch/decode/prints.py says what they are ---------------------------------------------- */

static uint64_t mix(uint64_t one, uint64_t other) {
    uint64_t mixed = (one ^ other >> 31 ^ other << 31) * 0x9E3779B97F4A7C15u;
    return mixed ^ mixed >> 31;
}

/* Up to 8 of the `left` bytes at `at`, the first one lowest; of fewer, the last one highest. */
static uint64_t word_of(const uint8_t *at, int64_t left) {
    uint64_t word = 0;
    int64_t byte, bytes = left < 8 ? left : 8;

    if (left >= 8)
        return (uint64_t)little32(at + 4) << 32 | little32(at);
    for (byte = 0; byte < bytes; byte++)
        word |= (uint64_t)at[byte] << 8 * (byte + 8 - bytes);
    return word;
}

/* The fingerprint of a whole packet whose transport header is at `at`; identification 0 is none. */
static uint64_t fingerprint(const struct batch *b, int64_t row, int64_t at, int64_t end, uint32_t ident) {
    const uint8_t *header = b->data + at;
    int64_t left = end - at, over;
    uint8_t protocol = b->protocol[row];
    uint64_t first = word_of(header, left), second = word_of(header + 8, left - 8), mixed;

    if (protocol == UDP) { /* without the checksum: bytes 6 and 7 */
        if (left >= 8)
            first &= 0x0000FFFFFFFFFFFFu;
        else if (left == 7)
            first &= 0x00FFFFFFFFFFFFFFu;
    }
    mixed = mix(first ^ b->src[2 * row + 1] * 0xBF58476D1CE4E5B9u ^ protocol,
                ((uint64_t)b->packet_bytes[row] << 32 | ident) ^ b->src[2 * row]);
    mixed = mix(mixed ^ second, b->dst[2 * row + 1] * 0x94D049BB133111EBu ^ b->dst[2 * row]);
    if (protocol != TCP && left > 16)
        for (over = 16; over < 64; over += 8)
            mixed = mix(mixed, word_of(header + over, left - over));
    if (ident)
        return left > 0 ? mixed | 1 : 0;
    if (protocol != TCP || left < 20 || (!(header[13] & 7) && left <= (header[12] >> 4) * 4))
        return 0;
    return (mixed & ~(uint64_t)1) | 2;
}

/* Who may want to look at the payload of this row: egress_watch/decode/marks.py. */
static uint8_t mark_of(const struct batch *b, int64_t row, uint8_t protocol) {
    int shift = protocol == TCP ? 0 : 4;

    if (b->payload_bytes[row] < LEAST_WISHED_BYTES || (protocol != TCP && protocol != UDP))
        return 0;
    return (b->port_marks[b->src_port[row]] | b->port_marks[b->dst_port[row]] >> 2 |
            b->first_marks[b->data[b->payload[row]]]) >> shift & 3;
}

/* Read the transport header at `at`, of which the bytes up to `end` are there; false where it is another's work. */
static int read_transport(struct batch *b, int64_t row, int64_t at, int64_t end, uint8_t protocol, uint32_t ident) {
    const uint8_t *header = b->data + at;
    int64_t length = 8;
    uint32_t src_port = 0, dst_port = 0;
    uint8_t flags = 0;

    if (protocol == TCP || protocol == UDP) {
        if (end - at >= 4) {
            src_port = big16(header);
            dst_port = big16(header + 2);
        }
        if (protocol == UDP && (b->ports[src_port] || b->ports[dst_port]))
            return 0;
    }
    if (protocol == TCP) { /* RFC 9293, section 3.1 */
        length = 20;
        if (end - at >= 14) { /* the flags are there, if not the rest */
            flags = header[13];
            if ((header[12] >> 4) * 4 > 20)
                length = (header[12] >> 4) * 4;
        }
    }
    b->src_port[row] = (uint16_t)src_port;
    b->dst_port[row] = (uint16_t)dst_port;
    b->tcp_flags[row] = flags;
    b->protocol[row] = protocol;
    b->payload[row] = least(at + length, end);
    b->payload_bytes[row] = end - b->payload[row];
    if (b->print)
        b->print[row] = fingerprint(b, row, at, end, ident);
    if (b->port_marks)
        b->mark[row] = mark_of(b, row, protocol);
    return 1;
}

/* RFC 791, section 3.1. Fragments, lengths of 0 and all that is wrong are left. */
static int read_ipv4(struct batch *b, int64_t row, int64_t at, int64_t end) {
    const uint8_t *header = b->data + at;
    int64_t header_bytes, size;

    if (end - at < 20 || header[0] >> 4 != 4 || (big16(header + 6) & 0x3FFF))
        return 0;
    header_bytes = (header[0] & 15) * 4;
    size = big16(header + 2);
    if (header_bytes < 20 || size < header_bytes)
        return 0;
    if (header[9] != TCP && header[9] != UDP && header[9] != ICMP && header[9] != ICMPV6)
        return 0;
    b->version[row] = 4;
    b->src[2 * row] = b->dst[2 * row] = 0;
    b->src[2 * row + 1] = (uint64_t)0xFFFF << 32 | big32(header + 12);
    b->dst[2 * row + 1] = (uint64_t)0xFFFF << 32 | big32(header + 16);
    b->packet_bytes[row] = size;
    end = least(end, at + size);
    return read_transport(b, row, least(at + header_bytes, end), end, header[9], big16(header + 4));
}

/* RFC 8200, section 3. Extension headers, lengths of 0 and all that is wrong are left. */
static int read_ipv6(struct batch *b, int64_t row, int64_t at, int64_t end) {
    const uint8_t *header = b->data + at;
    int64_t length;

    if (end - at < 40 || header[0] >> 4 != 6)
        return 0;
    length = big16(header + 4);
    if (!length || (header[6] != TCP && header[6] != UDP && header[6] != ICMP && header[6] != ICMPV6))
        return 0;
    b->version[row] = 6;
    b->src[2 * row] = big64(header + 8);
    b->src[2 * row + 1] = big64(header + 16);
    b->dst[2 * row] = big64(header + 24);
    b->dst[2 * row + 1] = big64(header + 32);
    b->packet_bytes[row] = length + 40;
    end = least(end, at + length + 40);
    return read_transport(b, row, at + 40, end, header[6], 0);
}

/* Read one frame into the row: 0 for a packet, LEFT, or the EtherType for which it is no packet. */
static int32_t read_frame(struct batch *b, int64_t frame, int64_t row) {
    int64_t at = b->start[frame], end, caught = b->caught[frame];
    uint32_t kind, vlan = 0;
    int tags = 0;

    if (b->link[frame] != ETHERNET || at < 0 || caught < 14 || at > b->size || caught > b->size - at)
        return LEFT;
    end = at + caught;
    b->dst_mac[row] = big48(b->data + at);
    b->src_mac[row] = big48(b->data + at + 6);
    kind = big16(b->data + at + 12);
    at += 14;
    while (kind >= LOWEST_ETHERTYPE && b->kinds[kind] == TAG) { /* IEEE 802.1Q, clause 9.6 */
        if (end - at < 4 || ++tags > MOST_TAGS)
            return LEFT;
        if (!vlan)
            vlan = big16(b->data + at) & 0x0FFF;
        kind = big16(b->data + at + 2);
        at += 4;
    }
    b->vlan[row] = (uint16_t)vlan;
    if (kind == 0x0800)
        return read_ipv4(b, row, at, end) ? 0 : LEFT;
    if (kind == 0x86DD)
        return read_ipv6(b, row, at, end) ? 0 : LEFT;
    return kind < LOWEST_ETHERTYPE || b->kinds[kind] != UNREAD ? LEFT : (int32_t)kind;
}

/* Read the frames from one up to another; return how many rows are given out, of which there were `row` before: to
 * packets, and to frames that are left. */
int64_t ew_frames_on(struct batch *b, int64_t frame, int64_t upto, int64_t row) {
    for (; frame < upto; frame++) {
        int32_t reason;

        if (frame + AHEAD < upto && b->start[frame + AHEAD] >= 0 && b->start[frame + AHEAD] < b->size) {
            __builtin_prefetch(b->data + b->start[frame + AHEAD]);
            __builtin_prefetch(b->data + b->start[frame + AHEAD] + 63);
        }
        reason = read_frame(b, frame, row);
        if (reason > 0) {
            b->reason[b->reason_count++] = reason;
            continue;
        }
        if (reason == LEFT) {
            b->left[b->left_count] = frame;
            b->place[b->left_count++] = row;
        }
        b->time_ns[row] = b->frame_time_ns[frame];
        b->fragment[row] = 0;
        b->fragment_id[row] = 0;
        row++;
    }
    return row;
}

/* Read all frames and return how many rows were given out. */
int64_t ew_frames(struct batch *b) {
    b->left_count = b->reason_count = 0;
    return ew_frames_on(b, 0, b->frames, 0);
}
