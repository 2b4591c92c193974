// net_cert.c - DER and certificates (engine/net/der.c, cert.c): written, read back by our reader,
// verified by BearSSL's X.509 engine and, where the program is at hand, by openssl; damaged files;
// re-issuing.
//
// The clock is this program's own (clock_unix_s below replaces base/clock.c), so that years can
// pass.
#include "../../engine/net/identity.h"
#include "../../engine/base/clock_trust.h"
#include "../../engine/net/der.h"
#include "check.h"

#include <bearssl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now_s;

uint64_t clock_ms(void)
{
    return 0;
}

uint64_t clock_us(void)
{
    return 0;
}

int64_t clock_unix_s(void)
{
    return now_s;
}

static enum clock_trust trust = CLOCK_TRUSTED;

enum clock_trust clock_trust(void)
{
    return trust;
}

static int64_t built_s;

int64_t clock_floor_s(void)
{
    return built_s;
}

#define YEAR (370 * (int64_t)86400) // and a little: past the time to renew

static char state[64];

static const char *path(const char *name)
{
    static char text[4][160];
    static size_t turn;
    char *out = text[turn++ % 4];
    snprintf(out, 160, "%s/tls/%s", state, name);
    return out;
}

// ---- DER ---------------------------------------------------------------------------------------

static void test_der_lengths(void)
{
    static const size_t lengths[] = {0, 1, 127, 128, 255, 256, 257, 65535};
    static uint8_t content[65536], space[70000];
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        struct der der;
        der_init(&der, space, sizeof(space));
        der_put(&der, DER_OCTET_STRING, (struct bytes){content, lengths[i]});
        CHECK(!der.full);
        struct bytes in = der_view(&der), got;
        CHECK(der_expect(&in, DER_OCTET_STRING, &got) == OK && got.n == lengths[i] && in.n == 0);
        for (size_t cut = 0; cut < der.n; cut += cut < 8 ? 1 : 1000) {
            in = (struct bytes){space, cut};
            CHECK(der_expect(&in, DER_OCTET_STRING, &got) == BAD_INPUT && in.n == cut);
        }
        der_init(&der, space, lengths[i] + 1); // one byte too little at the least
        der_put(&der, DER_OCTET_STRING, (struct bytes){content, lengths[i]});
        CHECK(der.full);
    }
    struct der der;
    der_init(&der, space, sizeof(space));
    der_put(&der, DER_OCTET_STRING, (struct bytes){content, 65536});
    CHECK(der.full); // longer than it writes
}

static void bad_der(const char *text, size_t n)
{
    struct bytes in = {(const uint8_t *)text, n}, got;
    unsigned tag;
    CHECK(der_read(&in, &tag, &got, NULL) == BAD_INPUT);
}

static void test_der_strict(void)
{
    bad_der("\x30\x80\x00\x00", 4);         // indefinite
    bad_der("\x04\x81\x01\x00", 4);         // not the shortest form
    bad_der("\x04\x82\x00\x01\x00", 5);     // leading zero
    bad_der("\x04\x84\x00\x00\x00\x01", 6); // too long a length
    bad_der("\x1f\x81\x01\x00", 4);         // tag of several bytes
    bad_der("\x04\x02\x00", 3);             // ends early
    bad_der("\x04", 1);
    bad_der("", 0);
}

static void test_der_integers(void)
{
    uint8_t space[16];
    struct der der;
    der_init(&der, space, sizeof(space));
    der_integer(&der, (struct bytes){(const uint8_t *)"\x00\x00\x80", 3});
    CHECK(der.n == 4 && memcmp(space, "\x02\x02\x00\x80", 4) == 0);
    der_init(&der, space, sizeof(space));
    der_integer(&der, (struct bytes){(const uint8_t *)"\x00", 1});
    CHECK(der.n == 3 && memcmp(space, "\x02\x01\x00", 3) == 0);
}

