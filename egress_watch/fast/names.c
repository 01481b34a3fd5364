/* Which packets may carry a name, and the names in the plainest of them: what egress_watch/names does with NumPy and
 * Python, one packet at a time.
 *
 * In: packets, and the tables of a sieve. Out: where names and addresses lie, and the packets that are left to the
 * readers in Python. Never: a read outside of a payload, a name's text (Python checks and keeps it), or an answer that
 * differs from the one without this file; tests/test_names_plain.py holds both to the same.
 *
 * Only what is whole and usual is read here: a ClientHello in one record, the head of an HTTP/1 request, a DNS answer
 * whose names are letters, digits and hyphens. Everything else is left, whatever may be wrong with it.
 */

#include <stdint.h>
#include <string.h>

enum { ANOTHERS = -1, NOTHING = 0, FOUND = 1 }; /* of a packet: left to Python, said nothing, said something */
enum { RECORD_BYTES = 5, HELLO_BYTES = 4, RANDOM_BYTES = 34, SERVER_NAME = 0, HOST_NAME = 0, ENCRYPTED = 0xFE0D };
enum { MOST_HEADER_BYTES = 16384, AHEAD = 16 };
enum { DNS_HEADER_BYTES = 12, RECORD_HEAD_BYTES = 10, MOST_RECORDS = 256, MOST_CHAIN = 16, MOST_JUMPS = 16 };
enum { MOST_NAME_BYTES = 254, MOST_LABEL_BYTES = 63 };
enum { ADDRESS_BYTES = 16, KEY_BYTES = 37 };
enum { MARK = 1, NO_TEXT = -1 }; /* model.NAMES */
enum { A = 1, CNAME = 5, AAAA = 28, SVCB = 64, HTTPS = 65, IN = 1 };

/* The bytes of a name; TEXT in egress_watch/fast/names.py. */
struct text {
    int64_t end; /* they begin where those of the text before end */
    uint32_t hash;
    uint8_t reader; /* whose bytes they are: others may read them otherwise */
    uint8_t spare[3];
};

/* NameSift in egress_watch/fast/layout.py. */
struct sift {
    /* a bit for each reader: by first byte, first two bytes as they lie, source port and protocol */
    const uint8_t *first, *beginning, *ports, *protocols;
    int64_t tls, http, dns; /* the bits of those that are read here */
    int64_t quic;           /* and of one whose packets begin with one of these: first byte and version */
    const uint64_t *initials;
    int64_t initial_count, initial_bytes; /* and have at least so many bytes */
    uint64_t seed;
    int64_t room, most_texts, text_room, address_room;
    struct text *texts; /* each text once, */
    int32_t *index;     /* by hash, twice as many places as there may be; 0 for none, else its number and one */
    uint8_t *bytes;     /* and their bytes, one behind the other */
    int64_t *left;    /* out: packets for other readers, with room for all */
    uint8_t *wanting; /* the bits of those who may want them */
    int64_t *row;     /* out: numbers of packets read here, their times, and the bit of the reader each is of */
    int64_t *time_ns;
    uint8_t *reader;
    uint8_t *connection; /* KEY_BYTES each */
    int32_t *text;       /* the number of its name */
    int64_t *addresses;  /* where its addresses end, */
    uint8_t *address;    /* all of which lie here in turn, each behind that of the host that asked */
    int64_t *ttl_s;
    int64_t left_count, count, text_count, text_bytes, address_count; /* all but the first go on from call to call */
    /* the packets, as model.Packets, and the number of the first */
    int64_t first_row;
    const uint8_t *data;
    int64_t size;
    int64_t packets;
    const uint8_t *mark; /* who wants to look at each; NULL where all are looked at */
    const uint64_t *src, *dst;
    const uint16_t *src_port, *dst_port;
    const uint8_t *protocol;
    const int64_t *payload, *payload_bytes, *packet_ns;
};

static uint32_t big16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }

static uint32_t big32(const uint8_t *at) { return big16(at) << 16 | big16(at + 2); }

