// base_sha256.c - SHA-256 against the vectors of FIPS 180-4 and of its examples, and against what
// sha256sum(1) says of texts of every length around a block, in one piece and in many: plainly, and
// by the processor's instructions where it has them.
#include "../../engine/base/sha256.h"
#include "check.h"

static void check_hash(struct bytes text, const char *want)
{
    uint8_t hash[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    sha256_of(text, hash);
    hex_write(hex, hash, sizeof(hash));
    CHECK_TEXT(hex, want);
}

static void test_vectors(void)
{
    static uint8_t a[1000000];
    memset(a, 'a', sizeof(a));
    check_hash(bytes_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_hash(bytes_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_hash(bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
               "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    check_hash((struct bytes){a, sizeof(a)},
               "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// The lengths at which the padding changes its form.
static void test_lengths(void)
{
    static const struct {
        size_t n;
        const char *hash;
    } cases[] = {
        {1, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"},
        {55, "d5e285683cd4efc02d021a5c62014694958901005d6f71e89e0989fac77e4072"},
        {56, "04c26261370ee7541549d16dee320c723e3fd14671e66a099afe0a377c16888e"},
        {57, "ae14a2563ccf969d99aca69ce6bb74981f734bbf9f655f73b8f06db68cab5217"},
        {63, "75220b47218278e656f2013bb8f0c455a25eaf01e86c64924e9d48d89776d6f2"},
        {64, "7ce100971f64e7001e8fe5a51973ecdfe1ced42befe7ee8d5fd6219506b5393c"},
        {65, "9537c5fdf120482f7d58d25e9ed583f52c02b4e304ea814db1633ad565aed7e9"},
        {119, "000b48d4edf0fa7bee3c6236ecd2785baa5db4eeb8bb54341b029e0d9fa5fb0c"},
        {120, "13f05a0b594787f5ecd315edc96141bd3243203d1b7d4f0836f37308b276ba98"},
        {121, "79072a47bfaa54e6057a9ee21e0dea64b9edbfd160c4ccadbb657e64b6d22ee4"},
        {127, "70156a14adbabf98cff3a71c7084b417abf057a8efd27329ca36b7202c87d81f"},
        {128, "24da1b81d0b16df6428eee73c69fcb2a93c76bc6df706f0c6670fe6bfe800464"},
        {129, "0ec9eb33e74510bcdd1f2ea55206e82f21649c5c2becbf2b433eb475b34c01bd"},
        {200, "aa20c23e3201834050679e1d88941b9a6fed0557c9a705cb2c315e2e63fd486d"},
    };
    static uint8_t text[256];
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_hash((struct bytes){text, cases[i].n}, cases[i].hash);
}

static void test_pieces(void)
{
    uint8_t text[300], whole[SHA256_BYTES], pieces[SHA256_BYTES];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 7);
    sha256_of((struct bytes){text, sizeof(text)}, whole);
    for (size_t step = 1; step < 140; step++) {
        struct sha256 hash;
        sha256_init(&hash);
        for (size_t at = 0; at < sizeof(text); at += step)
            sha256_add(&hash, (struct bytes){text + at,
                                             sizeof(text) - at < step ? sizeof(text) - at : step});
        sha256_done(&hash, pieces);
        CHECK(memcmp(pieces, whole, sizeof(whole)) == 0);
    }
}

int main(void)
{
    const bool has_instructions = sha256_quick(-1);
    for (int quick = 0; quick <= has_instructions; quick++) {
        CHECK(sha256_quick(quick) == quick);
        test_vectors();
        test_lengths();
        test_pieces();
    }
    if (!has_instructions)
        check_skip("SHA-256 by instructions", "this processor has none");
    return check_done("base_sha256");
}