static void test_der_times(void)
{
    static const struct {
        int64_t unix_s;
        const char *text;
    } times[] = {
        {0, "700101000000Z"},
        {951782400, "000229000000Z"},
        {1767225599, "251231235959Z"},
        {2524607999, "491231235959Z"},
        {2524608000, "20500101000000Z"},
        {4107542400, "21000301000000Z"},
    };
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        uint8_t space[32];
        struct der der;
        int64_t back;
        der_init(&der, space, sizeof(space));
        der_time(&der, times[i].unix_s);
        struct bytes in = der_view(&der);
        CHECK(!der.full && bytes_equal_text((struct bytes){space + 2, der.n - 2}, times[i].text));
        CHECK(der_read_time(&in, &back) == OK && back == times[i].unix_s);
    }
    static const char *const bad[] = {"\x17\x0d"
                                      "991301000000Z",
                                      "\x17\x0d"
                                      "9901010000000",
                                      "\x17\x0d"
                                      "99010100000xZ",
                                      "\x17\x0b"
                                      "9901010000Z",
                                      "\x18\x0d"
                                      "990101000000Z"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct bytes in = bytes_of(bad[i]);
        int64_t back;
        CHECK(der_read_time(&in, &back) == BAD_INPUT);
    }
}

// ---- verifying ---------------------------------------------------------------------------------

struct name_parts {
    uint8_t p[256];
    size_t n;
};

static void keep_name(void *arg, const void *p, size_t n)
{
    struct name_parts *name = arg;
    if (n <= sizeof(name->p) - name->n) {
        memcpy(name->p + name->n, p, n);
        name->n += n;
    }
}

// BearSSL's verdict on `server` for this host name: 0 is good.
static unsigned verdict(const struct cert *server, const struct cert *ca, const char *host,
                        int64_t at)
{
    br_x509_decoder_context decoder;
    struct name_parts name = {.n = 0};
    br_x509_decoder_init(&decoder, keep_name, &name);
    br_x509_decoder_push(&decoder, ca->der, ca->n);
    const br_x509_pkey *key = br_x509_decoder_get_pkey(&decoder);
    if (!CHECK(key && br_x509_decoder_isCA(&decoder)))
        return 9999;
    br_x509_trust_anchor anchor = {{name.p, name.n}, BR_X509_TA_CA, *key};
    br_x509_minimal_context minimal;
    br_x509_minimal_init(&minimal, &br_sha256_vtable, &anchor, 1);
    br_x509_minimal_set_hash(&minimal, br_sha256_ID, &br_sha256_vtable);
    br_x509_minimal_set_ecdsa(&minimal, br_ec_get_default(), br_ecdsa_vrfy_asn1_get_default());
    br_x509_minimal_set_time(&minimal, (uint32_t)(at / 86400 + 719528), (uint32_t)(at % 86400));
    minimal.vtable->start_chain(&minimal.vtable, host);
    minimal.vtable->start_cert(&minimal.vtable, (uint32_t)server->n);
    minimal.vtable->append(&minimal.vtable, server->der, server->n);
    minimal.vtable->end_cert(&minimal.vtable);
    return minimal.vtable->end_chain(&minimal.vtable);
}

// Exit status of a program without output; 127: there is none.
static int run(const char *const argv[])
{
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return 126;
    return WEXITSTATUS(status);
}

static void test_with_openssl(void)
{
    if (run((const char *const[]){"openssl", "version", NULL}) != 0) {
        check_skip("certificates checked by openssl", "there is no openssl here");
        return;
    }
    char ca[200];
    snprintf(ca, sizeof(ca), "%s", path("ca.crt"));
    static const char *const good[][2] = {{"-verify_hostname", "tawny"},
                                          {"-verify_hostname", "tawny.local"},
                                          {"-verify_hostname", "localhost"},
                                          {"-verify_ip", "127.0.0.1"},
                                          {"-verify_ip", "::1"},
                                          {"-verify_ip", "192.0.2.7"},
                                          {"-verify_ip", "2001:db8::7"},
                                          {"-purpose", "sslserver"}};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        CHECK(run((const char *const[]){"openssl", "verify", "-x509_strict", "-CAfile", ca,
                                        good[i][0], good[i][1], path("server.crt"), NULL}) == 0);
    }
    CHECK(run((const char *const[]){"openssl", "verify", "-CAfile", ca, "-verify_ip", "192.0.2.8",
                                    path("server.crt"), NULL}) != 0);
    CHECK(run((const char *const[]){"openssl", "verify", "-CAfile", ca, "-purpose", "sslclient",
                                    path("server.crt"), NULL}) != 0);
    CHECK(run((const char *const[]){"openssl", "ec", "-check", "-noout", "-in", path("server.key"),
                                    NULL}) == 0);
    CHECK(run((const char *const[]){"openssl", "ec", "-check", "-noout", "-in", path("ca.key"),
                                    NULL}) == 0);
}

// ---- issuing -----------------------------------------------------------------------------------

