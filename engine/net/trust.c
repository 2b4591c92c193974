// trust.c - files of PEM certificates into trust anchors: the name and the key of each.
//
// An authority signs others; a certificate that may not sign (a server's own, self-signed one) is
// trusted where exactly it is shown. Certificates that cannot be read (keys of curves that are not
// known here) are left out: a bundle of the world's authorities has such ones.
#include "trust.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MOST = 4 << 20, DER_MOST = 16384 };

void trust_open(struct trust **out)
{
    *out = mem_alloc(sizeof(**out));
}

void trust_close(struct trust *trust)
{
    if (!trust)
        return;
    for (size_t i = 0; i < trust->n; i++)
        free(trust->anchors[i].dn.data);
    free(trust->anchors);
    free(trust);
}

size_t trust_n(const struct trust *trust)
{
    return trust->n;
}

static void collect(void *arg, const void *p, size_t n)
{
    struct buf *buf = arg;
    if (buf_add(buf, p, n) != OK)
        buf->cap_bytes = 0; // it is too long: what follows fits no more either
}

static size_t key_bytes(const br_x509_pkey *key)
{
    return key->key_type == BR_KEYTYPE_RSA ? key->key.rsa.nlen + key->key.rsa.elen
                                           : key->key.ec.qlen;
}

// One malloc: the name, then the numbers of the key.
static void add(struct trust *trust, struct bytes name, const br_x509_pkey *key, bool may_sign)
{
    if (trust->n == trust->allocated) {
        trust->allocated = trust->allocated ? 2 * trust->allocated : 32;
        trust->anchors = mem_resize(trust->anchors, trust->allocated * sizeof(*trust->anchors));
    }
    uint8_t *all = mem_alloc(name.n + key_bytes(key)), *at = all + name.n;
    br_x509_trust_anchor *anchor = &trust->anchors[trust->n++];
    memcpy(all, name.p, name.n);
    *anchor = (br_x509_trust_anchor){
        .dn = {all, name.n}, .flags = may_sign ? BR_X509_TA_CA : 0, .pkey = *key};
    if (key->key_type == BR_KEYTYPE_RSA) {
        memcpy(at, key->key.rsa.n, key->key.rsa.nlen);
        memcpy(at + key->key.rsa.nlen, key->key.rsa.e, key->key.rsa.elen);
        anchor->pkey.key.rsa.n = at;
        anchor->pkey.key.rsa.e = at + key->key.rsa.nlen;
    } else {
        memcpy(at, key->key.ec.q, key->key.ec.qlen);
        anchor->pkey.key.ec.q = at;
    }
}

static void add_der(struct trust *trust, struct bytes der)
{
    br_x509_decoder_context *decoder = mem_alloc(sizeof(*decoder));
    struct buf name;
    buf_init(&name, 4096);
    br_x509_decoder_init(decoder, collect, &name);
    br_x509_decoder_push(decoder, der.p, der.n);
    const br_x509_pkey *key = br_x509_decoder_get_pkey(decoder);
    if (key && name.n > 0 && name.cap_bytes > 0 &&
        (key->key_type == BR_KEYTYPE_RSA || key->key_type == BR_KEYTYPE_EC))
        add(trust, buf_view(&name), key, br_x509_decoder_isCA(decoder) != 0);
    buf_free(&name);
    free(decoder);
}

static void read_pem(struct trust *trust, struct bytes text)
{
    br_pem_decoder_context decoder;
    struct buf der;
    bool inside = false;
    br_pem_decoder_init(&decoder);
    buf_init(&der, DER_MOST);
    while (text.n > 0 && trust->n < TRUST_MOST) {
        const size_t n = br_pem_decoder_push(&decoder, text.p, text.n);
        text = (struct bytes){text.p + n, text.n - n};
        const int event = br_pem_decoder_event(&decoder);
        if (event == BR_PEM_BEGIN_OBJ) {
            const char *name = br_pem_decoder_name(&decoder);
            inside = strcmp(name, "CERTIFICATE") == 0 || strcmp(name, "X509 CERTIFICATE") == 0;
            buf_free(&der);
            buf_init(&der, DER_MOST);
            br_pem_decoder_setdest(&decoder, inside ? collect : NULL, &der);
        } else if (event == BR_PEM_END_OBJ) {
            if (inside && der.cap_bytes > 0)
                add_der(trust, buf_view(&der));
            inside = false;
        } else if (event == BR_PEM_ERROR) {
            inside = false; // the next one may be good
        } else if (n == 0) {
            break;
        }
    }
    buf_free(&der);
}

enum status trust_read(struct trust *trust, const char *path, struct err *err)
{
    struct buf file;
    const size_t before = trust->n;
    enum status status = file_read(&file, path, FILE_MOST, err);
    if (status != OK)
        return status;
    read_pem(trust, buf_view(&file));
    buf_free(&file);
    return trust->n > before
               ? OK
               : err_set(err, BAD_INPUT, "%s: no PEM certificate that can be used is in it", path);
}
