/* The flow table, one packet at a time: what egress_watch/flows does with NumPy, over the same memory.
 *
 * In: packets in order, and the table. Out: the table brought up to date, the flows that were cut or have timed out, and
 * records of them. Never: memory of its own, or an answer that differs from the one without this file; tests/test_fast.py
 * holds both to the same.
 */

#include <stdint.h>
#include <string.h>

enum { FREE = -1, KEY_WORDS = 5, AHEAD = 32 };
enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };
enum { GOES_ON, IDLE, ACTIVE };
#define NEVER INT64_MAX
#define LATE (INT64_MAX / 2) /* as in egress_watch/flows/slots.py */

static int64_t least(int64_t one, int64_t other) { return one < other ? one : other; }

/* One open flow; ROW in egress_watch/flows/slots.py says the same. Three cache lines, of which two are for every
 * packet. */
struct row {
    uint64_t hash, key[KEY_WORDS];
    int64_t place;
    uint8_t flags[2];
    uint16_t vlan;
    uint8_t device_is_low, spare[3];
    int64_t packets[2], bytes[2], first_ns, last_ns, first_clock, last_clock;
    int64_t idle_ns, closing, serial;
    uint64_t mac[2];
    uint64_t spares[3];
};

int64_t ew_row_bytes(void) { return (int64_t)sizeof(struct row); }

/* Networks as pairs of network and mask, each of two words. */
struct networks {
    const uint64_t *words;
    int64_t count;
};

/* FlowPiece in egress_watch/fast/layout.py. */
struct piece {
    struct row *rows;
    int64_t *due;   /* by slot: no flow can end before this clock */
    int32_t *index; /* slot by place, FREE, or below FREE for one that was freed */
    int64_t index_size;
    int64_t *free; /* a stack of slots */
    int64_t free_count, used; /* used: places of the index that are not FREE */
    uint64_t seed;
    int64_t active_ns, linger_ns, taken;
    const int64_t *idle_ns; /* (256,) by protocol */
    struct networks private, own, group;
    int64_t packets; /* in the columns below; those of model.Packets */
    const int64_t *time_ns, *clock;
    const uint64_t *src_mac, *dst_mac;
    const uint16_t *vlan;
    const uint8_t *version;
    const uint64_t *src, *dst;
    const uint16_t *src_port, *dst_port;
    const uint8_t *protocol, *tcp_flags;
    const int64_t *size;
    int64_t *cut; /* out: slots that ended, in order; room for all packets */
    int64_t cut_count;
};

/* Whether the source is the higher end; without a branch, since nobody can foretell it. */
static int is_back(const uint64_t *src, const uint64_t *dst, uint64_t src_port, uint64_t dst_port) {
    return (src[0] > dst[0]) |
           ((src[0] == dst[0]) & ((src[1] > dst[1]) | ((src[1] == dst[1]) & (src_port > dst_port))));
}

/* Lay the key of a packet and return its direction: 0 from the lower end to the higher, 1 back. */
static int lay_key(const struct piece *p, int64_t at, uint64_t *key) {
    const uint64_t *src = p->src + 2 * at, *dst = p->dst + 2 * at;
    uint64_t src_port = p->src_port[at], dst_port = p->dst_port[at];
    int back = is_back(src, dst, src_port, dst_port);
    uint64_t turn = -(uint64_t)back; /* all ones where both ends change places */
    uint64_t high = (src[0] ^ dst[0]) & turn, low = (src[1] ^ dst[1]) & turn, port = (src_port ^ dst_port) & turn;

    key[0] = src[0] ^ high;
    key[1] = src[1] ^ low;
    key[2] = dst[0] ^ high;
    key[3] = dst[1] ^ low;
    key[4] = (src_port ^ port) << 32 | (dst_port ^ port) << 16 | (uint64_t)p->protocol[at] << 8 | p->version[at];
    return back;
}

static inline uint64_t mix(uint64_t mixed, uint64_t word, uint64_t multiply) {
    mixed ^= word * multiply;
    return (mixed ^ mixed >> 29) * 0x9E3779B97F4A7C15u;
}

static uint64_t hash_of(const uint64_t *key, uint64_t mixed) {
    mixed = mix(mixed, key[0], 0x9E3779B97F4A7C15u);
    mixed = mix(mixed, key[1], 0xBF58476D1CE4E5B9u);
    mixed = mix(mixed, key[2], 0x94D049BB133111EBu);
    mixed = mix(mixed, key[3], 0xD6E8FEB86659FD93u);
    mixed = mix(mixed, key[4], 0xA0761D6478BD642Fu);
    return mixed ^ mixed >> 32;
}