static const struct address addresses[] = {
    {.p = {127, 0, 0, 1}, .n = 4, .loopback = true},
    {.p = {192, 0, 2, 7}, .n = 4},
    {.p = {[15] = 1}, .n = 16, .loopback = true},
    {.p = {0x20, 0x01, 0x0d, 0xb8, [15] = 7}, .n = 16},
};

static const struct cert_request request = {"tawny", addresses, 4};

static unsigned mode_of(const char *file)
{
    struct stat at;
    return stat(file, &at) == 0 ? at.st_mode & 0777 : 0;
}

static void test_issue(struct cert *ca, struct cert *server)
{
    struct err err = {0};
    const char *why = NULL;
    CHECK(identity_ca(ca, state, &err) == OK);
    CHECK(identity_server(server, ca, state, &request, &why, &err) == OK && why);
    CHECK(mode_of(path("ca.key")) == 0600 && mode_of(path("server.key")) == 0600);
    CHECK(mode_of(path("ca.crt")) == 0644 && mode_of(path("server.crt")) == 0644);
    CHECK(verdict(server, ca, "tawny", now_s) == 0 &&
          verdict(server, ca, "tawny.local", now_s) == 0);
    CHECK(verdict(server, ca, "localhost", now_s) == 0 &&
          verdict(server, ca, "TAWNY.LOCAL", now_s) == 0);
    CHECK(verdict(server, ca, "evil.example", now_s) == BR_ERR_X509_BAD_SERVER_NAME);
    CHECK(verdict(server, ca, "tawny", now_s + 397 * 86400) == BR_ERR_X509_EXPIRED);
    CHECK(verdict(server, ca, "tawny", now_s - 2 * 86400) == BR_ERR_X509_EXPIRED);
    struct cert_view view, ca_view;
    CHECK(cert_read((struct bytes){server->der, server->n}, &view) == OK);
    CHECK(cert_read((struct bytes){ca->der, ca->n}, &ca_view) == OK);
    CHECK(cert_signed_by(&view, &ca_view) && cert_signed_by(&ca_view, &ca_view) &&
          !cert_signed_by(&ca_view, &view));
    CHECK(view.not_after - view.not_before <= (int64_t)398 * 86400);
    struct cert again, ca_again;
    CHECK(identity_ca(&ca_again, state, &err) == OK && ca_again.n == ca->n &&
          memcmp(ca_again.der, ca->der, ca->n) == 0);
    CHECK(identity_server(&again, ca, state, &request, &why, &err) == OK && !why);
    CHECK(again.n == server->n && memcmp(again.der, server->der, again.n) == 0 &&
          memcmp(again.key, server->key, 32) == 0);
    char print[96];
    cert_fingerprint(ca, print);
    CHECK(strlen(print) == 95 && print[2] == ':');
}

static void expect_reissue(const struct cert *ca, const struct cert_request *wanted,
                           const char *reason)
{
    struct cert server;
    struct err err = {0};
    const char *why = NULL;
    CHECK(identity_server(&server, ca, state, wanted, &why, &err) == OK);
    if (CHECK(why))
        CHECK_TEXT(why, reason);
    CHECK(verdict(&server, ca, wanted->hostname, now_s) == 0);
    CHECK(identity_server(&server, ca, state, wanted, &why, &err) == OK && !why); // once
}

// The certificate on disk is taken as it is.
static void expect_kept(const struct cert *ca, const struct cert_request *wanted)
{
    struct cert server;
    struct err err = {0};
    struct buf before, after;
    const char *why = NULL;
    CHECK(file_read(&before, path("server.crt"), 1 << 16, &err) == OK);
    CHECK(identity_server(&server, ca, state, wanted, &why, &err) == OK && !why);
    CHECK(verdict(&server, ca, wanted->hostname, now_s) == 0);
    CHECK(file_read(&after, path("server.crt"), 1 << 16, &err) == OK);
    CHECK(bytes_equal(buf_view(&before), buf_view(&after)));
    buf_free(&before);
    buf_free(&after);
}

