/* The record walk of capture files: what egress_watch/sources does with NumPy, one record at a time.
 *
 * In: a buffer and columns with room, and maybe a file to fill the buffer from. Out: rows in the columns. Never: a read
 * outside of the buffer, a write outside of the columns, or an answer that differs from the one without this file;
 * tests/test_fast.py holds both to the same.
 *
 * Bytes are read one by one, so that neither alignment nor the byte order of the machine matters.
 */

#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

struct batch; /* packets.c */
int64_t ew_frames_on(struct batch *b, int64_t frame, int64_t upto, int64_t row);

static uint32_t big32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t little32(const uint8_t *at) {
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

/* ---- pcap (draft-ietf-opsawg-pcap) ---------------------------------------------------------------------------- */

enum { SWAP_NO, SWAP_YES, SWAP_MAYBE };

/* What is to be walked; PcapWalk in egress_watch/fast/layout.py. */
struct pcap {
    const uint8_t *data;
    int64_t at, size; /* from where, up to where */
    int64_t header;   /* bytes of a record's header: 16 or 24 */
    int64_t most;     /* the longest record believed */
    int64_t tick_ns;
    int64_t big, swap; /* byte order of the file; order of its two lengths */
    int64_t *start, *caught, *wire, *time_ns;
    int64_t room;   /* rows in the columns */
    int64_t length; /* out: what the record at `at` claims, 0 where not even its header is there */
};

static inline uint32_t number_of(const uint8_t *at, int64_t big) { return big ? big32(at) : little32(at); }

/* Read the whole records from walk->at on, of which there are `count` before, until there are `upto` or no more; return
 * how many there are. walk->at is then the first one not read. */
static int64_t walk_on(struct pcap *walk, int64_t count, int64_t upto) {
    int64_t big = walk->big, at = walk->at;

    walk->length = 0;
    while (walk->size - at >= walk->header && count < upto) {
        const uint8_t *record = walk->data + at;
        int64_t caught = number_of(record + 8, big), wire = number_of(record + 12, big);
        if (walk->swap == SWAP_YES || (walk->swap == SWAP_MAYBE && wire < caught)) {
            int64_t other = caught;
            caught = wire;
            wire = other;
        }
        if (caught > walk->most || caught > walk->size - at - walk->header) {
            walk->length = caught;
            break;
        }
        walk->start[count] = at + walk->header;
        walk->caught[count] = caught;
        walk->wire[count] = wire;
        walk->time_ns[count] =
            (int64_t)number_of(record, big) * 1000000000 + (int64_t)number_of(record + 4, big) * walk->tick_ns;
        count++;
        at += walk->header + caught;
    }
    walk->at = at;
    return count;
}

/* Read the whole records from walk->at on and return how many. */
int64_t ew_pcap(struct pcap *walk) { return walk_on(walk, 0, walk->room); }

/* ---- a piece of a pcap file, with what is in its frames ---------------------------------------------------------- */

enum { TOGETHER = 64 }; /* frames walked, and then read, before the first-level cache forgets them */
enum { STEP_BYTES = 1 << 17 }; /* taken out of a file at once: the second-level cache keeps them until they are read */

/* PcapPiece in egress_watch/fast/layout.py. */
struct piece {
    struct pcap walk;
    struct batch *batch; /* into which the frames are read; its columns of frames are those of the walk */
    int64_t descriptor;  /* of the file that goes on where the buffer's bytes end; -1 where there is none */
    uint8_t *data;       /* the buffer, */
    int64_t most;        /* so much of which may be filled */
    int64_t rows;        /* out: given out, as by ew_frames */
};

/* Fill in some more of the file; false at its end, in trouble, which whoever reads next will meet, or without room. */
static int fill(struct piece *p) {
    int64_t want = p->most - p->walk.size;
    ssize_t got;

    if (p->descriptor < 0 || want <= 0 || p->walk.length > p->walk.most)
        return 0;
    got = read((int)p->descriptor, p->data + p->walk.size, (size_t)(want < STEP_BYTES ? want : STEP_BYTES));
    p->walk.size += got > 0 ? got : 0;
    return got > 0;
}

/* Read the whole records of a piece, and the frames in them; return how many records there are. */
int64_t ew_piece(struct piece *p) {
    int64_t frames = 0, before, upto;

    p->rows = 0;
    do {
        do {
            before = frames;
            upto = p->walk.room - frames < TOGETHER ? p->walk.room : frames + TOGETHER;
            frames = walk_on(&p->walk, frames, upto);
            p->rows = ew_frames_on(p->batch, before, frames, p->rows);
        } while (frames == upto && frames < p->walk.room);
    } while (frames < p->walk.room && fill(p));
    return frames;
}

/* ---- pcapng (draft-ietf-opsawg-pcapng, section 3.1) ----------------------------------------------------------- */

/* What is to be walked; BlockWalk in egress_watch/fast/layout.py. */
struct blocks {
    const uint8_t *data;
    int64_t at, size;
    int64_t big;
    int64_t *offset;
    int64_t room;   /* rows in the column */
    int64_t length; /* out: what the block at `at` claims, -1 where not even its first 8 bytes are there */
};

/* Follow the blocks up to a section header, a length below 12 or a block beyond the window; return how many. */
int64_t ew_pcapng(struct blocks *walk) {
    uint32_t (*number)(const uint8_t *) = walk->big ? big32 : little32;
    int64_t at = walk->at, count = 0;

    walk->length = -1;
    while (walk->size - at >= 8 && count < walk->room) {
        uint32_t kind = number(walk->data + at);
        int64_t length = number(walk->data + at + 4);
        if (length < 12 || kind == 0x0A0D0D0A || length > walk->size - at) {
            walk->length = length;
            break;
        }
        walk->offset[count++] = at;
        at += length;
    }
    walk->at = at;
    return count;
}
