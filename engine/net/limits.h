// limits.h - every cap and every deadline of the net floor, each with its reason. Nothing that a
// client sends can make the server hold more, or wait longer, than what stands here.
//
// "Open" are clients that have not shown the key. A client is an address (IPv6: one /64). The worst
// case in memory: CONNECTIONS * (TLS + head + ANSWER_ALWAYS) = 1280 * 70 KB = 90 MB, plus the four
// budgets, 96 MB: it fits a 512 MB machine. An idle connection has no head and no buffers: 1280 of
// them are 7 MB.
#pragma once

enum {
    // -- connections --
    // an office with clients that keep theirs open, not a data centre; bounds the worst case
    LIMIT_CONNECTIONS = 1280,
    // one client cannot take every place; NAT and busy tests fit
    LIMIT_PER_CLIENT = 320,
    LIMIT_LISTENERS = 16, // entries of `listen` and `listen-http` together
    // a flood of connects gives way to running streams after this many
    LIMIT_ACCEPTS_PER_TURN = 16,
    // bytes a connection may bring in before the others have their turn
    LIMIT_READ_PER_TURN = 65536,
    LIMIT_OPEN_READ_PER_TURN = 4096, // the same for an open one
    // what a call that reads takes beside its bytes, in bytes: TLS wants the 5 of a record's head
    // first, so that a flood of records without content is one of calls
    LIMIT_READ_COST = 64,
    LIMIT_WRITE_PER_TURN = 65536, // bytes a connection may send before the others have their turn
    LIMIT_UNSENT = 65536, // TCP_NOTSENT_LOWAT: what the kernel holds unsent for a slow reader

    // -- TLS (bytes a connection) --
    // the largest record a client may send, 16384 + 325 (BearSSL's BR_SSL_BUFSIZE_INPUT)
    LIMIT_TLS_IN = 16709,
    // records of at most 8192 bytes leave: tokens are small, and idle connections half as big
    LIMIT_TLS_OUT = 8277,
    LIMIT_SESSIONS = 256, // kept for resumption; 100 bytes each
    // resumption ends with this: RFC 5246 says 24 hours at most
    LIMIT_SESSIONS_MS = 12 * 3600 * 1000,

    // -- a request --
    // request line and fields; browsers send 1-2 KB, the key is under 100 bytes
    LIMIT_HEAD = 16384,
    LIMIT_TARGET = 4096,   // request target; our longest route is under 100 bytes
    LIMIT_METHOD = 16,     // longest registered method of use here: OPTIONS
    LIMIT_FIELDS = 64,     // header fields; browsers send about 20
    LIMIT_BLANK_LINES = 4, // in front of a request line: RFC 9112 section 2.2 asks for one
    // chunk extensions or trailer fields in one piece: read, checked, dropped
    LIMIT_FRAMING = 4096,
    LIMIT_REPLY_FIELDS = 2048, // header fields that the handler adds to an answer

    // -- answers --
    // unsent bytes of a stream: about 5000 tokens ahead of the reader, then it is cancelled
    LIMIT_STREAM_OUT = 1 << 20,
    LIMIT_REPLY_OUT = 16 << 20, // one whole answer
    // unsent bytes that a connection may always have: a stream that is read, an error, /health
    LIMIT_ANSWER_ALWAYS = 16384,

    // -- budgets (bytes): of all clients together, and of one --
    LIMIT_BODIES = 48 << 20, // three bodies of 8 MB at once from one client
    LIMIT_BODIES_CLIENT = 24 << 20,
    LIMIT_OPEN_BODIES = 2 << 20,
    LIMIT_OPEN_BODIES_CLIENT = 1 << 20,
    LIMIT_ANSWERS = 40 << 20,
    LIMIT_ANSWERS_CLIENT = 24 << 20, // one whole answer and eight slow streams
    LIMIT_OPEN_ANSWERS = 6 << 20,    // pages and notices that wait to be read
    LIMIT_OPEN_ANSWERS_CLIENT = 2 << 20,

