// tls.c - BearSSL's server engine behind tls.h; the doors are the client's too (tls_client.c).
//
// All implementations are constant-time; BearSSL picks AES-NI, PCLMULQDQ and SSE2 by CPUID where
// they are, bitsliced 64-bit code where not. Entropy: 32 bytes from the kernel for each connection.
// The certificate and key that a connection began with are counted: they go when the last
// connection that began with them does.
//
// BearSSL sends alerts for faults of the handshake that have a number (no common suite, version too
// low ...) but closes silently on broken records. A client then cannot tell a refusal from a
// network fault, so one plain alert record is added here, as long as nothing has been encrypted
// yet. Its alert for a too low version says version 0.0, which clients take for noise: it is given
// the version of the client's record.
//
// A connection that waits for its client needs no buffers: nothing is in them (tls_rest). BearSSL
// keeps what it is at as offsets, and takes its two pointers anew in each call, so they are set to
// other ones here, in fields that its header calls its own; it has no call for that which would not
// begin the protocol anew.
#include "tls_inside.h"

#include <stdlib.h>
#include <string.h>

struct identity {
    struct cert cert, ca;
    br_x509_certificate chain[2];
    br_ec_private_key key;
    size_t n_users; // connections, and the server while it is the present one
};

struct tls_server {
    struct identity *identity;
    br_ec_impl curves; // X25519 and P-256 only: every client has one of them, and P-521 would cost
                       // 20 times as much
    br_ssl_session_cache_lru sessions;
    uint8_t session_store[LIMIT_SESSIONS * 100];
};

// Where BearSSL's pointers lead while a connection rests: offsets are added, nothing is touched.
static uint8_t no_buffer[2][64];

static void identity_drop(struct identity *identity)
{
    if (identity && --identity->n_users == 0) {
        explicit_bzero(identity->cert.key, sizeof(identity->cert.key));
        free(identity);
    }
}

void tls_server_forget(struct tls_server *server)
{
    explicit_bzero(server->session_store, sizeof(server->session_store));
    br_ssl_session_cache_lru_init(&server->sessions, server->session_store,
                                  sizeof(server->session_store));
}

void tls_server_open(struct tls_server **out)
{
    struct tls_server *server = mem_alloc(sizeof(*server));
    server->curves = *br_ec_get_default();
    server->curves.supported_curves &= 1U << BR_EC_curve25519 | 1U << BR_EC_secp256r1;
    tls_server_forget(server);
    *out = server;
}

void tls_server_close(struct tls_server *server)
{
    identity_drop(server->identity);
    explicit_bzero(server->session_store, sizeof(server->session_store));
    free(server);
}

void tls_server_identity(struct tls_server *server, const struct cert *cert, const struct cert *ca)
{
    struct identity *identity = mem_alloc(sizeof(*identity));
    identity->cert = *cert;
    identity->ca = *ca;
    explicit_bzero(identity->ca.key, sizeof(identity->ca.key)); // not needed here, so not kept here
    identity->chain[0] = (br_x509_certificate){identity->cert.der, identity->cert.n};
    identity->chain[1] = (br_x509_certificate){identity->ca.der, identity->ca.n};
    identity->key = (br_ec_private_key){BR_EC_secp256r1, identity->cert.key, CERT_KEY};
    identity->n_users = 1;
    identity_drop(server->identity);
    server->identity = identity;
}

// ---- one connection ----------------------------------------------------------------------------

static void choose_algorithms(br_ssl_server_context *ssl, const struct identity *identity,
                              const br_ec_impl *curves)
{
    static const uint16_t suites[] = {
        BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    };
    static const char *protocols[] = {"http/1.1"};
    br_ssl_engine_set_versions(&ssl->eng, BR_TLS12, BR_TLS12);
    br_ssl_engine_set_suites(&ssl->eng, suites, COUNT_OF(suites));
    br_ssl_engine_set_ec(&ssl->eng, curves);
    br_ssl_engine_set_default_aes_gcm(&ssl->eng);
    br_ssl_engine_set_default_chapol(&ssl->eng);
    br_ssl_engine_set_hash(&ssl->eng, br_sha256_ID, &br_sha256_vtable);
    br_ssl_engine_set_hash(&ssl->eng, br_sha384_ID, &br_sha384_vtable);
    br_ssl_engine_set_hash(&ssl->eng, br_sha512_ID, &br_sha512_vtable);
    br_ssl_engine_set_prf_sha256(&ssl->eng, &br_tls12_sha256_prf);
    br_ssl_engine_set_prf_sha384(&ssl->eng, &br_tls12_sha384_prf);
    br_ssl_engine_set_protocol_names(&ssl->eng, protocols, COUNT_OF(protocols));
    br_ssl_engine_add_flags(&ssl->eng, BR_OPT_NO_RENEGOTIATION);
    br_ssl_server_set_single_ec(ssl, identity->chain, COUNT_OF(identity->chain), &identity->key,
                                BR_KEYTYPE_SIGN, 0, curves, br_ecdsa_i31_sign_asn1);
}

