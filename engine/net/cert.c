// cert.c - X.509 v3 certificates and keys in memory: made, signed, read back, checked (RFC 5280),
// and their PEM form.
//
// What browsers insist on: at most 825 days (Apple), subjectAltName with DNS names and IP
// addresses, extended key usage serverAuth, SHA-256, and a CA with basicConstraints and keyUsage
// critical. Serial numbers are 127 random bits. Times begin a day in the past, for clients whose
// clock is a little behind; where this machine's own clock is not to be trusted they begin when
// this program was built, and a CA, which is made once for all, always does: whatever the clock
// showed then, clients with a right one take it. Nothing here touches a file: identity.c does.
#include "cert.h"
#include "../base/clock_trust.h"
#include "der.h"

#include <bearssl.h>
#include <stdio.h>
#include <string.h>

#define DAY 86400
enum {
    CA_DAYS = 3650,
    SERVER_DAYS = 397, // what browsers allow public CAs; under Apple's 825 for private ones
};

#define OID(...)                                                                                   \
    ((struct bytes){(const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})})
#define OID_EC_PUBLIC_KEY OID(0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01)      // 1.2.840.10045.2.1
#define OID_P256 OID(0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07)         // 1.2.840.10045.3.1.7
#define OID_ECDSA_SHA256 OID(0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02) // 1.2.840.10045.4.3.2
#define OID_COMMON_NAME OID(0x55, 0x04, 0x03)
#define OID_ORGANIZATION OID(0x55, 0x04, 0x0A)
#define OID_SUBJECT_KEY_ID OID(0x55, 0x1D, 0x0E)
#define OID_KEY_USAGE OID(0x55, 0x1D, 0x0F)
#define OID_ALT_NAME OID(0x55, 0x1D, 0x11)
#define OID_BASIC_CONSTRAINTS OID(0x55, 0x1D, 0x13)
#define OID_AUTHORITY_KEY_ID OID(0x55, 0x1D, 0x23)
#define OID_EXTENDED_KEY_USAGE OID(0x55, 0x1D, 0x25)
#define OID_SERVER_AUTH OID(0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01) // 1.3.6.1.5.5.7.3.1

// ---- keys --------------------------------------------------------------------------------------

static br_ec_private_key private_key(const uint8_t key[CERT_KEY])
{
    return (br_ec_private_key){
        .curve = BR_EC_secp256r1, .x = (unsigned char *)key, .xlen = CERT_KEY};
}

void cert_make_key(uint8_t key[CERT_KEY])
{
    uint8_t seed[48], kept[BR_EC_KBUF_PRIV_MAX_SIZE];
    random_bytes(seed, sizeof(seed));
    br_hmac_drbg_context rng;
    br_hmac_drbg_init(&rng, &br_sha256_vtable, seed, sizeof(seed));
    br_ec_private_key made;
    if (br_ec_keygen(&rng.vtable, br_ec_get_default(), &made, kept, BR_EC_secp256r1) != CERT_KEY)
        die("the TLS library made no P-256 key");
    memcpy(key, made.x, CERT_KEY);
    explicit_bzero(&rng, sizeof(rng));
    explicit_bzero(kept, sizeof(kept));
    explicit_bzero(seed, sizeof(seed));
}

static bool make_point(uint8_t point[CERT_POINT], const uint8_t key[CERT_KEY])
{
    br_ec_private_key sk = private_key(key);
    br_ec_public_key pk;
    uint8_t made[BR_EC_KBUF_PUB_MAX_SIZE];
    if (br_ec_compute_pub(br_ec_get_default(), &pk, made, &sk) != CERT_POINT)
        return false;
    memcpy(point, made, CERT_POINT);
    return true;
}

static void sha256(uint8_t out[32], struct bytes in)
{
    br_sha256_context context;
    br_sha256_init(&context);
    br_sha256_update(&context, in.p, in.n);
    br_sha256_out(&context, out);
}

// RFC 7093 method 1: the first 160 bits of the SHA-256 of the public point.
static void key_id(uint8_t out[20], struct bytes point)
{
    uint8_t hash[32];
    sha256(hash, point);
    memcpy(out, hash, 20);
}

