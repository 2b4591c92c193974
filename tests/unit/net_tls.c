// net_tls.c - the TLS machine (engine/net/tls.c) against BearSSL's client, byte for byte in memory:
// suites, versions, resumption, renegotiation, closing, a changed certificate, and mangled bytes.
//
// `wire_step` is how many bytes cross from one machine to the other at once: 1 takes every split
// there is.
#include "../../engine/net/identity.h"
#include "../../engine/net/tls.h"
#include "check.h"
#include "net_state.h"

#include <bearssl.h>
#include <stdlib.h>

struct client {
    br_ssl_client_context ssl;
    br_x509_minimal_context x509;
    uint8_t buffer[BR_SSL_BUFSIZE_BIDI];
};

struct ca_name {
    uint8_t p[256];
    size_t n;
};

static struct cert ca, certs[2];
static struct ca_name ca_name;
static br_x509_trust_anchor anchor;
static struct tls_server *server;
static struct client *client;

static void keep_name(void *arg, const void *p, size_t n)
{
    struct ca_name *name = arg;
    if (n <= sizeof(name->p) - name->n) {
        memcpy(name->p + name->n, p, n);
        name->n += n;
    }
}

static void make_certificates(void)
{
    char state[] = "/tmp/net_tls.XXXXXX";
    struct address local = {.p = {127, 0, 0, 1}, .n = 4, .loopback = true};
    struct err err = {0};
    const char *why;
    static br_x509_decoder_context decoder;
    if (!mkdtemp(state) || identity_ca(&ca, state, &err) != OK) {
        fprintf(stderr, "no CA: %s\n", err.text);
        exit(1);
    }
    for (int i = 0; i < 2; i++) {
        struct cert_request request = {i == 0 ? "first" : "second", &local, 1};
        CHECK(identity_server(&certs[i], &ca, state, &request, &why, &err) == OK);
    }
    remove_state(state);
    br_x509_decoder_init(&decoder, keep_name, &ca_name);
    br_x509_decoder_push(&decoder, ca.der, ca.n);
    anchor = (br_x509_trust_anchor){
        {ca_name.p, ca_name.n}, BR_X509_TA_CA, *br_x509_decoder_get_pkey(&decoder)};
}

struct offer { // what the client offers; zeros: everything
    unsigned version;
    uint16_t suite;
    bool resume;
};

static void client_offer(const char *host, struct offer offer)
{
    br_ssl_session_parameters session;
    br_ssl_engine_get_session_parameters(&client->ssl.eng, &session);
    br_ssl_client_init_full(&client->ssl, &client->x509, &anchor, 1);
    if (offer.version != 0)
        br_ssl_engine_set_versions(&client->ssl.eng, offer.version, offer.version);
    if (offer.suite != 0)
        br_ssl_engine_set_suites(&client->ssl.eng, &offer.suite, 1);
    br_ssl_engine_set_buffer(&client->ssl.eng, client->buffer, sizeof(client->buffer), 1);
    if (offer.resume)
        br_ssl_engine_set_session_parameters(&client->ssl.eng, &session);
    CHECK(br_ssl_client_reset(&client->ssl, host, offer.resume) == 1);
}

static void client_open(const char *host, bool resume)
{
    client_offer(host, (struct offer){.resume = resume});
}

// Carries bytes both ways until neither side has any; the server rests whenever it can, between any
// two pieces. Returns how many.
static size_t carry(struct tls *tls, size_t wire_step)
{
    size_t n_all = 0, n_before;
    do {
        n_before = n_all;
        size_t n;
        tls_rest(tls);
        uint8_t *p = br_ssl_engine_sendrec_buf(&client->ssl.eng, &n);
        struct space room = tls_wire_room(tls);
        if (p && room.n > 0) {
            n = n < room.n ? n : room.n;
            n = n < wire_step ? n : wire_step;
            memcpy(room.p, p, n);
            br_ssl_engine_sendrec_ack(&client->ssl.eng, n);
            tls_wire_put(tls, n);
            n_all += n;
        }
        struct bytes view = tls_wire_view(tls);
        p = br_ssl_engine_recvrec_buf(&client->ssl.eng, &n);
        if (p && view.n > 0) {
            n = n < view.n ? n : view.n;
            n = n < wire_step ? n : wire_step;
            memcpy(p, view.p, n);
            tls_wire_drop(tls, n);
            br_ssl_engine_recvrec_ack(&client->ssl.eng, n);
            n_all += n;
        }
    } while (n_all > n_before);
    return n_all;
}