static void wake(struct tls *tls)
{
    if (tls->in)
        return;
    tls->in = mem_alloc(LIMIT_TLS_IN);
    tls->out = mem_alloc(LIMIT_TLS_OUT);
    tls->eng->ibuf = tls->in;
    tls->eng->obuf = tls->out;
}

static void give_back(struct tls *tls)
{
    if (!tls->in)
        return;
    explicit_bzero(tls->in, LIMIT_TLS_IN); // what was said
    explicit_bzero(tls->out, LIMIT_TLS_OUT);
    free(tls->in);
    free(tls->out);
    tls->in = tls->out = NULL;
    tls->eng->ibuf = no_buffer[0];
    tls->eng->obuf = no_buffer[1];
}

void tls_furnish(struct tls *tls)
{
    uint8_t seed[32];
    wake(tls);
    br_ssl_engine_set_buffers_bidi(tls->eng, tls->in, LIMIT_TLS_IN, tls->out, LIMIT_TLS_OUT);
    random_bytes(seed, sizeof(seed));
    br_ssl_engine_inject_entropy(tls->eng, seed, sizeof(seed));
    explicit_bzero(seed, sizeof(seed));
}

void tls_rest(struct tls *tls)
{
    const br_ssl_engine_context *eng = tls->eng;
    const unsigned state = br_ssl_engine_current_state(eng);
    const unsigned busy = BR_SSL_SENDREC | BR_SSL_RECVAPP | BR_SSL_CLOSED;
    const bool in_is_empty = eng->ixa == 0 && eng->ixb == 0, // not a byte of the next record
        out_is_empty = eng->oxa == eng->oxc;
    if ((state & busy) == 0 && (state & BR_SSL_RECVREC) && in_is_empty && out_is_empty)
        give_back(tls);
}

struct tls *tls_open(struct tls_server *server)
{
    struct tls *tls = mem_alloc(sizeof(*tls));
    tls->server = server;
    tls->identity = server->identity;
    tls->identity->n_users++;
    br_ssl_server_zero(&tls->as.server);
    tls->eng = &tls->as.server.eng;
    choose_algorithms(&tls->as.server, tls->identity, &server->curves);
    br_ssl_server_set_cache(&tls->as.server, &server->sessions.vtable);
    tls_furnish(tls);
    if (br_ssl_server_reset(&tls->as.server) != 1) {
        die("the TLS library refuses its own settings: error %d",
            br_ssl_engine_last_error(tls->eng));
    }
    tls_rest(tls); // until its first byte
    return tls;
}

void tls_close(struct tls *tls)
{
    identity_drop(tls->identity);
    free(tls->checker);
    give_back(tls);
    explicit_bzero(tls, sizeof(*tls)); // keys
    free(tls);
}

bool tls_ready(struct tls *tls)
{
    if (!tls->was_ready && (br_ssl_engine_current_state(tls->eng) & BR_SSL_SENDAPP) != 0)
        tls->was_ready = true;
    return tls->was_ready;
}

bool tls_resumed(const struct tls *tls)
{
    // A full ECDHE handshake leaves its curve here; a resumed one has none.
    return tls->was_ready && tls->eng->ecdhe_curve == 0;
}

static struct space wire_room(struct tls *tls)
{
    struct space room = {NULL, 0};
    size_t n_waiting;
    // A browser's first data comes right behind its Finished (False Start, RFC 7918), and BearSSL
    // takes it only after ours is sent: during the handshake, first send, then read on.
    if (!tls->was_ready && br_ssl_engine_sendrec_buf(tls->eng, &n_waiting))
        return room;
    room.p = br_ssl_engine_recvrec_buf(tls->eng, &room.n);
    return !room.p ? (struct space){NULL, 0} : room;
}

bool tls_takes(struct tls *tls)
{
    return wire_room(tls).n > 0;
}

struct space tls_wire_room(struct tls *tls)
{
    wake(tls);
    return wire_room(tls);
}

void tls_wire_put(struct tls *tls, size_t n)
{
    br_ssl_engine_recvrec_ack(tls->eng, n);
    tls_ready(tls);
}