bool cert_has_key(const struct cert_view *cert, const uint8_t key[CERT_KEY])
{
    uint8_t point[CERT_POINT];
    return make_point(point, key) && bytes_equal(cert->point, (struct bytes){point, sizeof(point)});
}

// ---- writing certificates ----------------------------------------------------------------------

static void put_name_part(struct der *der, struct bytes oid, const char *text)
{
    size_t set = der_open(der, DER_SET), pair = der_open(der, DER_SEQUENCE);
    der_put(der, DER_OID, oid);
    der_put(der, DER_UTF8, bytes_of(text));
    der_close(der, pair);
    der_close(der, set);
}

static void put_name(struct der *der, const char *common_name)
{
    size_t name = der_open(der, DER_SEQUENCE);
    put_name_part(der, OID_ORGANIZATION, "Tawny");
    put_name_part(der, OID_COMMON_NAME, common_name);
    der_close(der, name);
}

static void put_algorithm(struct der *der, struct bytes oid, struct bytes parameter)
{
    size_t algorithm = der_open(der, DER_SEQUENCE);
    der_put(der, DER_OID, oid);
    if (parameter.n > 0)
        der_put(der, DER_OID, parameter);
    der_close(der, algorithm);
}

static void put_extension(struct der *der, struct bytes oid, bool critical, struct bytes value)
{
    static const uint8_t yes = 0xFF;
    size_t extension = der_open(der, DER_SEQUENCE);
    der_put(der, DER_OID, oid);
    if (critical)
        der_put(der, DER_BOOLEAN, (struct bytes){&yes, 1});
    der_put(der, DER_OCTET_STRING, value);
    der_close(der, extension);
}

static void put_key_ids(struct der *der, struct bytes point, struct bytes issuer_point)
{
    uint8_t id[20], space[40];
    struct der value;
    key_id(id, point);
    der_init(&value, space, sizeof(space));
    der_put(&value, DER_OCTET_STRING, (struct bytes){id, sizeof(id)});
    put_extension(der, OID_SUBJECT_KEY_ID, false, der_view(&value));
    key_id(id, issuer_point);
    der_init(&value, space, sizeof(space));
    size_t sequence = der_open(&value, DER_SEQUENCE);
    der_put(&value, DER_CONTEXT + 0, (struct bytes){id, sizeof(id)});
    der_close(&value, sequence);
    put_extension(der, OID_AUTHORITY_KEY_ID, false, der_view(&value));
}

static void put_ca_extensions(struct der *der)
{
    static const uint8_t constraints[] = {0x30, 0x06, 0x01, 0x01,
                                          0xFF, 0x02, 0x01, 0x00}; // cA TRUE, pathLen 0
    static const uint8_t usage[] = {0x03, 0x02, 0x01, 0x06};       // keyCertSign, cRLSign
    put_extension(der, OID_BASIC_CONSTRAINTS, true,
                  (struct bytes){constraints, sizeof(constraints)});
    put_extension(der, OID_KEY_USAGE, true, (struct bytes){usage, sizeof(usage)});
}

static void put_server_extensions(struct der *der, struct bytes san)
{
    static const uint8_t constraints[] = {0x30, 0x00};       // no CA
    static const uint8_t usage[] = {0x03, 0x02, 0x07, 0x80}; // digitalSignature
    put_extension(der, OID_BASIC_CONSTRAINTS, true,
                  (struct bytes){constraints, sizeof(constraints)});
    put_extension(der, OID_KEY_USAGE, true, (struct bytes){usage, sizeof(usage)});
    uint8_t space[16];
    struct der value;
    der_init(&value, space, sizeof(space));
    size_t sequence = der_open(&value, DER_SEQUENCE);
    der_put(&value, DER_OID, OID_SERVER_AUTH);
    der_close(&value, sequence);
    put_extension(der, OID_EXTENDED_KEY_USAGE, false, der_view(&value));
    put_extension(der, OID_ALT_NAME, false, san);
}