static void test_reissue(const struct cert *ca)
{
    const struct cert_request fewer = {"tawny", addresses, 3},
                              renamed = {"box.example", addresses, 3},
                              shorter = {"localhost", addresses, 3};
    static const char *const changed = "this machine has a name or an address that it did not name";
    expect_kept(ca, &fewer);   // an address went away, as before DHCP answers
    expect_kept(ca, &request); // and is back
    expect_reissue(ca, &renamed, changed);
    expect_reissue(ca, &shorter, changed); // it names localhost, and the old hostname as well
    expect_reissue(ca, &fewer, changed);
    expect_reissue(ca, &request, changed); // an address that is not in it
    expect_kept(ca, &fewer);
    now_s += YEAR;
    expect_reissue(ca, &request, "the old one was near its end");
    now_s -= 2 * YEAR; // the clock was wrong before
    expect_reissue(ca, &request, "the old one is not valid yet by this machine's clock");
    now_s += YEAR;
    expect_reissue(ca, &request, "the old one was near its end"); // it ends a year earlier
    CHECK(chmod(path("server.key"), 0644) == 0);
    struct cert server;
    struct err err = {0};
    const char *why;
    CHECK(identity_server(&server, ca, state, &request, &why, &err) == OK && !why);
    CHECK(mode_of(path("server.key")) == 0600); // made private again
    static const char *const files[] = {"server.key", "server.crt"};
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        CHECK(file_write(path(files[i]), bytes_of("-----BEGIN nonsense"), 0600, &err) == OK);
        expect_reissue(ca, &request, "the old one was damaged");
        CHECK(file_write(path(files[i]), bytes_of(""), 0600, &err) == OK);
        expect_reissue(ca, &request, "there was none");
        CHECK(unlink(path(files[i])) == 0);
        expect_reissue(ca, &request, "there was none");
    }
}

// ---- damage ------------------------------------------------------------------------------------

// Writes `content` over a file of the CA's; it must be refused with advice, and left as it is.
static void expect_refusal(const char *name, struct bytes content)
{
    struct cert ca;
    struct err err = {0};
    struct buf after;
    CHECK(file_write(path(name), content, 0600, &err) == OK);
    if (!CHECK(identity_ca(&ca, state, &err) == BAD_INPUT))
        fprintf(stderr, "    %s, %zu bytes\n", name, content.n);
    CHECK(strstr(err.text, name) && strstr(err.text, "restore it"));
    CHECK(file_read(&after, path(name), 65536, &err) == OK);
    CHECK(bytes_equal(buf_view(&after), content));
    buf_free(&after);
}

static void test_damaged_ca(void)
{
    static const char *const files[] = {"ca.crt", "ca.key"};
    struct err err = {0};
    struct cert ca, before;
    CHECK(identity_ca(&before, state, &err) == OK);
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct buf good;
        CHECK(file_read(&good, path(files[i]), 65536, &err) == OK);
        for (size_t cut = 1; cut + 1 < good.n; cut += 37) // the last byte is a line end
            expect_refusal(files[i], (struct bytes){good.p, cut});
        size_t middle = i == 0 ? good.n / 2 : 50; // in the signed part, in the private number
        good.p[middle] = good.p[middle] == 'A' ? 'B' : 'A';
        expect_refusal(files[i], buf_view(&good));
        expect_refusal(files[i], bytes_of("garbage\n"));
        good.p[middle] = 0;
        expect_refusal(files[i], buf_view(&good));
        buf_free(&good);
        CHECK(file_read(&good, path("server.key"), 65536, &err) ==
              OK); // another's key, a file of the wrong kind
        expect_refusal(files[i], buf_view(&good));
        buf_free(&good);
        struct buf pem; // put it right again
        buf_init(&pem, 65536);
        CHECK(cert_pem(&pem, &before) == OK);
        if (i == 0) {
            CHECK(file_write(path("ca.crt"), buf_view(&pem), 0644, &err) == OK);
            CHECK(identity_ca(&ca, state, &err) == OK);
        }
        buf_free(&pem);
    }
}

// A first start with a clock that is years ahead, or that stands at the build: whoever knows the
// time takes both certificates. Once the clock is right the long one goes.
static void test_wrong_clock(void)
{
    const int64_t right_s = now_s;
    for (int64_t wrong_s = built_s; wrong_s <= right_s + 14 * YEAR; wrong_s += 14 * YEAR) {
        struct cert ca = {0}, server = {0};
        struct err err = {0};
        const char *why = NULL;
        trust = CLOCK_NOT_TRUSTED;
        now_s = wrong_s;
        cert_make_key(ca.key);
        CHECK(cert_issue_ca(&ca, &err) == OK);
        CHECK(cert_issue_server(&server, &ca, &request, &err) == OK);
        CHECK(identity_renew(&server, &ca, &request, &why, &err) == OK && !why);
        CHECK(verdict(&server, &ca, "tawny", right_s) == 0);
        CHECK(verdict(&server, &ca, "tawny", wrong_s) == 0);
        trust = CLOCK_TRUSTED;
        now_s = right_s;
        CHECK(identity_renew(&server, &ca, &request, &why, &err) == OK);
        if (wrong_s > right_s && CHECK(why))
            CHECK_TEXT(why,
                       "the old one was made while this machine's clock was not to be trusted");
        CHECK(verdict(&server, &ca, "tawny", right_s) == 0);
        struct cert_view view;
        CHECK(cert_read((struct bytes){server.der, server.n}, &view) == OK);
        CHECK(view.not_after - view.not_before <= 825 * (int64_t)86400);
    }
}