static void lay(uint8_t *into, uint64_t word, int bytes) {
    while (bytes--) {
        into[bytes] = (uint8_t)word;
        word >>= 8;
    }
}

/* A name within a payload. */
struct span {
    int64_t at, bytes;
};

/* ---- TLS: names/tls.py and names/hello.py (RFC 8446, sections 5.1 and 4.1.2; RFC 6066, section 3) ------------------ */

/* The first host_name in the list of an extension; ANOTHERS where there is none or something is odd. */
static int host_name(const uint8_t *hello, int64_t at, int64_t end, struct span *name) {
    at += 2;
    if (at + 3 > end || hello[at] != HOST_NAME)
        return ANOTHERS;
    name->at = at + 3;
    name->bytes = big16(hello + at + 1);
    return name->bytes && name->at + name->bytes <= end ? FOUND : ANOTHERS;
}

/* Walk the extensions, all of which must be whole: the first server name, and none that is encrypted. */
static int extensions(const uint8_t *hello, int64_t at, int64_t end, struct span *name) {
    int found = ANOTHERS;

    while (at < end) {
        int64_t kind, next;
        if (at + 4 > end)
            return ANOTHERS;
        kind = big16(hello + at);
        next = at + 4 + big16(hello + at + 2);
        if (next > end || kind == ENCRYPTED)
            return ANOTHERS;
        if (kind == SERVER_NAME) {
            if (found == FOUND || host_name(hello, at + 4, next, name) != FOUND)
                return ANOTHERS;
            found = FOUND;
        }
        at = next;
    }
    return found;
}

static int read_tls(const uint8_t *payload, int64_t size, struct span *name) {
    const uint8_t *hello = payload + RECORD_BYTES;
    int64_t whole, at = HELLO_BYTES + RANDOM_BYTES, end;
    int found;

    if (size <= RECORD_BYTES)
        return ANOTHERS;
    if ((payload[2] & 0xF0) || hello[0] != 1)
        return NOTHING; /* as tls.wanted */
    if (size < RECORD_BYTES + at + 1 || big16(payload + 3) > size - RECORD_BYTES || hello[1])
        return ANOTHERS;
    whole = HELLO_BYTES + big16(hello + 2);
    if (whole > (int64_t)big16(payload + 3) || whole <= at)
        return ANOTHERS;
    at += 1 + hello[at]; /* session */
    if (at + 2 > whole)
        return ANOTHERS;
    at += 2 + big16(hello + at); /* ciphers */
    if (at + 1 > whole)
        return ANOTHERS;
    at += 1 + hello[at]; /* compression */
    if (at + 2 > whole)
        return ANOTHERS;
    end = at + 2 + big16(hello + at);
    if (end > whole)
        return ANOTHERS;
    found = extensions(hello, at + 2, end, name);
    name->at += RECORD_BYTES;
    return found;
}

/* ---- HTTP: names/http.py (RFC 9112, sections 3 and 5) --------------------------------------------------------------- */

/* The bytes of one of the usual methods, its blank and the slash behind it; 0 for any other. */
static int64_t method(const uint8_t *payload, int64_t size) {
    static const char *const methods[] = {"GET /", "POST /", "PUT /", "HEAD /"};
    int64_t one;

    for (one = 0; one < 4; one++) {
        int64_t bytes = (int64_t)strlen(methods[one]);
        if (size >= bytes && !memcmp(payload, methods[one], (size_t)bytes))
            return bytes;
    }
    return 0;
}

/* Whether the line from `at` to the line feed at `end` is a target and a version, with one blank between them. */
static int request_line(const uint8_t *payload, int64_t at, int64_t end) {
    int64_t version = end - 10; /* " HTTP/1.x\r" */

    if (version < at || memcmp(payload + version, " HTTP/1.", 8) || payload[end - 1] != '\r')
        return 0;
    if (payload[end - 2] < '0' || payload[end - 2] > '9')
        return 0;
    for (; at < version; at++)
        if (payload[at] <= ' ')
            return 0;
    return 1;
}