// The subjectAltName value: SEQUENCE of [2] DNS names and [7] addresses.
static void put_alt_names(struct der *der, const struct cert_request *request)
{
    char local[80];
    size_t n_label = strcspn(request->hostname, ".");
    snprintf(local, sizeof(local), "%.*s.local", (int)(n_label < 64 ? n_label : 64),
             request->hostname);
    size_t names = der_open(der, DER_SEQUENCE);
    der_put(der, DER_CONTEXT + 2, bytes_of(request->hostname));
    if (strcmp(local, request->hostname) != 0)
        der_put(der, DER_CONTEXT + 2, bytes_of(local));
    if (strcmp(request->hostname, "localhost") != 0)
        der_put(der, DER_CONTEXT + 2, bytes_of("localhost"));
    for (size_t i = 0; i < request->n_addresses; i++) {
        der_put(der, DER_CONTEXT + 7,
                (struct bytes){request->addresses[i].p, request->addresses[i].n});
    }
    der_close(der, names);
}

struct cert_plan {           // what to_be_signed and sign need
    struct bytes issuer;     // Name, encoded; empty: self-signed
    const char *common_name; // of the subject
    struct bytes point, issuer_point;
    struct bytes san; // empty: a CA
    int64_t not_before, not_after;
};

static void put_to_be_signed(struct der *der, const struct cert_plan *plan)
{
    static const uint8_t version_3 = 2;
    uint8_t serial[16];
    random_bytes(serial, sizeof(serial));
    serial[0] = (uint8_t)((serial[0] & 0x7F) | 0x40); // positive, and never shorter than 16 bytes
    size_t tbs = der_open(der, DER_SEQUENCE), version = der_open(der, DER_CONTEXT_CONSTRUCTED + 0);
    der_integer(der, (struct bytes){&version_3, 1});
    der_close(der, version);
    der_integer(der, (struct bytes){serial, sizeof(serial)});
    put_algorithm(der, OID_ECDSA_SHA256, (struct bytes){NULL, 0});
    if (plan->issuer.n > 0)
        der_raw(der, plan->issuer);
    else
        put_name(der, plan->common_name);
    size_t validity = der_open(der, DER_SEQUENCE);
    der_time(der, plan->not_before);
    der_time(der, plan->not_after);
    der_close(der, validity);
    put_name(der, plan->common_name);
    size_t key = der_open(der, DER_SEQUENCE);
    put_algorithm(der, OID_EC_PUBLIC_KEY, OID_P256);
    der_bits(der, plan->point);
    der_close(der, key);
    size_t outer = der_open(der, DER_CONTEXT_CONSTRUCTED + 3),
           extensions = der_open(der, DER_SEQUENCE);
    if (plan->san.n > 0)
        put_server_extensions(der, plan->san);
    else
        put_ca_extensions(der);
    put_key_ids(der, plan->point, plan->issuer_point);
    der_close(der, extensions);
    der_close(der, outer);
    der_close(der, tbs);
}

// Fills cert->der; the signature is made with `signer`.
static enum status issue(struct cert *cert, const struct cert_plan *plan,
                         const uint8_t signer[CERT_KEY], struct err *err)
{
    struct der der;
    der_init(&der, cert->der, sizeof(cert->der));
    size_t all = der_open(&der, DER_SEQUENCE), tbs_at = der.n;
    put_to_be_signed(&der, plan);
    uint8_t hash[32], signature[80];
    sha256(hash, (struct bytes){der.p + tbs_at, der.n - tbs_at});
    put_algorithm(&der, OID_ECDSA_SHA256, (struct bytes){NULL, 0});
    br_ec_private_key key = private_key(signer);
    size_t n =
        br_ecdsa_i31_sign_asn1(br_ec_get_default(), &br_sha256_vtable, hash, &key, signature);
    der_bits(&der, (struct bytes){signature, n});
    der_close(&der, all);
    if (der.full || n == 0) {
        return err_set(err, NO_ROOM, "the certificate for \"%s\" does not fit %d bytes",
                       plan->common_name, CERT_ROOM);
    }
    cert->n = der.n;
    return OK;
}

// ---- reading certificates ----------------------------------------------------------------------