static int server_error(struct tls *tls)
{
    enum status status;
    int number;
    const char *why;
    return tls_stopped(tls, &status, &number, &why) ? number : -1;
}

// The client says `n` bytes, the server says them back.
static void echo(struct tls *tls, size_t n, size_t wire_step)
{
    uint8_t *said = malloc(n), *heard = malloc(n);
    for (size_t i = 0; i < n; i++)
        said[i] = (uint8_t)(i * 7 + i / 251);
    size_t n_said = 0, n_heard = 0, n_back = 0, idle = 0;
    while (n_back < n && idle < 3) {
        size_t room, before = n_said + n_heard + n_back;
        uint8_t *p = br_ssl_engine_sendapp_buf(&client->ssl.eng, &room);
        if (p && n_said < n) {
            room = room < n - n_said ? room : n - n_said;
            memcpy(p, said + n_said, room);
            br_ssl_engine_sendapp_ack(&client->ssl.eng, room);
            br_ssl_engine_flush(&client->ssl.eng, 0);
            n_said += room;
        }
        carry(tls, wire_step);
        struct bytes view = tls_plain_view(tls);
        struct space out = tls_plain_room(tls);
        size_t k = view.n < out.n ? view.n : out.n;
        if (k > 0) {
            memcpy(out.p, view.p, k);
            tls_plain_put(tls, k);
            tls_plain_drop(tls, k);
            tls_flush(tls);
            n_heard += k;
        }
        carry(tls, wire_step);
        p = br_ssl_engine_recvapp_buf(&client->ssl.eng, &room);
        if (p && CHECK(room <= n - n_back)) {
            memcpy(heard + n_back, p, room);
            br_ssl_engine_recvapp_ack(&client->ssl.eng, room);
            n_back += room;
        }
        idle = n_said + n_heard + n_back == before ? idle + 1 : 0;
    }
    if (!CHECK(n_back == n && memcmp(said, heard, n) == 0)) {
        fprintf(stderr,
                "    %zu bytes, steps of %zu: said %zu, heard %zu, back %zu; errors %d, %d\n", n,
                wire_step, n_said, n_heard, n_back, server_error(tls),
                br_ssl_engine_last_error(&client->ssl.eng));
    }
    free(said);
    free(heard);
}

static void test_suites(void)
{
    static const uint16_t good[] = {BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                                    BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                                    BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256};
    static const uint16_t bad[] = {
        BR_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,    BR_TLS_ECDHE_ECDSA_WITH_AES_128_CCM,
        BR_TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384, BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        BR_TLS_RSA_WITH_AES_128_GCM_SHA256,         BR_TLS_ECDH_ECDSA_WITH_AES_128_GCM_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        client_offer("first.local", (struct offer){.suite = good[i]});
        struct tls *tls = tls_open(server);
        carry(tls, 100000);
        CHECK(tls_ready(tls) && !tls_resumed(tls) && server_error(tls) == -1);
        CHECK(br_ssl_engine_last_error(&client->ssl.eng) == 0);
        CHECK(br_ssl_engine_get_version(&client->ssl.eng) == BR_TLS12);
        echo(tls, 100001, 100000);
        tls_close(tls);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        client_offer("first.local", (struct offer){.suite = bad[i]});
        struct tls *tls = tls_open(server);
        carry(tls, 100000);
        CHECK(!tls_ready(tls) && server_error(tls) == BR_ERR_SEND_FATAL_ALERT + 40);
        CHECK(br_ssl_engine_last_error(&client->ssl.eng) == BR_ERR_RECV_FATAL_ALERT + 40);
        tls_close(tls);
    }
}

static void test_versions(void)
{
    static const unsigned old[] = {BR_TLS10, BR_TLS11};
    for (size_t i = 0; i < COUNT_OF(old); i++) {
        client_offer("first", (struct offer){.version = old[i]});
        struct tls *tls = tls_open(server);
        carry(tls, 100000);
        CHECK(!tls_ready(tls) && server_error(tls) == BR_ERR_SEND_FATAL_ALERT + 70);
        CHECK(br_ssl_engine_last_error(&client->ssl.eng) == BR_ERR_RECV_FATAL_ALERT + 70);
        tls_close(tls);
    }
}