static int is_host(const uint8_t *field) {
    static const char host[] = "host:";
    int64_t at;

    for (at = 0; at < 5; at++)
        if ((field[at] | (host[at] >= 'a' ? 0x20 : 0)) != (uint8_t)host[at])
            return 0;
    return 1;
}

static int is_blank(uint8_t byte) { return byte == ' ' || byte == '\t' || byte == '\r'; }

static int read_http(const uint8_t *payload, int64_t size, struct span *name) {
    int64_t at = method(payload, size);
    const uint8_t *feed;
    int found = ANOTHERS;

    if (!at || size >= MOST_HEADER_BYTES || !(feed = memchr(payload, '\n', (size_t)size)) ||
        !request_line(payload, at, feed - payload))
        return ANOTHERS;
    for (;;) { /* `feed` ends a line */
        at = feed - payload + 1;
        if ((size - at >= 1 && payload[at] == '\n') || (size - at >= 2 && payload[at] == '\r' && payload[at + 1] == '\n'))
            return found;
        if (!(feed = memchr(payload + at, '\n', (size_t)(size - at))))
            return ANOTHERS;
        if (feed - payload - at >= 5 && is_host(payload + at)) {
            int64_t end = feed - payload;
            if (found == FOUND)
                return ANOTHERS;
            for (at += 5; at < end && is_blank(payload[at]); at++)
                ;
            for (; end > at && is_blank(payload[end - 1]); end--)
                ;
            name->at = at;
            name->bytes = end - at;
            found = FOUND;
        }
    }
}

/* ---- DNS: names/dns.py (RFC 1035, section 4) ------------------------------------------------------------------------ */

/* 1 for what is the same in the text of a name as on the wire, but for its case. */
static int is_plain(uint8_t byte) {
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           byte == '-' || byte == '_';
}

/* Where the name at `at` ends, 0 where it is not plain; pointers only lead back before what was read of it. */
static int64_t name_end(const uint8_t *message, int64_t size, int64_t at) {
    int64_t start = at, end = 0, bytes = 0, jumps = 0, one;

    for (;;) {
        int64_t length;
        if (at >= size)
            return 0;
        length = message[at];
        if (!length)
            return bytes ? (end ? end : at + 1) : 0;
        if (length >= 0xC0) {
            if (at + 2 > size || ++jumps > MOST_JUMPS)
                return 0;
            end = end ? end : at + 2;
            at = big16(message + at) & 0x3FFF;
            if (at >= start || at < DNS_HEADER_BYTES)
                return 0;
            start = at;
            continue;
        }
        bytes += 1 + length;
        if (length > MOST_LABEL_BYTES || bytes > MOST_NAME_BYTES || at + 1 + length > size)
            return 0;
        for (one = at + 1; one <= at + length; one++)
            if (!is_plain(message[one]))
                return 0;
        at += 1 + length;
    }
}

/* The names that the one asked for leads to, by where they stand. */
struct chain {
    int64_t count, at[MOST_CHAIN];
};

static int within(const struct chain *chain, int64_t at) {
    int64_t one;

    for (one = 0; one < chain->count; one++)
        if (chain->at[one] == at)
            return 1;
    return 0;
}

/* Keep an address, without the one that asked for it; false where there is no room. */
static int keep(struct sift *s, const uint8_t *bytes, int64_t length, uint32_t ttl_s) {
    uint8_t *address = s->address + 2 * ADDRESS_BYTES * s->address_count + ADDRESS_BYTES;

    if (s->address_count >= s->address_room)
        return 0;
    memset(address, 0, 10);
    memset(address + 10, 0xFF, 2);
    memcpy(address + ADDRESS_BYTES - length, bytes, (size_t)length);
    s->ttl_s[s->address_count++] = ttl_s >> 31 ? 0 : ttl_s; /* RFC 2181, section 8 */
    return 1;
}

