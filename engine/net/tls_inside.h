// tls_inside.h - what tls.c and tls_client.c share: one connection, as a server's or a client's.
#pragma once

#include "limits.h"
#include "tls.h"

#include <bearssl.h>

struct tls {
    br_ssl_engine_context *eng; // of the one that this is
    union {
        br_ssl_server_context server;
        br_ssl_client_context client;
    } as;
    struct tls_server *server; // NULL: a client
    struct identity *identity;
    br_x509_minimal_context *checker; // of a client: ours
    bool was_ready, finishing, alerted;
    uint8_t alert[7];
    size_t n_alert;
    uint8_t *in, *out; // [LIMIT_TLS_IN], [LIMIT_TLS_OUT]; NULL: it rests
};

void tls_furnish(struct tls *tls); // buffers and randomness, before the reset
