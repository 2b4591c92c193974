// tls_client.c - BearSSL's client engine behind tls.h: TLS 1.2 with a server whose certificate
// chain ends at one that is trusted, is good now by this machine's clock, and names the host.
//
// Its suites are those with forward secrecy and an authenticated cipher, for certificates of EC and
// of RSA keys; signatures over SHA-1 are none. A host that is an address cannot be talked to:
// BearSSL compares names only.
#include "tls_inside.h"
#include "trust.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DAYS_TO_1970 = 719528, DAY_S = 86400 }; // BearSSL counts days from the year 0

static const struct {
    int id;
    const br_hash_class *class;
} hashes[] = {{br_sha256_ID, &br_sha256_vtable},
              {br_sha384_ID, &br_sha384_vtable},
              {br_sha512_ID, &br_sha512_vtable}};

static void choose_checks(struct tls *tls, const struct trust *trust)
{
    br_x509_minimal_context *checker = tls->checker;
    const int64_t now_s = clock_unix_s() > 0 ? clock_unix_s() : 0;
    br_x509_minimal_init(checker, &br_sha256_vtable, trust->anchors, trust->n);
    br_x509_minimal_set_rsa(checker, br_rsa_pkcs1_vrfy_get_default());
    br_x509_minimal_set_ecdsa(checker, br_ec_get_default(), br_ecdsa_vrfy_asn1_get_default());
    for (size_t i = 0; i < COUNT_OF(hashes); i++)
        br_x509_minimal_set_hash(checker, hashes[i].id, hashes[i].class);
    br_x509_minimal_set_time(checker, (uint32_t)(now_s / DAY_S) + DAYS_TO_1970,
                             (uint32_t)(now_s % DAY_S));
    br_ssl_engine_set_x509(tls->eng, &checker->vtable);
}

static void choose_algorithms(struct tls *tls)
{
    static const uint16_t suites[] = {
        BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    };
    static const char *protocols[] = {"http/1.1"};
    br_ssl_engine_set_versions(tls->eng, BR_TLS12, BR_TLS12);
    br_ssl_engine_set_suites(tls->eng, suites, COUNT_OF(suites));
    br_ssl_engine_set_default_ecdsa(tls->eng);
    br_ssl_engine_set_default_rsavrfy(tls->eng);
    br_ssl_engine_set_default_aes_gcm(tls->eng);
    br_ssl_engine_set_default_chapol(tls->eng);
    for (size_t i = 0; i < COUNT_OF(hashes); i++)
        br_ssl_engine_set_hash(tls->eng, hashes[i].id, hashes[i].class);
    br_ssl_engine_set_prf_sha256(tls->eng, &br_tls12_sha256_prf);
    br_ssl_engine_set_prf_sha384(tls->eng, &br_tls12_sha384_prf);
    br_ssl_engine_set_protocol_names(tls->eng, protocols, COUNT_OF(protocols));
    br_ssl_engine_add_flags(tls->eng, BR_OPT_NO_RENEGOTIATION);
}

struct tls *tls_client_open(const struct trust *trust, const char *host)
{
    struct tls *tls = mem_alloc(sizeof(*tls));
    br_ssl_client_zero(&tls->as.client);
    tls->eng = &tls->as.client.eng;
    tls->checker = mem_alloc(sizeof(*tls->checker));
    choose_checks(tls, trust);
    choose_algorithms(tls);
    tls_furnish(tls);
    if (br_ssl_client_reset(&tls->as.client, host, 0) != 1)
        die("the TLS library refuses its own settings: error %d",
            br_ssl_engine_last_error(tls->eng));
    return tls;
}

static const char *reason(int number)
{
    switch (number) {
    case BR_ERR_OK:
        return "ended the connection";
    case BR_ERR_X509_NOT_TRUSTED:
        return "shows a certificate that is not signed by a trusted authority";
    case BR_ERR_X509_EXPIRED:
        return "shows a certificate that is expired, or not valid yet by this box's clock";
    case BR_ERR_X509_BAD_SERVER_NAME:
        return "shows a certificate for another name";
    case BR_ERR_X509_BAD_SIGNATURE:
        return "shows a certificate with a wrong signature";
    case BR_ERR_X509_CRITICAL_EXTENSION:
        return "shows a certificate with a critical extension that is not understood here";
    case BR_ERR_X509_NOT_CA:
        return "shows a certificate signed by one that may not sign";
    case BR_ERR_X509_FORBIDDEN_KEY_USAGE:
        return "shows a certificate that may not be used for this";
    case BR_ERR_X509_WEAK_PUBLIC_KEY:
        return "shows a certificate whose key is too short";
    case BR_ERR_BAD_MAC:
        return "sent a record that failed its authentication";
    case BR_ERR_UNSUPPORTED_VERSION:
    case BR_ERR_BAD_VERSION:
        return "speaks no TLS 1.2";
    default:
        break;
    }
    if (number >= BR_ERR_RECV_FATAL_ALERT)
        return "refused the TLS connection with an alert";
    if (number > BR_ERR_X509_OK)
        return "shows a certificate that cannot be read or checked here";
    return "does not speak TLS there, or broke its rules";
}

enum status tls_client_why(int number, char out[TLS_WHY_BYTES])
{
    const int64_t now_s = clock_unix_s();
    const time_t now = (time_t)now_s;
    struct tm day;
    char text[32];
    snprintf(out, TLS_WHY_BYTES, "%s", reason(number));
    if (number == BR_ERR_X509_EXPIRED && gmtime_r(&now, &day) &&
        strftime(text, sizeof(text), "%Y-%m-%d", &day) > 0)
        snprintf(out, TLS_WHY_BYTES, "%s (%s)%s", reason(number), text,
                 now_s < TAWNY_BUILD_EPOCH
                     ? ": that is before this program was made, so the clock is wrong: set it"
                     : "");
    return number > BR_ERR_X509_OK && number < BR_ERR_RECV_FATAL_ALERT ? DENIED : IO_ERROR;
}
