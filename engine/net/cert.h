// cert.h - floor 2, inside net/: this device's own certificate authority and the server certificate
// it issues.
//
// A person trusts the CA once (its fingerprint is on the console); the server certificate then
// changes whenever an address comes up, without anybody noticing. In STATE/tls/: ca.crt, ca.key,
// server.crt, server.key (PEM; the keys 0600).
//
// The CA is never replaced by itself: a damaged file, or a certificate without its key, is an error
// that says what to do. Only when both files are missing or empty is a new CA made; a key alone
// gets its certificate made again (same name, same key: who trusted the old one trusts this one).
// The server certificate is bound to nobody's trust: whenever it is missing, damaged, near its end,
// or the hostname or an address of the present is not in it, a new one with a new key is issued.
// An address that went away alone is no reason: it is still this device's key that answers, and at
// boot the addresses come one after the other.
#pragma once

#include "../base/base.h"
#include "address.h"

enum { CERT_ROOM = 4096, CERT_KEY = 32, CERT_POINT = 65 };

struct cert {
    uint8_t der[CERT_ROOM];
    size_t n;
    uint8_t key[CERT_KEY]; // P-256 private scalar, big-endian
};

// Read from a certificate: views into it.
struct cert_view {
    struct bytes tbs, issuer, subject, point, san,
        signature;                 // san: the GeneralNames, empty when there are none
    int64_t not_before, not_after; // unix seconds
};

struct cert_request { // what the server certificate has to name
    const char *hostname;
    const struct address *addresses;
    size_t n_addresses;
};

// The device's CA: loaded, or made. `state` must exist.
MUST_USE enum status cert_ca(struct cert *ca, const char *state, struct err *err);
// The server's certificate: loaded when it still fits, else issued. *why: NULL when loaded, else
// the reason for issuing. A new one that cannot be written is used all the same, with a warning.
MUST_USE enum status cert_server(struct cert *server, const struct cert *ca, const char *state,
                                 const struct cert_request *request, const char **why,
                                 struct err *err);
MUST_USE enum status cert_read(struct bytes der, struct cert_view *view);
bool cert_signed_by(const struct cert_view *cert, const struct cert_view *issuer);
bool cert_hostname_good(const char *hostname); // letters, digits, hyphens, dots
MUST_USE enum status cert_pem(struct buf *out, const struct cert *cert);
void cert_fingerprint(const struct cert *cert, char out[96]); // SHA-256, "AA:BB:..."