static void test_steps(void)
{
    static const size_t steps[] = {1, 2, 3, 5, 7, 64, 1000};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        client_open("localhost", false);
        struct tls *tls = tls_open(server);
        carry(tls, steps[i]);
        CHECK(tls_ready(tls));
        echo(tls, 20000, steps[i]);
        tls_close(tls);
    }
}

// A browser does not wait for our Finished: its first data comes right behind its own (False Start,
// RFC 7918). BearSSL refuses data as long as ours is not sent, so until then nothing may come in.
static void test_false_start(void)
{
    int n_held_back = 0;
    client_open("first", false);
    struct tls *tls = tls_open(server);
    for (int flight = 0; flight < 4 && !tls_ready(tls); flight++) {
        for (;;) { // all that the client has, before anything is sent back
            size_t n;
            struct space room = tls_wire_room(tls);
            bool waits = tls_wire_view(tls).n > 0;
            if (waits && !tls_ready(tls)) {
                CHECK(room.n == 0);
                n_held_back++;
            }
            uint8_t *p = br_ssl_engine_sendrec_buf(&client->ssl.eng, &n);
            if (!p || room.n == 0)
                break;
            n = n < room.n ? n : room.n;
            memcpy(room.p, p, n);
            br_ssl_engine_sendrec_ack(&client->ssl.eng, n);
            tls_wire_put(tls, n);
        }
        struct bytes view;
        while ((view = tls_wire_view(tls)).n > 0) {
            size_t n;
            uint8_t *p = br_ssl_engine_recvrec_buf(&client->ssl.eng, &n);
            if (!CHECK(p))
                return;
            n = n < view.n ? n : view.n;
            memcpy(p, view.p, n);
            tls_wire_drop(tls, n);
            br_ssl_engine_recvrec_ack(&client->ssl.eng, n);
        }
    }
    CHECK(n_held_back == 2 && tls_ready(tls)); // behind ServerHelloDone, and behind Finished
    echo(tls, 1000, 1000);
    tls_close(tls);
}

static void test_resumption(void)
{
    client_open("first", false);
    struct tls *tls = tls_open(server);
    carry(tls, 100000);
    CHECK(tls_ready(tls) && !tls_resumed(tls));
    tls_close(tls);
    for (int i = 0; i < 3; i++) {
        client_open("first", true);
        tls = tls_open(server);
        carry(tls, 100000);
        CHECK(tls_ready(tls) && tls_resumed(tls));
        echo(tls, 1000, 1000);
        tls_close(tls);
    }
    tls_server_forget(server);
    client_open("first", true);
    tls = tls_open(server);
    carry(tls, 100000);
    CHECK(tls_ready(tls) && !tls_resumed(tls));
    tls_close(tls);
}

static void test_renegotiation(void)
{
    client_open("first", false);
    struct tls *tls = tls_open(server);
    carry(tls, 100000);
    CHECK(tls_ready(tls));
    br_ssl_engine_renegotiate(&client->ssl.eng);
    carry(tls, 100000);
    CHECK(server_error(tls) ==
          -1); // refused with the warning no_renegotiation; this client takes it as an end
    CHECK(br_ssl_engine_last_error(&client->ssl.eng) == BR_ERR_RECV_FATAL_ALERT + 100);
    tls_close(tls);
}