static enum status read_extensions(struct bytes in, struct cert_view *view)
{
    struct bytes list, one, oid, value, critical;
    if (in.n == 0)
        return OK;
    if (der_expect(&in, DER_CONTEXT_CONSTRUCTED + 3, &list) != OK || in.n != 0)
        return BAD_INPUT;
    in = list;
    if (der_expect(&in, DER_SEQUENCE, &list) != OK || in.n != 0)
        return BAD_INPUT;
    while (list.n > 0) {
        if (der_expect(&list, DER_SEQUENCE, &one) != OK || der_expect(&one, DER_OID, &oid) != OK)
            return BAD_INPUT;
        bool has_critical = one.n > 0 && one.p[0] == DER_BOOLEAN;
        if ((has_critical && der_expect(&one, DER_BOOLEAN, &critical) != OK) ||
            der_expect(&one, DER_OCTET_STRING, &value) != OK || one.n != 0) {
            return BAD_INPUT;
        }
        if (bytes_equal(oid, OID_ALT_NAME))
            view->san = value;
    }
    return OK;
}

static enum status read_key(struct bytes in, struct cert_view *view)
{
    struct bytes algorithm, oid, curve, bits;
    if (der_expect(&in, DER_SEQUENCE, &algorithm) != OK ||
        der_expect(&in, DER_BIT_STRING, &bits) != OK || in.n != 0 ||
        der_expect(&algorithm, DER_OID, &oid) != OK ||
        der_expect(&algorithm, DER_OID, &curve) != OK || !bytes_equal(oid, OID_EC_PUBLIC_KEY) ||
        !bytes_equal(curve, OID_P256) || bits.n != 1 + CERT_POINT || bits.p[0] != 0) {
        return BAD_INPUT;
    }
    view->point = (struct bytes){bits.p + 1, CERT_POINT};
    return OK;
}

static enum status read_tbs(struct bytes in, struct cert_view *view)
{
    struct bytes ignored, validity, key;
    unsigned tag;
    if (der_expect(&in, DER_CONTEXT_CONSTRUCTED + 0, &ignored) != OK ||
        der_expect(&in, DER_INTEGER, &ignored) != OK ||
        der_expect(&in, DER_SEQUENCE, &ignored) != OK ||
        der_read(&in, &tag, &ignored, &view->issuer) != OK ||
        der_expect(&in, DER_SEQUENCE, &validity) != OK ||
        der_read_time(&validity, &view->not_before) != OK ||
        der_read_time(&validity, &view->not_after) != OK ||
        der_read(&in, &tag, &ignored, &view->subject) != OK ||
        der_expect(&in, DER_SEQUENCE, &key) != OK || read_key(key, view) != OK) {
        return BAD_INPUT;
    }
    return read_extensions(in, view);
}

enum status cert_read(struct bytes der, struct cert_view *view)
{
    struct cert_view found = {0};
    struct bytes all, tbs, algorithm, oid, bits;
    unsigned tag;
    if (der_expect(&der, DER_SEQUENCE, &all) != OK || der.n != 0 ||
        der_read(&all, &tag, &tbs, &found.tbs) != OK || tag != DER_SEQUENCE ||
        der_expect(&all, DER_SEQUENCE, &algorithm) != OK ||
        der_expect(&algorithm, DER_OID, &oid) != OK || !bytes_equal(oid, OID_ECDSA_SHA256) ||
        der_expect(&all, DER_BIT_STRING, &bits) != OK || all.n != 0 || bits.n < 2 ||
        bits.p[0] != 0) {
        return BAD_INPUT;
    }
    found.signature = (struct bytes){bits.p + 1, bits.n - 1};
    if (read_tbs(tbs, &found) != OK)
        return BAD_INPUT;
    *view = found;
    return OK;
}

bool cert_signed_by(const struct cert_view *cert, const struct cert_view *issuer)
{
    uint8_t hash[32];
    sha256(hash, cert->tbs);
    br_ec_public_key key = {BR_EC_secp256r1, (unsigned char *)issuer->point.p, issuer->point.n};
    return bytes_equal(cert->issuer, issuer->subject) &&
           br_ecdsa_i31_vrfy_asn1(br_ec_get_default(), hash, sizeof(hash), &key, cert->signature.p,
                                  cert->signature.n) == 1;
}

// ---- PEM ---------------------------------------------------------------------------------------

