// identity.c - who this device is: its CA and the server's certificate in STATE/tls/, loaded,
// judged, made anew, written.
//
// Order of writing: the key first, then the certificate. A power cut between the two leaves a key
// alone (its certificate is made again), never a certificate without its key. Files are read and
// written when the server starts; while it runs, a certificate is renewed in memory, and keeper.c
// writes it.
#include "identity.h"
#include "net.h"
#include "../base/clock_trust.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DAY 86400
enum {
    SERVER_RENEW_DAYS = 30,
    LONGEST_DAYS = 825, // Apple's limit; only a clock that is not trusted makes longer ones
    FILE_CAP = 16384,
};

struct path {
    char text[1100];
};

static struct path path_of(const char *state, const char *name)
{
    struct path path;
    snprintf(path.text, sizeof(path.text), "%s/tls/%s", state, name);
    return path;
}

// ---- files -------------------------------------------------------------------------------------

static void wipe_and_free(struct buf *buf)
{
    if (buf->n > 0)
        explicit_bzero(buf->p, buf->n);
    buf_free(buf);
}

// NOT_FOUND: missing or empty (a file that a power cut left behind without contents counts as
// missing).
static enum status read_pem_file(struct buf *out, const char *path, const char *name,
                                 struct err *err)
{
    struct buf text;
    enum status status = file_read(&text, path, FILE_CAP, err);
    if (status != OK)
        return status;
    if (text.n == 0) {
        status = err_set(err, NOT_FOUND, "%s is empty", path);
    } else {
        status = cert_pem_decode(out, buf_view(&text), name);
        if (status != OK) {
            err_set(err, status, "%s is damaged: a PEM file with \"BEGIN %s\" was expected", path,
                    name);
        }
    }
    wipe_and_free(&text); // it may be a key's file
    return status;
}

// A key that others may read is made private again: only its owner ever needs it.
static void guard_file(const char *path)
{
    struct stat at;
    if (stat(path, &at) == 0 && (at.st_mode & 077) != 0) {
        log_warn("%s could be read by others (mode %03o): set to 600", path,
                 (unsigned)(at.st_mode & 0777));
        if (chmod(path, 0600) != 0)
            log_warn("cannot change the mode of %s: %s", path, strerror(errno));
    }
}

static enum status read_key_file(uint8_t key[CERT_KEY], const char *path, struct err *err)
{
    struct buf der;
    enum status status = read_pem_file(&der, path, "EC PRIVATE KEY", err);
    if (status != OK)
        return status;
    status = cert_key_decode(key, buf_view(&der));
    if (status == OK)
        guard_file(path);
    else
        err_set(err, status, "%s is damaged: a private key on the curve P-256 was expected", path);
    wipe_and_free(&der);
    return status;
}

static enum status write_key_file(const char *path, const uint8_t key[CERT_KEY], struct err *err)
{
    struct buf text;
    buf_init(&text, FILE_CAP);
    enum status status = cert_key_pem(&text, key);
    if (status == OK)
        status = file_write(path, buf_view(&text), 0600, err);
    wipe_and_free(&text);
    return status;
}

// server.crt holds the CA's certificate behind the server's: a chain, as other programs expect it.
static enum status write_cert_file(const char *path, const struct cert *cert, const struct cert *ca,
                                   struct err *err)
{
    struct buf text;
    buf_init(&text, FILE_CAP);
    enum status status = cert_pem(&text, cert);
    if (status == OK && ca)
        status = cert_pem(&text, ca);
    if (status == OK)
        status = file_write(path, buf_view(&text), 0644, err);
    else
        err_set(err, status, "%s: the certificate does not fit %d bytes", path, FILE_CAP);
    buf_free(&text);
    return status;
}

static enum status read_cert_file(struct cert *cert, const char *path, struct cert_view *view,
                                  struct err *err)
{
    struct buf der;
    enum status status = read_pem_file(&der, path, "CERTIFICATE", err);
    if (status != OK)
        return status;
    if (der.n <= sizeof(cert->der)) {
        memcpy(cert->der, der.p, der.n);
        cert->n = der.n;
        status = cert_read((struct bytes){cert->der, cert->n}, view);
    } else {
        status = TOO_LARGE;
    }
    buf_free(&der);
    return status == OK
               ? OK
               : err_set(err, BAD_INPUT,
                         "%s is damaged: it is not an X.509 certificate of this program's making",
                         path);
}

enum status net_pair_check(const char *name, struct bytes crt, struct bytes key, struct err *err)
{
    struct buf crt_der = {0}, key_der = {0};
    struct cert_view view;
    uint8_t secret[CERT_KEY];
    if (crt.n == 0 && key.n == 0)
        return OK;
    bool good = crt.n > 0 && key.n > 0 && crt.n <= FILE_CAP && key.n <= FILE_CAP &&
                cert_pem_decode(&crt_der, crt, "CERTIFICATE") == OK;
    good = good && crt_der.n <= CERT_ROOM && cert_read(buf_view(&crt_der), &view) == OK;
    const bool has_key = good && cert_pem_decode(&key_der, key, "EC PRIVATE KEY") == OK;
    good =
        has_key && cert_key_decode(secret, buf_view(&key_der)) == OK && cert_has_key(&view, secret);
    buf_free(&crt_der);
    wipe_and_free(&key_der);
    explicit_bzero(secret, sizeof(secret));
    return good ? OK
                : err_set(err, BAD_INPUT,
                          "%s.crt and %s.key are not a certificate and its key, as this program "
                          "makes them",
                          name, name);
}

// ---- the CA ------------------------------------------------------------------------------------