bool tls_stopped(struct tls *tls, enum status *status, int *number, const char **why)
{
    if (br_ssl_engine_current_state(tls->eng) != BR_SSL_CLOSED)
        return false;
    int error = br_ssl_engine_last_error(tls->eng);
    *number = error;
    *status = error == BR_ERR_OK ? OK : BAD_INPUT;
    *why = error == BR_ERR_OK                 ? "closed"
           : error >= BR_ERR_SEND_FATAL_ALERT ? "refused with an alert (number - 512)"
           : error >= BR_ERR_RECV_FATAL_ALERT ? "the client refused with an alert (number - 256)"
           : error == BR_ERR_BAD_MAC          ? "a record failed its authentication"
                                              : "the client broke the protocol";
    return true;
}

// What RFC 5246 section 7.2 calls an error that BearSSL would pass over in silence.
static uint8_t alert_for(int error)
{
    switch (error) {
    case BR_ERR_UNSUPPORTED_VERSION:
    case BR_ERR_BAD_VERSION:
        return 70; // protocol_version
    case BR_ERR_BAD_LENGTH:
    case BR_ERR_TOO_LARGE:
        return 22; // record_overflow
    case BR_ERR_UNKNOWN_TYPE:
    case BR_ERR_BAD_CCS:
    case BR_ERR_UNEXPECTED:
        return 10; // unexpected_message
    case BR_ERR_BAD_MAC:
        return 20; // bad_record_mac
    case BR_ERR_BAD_CIPHER_SUITE:
    case BR_ERR_BAD_SECRENEG:
        return 40; // handshake_failure
    case BR_ERR_BAD_FINISHED:
        return 51; // decrypt_error
    default:
        return 50; // decode_error
    }
}

static void add_alert(struct tls *tls)
{
    int error = br_ssl_engine_last_error(tls->eng);
    bool silent = error != BR_ERR_OK && error < BR_ERR_RECV_FATAL_ALERT;
    if (!tls->alerted && silent && tls->eng->out.vtable == &br_sslrec_out_clear_vtable) {
        const uint8_t alert[] = {
            21, 3, 3, 0, 2, 2, alert_for(error)}; // alert record, TLS 1.2, 2 bytes: fatal, which
        memcpy(tls->alert, alert, sizeof(alert));
        tls->n_alert = sizeof(alert);
    }
    tls->alerted = true;
}

struct bytes tls_wire_view(struct tls *tls)
{
    struct bytes view = {NULL, 0};
    if (br_ssl_engine_current_state(tls->eng) == BR_SSL_CLOSED) {
        add_alert(tls);
        return (struct bytes){tls->alert + sizeof(tls->alert) - tls->n_alert, tls->n_alert};
    }
    uint8_t *p = br_ssl_engine_sendrec_buf(tls->eng, &view.n);
    if (!p)
        return (struct bytes){NULL, 0};
    if (!tls->was_ready && view.n == 7 && p[0] == 21 && p[1] == 0) {
        p[1] = 3;
        p[2] = tls->in[1] == 3 && tls->in[2] >= 1 && tls->in[2] <= 3
                   ? tls->in[2]
                   : 3; // a record's header stands there
    }
    view.p = p;
    return view;
}

void tls_wire_drop(struct tls *tls, size_t n)
{
    if (br_ssl_engine_current_state(tls->eng) == BR_SSL_CLOSED) {
        tls->n_alert -= n;
        return;
    }
    br_ssl_engine_sendrec_ack(tls->eng, n);
    tls_ready(tls);
}

struct bytes tls_plain_view(struct tls *tls)
{
    struct bytes view = {NULL, 0};
    if (!tls->finishing)
        view.p = br_ssl_engine_recvapp_buf(tls->eng, &view.n);
    return !view.p ? (struct bytes){NULL, 0} : view;
}

void tls_plain_drop(struct tls *tls, size_t n)
{
    br_ssl_engine_recvapp_ack(tls->eng, n);
}

struct space tls_plain_room(struct tls *tls)
{
    struct space room = {NULL, 0};
    wake(tls);
    if (!tls->finishing)
        room.p = br_ssl_engine_sendapp_buf(tls->eng, &room.n);
    return !room.p ? (struct space){NULL, 0} : room;
}

void tls_plain_put(struct tls *tls, size_t n)
{
    br_ssl_engine_sendapp_ack(tls->eng, n);
}

void tls_flush(struct tls *tls)
{
    br_ssl_engine_flush(tls->eng, 0);
}

void tls_finish(struct tls *tls)
{
    if (!tls->finishing) {
        tls->finishing = true;
        wake(tls);
        br_ssl_engine_close(tls->eng);
    }
}