static void test_missing_ca(void)
{
    struct err err = {0};
    struct cert ca, again, server;
    const char *why;
    CHECK(unlink(path("ca.key")) == 0);
    CHECK(identity_ca(&ca, state, &err) == NOT_FOUND && strstr(err.text, "ca.key"));
    CHECK(file_write(path("ca.key"), bytes_of(""), 0600, &err) == OK);
    CHECK(identity_ca(&ca, state, &err) == NOT_FOUND && strstr(err.text, "ca.key"));
    CHECK(file_write(path("ca.crt"), bytes_of(""), 0644, &err) == OK); // both empty: a new one
    CHECK(identity_ca(&ca, state, &err) == OK);
    CHECK(identity_server(&server, &ca, state, &request, &why, &err) == OK);
    CHECK_TEXT(why, "it was not signed by this device's CA");
    CHECK(unlink(path("ca.crt")) == 0); // a power cut between the two: the key keeps the name
    now_s += 3600;
    CHECK(identity_ca(&again, state, &err) == OK && memcmp(again.key, ca.key, 32) == 0);
    CHECK(verdict(&server, &again, "tawny", now_s) == 0);
    CHECK(identity_server(&server, &again, state, &request, &why, &err) == OK && !why);
}

// Every truncation of a certificate, ending at an unreadable page, and every byte changed.
static void test_hostile_certificate(const struct cert *cert)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct cert_view view, good;
    if (!CHECK(p != MAP_FAILED && mprotect(p + page, page, PROT_NONE) == 0 && cert->n < page))
        return;
    CHECK(cert_read((struct bytes){cert->der, cert->n}, &good) == OK);
    for (size_t n = 0; n < cert->n; n++) {
        memcpy(p + page - n, cert->der, n);
        CHECK(cert_read((struct bytes){p + page - n, n}, &view) == BAD_INPUT);
    }
    uint8_t *copy = p + page - cert->n;
    size_t n_signed = 0;
    for (size_t i = 0; i < cert->n; i++) {
        memcpy(copy, cert->der, cert->n);
        copy[i] ^= (uint8_t)(1U << i % 8);
        if (cert_read((struct bytes){copy, cert->n}, &view) == OK && i % 7 == 0)
            n_signed += cert_signed_by(&view, &good);
    }
    CHECK(n_signed == 0);
    munmap(p, 2 * page);
}

static void test_hostnames(void)
{
    static const char *const good[] = {"tawny", "a", "a-b.c1", "TAWNY", "1.2"};
    static const char *const bad[] = {
        "",
        "-a",
        "a-",
        ".a",
        "a.",
        "a..b",
        "a b",
        "a_b",
        "a*",
        "a/b",
        "ä",
        "a\n",
        "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < COUNT_OF(good); i++)
        CHECK(cert_hostname_good(good[i]));
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(!cert_hostname_good(bad[i]));
}

static void remove_state(void)
{
    static const char *const files[] = {"ca.crt", "ca.key", "server.crt", "server.key"};
    for (size_t i = 0; i < COUNT_OF(files); i++)
        unlink(path(files[i]));
    rmdir(path(""));
    rmdir(state);
}

int main(void)
{
    now_s = (int64_t)time(NULL);
    built_s = now_s - 30 * (int64_t)86400;
    log_level_set(LOG_ERROR);
    snprintf(state, sizeof(state), "/tmp/net_cert.XXXXXX");
    if (!mkdtemp(state)) {
        fprintf(stderr, "cannot make %s: %s\n", state, strerror(errno));
        return 1;
    }
    test_der_lengths();
    test_der_strict();
    test_der_integers();
    test_der_times();
    struct cert ca, server;
    test_issue(&ca, &server);
    test_with_openssl();
    test_hostile_certificate(&ca);
    test_hostile_certificate(&server);
    test_reissue(&ca);
    test_damaged_ca();
    test_missing_ca();
    test_wrong_clock();
    test_hostnames();
    remove_state();
    return check_done("net_cert");
}
