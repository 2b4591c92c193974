// tls.c - fuzz target: a TLS connection to our server side (engine/net/tls.c, BearSSL under it),
// from the first byte on: raw bytes, or a whole client whose bytes are changed, held back, doubled
// or left out on their way.
//
// Input: steps of one byte and what it asks for (enum step). Nothing may crash, hang or read past
// its end, and whatever happens on the wire: what comes out as plain text is what the client said,
// from its beginning, without a gap. Randomness is replaced (WRAP_tls in the Makefile), so that an
// input means the same each time.
// Kept inputs: tls/.
#include "net/identity.h"
#include "net/tls.h"

#include <bearssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum step {
    TO_SERVER,     // 1 byte n: n of the client's bytes arrive
    TO_SERVER_ALL, // all that it has
    TO_CLIENT,     // all that the server has to send
    RAW,           // 1 byte n, n bytes: they arrive instead
    CHANGE,        // 1 byte: xor to the next byte of the client's
    LEAVE_OUT,     // 1 byte n: n of the client's bytes are lost
    TWICE,         // 1 byte n: n of the client's bytes arrive twice
    SAY,           // 1 byte n, n bytes: the client says them
    ANSWER,        // 1 byte n: the server says n bytes and flushes
    FINISH,        // the server ends
    CLIENT_CLOSE,  // the client ends
    AGAIN_RESUMED, // a new connection that resumes the session
    FORGET,        // the server forgets its sessions
    STEPS,
};

enum { ROOM = 1 << 16, ROUNDS = 2000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
void __wrap_random_bytes(void *out, size_t n);

static struct cert ca, certificate;
static struct tls_server *server;
static struct tls *tls;
static br_ssl_client_context client;
static br_x509_knownkey_context known;
static br_ec_public_key key;
static uint8_t client_buffer[BR_SSL_BUFSIZE_BIDI];
static uint8_t said[ROOM], wire[ROOM];
static size_t n_said, n_heard, n_wire;

void __wrap_random_bytes(void *out, size_t n)
{
    static uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        ((uint8_t *)out)[i] = (uint8_t)(state >> 24);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const files[] = {"tls/ca.crt",     "tls/ca.key", "tls/server.crt",
                                        "tls/server.key", "tls",        ""};
    static struct cert_view view;
    char state[] = "/tmp/fuzz_tls.XXXXXX", file[200];
    struct address local = {.p = {127, 0, 0, 1}, .n = 4, .loopback = true};
    struct cert_request request = {"tawny", &local, 1};
    struct err err = {0};
    const char *why;
    (void)argc;
    (void)argv;
    log_level_set(LOG_ERROR);
    if (!mkdtemp(state) || identity_ca(&ca, state, &err) != OK ||
        identity_server(&certificate, &ca, state, &request, &why, &err) != OK ||
        cert_read((struct bytes){certificate.der, certificate.n}, &view) != OK)
        abort();
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        snprintf(file, sizeof(file), "%s/%s", state, files[i]);
        (void)remove(file);
    }
    key = (br_ec_public_key){BR_EC_secp256r1, (uint8_t *)(uintptr_t)view.point.p, view.point.n};
    tls_server_open(&server);
    tls_server_identity(server, &certificate, &ca);
    return 0;
}

static void client_open(bool resume)
{
    br_ssl_session_parameters session;
    br_x509_minimal_context unused;
    uint8_t seed[32];
    br_ssl_engine_get_session_parameters(&client.eng, &session);
    br_ssl_client_init_full(&client, &unused, NULL, 0);
    br_x509_knownkey_init_ec(&known, &key, BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN);
    br_ssl_engine_set_x509(&client.eng, &known.vtable);
    br_ssl_engine_set_buffer(&client.eng, client_buffer, sizeof(client_buffer), 1);
    __wrap_random_bytes(seed, sizeof(seed));
    br_ssl_engine_inject_entropy(&client.eng, seed, sizeof(seed));
    if (resume)
        br_ssl_engine_set_session_parameters(&client.eng, &session);
    if (!br_ssl_client_reset(&client, "tawny", resume))
        abort();
    n_said = n_heard = n_wire = 0;
}

// What the client wants to send, kept on the wire until a step lets it through.
static void from_client(void)
{
    size_t n;
    uint8_t *p;
    while (n_wire < ROOM && (p = br_ssl_engine_sendrec_buf(&client.eng, &n))) {
        n = n < ROOM - n_wire ? n : ROOM - n_wire;
        memcpy(wire + n_wire, p, n);
        n_wire += n;
        br_ssl_engine_sendrec_ack(&client.eng, n);
    }
}

static void hear(void)
{
    struct bytes view;
    while ((view = tls_plain_view(tls)).n > 0) {
        if (!tls_ready(tls) || view.n > n_said - n_heard ||
            memcmp(view.p, said + n_heard, view.n) != 0)
            abort(); // somebody on the wire spoke for the client
        n_heard += view.n;
        tls_plain_drop(tls, view.n);
    }
}