    // -- work for open clients (units of about 50 us) --
    // a second's worth for one client, a tenth of a core's time: beyond, it waits. What a
    // connection took is given back when it shows the key at once
    LIMIT_OPEN_WORK = 2000,
    // ... and for all of them, but for clients of which one has shown the key lately: as many
    // handshakes as there are places take 8 s then, in which no deadline runs
    LIMIT_OPEN_WORK_ALL = 5000,
    LIMIT_KEY_SEEN_MS = 600000, // "lately"
    LIMIT_WORK_ACCEPT = 1,
    LIMIT_WORK_HANDSHAKE = 33, // a signature and two multiplications on curves, beside other work
    LIMIT_WORK_REQUEST = 1,
    // bytes that are one unit: what comes may be records of one byte, or of none; what leaves is
    // sealed in large ones
    LIMIT_WORK_IN = 2048,
    LIMIT_WORK_OUT = 16384,
    LIMIT_WORK_DRAINED = 16, // so many bytes that are thrown away unseen are one that is read
    // ... and for all of them together between two looks at everybody else
    LIMIT_OPEN_WORK_PER_TURN = 40,
    LIMIT_OPEN_WORK_NAP_MS = 10, // until work put off is looked at again

    // -- deadlines (ms) --
    // first byte to finished TLS handshake: 2 round trips and 1 ms of arithmetic
    LIMIT_HANDSHAKE_MS = 10000,
    LIMIT_HEAD_MS = 10000, // first byte of a head to its last, however it trickles (slowloris)
    LIMIT_BODY_MS = 60000, // the whole body, unless it goes to a sink: 8 MB in 60 s is 1.1 Mbit/s
    LIMIT_BODY_WINDOW_MS = 10000, // ... and in each window of this length at least
    LIMIT_BODY_WINDOW = 1024,     // this many bytes (or the end) must come
    // between requests; clients drop theirs at 60 s or earlier, so theirs goes first
    LIMIT_IDLE_MS = 75000,
    // what Keep-Alive: tells, less than we keep it, so that no request meets a closing door
    LIMIT_IDLE_TOLD_S = 70,
    LIMIT_STALL_MS = 30000,      // output waits and not one byte leaves
    LIMIT_OPEN_FLUSH_MS = 30000, // an open client has taken the whole of an answer
    // it has taken nothing for so long: its answer may give way to another's
    LIMIT_OPEN_STALL_MS = 2000,
    // after the last answer: read on so that a reset does not eat what we sent
    LIMIT_LINGER_MS = 2000,
    LIMIT_LINGER = 256 << 10, // ... and this many bytes
    // the same behind a body that was refused: many clients send all of it before they read
    LIMIT_DRAIN_MS = 10000,
    LIMIT_DRAIN = 16 << 20,
    LIMIT_STOP_MS = 3000,         // from net_stop to giving up on answers that are under way
    LIMIT_STOP_LAST_MS = 1000,    // for their last words to be read
    LIMIT_STOP_ARRIVE_MS = 500,   // for a request that arrives meanwhile to be told
    LIMIT_ACCEPT_PAUSE_MS = 1000, // out of file descriptors: no accepting for this long

    // -- fetching: answers of others that this box asks --
    LIMIT_REDIRECTS = 5,
    LIMIT_LOOKUP_MS = 30000,  // a name; the C library asks each name server twice, 5 s each
    LIMIT_CONNECT_MS = 20000, // all addresses of a host together
    LIMIT_ATTEMPTS = 4,       // connections to one host begun at once
    LIMIT_ATTEMPT_MS = 300,   // before the next address is tried too (RFC 8305)
    LIMIT_FETCH_TLS_MS = 20000,
    LIMIT_FETCH_HEAD_MS = 60000,   // from the request to the answer's head
    LIMIT_FETCH_IDLE_MS = 30000,   // between two bytes of a body
    LIMIT_FETCH_WINDOW_MS = 60000, // in each window of this length at least ...
    LIMIT_FETCH_WINDOW = 65536,    // ... this many bytes: else a file of 20 GB takes months

    // -- certificates --
    LIMIT_ADDRESSES = 64,     // in one certificate
    LIMIT_DEBOUNCE_MS = 1500, // after the last address change; DHCP and IPv6 bring several at once
    LIMIT_LOOK_MS = 5000,     // at our name in the network, and whether the clock was set
    LIMIT_CLOCK_JUMP_S = 600, // by more than this, and the certificate is looked at
    LIMIT_CERT_CHECK_MS = 3600 * 1000, // is it near its end? a box runs for years
};
