// cert.h - floor 2, inside net/: X.509 certificates and P-256 keys in memory. What this device does
// with them is in identity.h.
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

void cert_make_key(uint8_t key[CERT_KEY]);
// ca->der from ca->key; a name and 10 years of its own.
MUST_USE enum status cert_issue_ca(struct cert *ca, struct err *err);
// A new key, and its certificate, signed by the CA.
MUST_USE enum status cert_issue_server(struct cert *server, const struct cert *ca,
                                       const struct cert_request *request, struct err *err);
// Does a certificate still do where `request` is to be named?
bool cert_names(const struct cert_view *cert, const struct cert_request *request);
bool cert_has_key(const struct cert_view *cert, const uint8_t key[CERT_KEY]);
MUST_USE enum status cert_read(struct bytes der, struct cert_view *view);
bool cert_signed_by(const struct cert_view *cert, const struct cert_view *issuer);
bool cert_hostname_good(const char *hostname); // letters, digits, hyphens, dots
MUST_USE enum status cert_pem(struct buf *out, const struct cert *cert);
void cert_fingerprint(const struct cert *cert, char out[96]); // SHA-256, "AA:BB:..."
MUST_USE enum status cert_key_pem(struct buf *out, const uint8_t key[CERT_KEY]);
// Decodes the first object of a PEM text, which must have this name.
MUST_USE enum status cert_pem_decode(struct buf *out, struct bytes text, const char *name);
MUST_USE enum status cert_key_decode(uint8_t key[CERT_KEY], struct bytes der);