static int same(const uint64_t *one, const uint64_t *other) {
    return one[0] == other[0] && one[1] == other[1] && one[2] == other[2] && one[3] == other[3] && one[4] == other[4];
}

/* Return the place of the key in the index, or the free one where it belongs. */
static int64_t place_of(const struct piece *p, const uint64_t *key, uint64_t hash) {
    int64_t mask = p->index_size - 1, place = (int64_t)(hash & (uint64_t)mask);
    int32_t slot;

    while ((slot = p->index[place]) != FREE) {
        if (slot >= 0 && p->rows[slot].hash == hash && same(p->rows[slot].key, key))
            break;
        place = (place + 1) & mask;
    }
    return place;
}

static int within(const uint64_t *address, const struct networks *networks) {
    int64_t at;

    for (at = 0; at < networks->count; at++) {
        const uint64_t *network = networks->words + 4 * at, *mask = network + 2;
        if ((address[0] & mask[0]) == network[0] && (address[1] & mask[1]) == network[1])
            return 1;
    }
    return 0;
}

/* As flows/sides.py: the end that is no group address, the one in own networks, the private one, the one that began. */
static int device_is_low(const struct piece *p, const uint64_t *key, int began_low) {
    int low, high, answer = began_low;

    if ((low = within(key, &p->private)) != (high = within(key + 2, &p->private)))
        answer = low;
    if ((low = within(key, &p->own)) != (high = within(key + 2, &p->own)))
        answer = low;
    if ((low = within(key, &p->group)) != (high = within(key + 2, &p->group)))
        answer = !low;
    return answer;
}

/* Take a free slot for the flow of this packet, whose key stands at this place of the index. */
static int32_t begin(struct piece *p, int64_t at, const uint64_t *key, uint64_t hash, int64_t place, int back) {
    int32_t slot = (int32_t)p->free[--p->free_count];
    struct row *row = p->rows + slot;
    int answers = (p->tcp_flags[at] & (SYN | ACK)) == (SYN | ACK), word;

    for (word = 0; word < KEY_WORDS; word++)
        row->key[word] = key[word];
    row->hash = hash;
    row->place = place;
    row->serial = p->taken + at;
    row->first_clock = row->last_clock = p->clock[at];
    row->idle_ns = p->idle_ns[p->protocol[at]];
    p->due[slot] = p->clock[at] + (row->idle_ns < p->active_ns ? row->idle_ns : p->active_ns);
    row->mac[back] = p->src_mac[at];
    row->mac[!back] = p->dst_mac[at];
    row->device_is_low = (uint8_t)device_is_low(p, key, back == answers);
    p->index[place] = slot;
    return slot;
}

/* As FlowTable._over: how the flow has ended before this packet. */
static int over(const struct piece *p, const struct row *row, int64_t now, uint8_t seen) {
    uint8_t low = row->flags[0], high = row->flags[1];

    if (((low | high) & RST) || (low & high & FIN))
        return now > row->last_clock + p->linger_ns || (seen & (SYN | ACK)) == SYN ? IDLE : GOES_ON;
    if (now > row->last_clock + p->idle_ns[row->key[4] >> 8 & 0xFF]) /* as row->idle_ns, which lies in the third line */
        return IDLE;
    return now > row->first_clock + p->active_ns ? ACTIVE : GOES_ON;
}

static void add(struct piece *p, int32_t slot, int64_t at, int back) {
    struct row *row = p->rows + slot;
    int64_t time_ns = p->time_ns[at], clock = p->clock[at];

    row->packets[back]++;
    row->bytes[back] += p->size[at];
    if (time_ns < row->first_ns)
        row->first_ns = time_ns;
    if (time_ns > row->last_ns)
        row->last_ns = time_ns;
    if (clock > row->last_clock)
        row->last_clock = clock;
    if (p->vlan[at] > row->vlan)
        row->vlan = p->vlan[at];
    row->flags[back] |= p->tcp_flags[at];
    if ((p->tcp_flags[at] & (FIN | RST)) && clock + p->linger_ns < p->due[slot])
        p->due[slot] = clock + p->linger_ns;
}