static void put_collected(void *arg, const void *p, size_t n)
{
    struct buf *buf = arg;
    if (buf_add(buf, p, n) != OK)
        buf->cap_bytes = 0; // remembered: pem_decode asks
}

// Decodes the first object of a PEM file, which must have this name.
enum status cert_pem_decode(struct buf *out, struct bytes text, const char *name)
{
    br_pem_decoder_context decoder;
    br_pem_decoder_init(&decoder);
    bool inside = false;
    buf_init(out, CERT_ROOM);
    while (text.n > 0) {
        size_t n = br_pem_decoder_push(&decoder, text.p, text.n);
        text = (struct bytes){text.p + n, text.n - n};
        int event = br_pem_decoder_event(&decoder);
        if (event == BR_PEM_BEGIN_OBJ && strcmp(br_pem_decoder_name(&decoder), name) == 0) {
            br_pem_decoder_setdest(&decoder, put_collected, out);
            inside = true;
        } else if (event == BR_PEM_END_OBJ && inside && out->cap_bytes > 0) {
            return OK;
        } else if (event != 0 || (n == 0 && text.n > 0)) {
            break;
        }
    }
    buf_free(out);
    return BAD_INPUT;
}

static enum status pem_encode(struct buf *out, struct bytes der, const char *name)
{
    char text[CERT_ROOM * 3 / 2];
    size_t n = br_pem_encode(NULL, der.p, der.n, name, BR_PEM_LINE64);
    if (n >= sizeof(text))
        return TOO_LARGE;
    br_pem_encode(text, der.p, der.n, name, BR_PEM_LINE64);
    enum status status = buf_add(out, text, n);
    explicit_bzero(text, sizeof(text)); // it may be a key
    return status;
}

enum status cert_pem(struct buf *out, const struct cert *cert)
{
    return pem_encode(out, (struct bytes){cert->der, cert->n}, "CERTIFICATE");
}

void cert_fingerprint(const struct cert *cert, char out[96])
{
    uint8_t hash[32];
    sha256(hash, (struct bytes){cert->der, cert->n});
    for (size_t i = 0; i < sizeof(hash); i++)
        snprintf(out + 3 * i, 96 - 3 * i, i + 1 < sizeof(hash) ? "%02X:" : "%02X", hash[i]);
}

enum status cert_key_decode(uint8_t key[CERT_KEY], struct bytes der)
{
    br_skey_decoder_context decoder;
    br_skey_decoder_init(&decoder);
    br_skey_decoder_push(&decoder, der.p, der.n);
    const br_ec_private_key *found = br_skey_decoder_get_ec(&decoder);
    uint8_t point[CERT_POINT];
    bool good = found && found->curve == BR_EC_secp256r1 && found->xlen == CERT_KEY &&
                make_point(point, found->x);
    if (good)
        memcpy(key, found->x, CERT_KEY);
    explicit_bzero(&decoder, sizeof(decoder));
    return good ? OK : BAD_INPUT;
}

enum status cert_key_pem(struct buf *out, const uint8_t key[CERT_KEY])
{
    br_ec_private_key sk = private_key(key);
    uint8_t point[CERT_POINT], der[256];
    if (!make_point(point, key))
        die("a private key of ours is not on the curve");
    br_ec_public_key pk = {BR_EC_secp256r1, point, CERT_POINT};
    size_t n = br_encode_ec_raw_der(NULL, &sk, &pk);
    if (n == 0 || n > sizeof(der))
        die("the TLS library cannot encode a P-256 key");
    br_encode_ec_raw_der(der, &sk, &pk);
    enum status status = pem_encode(out, (struct bytes){der, n}, "EC PRIVATE KEY");
    explicit_bzero(der, sizeof(der));
    return status;
}

// ---- issuing -----------------------------------------------------------------------------------

static int64_t valid_from(bool trusted)
{
    const int64_t now = clock_unix_s(), built = clock_floor_s();
    return (trusted || now < built ? now : built) - DAY;
}