static enum status make_ca(struct cert *ca, const char *path, struct err *err)
{
    enum status status = cert_issue_ca(ca, err);
    return status == OK ? write_cert_file(path, ca, NULL, err) : status;
}

static enum status with_advice(struct err *err, const char *state)
{
    char found[sizeof(err->text)];
    snprintf(found, sizeof(found), "%s", err->text);
    return err_set(
        err, err->status,
        "%.150s: restore it from a backup; or delete ca.crt and ca.key in %s/tls, and a new CA "
        "is made, which every client must then be told to trust",
        found, state);
}

static enum status check_ca(const struct cert *ca, const struct cert_view *view, const char *path,
                            struct err *err)
{
    if (!cert_has_key(view, ca->key))
        return err_set(err, BAD_INPUT, "%s does not belong to the key in ca.key", path);
    if (!cert_signed_by(view, view))
        return err_set(err, BAD_INPUT, "%s is damaged: its signature is wrong", path);
    if (view->not_after < clock_unix_s() || view->not_before > clock_unix_s()) {
        log_warn(
            "%s is not valid at the time this machine's clock shows: clients will refuse it. If "
            "the clock is right, delete "
            "ca.crt and ca.key: a new CA is made, which every client must then be told to trust",
            path);
    }
    return OK;
}

enum status identity_ca(struct cert *ca, const char *state, struct err *err)
{
    struct path folder = path_of(state, ""), crt = path_of(state, "ca.crt"),
                key = path_of(state, "ca.key");
    folder.text[strlen(folder.text) - 1] = 0;
    enum status status = file_make_dir(folder.text, 0755, err);
    if (status != OK)
        return status;
    struct cert_view view;
    struct err key_err = {0};
    enum status has_key = read_key_file(ca->key, key.text, &key_err);
    enum status has_crt = read_cert_file(ca, crt.text, &view, err);
    if (has_crt != OK && has_crt != NOT_FOUND)
        return with_advice(err, state);
    if (has_key != OK && (has_key != NOT_FOUND || has_crt == OK)) {
        *err = key_err;
        return with_advice(err, state);
    }
    if (has_key == OK && has_crt == OK)
        return check_ca(ca, &view, crt.text, err) == OK ? OK : with_advice(err, state);
    if (has_key == OK) {
        log_info("%s is missing: made again from ca.key", crt.text);
        return make_ca(ca, crt.text, err);
    }
    cert_make_key(ca->key);
    status = write_key_file(key.text, ca->key, err);
    if (status != OK)
        return status;
    log_info("a certificate authority of this device's own was made: %s", crt.text);
    return make_ca(ca, crt.text, err);
}

// ---- the server's certificate ------------------------------------------------------------------

// NULL: it fits. Else why it does not.
static const char *misfit(const struct cert *server, const struct cert *ca,
                          const struct cert_request *request)
{
    struct cert_view view, ca_view;
    if (cert_read((struct bytes){server->der, server->n}, &view) != OK ||
        cert_read((struct bytes){ca->der, ca->n}, &ca_view) != OK)
        return "the old one was damaged";
    if (!cert_has_key(&view, server->key))
        return "server.crt and server.key did not belong together";
    if (!cert_signed_by(&view, &ca_view))
        return "it was not signed by this device's CA";
    int64_t now = clock_unix_s();
    if (view.not_before > now)
        return "the old one is not valid yet by this machine's clock";
    if (view.not_after - now < (int64_t)SERVER_RENEW_DAYS * DAY)
        return "the old one was near its end";
    if (view.not_after - view.not_before > (int64_t)LONGEST_DAYS * DAY &&
        clock_trust() == CLOCK_TRUSTED)
        return "the old one was made while this machine's clock was not to be trusted";
    return cert_names(&view, request)
               ? NULL
               : "this machine has a name or an address that it did not name";
}

enum status identity_renew(struct cert *server, const struct cert *ca,
                           const struct cert_request *request, const char **why, struct err *err)
{
    *why = misfit(server, ca, request);
    if (!*why)
        return OK;
    struct cert made = {0};
    enum status status = cert_issue_server(&made, ca, request, err);
    if (status == OK)
        *server = made;
    explicit_bzero(&made, sizeof(made));
    return status;
}

enum status identity_write(const struct cert *server, const struct cert *ca, const char *state,
                           struct err *err)
{
    enum status status = write_key_file(path_of(state, "server.key").text, server->key, err);
    return status == OK ? write_cert_file(path_of(state, "server.crt").text, server, ca, err)
                        : status;
}

static const char *read_server(struct cert *server, const char *state)
{
    struct path crt = path_of(state, "server.crt"), key = path_of(state, "server.key");
    struct cert_view view;
    struct err err = {0};
    enum status has_key = read_key_file(server->key, key.text, &err);
    enum status has_crt = has_key == OK ? read_cert_file(server, crt.text, &view, &err) : OK;
    if (has_key == NOT_FOUND || has_crt == NOT_FOUND)
        return "there was none";
    if (has_key == OK && has_crt == OK)
        return NULL;
    log_warn("%s", err.text);
    return "the old one was damaged";
}

enum status identity_server(struct cert *server, const struct cert *ca, const char *state,
                            const struct cert_request *request, const char **why, struct err *err)
{
    *why = read_server(server, state);
    enum status status = *why ? cert_issue_server(server, ca, request, err)
                              : identity_renew(server, ca, request, why, err);
    struct err written = {0};
    if (status == OK && *why && identity_write(server, ca, state, &written) != OK)
        log_warn("the server's new certificate is used but could not be kept: %s", written.text);
    return status;
}