static void test_closing(void)
{
    client_open("first", false); // we close
    struct tls *tls = tls_open(server);
    carry(tls, 100000);
    struct space room = tls_plain_room(tls);
    memcpy(room.p, "last words", 10);
    tls_plain_put(tls, 10);
    tls_finish(tls);
    CHECK(tls_plain_room(tls).n == 0 && tls_plain_view(tls).n == 0);
    carry(tls, 100000);
    size_t n;
    uint8_t *p = br_ssl_engine_recvapp_buf(&client->ssl.eng, &n);
    CHECK(p && n == 10 && memcmp(p, "last words", 10) == 0);
    br_ssl_engine_recvapp_ack(&client->ssl.eng, n);
    carry(tls, 100000);
    CHECK(br_ssl_engine_current_state(&client->ssl.eng) == BR_SSL_CLOSED);
    CHECK(br_ssl_engine_last_error(&client->ssl.eng) == 0 && server_error(tls) == 0);
    tls_close(tls);
    client_open("first", false); // the client closes
    tls = tls_open(server);
    carry(tls, 100000);
    br_ssl_engine_close(&client->ssl.eng);
    carry(tls, 100000);
    CHECK(server_error(tls) == 0 && tls_wire_view(tls).n == 0);
    tls_close(tls);
}

static void test_new_identity(void)
{
    client_open("first", false);
    struct tls *before = tls_open(server);
    tls_server_identity(server, &certs[1], &ca); // in the middle: this one keeps what it began with
    carry(before, 100000);
    CHECK(tls_ready(before));
    echo(before, 1000, 1000);
    client_open("second", false);
    struct tls *after = tls_open(server);
    carry(after, 100000);
    CHECK(tls_ready(after));
    client_open("first", false);
    struct tls *wrong = tls_open(server);
    carry(wrong, 100000);
    CHECK(br_ssl_engine_last_error(&client->ssl.eng) == BR_ERR_X509_BAD_SERVER_NAME);
    tls_close(before);
    tls_close(after);
    tls_close(wrong);
    tls_server_identity(server, &certs[0], &ca);
}

// Gives the server these bytes and takes what it says; it must not say anything plain.
static int give(struct tls *tls, const uint8_t *p, size_t n, uint8_t said[8])
{
    memset(said, 0, 8);
    for (size_t at = 0; at < n;) {
        struct space room = tls_wire_room(tls);
        size_t k = room.n < n - at ? room.n : n - at;
        if (k == 0)
            break;
        memcpy(room.p, p + at, k);
        tls_wire_put(tls, k);
        at += k;
        CHECK(tls_plain_view(tls).n == 0);
        struct bytes view;
        while ((view = tls_wire_view(tls)).n > 0) {
            memcpy(said, view.p, view.n < 8 ? view.n : 8);
            tls_wire_drop(tls, view.n);
        }
    }
    return server_error(tls);
}

static void test_mangled(void)
{
    client_open("first", false);
    size_t n;
    uint8_t said[8], hello[1024], *p = br_ssl_engine_sendrec_buf(&client->ssl.eng, &n);
    if (!CHECK(p && n < sizeof(hello)))
        return;
    memcpy(hello, p, n);
    for (size_t i = 0; i < n; i++) {
        for (int bit = 0; bit < 8; bit += 3) {
            struct tls *tls = tls_open(server);
            hello[i] ^= (uint8_t)(1U << bit);
            int error = give(tls, hello, n, said);
            hello[i] ^= (uint8_t)(1U << bit);
            CHECK(error != 0);                   // it never ends as if all were well
            CHECK(error == -1 || said[0] == 21); // a refusal is said
            tls_close(tls);
        }
    }
    static const uint8_t bad[][9] = {{23, 3, 3, 0, 2, 1, 1}, {20, 3, 3, 0, 1, 1},
                                     {22, 9, 9, 0, 1, 1},    {22, 3, 3, 0xff, 0xff},
                                     {99, 3, 3, 0, 1, 1},    {22, 3, 3, 0, 4, 20}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct tls *tls = tls_open(server);
        int error = give(tls, bad[i], sizeof(bad[i]), said);
        if (!CHECK(error > 0 && said[0] == 21 && said[1] == 3 && said[2] == 3 && said[5] == 2))
            fprintf(stderr, "    record %zu: error %d, said %d\n", i, error, said[0]);
        tls_close(tls);
    }
}

int main(void)
{
    log_level_set(LOG_ERROR);
    client = calloc(1, sizeof(*client));
    make_certificates();
    tls_server_open(&server);
    tls_server_identity(server, &certs[0], &ca);
    test_suites();
    test_versions();
    test_steps();
    test_false_start();
    test_resumption();
    test_renegotiation();
    test_closing();
    test_new_identity();
    test_mangled();
    tls_server_close(server);
    free(client);
    return check_done("net_tls");
}