/* Take one packet in; false where there is no room for the flow that it begins. */
static int take(struct piece *p, int64_t at, const uint64_t *key, uint64_t hash, int back) {
    int64_t place = place_of(p, key, hash), now = p->clock[at];
    int32_t slot = p->index[place];
    int how;

    if (slot == FREE) {
        if (!p->free_count || 2 * (p->used + 1) > p->index_size)
            return 0;
        p->used++;
        slot = begin(p, at, key, hash, place, back);
    }
    if (now < p->rows[slot].first_clock) /* a flow restarted by a sweep runs from its next packet */
        p->rows[slot].first_clock = now;
    if ((how = over(p, p->rows + slot, now, p->tcp_flags[at]))) {
        uint8_t side = p->rows[slot].device_is_low;
        if (!p->free_count)
            return 0;
        p->cut[p->cut_count++] = slot;
        slot = begin(p, at, key, hash, place, back);
        if (how == ACTIVE) /* cut while it ran: it keeps its device side */
            p->rows[slot].device_is_low = side;
    }
    add(p, slot, at, back);
    return 1;
}

/* Packets that are worked together: their keys, hashes and directions. */
struct stretch {
    uint64_t key[AHEAD][KEY_WORDS], hash[AHEAD];
    uint8_t back[AHEAD];
    int64_t count;
};

/* Hash the packets from row `at` on, and ask for their places of the index. */
static void look(const struct piece *p, int64_t at, struct stretch *s) {
    int64_t n;

    s->count = p->packets - at < AHEAD ? p->packets - at : AHEAD;
    for (n = 0; n < s->count; n++) {
        s->back[n] = (uint8_t)lay_key(p, at + n, s->key[n]);
        s->hash[n] = hash_of(s->key[n], p->seed);
        __builtin_prefetch(p->index + (s->hash[n] & (uint64_t)(p->index_size - 1)));
    }
}

/* Ask for the rows that are in these places, as far as every packet needs them. */
static void fetch(const struct piece *p, const struct stretch *s) {
    int64_t n;

    for (n = 0; n < s->count; n++) {
        int32_t slot = p->index[s->hash[n] & (uint64_t)(p->index_size - 1)];
        if (slot >= 0) {
            __builtin_prefetch(p->rows + slot);
            __builtin_prefetch((const char *)(p->rows + slot) + 64);
        }
    }
}

/* Take in the packets from row `at` on; return the first row for which there was no room, or their number.
 *
 * While one stretch of packets is taken in, memory that the next one needs is on its way. */
int64_t ew_flows(struct piece *p, int64_t at) {
    struct stretch stretches[2], *now = stretches, *next = stretches + 1, *other;
    int64_t n;

    look(p, at, now);
    fetch(p, now);
    while (now->count) {
        look(p, at + now->count, next);
        for (n = 0; n < now->count; n++)
            if (!take(p, at + n, now->key[n], now->hash[n], now->back[n]))
                return at + n;
        at += now->count;
        fetch(p, next);
        other = now;
        now = next;
        next = other;
    }
    return p->packets;
}

/* Lay the clock of packets, which never runs backwards and begins at `now`: the newest time so far. */
void ew_clock(const int64_t *time_ns, int64_t packets, int64_t now, int64_t *clock) {
    int64_t at;

    for (at = 0; at < packets; at++) {
        if (time_ns[at] > now)
            now = least(time_ns[at], LATE - 1);
        clock[at] = now;
    }
}

/* ---- what ends ------------------------------------------------------------------------------------------------- */

enum { END, CLOSED, RESET, SILENT, CUT, EVICTED }; /* model.END_REASONS */
enum { RELEASE, FORGET, SETTLE }; /* of a slot: no key points to it; its key goes too; as it is with a sweep */
enum { TOMB = -2, SLOTS_AHEAD = 8 };

/* FlowEnds in egress_watch/fast/layout.py: slots that end, and columns of model.Flows. */
struct ends {
    struct piece *piece;
    int64_t clock, now; /* what is over by one clock; that of the newest packet is `now` */
    int64_t otherwise, fate;
    int64_t *slot, *serial; /* out of ew_due, and into ew_end */
    int64_t count, forgotten;
    int64_t *first_ns, *last_ns;
    uint64_t *device, *remote;
    uint16_t *device_port, *remote_port;
    uint8_t *protocol;
    uint64_t *device_mac;
    uint16_t *vlan;
    int64_t *packets_out, *bytes_out, *packets_in, *bytes_in;
    uint8_t *flags_out, *flags_in, *end_reason;
};

/* As records.ends: closed, else by the time-out that came first, else as told. */
static int64_t reason_of(const struct ends *e, const struct row *row) {
    uint8_t low = row->flags[0], high = row->flags[1];
    int64_t active = row->first_clock + e->piece->active_ns, idle = row->last_clock + row->idle_ns;

    if ((low | high) & RST)
        return RESET;
    if (low & high & FIN)
        return CLOSED;
    if (e->clock <= least(active, idle))
        return e->otherwise;
    return active <= idle ? CUT : SILENT;
}

