// tls.h - floor 2, inside net/: TLS 1.2 for a server and a client, without I/O (BearSSL 0.6 behind
// it).
//
// ECDHE with AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305 only; no renegotiation. A server signs
// with ECDSA and resumes sessions by id; a client takes certificates of RSA keys too. A tls is a
// machine with four doors, each a view of a buffer inside it, empty when the door is shut at this
// moment:
//   wire in (tls_wire_room, tls_wire_put)     bytes received from the socket
//   wire out (tls_wire_view, tls_wire_drop)   bytes to be sent
//   plain in (tls_plain_view, tls_plain_drop) what the client said
//   plain out (tls_plain_room, tls_plain_put, tls_flush) what we say
// While plain in holds bytes, wire in is shut: a client that sends faster than it is read waits.
// The two rooms are where buffers are made again that tls_rest has given back.
#pragma once

#include "cert.h"

struct tls_server; // the identity shown to clients, and the sessions that may be resumed
struct tls;        // one connection: 4 KB, and 25 KB of buffers unless it rests

struct space { // writable
    uint8_t *p;
    size_t n;
};

void tls_server_open(struct tls_server **out);
void tls_server_close(struct tls_server *server); // after every tls of it
// New connections show this certificate; those under way keep theirs.
void tls_server_identity(struct tls_server *server, const struct cert *cert, const struct cert *ca);
void tls_server_forget(struct tls_server *server); // no session made before this is resumed

// The certificates by which a client knows whom it talks to. BAD_INPUT: `path` has something else
// in it; NOT_FOUND: there is no such file.
struct trust;
void trust_open(struct trust **out);
void trust_close(struct trust *trust); // after every tls of it
MUST_USE enum status trust_read(struct trust *trust, const char *path, struct err *err);
size_t trust_n(const struct trust *trust);

struct tls *tls_open(struct tls_server *server);
// A client of `host`, a name: it talks to nobody whose certificate is not good for that.
struct tls *tls_client_open(const struct trust *trust, const char *host);
// Why a client's machine stopped, as the end of a sentence about the server: "shows a certificate
// ...". DENIED: it is not trusted; else IO_ERROR.
enum { TLS_WHY_BYTES = 192 };
enum status tls_client_why(int number, char out[TLS_WHY_BYTES]);
void tls_close(struct tls *tls);
struct space tls_wire_room(struct tls *tls);
bool tls_takes(struct tls *tls); // whether there is such room
void tls_wire_put(struct tls *tls, size_t n);
struct bytes tls_wire_view(struct tls *tls);
void tls_wire_drop(struct tls *tls, size_t n);
struct bytes tls_plain_view(struct tls *tls);
void tls_plain_drop(struct tls *tls, size_t n);
struct space tls_plain_room(struct tls *tls);
void tls_plain_put(struct tls *tls, size_t n);
void tls_flush(struct tls *tls); // what was put is made a record even if it is short
// Nothing is under way for now: gives the buffers back, if they are empty. Views end with it.
void tls_rest(struct tls *tls);
void tls_finish(struct tls *tls); // says close_notify after what was put; nothing more can be said
bool tls_ready(struct tls *tls);  // the handshake is complete
bool tls_resumed(const struct tls *tls);
// The machine has stopped, by close_notify (OK) or a fault: BAD_INPUT, with BearSSL's error number
// and what it means. A fault before the handshake is complete leaves an alert in wire out.
bool tls_stopped(struct tls *tls, enum status *status, int *number, const char **why);
