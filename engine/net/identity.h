// identity.h - floor 2, inside net/: this device's own certificate authority and the server
// certificate it issues, in files.
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

#include "cert.h"

// The device's CA: loaded, or made. `state` must exist.
MUST_USE enum status identity_ca(struct cert *ca, const char *state, struct err *err);
// The server's certificate: loaded when it still fits, else issued and written. *why: NULL when
// loaded, else the reason for issuing. A new one that cannot be written is used all the same, with
// a warning.
MUST_USE enum status identity_server(struct cert *server, const struct cert *ca, const char *state,
                                     const struct cert_request *request, const char **why,
                                     struct err *err);
// Issues another in memory when *server does not fit any more; *why as above.
MUST_USE enum status identity_renew(struct cert *server, const struct cert *ca,
                                    const struct cert_request *request, const char **why,
                                    struct err *err);
MUST_USE enum status identity_write(const struct cert *server, const struct cert *ca,
                                    const char *state, struct err *err);

// keeper.c: a thread that writes renewed certificates, since fsync may take seconds.
struct keeper;
void keeper_open(struct keeper **out, const char *state);
void keeper_close(struct keeper *keeper); // writes what it was given before
void keeper_take(struct keeper *keeper, const struct cert *server, const struct cert *ca);