/* Read the record at `at`, whose owner is a pointer into the chain; return where it ends, 0 where it is odd. */
static int64_t read_record(struct sift *s, const uint8_t *message, int64_t size, int64_t at, struct chain *chain) {
    int64_t kind, length, end;

    if (at + 2 + RECORD_HEAD_BYTES > size || message[at] < 0xC0 || !within(chain, big16(message + at) & 0x3FFF))
        return 0;
    at += 2;
    kind = big16(message + at);
    length = big16(message + at + 8);
    end = at + RECORD_HEAD_BYTES + length;
    if (end > size || big16(message + at + 2) != IN || kind == SVCB || kind == HTTPS)
        return 0;
    if (kind == A || kind == AAAA) {
        if (length != (kind == A ? 4 : ADDRESS_BYTES) || !keep(s, message + end - length, length, big32(message + at + 4)))
            return 0;
    } else if (kind == CNAME) {
        if (chain->count == MOST_CHAIN || name_end(message, size, end - length) != end)
            return 0;
        chain->at[chain->count++] = end - length;
    }
    return end;
}

static int read_dns(struct sift *s, const uint8_t *message, int64_t size, struct span *name) {
    struct chain chain = {1, {DNS_HEADER_BYTES}};
    int64_t at, records, before = s->address_count;

    if (size < DNS_HEADER_BYTES || (message[2] & 0xF8) != 0x80 || big16(message + 4) != 1 || !big16(message + 6))
        return NOTHING; /* as dns.wanted */
    records = big16(message + 6);
    at = name_end(message, size, DNS_HEADER_BYTES);
    if (!at || records > MOST_RECORDS)
        return ANOTHERS;
    name->at = DNS_HEADER_BYTES;
    name->bytes = at - 1 - DNS_HEADER_BYTES;
    for (at += 4; records; records--)
        if (!(at = read_record(s, message, size, at, &chain))) {
            s->address_count = before;
            return ANOTHERS;
        }
    return s->address_count > before ? FOUND : NOTHING;
}

/* ---- texts ---------------------------------------------------------------------------------------------------------- */

static uint32_t hashed(const struct sift *s, uint8_t reader, const uint8_t *bytes, int64_t size) {
    uint64_t hash = s->seed ^ (uint64_t)size << 8 ^ reader, word;

    for (; size > 0; size -= 8, bytes += 8) {
        word = 0;
        memcpy(&word, bytes, size < 8 ? (size_t)size : 8);
        hash = (hash ^ word) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
    }
    hash *= 0xD6E8FEB86659FD93u;
    return (uint32_t)(hash ^ hash >> 29);
}

static int is_text(const struct sift *s, int32_t one, uint32_t hash, uint8_t reader, const uint8_t *bytes, int64_t size) {
    const struct text *text = s->texts + one;
    int64_t start = one ? text[-1].end : 0;

    return text->hash == hash && text->reader == reader && text->end - start == size &&
           !memcmp(s->bytes + start, bytes, (size_t)size);
}

/* The number of a text, which is kept; NO_TEXT where there is no room for it. */
static int32_t number_of(struct sift *s, uint8_t reader, const uint8_t *bytes, int64_t size) {
    uint64_t mask = 2 * (uint64_t)s->most_texts - 1;
    uint32_t hash = hashed(s, reader, bytes, size);
    uint64_t place = hash & mask;

    for (; s->index[place]; place = (place + 1) & mask)
        if (is_text(s, s->index[place] - 1, hash, reader, bytes, size))
            return s->index[place] - 1;
    if (s->text_count >= s->most_texts || size > s->text_room - s->text_bytes)
        return NO_TEXT;
    memcpy(s->bytes + s->text_bytes, bytes, (size_t)size);
    s->text_bytes += size;
    s->texts[s->text_count] = (struct text){s->text_bytes, hash, reader, {0}};
    return s->index[place] = (int32_t)++s->text_count, (int32_t)s->text_count - 1;
}

/* ---- packets -------------------------------------------------------------------------------------------------------- */

