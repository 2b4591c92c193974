/* bundle.c - an update as one file: what it says of itself, and who signed it.
 *
 * Numbers little endian:
 *    0  "TAWNYUPD"        8  1, of this layout    12  the data format that it writes
 *   16  unix time of its commit                   24  n, bytes of the UKI
 *   32  SHA-256 of the UKI                        64  version, 64 bytes, NULs behind
 *  128  zeros to 448
 *  448  signature: ECDSA P-256, r and s, 32 bytes each, big endian, over SHA-256 of bytes 0..447
 *  512  the UKI, n bytes, and nothing behind
 *
 * Nothing of the header is acted on before its signature was found right (a wrong length, and the
 * version that it claims, are told before), and nothing of the UKI before its SHA-256 was. BearSSL
 * is spelled here alone in init/: hash and signature, nothing that allocates or waits.
 */
#include "update.h"

#include <bearssl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SIGNATURE_AT 448
#define VERSION_AT 64

static bool version_good(const char text[BUNDLE_VERSION])
{
    static const char others[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-";
    size_t n = strnlen(text, BUNDLE_VERSION);

    if (n == 0 || n == BUNDLE_VERSION || strspn(text, others) != n)
        return false;
    for (size_t i = n; i < BUNDLE_VERSION; i++)
        if (text[i])
            return false;
    return true;
}

enum status bundle_read(struct bundle *b, const uint8_t head[BUNDLE_HEADER], uint64_t file_bytes,
                        struct err *err)
{
    br_sha256_context hash;

    if (file_bytes < BUNDLE_HEADER || memcmp(head, "TAWNYUPD", 8) != 0) {
        return err_set(err, BAD_INPUT,
                       "this is no update: the file does not begin with TAWNYUPD and a header of "
                       "%d bytes",
                       BUNDLE_HEADER);
    }
    uint64_t layout = le_get(head + 8, 4);
    if (layout != 1) {
        return err_set(err, UNSUPPORTED,
                       "the update is laid out in a way (%llu) that this version does not know "
                       "(it knows 1): write the image to the disk instead",
                       (unsigned long long)layout);
    }
    memset(b, 0, sizeof(*b));
    b->data_format = (uint32_t)le_get(head + 12, 4);
    b->built = le_get(head + 16, 8);
    b->n_uki = le_get(head + 24, 8);
    memcpy(b->sha256, head + 32, 32);
    memcpy(b->version, head + VERSION_AT, BUNDLE_VERSION);
    memcpy(b->signature, head + SIGNATURE_AT, 64);
    br_sha256_init(&hash);
    br_sha256_update(&hash, head, SIGNATURE_AT);
    br_sha256_out(&hash, b->signed_digest);
    if (!version_good(b->version) || b->built == 0 || b->built > INT64_MAX || b->data_format == 0)
        return err_set(err, BAD_INPUT, "the update's header names no version, time and format");
    if (b->n_uki < UKI_LEAST || b->n_uki > UKI_MOST) {
        return err_set(err, BAD_INPUT,
                       "the update says that its system has %llu bytes; %d to %d are possible",
                       (unsigned long long)b->n_uki, UKI_LEAST, UKI_MOST);
    }
    if (file_bytes != BUNDLE_HEADER + b->n_uki) {
        return err_set(err, BAD_INPUT,
                       "the update has %llu bytes and should have %llu: it was cut off or added to",
                       (unsigned long long)file_bytes,
                       (unsigned long long)(BUNDLE_HEADER + b->n_uki));
    }
    return OK;
}

enum status bundle_verify(const struct bundle *b, const struct update_key *keys, int n_keys,
                          const char **whose, struct err *err)
{
    if (n_keys == 0) {
        return err_set(err, UNSUPPORTED,
                       "this box trusts no key for updates: its image was built without one, and "
                       "there is no update.pub beside tawny.conf");
    }
    for (int i = 0; i < n_keys; i++) {
        uint8_t point[KEY_BYTES];
        memcpy(point, keys[i].point, sizeof(point));
        br_ec_public_key key = {.curve = BR_EC_secp256r1, .q = point, .qlen = sizeof(point)};
        if (br_ecdsa_i31_vrfy_raw(&br_ec_p256_m31, b->signed_digest, sizeof(b->signed_digest), &key,
                                  b->signature, sizeof(b->signature))) {
            *whose = keys[i].whose;
            return OK;
        }
    }
    return err_set(err, BAD_INPUT,
                   "the update is signed by none of the %d keys that this box trusts, or was "
                   "changed after it was signed",
                   n_keys);
}

/* ---- keys ---- */

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* The bytes between BEGIN and END; 0: there are none, or more than `cap`. */
static size_t pem_bytes(uint8_t *out, size_t cap, const char *pem, size_t len)
{
    static const char begin[] = "-----BEGIN PUBLIC KEY-----";
    const char *at = memmem(pem, len, begin, sizeof(begin) - 1);
    uint32_t bits = 0;
    int n_bits = 0;
    size_t n = 0;

    if (!at)
        return 0;
    for (at += sizeof(begin) - 1; at < pem + len && *at != '-' && *at != '='; at++) {
        int v = base64_value(*at);
        if (v < 0 && *at != '\n' && *at != '\r' && *at != ' ')
            return 0;
        if (v < 0)
            continue;
        bits = bits << 6 | (uint32_t)v;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            if (n == cap)
                return 0;
            out[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    return n;
}

/* SubjectPublicKeyInfo of a point of P-256: these bytes, then the point (RFC 5480). */
enum status key_read(struct update_key *key, const char *pem, size_t len, struct err *err)
{
    static const uint8_t start[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                    0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};
    uint8_t der[sizeof(start) + KEY_BYTES - 1];
    size_t n = pem_bytes(der, sizeof(der), pem, len);

    if (n != sizeof(der) || memcmp(der, start, sizeof(start)) != 0) {
        return err_set(err, BAD_INPUT,
                       "it is no public key of ECDSA P-256 as `openssl ec -pubout` writes it");
    }
    memcpy(key->point, der + n - KEY_BYTES, KEY_BYTES);
    return OK;
}

enum status file_sha256(uint8_t out[32], int fd, uint64_t at, uint64_t n, const uint8_t *head,
                        size_t n_head, struct err *err)
{
    static uint8_t piece[256 << 10];
    br_sha256_context hash;

    br_sha256_init(&hash);
    for (uint64_t done = 0; done < n;) {
        size_t want = n - done < sizeof(piece) ? (size_t)(n - done) : sizeof(piece);
        ssize_t got = pread(fd, piece, want, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            return err_set(err, IO_ERROR, "the update could not be read: %s",
                           got < 0 ? strerror(errno) : "it has become shorter");
        }
        for (size_t i = 0; i < (size_t)got && done + i < n_head; i++)
            piece[i] = head[done + i];
        br_sha256_update(&hash, piece, (size_t)got);
        done += (uint64_t)got;
    }
    br_sha256_out(&hash, out);
    return OK;
}