static void to_client(void)
{
    struct bytes view;
    for (int i = 0; (view = tls_wire_view(tls)).n > 0; i++) {
        size_t n;
        uint8_t *p = br_ssl_engine_recvrec_buf(&client.eng, &n);
        n = !p || n > view.n ? view.n : n; // a client that has closed lets it fall
        if (p)
            memcpy(p, view.p, n);
        tls_wire_drop(tls, n);
        if (p)
            br_ssl_engine_recvrec_ack(&client.eng, n);
        p = br_ssl_engine_recvapp_buf(&client.eng, &n);
        if (p)
            br_ssl_engine_recvapp_ack(&client.eng, n);
        if (i > ROUNDS)
            abort();
    }
}

// False: the server's door is shut, and stays so until it has been heard and answered.
static bool put(const uint8_t *p, size_t n)
{
    for (int i = 0; n > 0; i++) {
        tls_rest(tls);
        struct space room = tls_wire_room(tls);
        if (room.n == 0) {
            hear();
            to_client();
            room = tls_wire_room(tls);
        }
        if (room.n == 0)
            return false;
        size_t part = n < room.n ? n : room.n;
        memcpy(room.p, p, part);
        tls_wire_put(tls, part);
        p += part;
        n -= part;
        if (i > ROUNDS)
            abort();
    }
    hear();
    return true;
}

static void drop_wire(size_t n)
{
    n_wire -= n;
    memmove(wire, wire + n, n_wire);
}

static void say(struct bytes text)
{
    size_t n;
    uint8_t *p = br_ssl_engine_sendapp_buf(&client.eng, &n);
    n = n < text.n ? n : text.n;
    n = n < ROOM - n_said ? n : ROOM - n_said;
    if (!p || n == 0)
        return;
    memcpy(p, text.p, n);
    memcpy(said + n_said, text.p, n);
    n_said += n;
    br_ssl_engine_sendapp_ack(&client.eng, n);
    br_ssl_engine_flush(&client.eng, 0);
}

static void answer(size_t n)
{
    struct space room = tls_plain_room(tls);
    n = n < room.n ? n : room.n;
    if (n == 0)
        return;
    memset(room.p, 'a', n);
    tls_plain_put(tls, n);
    tls_flush(tls);
}

static void check_stopped(void)
{
    enum status status;
    int number;
    const char *why = NULL;
    if (tls_stopped(tls, &status, &number, &why) &&
        ((status != OK && status != BAD_INPUT) || !why || !why[0] ||
         (number == 0) != (status == OK)))
        abort();
}

// One step with the operand `n` (the byte behind it) and, for those that want them, `more`.
static void take_step(enum step step, size_t n, struct bytes more)
{
    size_t n_have = n < n_wire ? n : n_wire;
    switch (step) {
    case TO_SERVER:
        put(wire, n_have);
        drop_wire(n_have);
        break;
    case TO_SERVER_ALL:
        put(wire, n_wire);
        drop_wire(n_wire);
        break;
    case TO_CLIENT:
        to_client();
        break;
    case RAW:
        put(more.p, more.n);
        break;
    case CHANGE:
        if (n_wire > 0)
            wire[0] ^= (uint8_t)n;
        put(wire, n_wire > 0);
        drop_wire(n_wire > 0);
        break;
    case LEAVE_OUT:
        drop_wire(n_have);
        break;
    case TWICE:
        put(wire, n_have);
        break;
    case SAY:
        say(more);
        break;
    case ANSWER:
        answer(n);
        break;
    case FINISH:
        tls_finish(tls);
        break;
    case CLIENT_CLOSE:
        br_ssl_engine_close(&client.eng);
        break;
    case AGAIN_RESUMED:
        tls_close(tls);
        tls = tls_open(server);
        client_open(true);
        break;
    default:
        tls_server_forget(server);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const bool operand[STEPS] = {
        [TO_SERVER] = true, [RAW] = true, [CHANGE] = true, [LEAVE_OUT] = true,
        [TWICE] = true,     [SAY] = true, [ANSWER] = true};
    tls_server_forget(server);
    tls = tls_open(server);
    memset(&client, 0, sizeof(client));
    client_open(false);
    for (size_t at = 0; at < size;) {
        enum step step = data[at++] % STEPS;
        struct bytes more = {data + at, 0};
        size_t n = 0;
        if (operand[step] && at < size)
            n = data[at++];
        if (step == RAW || step == SAY) {
            more = (struct bytes){data + at, n < size - at ? n : size - at};
            at += more.n;
        }
        from_client();
        take_step(step, n, more);
        check_stopped();
    }
    hear();
    to_client();
    check_stopped();
    tls_close(tls);
    return 0;
}