enum status cert_issue_ca(struct cert *ca, struct err *err)
{
    uint8_t point[CERT_POINT], id[20];
    if (!make_point(point, ca->key))
        return err_set(err, BAD_INPUT, "the CA's key is not on the curve P-256");
    key_id(id, (struct bytes){point, sizeof(point)});
    char name[40];
    snprintf(name, sizeof(name), "Tawny CA %02x%02x%02x%02x", id[0], id[1], id[2], id[3]);
    struct cert_plan plan = {
        .common_name = name,
        .point = {point, sizeof(point)},
        .issuer_point = {point, sizeof(point)},
        .not_before = valid_from(false),
        .not_after = clock_unix_s() + (int64_t)CA_DAYS * DAY,
    };
    return issue(ca, &plan, ca->key, err);
}

bool cert_hostname_good(const char *hostname)
{
    size_t n = strlen(hostname), n_label = 0;
    for (size_t i = 0; i <= n; i++) {
        char c = hostname[i];
        if (c == '.' || c == 0) {
            if (n_label == 0 || n_label > 63 || hostname[i - 1] == '-')
                return false;
            n_label = 0;
        } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                   (c == '-' && n_label > 0)) {
            n_label++;
        } else {
            return false;
        }
    }
    return n <= 63;
}

// Is this whole name (tag, length, content) among the GeneralNames?
static bool names_hold(struct bytes names, struct bytes wanted)
{
    struct bytes list, content, whole;
    unsigned tag;
    if (der_expect(&names, DER_SEQUENCE, &list) != OK)
        return false;
    while (list.n > 0 && der_read(&list, &tag, &content, &whole) == OK)
        if (bytes_equal(whole, wanted))
            return true;
    return false;
}

// Does a certificate that names `held` still do where `wanted` is to be named? Every wanted name
// and address has to be there, and no DNS name that is not wanted: those follow the hostname only.
// Addresses over and above are left alone: a machine that boots has few before DHCP answers, and
// would otherwise be issued one certificate then and another a second later, at each boot.
static bool names_do(struct bytes held, struct bytes wanted)
{
    struct bytes list, content, whole, rest = wanted;
    unsigned tag;
    if (der_expect(&rest, DER_SEQUENCE, &list) != OK)
        return false;
    while (list.n > 0)
        if (der_read(&list, &tag, &content, &whole) != OK || !names_hold(held, whole))
            return false;
    rest = held;
    if (der_expect(&rest, DER_SEQUENCE, &list) != OK)
        return false;
    while (list.n > 0) {
        if (der_read(&list, &tag, &content, &whole) != OK ||
            (tag == DER_CONTEXT + 2 && !names_hold(wanted, whole))) {
            return false;
        }
    }
    return true;
}

static enum status encode_names(struct der *der, uint8_t *space, size_t room,
                                const struct cert_request *request, struct err *err)
{
    der_init(der, space, room);
    put_alt_names(der, request);
    return der->full ? err_set(err, NO_ROOM, "%zu addresses do not fit one certificate",
                               request->n_addresses)
                     : OK;
}

bool cert_names(const struct cert_view *cert, const struct cert_request *request)
{
    uint8_t space[CERT_ROOM / 2];
    struct der san;
    return encode_names(&san, space, sizeof(space), request, NULL) == OK &&
           names_do(cert->san, der_view(&san));
}

enum status cert_issue_server(struct cert *server, const struct cert *ca,
                              const struct cert_request *request, struct err *err)
{
    uint8_t space[CERT_ROOM / 2], point[CERT_POINT];
    struct der san;
    struct cert_view ca_view;
    if (cert_read((struct bytes){ca->der, ca->n}, &ca_view) != OK)
        return err_set(err, BAD_INPUT, "the CA's certificate cannot be read back");
    enum status status = encode_names(&san, space, sizeof(space), request, err);
    if (status != OK)
        return status;
    cert_make_key(server->key);
    if (!make_point(point, server->key))
        die("a new private key is not on the curve");
    struct cert_plan plan = {
        .issuer = ca_view.subject,
        .common_name = request->hostname,
        .point = {point, sizeof(point)},
        .issuer_point = ca_view.point,
        .san = der_view(&san),
        .not_before = valid_from(clock_trust() == CLOCK_TRUSTED),
        .not_after = clock_unix_s() + (int64_t)(SERVER_DAYS - 1) * DAY,
    };
    return issue(server, &plan, ca->key, err);
}