/* As quic.wanted. */
static int is_initial(const struct sift *s, const uint8_t *payload, int64_t size) {
    int64_t one;

    if (size < s->initial_bytes || size < 5)
        return 0;
    for (one = 0; one < s->initial_count; one++)
        if (s->initials[one] == ((uint64_t)(payload[0] & 0xF0) << 32 | big32(payload + 1)))
            return 1;
    return 0;
}

static int read_packet(struct sift *s, int64_t wanting, const uint8_t *payload, int64_t size, struct span *name) {
    if (wanting == s->tls)
        return read_tls(payload, size, name);
    if (wanting == s->http)
        return read_http(payload, size, name);
    if (wanting == s->dns)
        return read_dns(s, payload, size, name);
    if (wanting == s->quic)
        return is_initial(s, payload, size) ? ANOTHERS : NOTHING;
    return ANOTHERS;
}

/* Note what was found in a packet; false where there is no room. */
static int note(struct sift *s, int64_t row, uint8_t reader, const uint8_t *payload, const struct span *name,
                int64_t before) {
    uint8_t *key = s->connection + KEY_BYTES * s->count;
    int32_t text = s->count < s->room ? number_of(s, reader, payload + name->at, name->bytes) : NO_TEXT;

    if (text == NO_TEXT)
        return 0;
    lay(key, s->src[2 * row], 8);
    lay(key + 8, s->src[2 * row + 1], 8);
    lay(key + 16, s->dst[2 * row], 8);
    lay(key + 24, s->dst[2 * row + 1], 8);
    lay(key + 32, (uint64_t)s->src_port[row] << 16 | s->dst_port[row], 4);
    key[36] = s->protocol[row];
    for (; before < s->address_count; before++)
        memcpy(s->address + 2 * ADDRESS_BYTES * before, key + ADDRESS_BYTES, ADDRESS_BYTES);
    s->addresses[s->count] = s->address_count;
    s->row[s->count] = s->first_row + row;
    s->time_ns[s->count] = s->packet_ns[row];
    s->reader[s->count] = reader;
    s->text[s->count++] = text;
    return 1;
}

/* Read one packet that `wanting` may want. */
static void sift_packet(struct sift *s, int64_t row, uint8_t wanting) {
    const uint8_t *payload = s->data + s->payload[row];
    int64_t before = s->address_count;
    struct span name = {0, 0};
    int answer = read_packet(s, wanting, payload, s->payload_bytes[row], &name);

    if (answer == FOUND) {
        if (note(s, row, wanting, payload, &name, before))
            return;
        s->address_count = before;
    }
    if (answer != NOTHING) {
        s->left[s->left_count] = row;
        s->wanting[s->left_count++] = wanting;
    }
}

/* Put the numbers of the packets that are looked at into `left`; return how many there are. */
static int64_t looked_at(struct sift *s) {
    int64_t packet, count = 0;

    for (packet = 0; packet < s->packets; packet++)
        if (!s->mark || s->mark[packet] & MARK)
            s->left[count++] = packet;
    return count;
}

/* Go through all packets; how many were read, and how many are left, is in the structure. */
void ew_names(struct sift *s) {
    int64_t one, count = looked_at(s);

    s->left_count = 0; /* what is left lies before what is not looked at yet */
    for (one = 0; one < count; one++) {
        int64_t row = s->left[one], at = s->payload[row], size = s->payload_bytes[row];
        uint8_t wanting = s->protocols[s->protocol[row]], port = s->ports[s->src_port[row]];
        uint16_t two;

        if (one + AHEAD < count)
            __builtin_prefetch(s->data + s->payload[s->left[one + AHEAD]]);
        if (!wanting || size < 2 || at < 0 || at > s->size - size || !(wanting & (s->first[s->data[at]] | port)))
            continue;
        memcpy(&two, s->data + at, 2);
        if ((wanting &= s->beginning[two] | port))
            sift_packet(s, row, wanting);
    }
}