/* As records.bound: a clock before which a running flow cannot end. */
static int64_t bound(const struct ends *e, const struct row *row, int64_t reason) {
    if (reason == RESET || reason == CLOSED)
        return row->last_clock + e->piece->linger_ns;
    return least(least(row->first_clock, e->now) + e->piece->active_ns, row->last_clock + row->idle_ns);
}

/* Find the slots whose flows are over, and how long the others may be left alone. */
void ew_due(struct ends *e, int64_t slots) {
    struct piece *p = e->piece;
    int64_t slot;

    for (e->count = slot = 0; slot < slots; slot++) {
        const struct row *row = p->rows + slot;
        int64_t reason;

        if (p->due[slot] >= e->clock)
            continue;
        reason = reason_of(e, row);
        if (reason == RESET || reason == CLOSED ? e->clock > row->last_clock + p->linger_ns : reason != END) {
            e->serial[e->count] = row->serial;
            e->slot[e->count++] = slot;
        } else {
            p->due[slot] = bound(e, row, reason);
        }
    }
}

/* Lay the record of a flow, seen from the device. */
static void lay_record(const struct ends *e, int64_t at, const struct row *row, int64_t reason) {
    int out = !row->device_is_low, in = !out;
    const uint64_t *device = row->key + 2 * out, *remote = row->key + 2 * in;
    uint64_t word = row->key[4];
    uint16_t low = (uint16_t)(word >> 32), high = (uint16_t)(word >> 16);

    e->first_ns[at] = row->first_ns;
    e->last_ns[at] = row->last_ns;
    memcpy(e->device + 2 * at, device, 16);
    memcpy(e->remote + 2 * at, remote, 16);
    e->device_port[at] = out ? high : low;
    e->remote_port[at] = out ? low : high;
    e->protocol[at] = (uint8_t)(word >> 8);
    e->device_mac[at] = row->mac[out];
    e->vlan[at] = row->vlan;
    e->packets_out[at] = row->packets[out];
    e->bytes_out[at] = row->bytes[out];
    e->packets_in[at] = row->packets[in];
    e->bytes_in[at] = row->bytes[in];
    e->flags_out[at] = row->flags[out];
    e->flags_in[at] = row->flags[in];
    e->end_reason[at] = (uint8_t)reason;
}

/* Set the counters of a running flow back: Slots.restart. */
static void restart(struct row *row) {
    memset(row->flags, 0, sizeof row->flags);
    memset(row->packets, 0, sizeof row->packets);
    memset(row->bytes, 0, sizeof row->bytes);
    row->vlan = 0;
    row->first_ns = INT64_MAX;
    row->first_clock = row->closing = LATE;
}

/* Free a slot: Slots.release. */
static void release(struct piece *p, int64_t slot) {
    struct row *row = p->rows + slot;

    memset(row, 0, sizeof *row);
    restart(row);
    row->last_ns = INT64_MIN;
    row->last_clock = -LATE;
    p->due[slot] = NEVER;
    p->free[p->free_count++] = slot;
}

/* What becomes of a slot whose flow has ended. */
static void dispose(struct ends *e, int64_t slot, int64_t reason) {
    struct piece *p = e->piece;
    struct row *row = p->rows + slot;

    if (e->fate == SETTLE && reason == CUT && e->clock <= row->last_clock + row->idle_ns) { /* it runs on */
        restart(row);
        p->due[slot] = bound(e, row, reason);
        return;
    }
    if (e->fate != RELEASE) {
        p->index[row->place] = TOMB;
        e->forgotten++;
    }
    release(p, slot);
}

/* Lay records of the flows in these slots, but for those without a packet, and free the slots; return how many records
 * there are. */
int64_t ew_end(struct ends *e) {
    int64_t one, records = 0;

    for (one = e->forgotten = 0; one < e->count; one++) {
        const struct row *row = e->piece->rows + e->slot[one];
        int64_t reason = reason_of(e, row), ahead;

        if (one + SLOTS_AHEAD < e->count)
            for (ahead = 0; ahead < (int64_t)sizeof *row; ahead += 64)
                __builtin_prefetch((const char *)(e->piece->rows + e->slot[one + SLOTS_AHEAD]) + ahead);
        if (row->packets[0] || row->packets[1])
            lay_record(e, records++, row, reason);
        dispose(e, e->slot[one], reason);
    }
    return records;
}
