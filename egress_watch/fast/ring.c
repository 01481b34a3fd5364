/* Taking frames out of a ring that the kernel fills: what egress_watch/sources/ring.py does with NumPy, slot by slot.
 *
 * In: a TPACKET_V2 ring and columns with room. Out: frames end to end in a buffer, rows in the columns, slots handed
 * back. Never: a read outside of a slot, a write outside of the buffer, or an answer that differs from the one without
 * this file; tests/test_sources_ring.py holds both to the same.
 *
 * The structure of a slot is that of linux/if_packet.h, in the byte order of the machine. The status word is read
 * first and written last, with the barriers that the kernel expects (Documentation/networking/packet_mmap.rst).
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { OURS = 1, VLAN_VALID = 0x10, TPID_VALID = 0x40, TAG_BYTES = 4, MACS_BYTES = 12, DOT1Q = 0x8100 };

struct slot {
    uint32_t status, wire, caught;
    uint16_t mac, net;
    uint32_t seconds, nanoseconds;
    uint16_t tci, tpid;
};

/* RingWalk in egress_watch/fast/layout.py. */
struct ring {
    uint8_t *ring;
    int64_t slots, stride, at; /* `at` is the slot to look at next */
    uint8_t *data;
    int64_t used, size; /* where the next frame goes; where the buffer ends */
    int64_t tagged;     /* whether a tag that the kernel took off is put back */
    int64_t *start, *caught, *wire, *time_ns;
    int64_t room;   /* rows in the columns */
    int64_t status; /* out: the status words, or-ed */
};

/* Take frames until there is none, or no room; return how many. */
int64_t ew_ring(struct ring *walk) {
    int64_t count = 0;

    walk->status = 0;
    while (count < walk->room) {
        uint8_t *at = walk->ring + walk->at * walk->stride;
        struct slot *slot = (struct slot *)at;
        uint32_t status = __atomic_load_n(&slot->status, __ATOMIC_ACQUIRE);
        int64_t caught, tag, mac = slot->mac;

        if (!(status & OURS)) break;
        caught = slot->caught;
        if (mac > walk->stride) mac = walk->stride;
        if (caught > walk->stride - mac) caught = walk->stride - mac;
        tag = walk->tagged && status & VLAN_VALID && caught >= MACS_BYTES ? TAG_BYTES : 0;
        if (caught + tag > walk->size - walk->used) break;
        if (tag) {
            uint32_t tpid = status & TPID_VALID ? slot->tpid : DOT1Q;
            uint8_t *to = walk->data + walk->used;

            memcpy(to, at + mac, MACS_BYTES);
            to[12] = (uint8_t)(tpid >> 8), to[13] = (uint8_t)tpid;
            to[14] = (uint8_t)(slot->tci >> 8), to[15] = (uint8_t)slot->tci;
            memcpy(to + MACS_BYTES + TAG_BYTES, at + mac + MACS_BYTES, (size_t)(caught - MACS_BYTES));
        } else {
            memcpy(walk->data + walk->used, at + mac, (size_t)caught);
        }
        walk->start[count] = walk->used;
        walk->caught[count] = caught + tag;
        walk->wire[count] = (int64_t)slot->wire + tag;
        walk->time_ns[count] = (int64_t)slot->seconds * 1000000000 + slot->nanoseconds;
        walk->used += caught + tag;
        walk->status |= status;
        count++;
        __atomic_store_n(&slot->status, 0, __ATOMIC_RELEASE);
        if (++walk->at == walk->slots) walk->at = 0;
    }
    return count;
}
