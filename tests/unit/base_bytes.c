// base_bytes.c - errors, arenas, buffers and UTF-8 of floor 0.
//
// The UTF-8 vectors are Markus Kuhn's classes (overlong, surrogates, stray continuation, cut off)
// with the replacements the Unicode standard recommends (chapter 3, "U+FFFD Substitution of Maximal
// Subparts").
#include "../../engine/base/base.h"
#include "check.h"

#include <stdlib.h>

static void test_err(void)
{
    struct err err = {0};
    CHECK(err_set(&err, TOO_LARGE, "%s: %d", "file", 5) == TOO_LARGE);
    CHECK(err.status == TOO_LARGE);
    CHECK_TEXT(err.text, "file: 5");
    CHECK(err_prefix(&err, "line %d", 3) == TOO_LARGE);
    CHECK_TEXT(err.text, "line 3: file: 5");
    CHECK(err_set(&err, BAD_INPUT, "again: %s", err.text) == BAD_INPUT); // arguments inside err
    CHECK_TEXT(err.text, "again: line 3: file: 5");
    CHECK(err_set(&err, BAD_INPUT, "a\nb\rc") == BAD_INPUT);
    CHECK_TEXT(err.text, "a b c"); // one line
    CHECK(err_set(NULL, NO_ROOM, "nobody reads it") == NO_ROOM);
    err_set(&err, BAD_INPUT, "file /a/b/x-1.gguf: /a/b/x-2.gguf is not beside it, nor /a/c");
    err_hide_folder(&err, "/a/b/x-1.gguf");
    CHECK_TEXT(err.text, "file x-1.gguf: x-2.gguf is not beside it, nor /a/c");
    err_set(&err, BAD_INPUT, "/x /a/b/");
    err_hide_folder(&err, "/x");
    err_hide_folder(&err, "builtin");
    CHECK_TEXT(err.text, "/x /a/b/");
    err_hide_folder(&err, "/a/b/c");
    CHECK_TEXT(err.text, "/x ");
    char many[1000];
    memset(many, 'x', sizeof(many) - 1);
    many[sizeof(many) - 1] = 0;
    memcpy(many + 317, "\xe2\x82\xac", 3); // a euro sign across the end of err.text
    CHECK(err_set(&err, BAD_INPUT, "%s", many) == BAD_INPUT);
    CHECK(strlen(err.text) == 317 && utf8_valid(bytes_of(err.text)));
    CHECK_TEXT(status_name(DEVICE_ERROR), "device error");
    CHECK_TEXT(status_name((enum status)99), "unknown status");
}

static void test_endings(void)
{
    struct bytes name = bytes_of("model.gguf");
    CHECK(bytes_ends_in(name, ".gguf") && !bytes_ends_in(name, ".GGUF"));
    CHECK(bytes_ends_in(bytes_of(":latest"), ":latest"));
    CHECK(!bytes_ends_in(bytes_of("latest"), ":latest") && bytes_ends_in(name, ""));
    CHECK(bytes_cut_end(&name, ".gguf") && bytes_equal_text(name, "model"));
    CHECK(!bytes_cut_end(&name, ".gguf") && bytes_equal_text(name, "model"));
    name = bytes_of(".gguf"); // nothing stands before it
    CHECK(!bytes_cut_end(&name, ".gguf") && name.n == 5);
    name = (struct bytes){NULL, 0};
    CHECK(!bytes_ends_in(name, "x") && !bytes_cut_end(&name, "x"));
}

static void test_begins_and_order(void)
{
    const struct bytes none = {NULL, 0}, owl = bytes_of("owl");
    CHECK(bytes_begins_with(owl, "ow") && bytes_begins_with(owl, "owl"));
    CHECK(!bytes_begins_with(owl, "owls") && !bytes_begins_with(owl, "Ow"));
    CHECK(bytes_begins_with(none, "") && !bytes_begins_with(none, "o"));
    CHECK(bytes_compare(owl, owl) == 0 && bytes_compare(none, none) == 0);
    CHECK(bytes_compare(none, owl) < 0 && bytes_compare(owl, none) > 0);
    CHECK(bytes_compare(bytes_of("ow"), owl) < 0 && bytes_compare(bytes_of("oxe"), owl) > 0);
    CHECK(bytes_compare(bytes_of("\xc3"), owl) > 0); // bytes have no sign
    CHECK(utf8_length(none) == 0 && utf8_length(owl) == 3);
    CHECK(utf8_length(bytes_of("\xc3\xa4\xe4\xb8\xad\xf0\x9f\xa6\x89")) == 3);
}

static void test_digits(void)
{
    const char *small = "00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdef";
    const char *large = "00112233445566778899AABBCCDDEEFF0123456789ABCDEF0123456789abcdef";
    char out[SHA256_TEXT] = "as it was", wrong[SHA256_TEXT];
    static const char bad[] = {'g', '/', ':', '@', 'G', '`', ' ', 0, '\x80'};
    for (size_t i = 0; i < sizeof(bad); i++) {
        memcpy(wrong, small, sizeof(wrong));
        wrong[i * 7] = bad[i];
        CHECK(!sha256_read(out, (struct bytes){(const uint8_t *)wrong, 64}));
    }
    CHECK(!sha256_read(out, (struct bytes){(const uint8_t *)small, 63}));
    CHECK(!sha256_read(out, (struct bytes){(const uint8_t *)small, 65}));
    CHECK(!sha256_read(out, (struct bytes){NULL, 0}));
    CHECK_TEXT(out, "as it was");
    CHECK(sha256_read(out, bytes_of(large)));
    CHECK_TEXT(out, small);
    CHECK(sha256_read(out, bytes_of(small)));
    CHECK_TEXT(out, small);
}

static void test_overflow(void)
{
    uint64_t out;
    CHECK(!mul_overflows(1u << 31, 1u << 31, &out) && out == UINT64_C(1) << 62);
    CHECK(mul_overflows(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
    CHECK(!add_overflows(UINT64_MAX - 1, 1, &out) && out == UINT64_MAX);
    CHECK(add_overflows(UINT64_MAX, 1, &out));
}

static void test_arena(void)
{
    struct arena arena;
    arena_init(&arena, 100000);
    size_t sum = 0;
    for (int i = 0; i < 1000; i++) {
        size_t n = (size_t)(i * 7 % 90) + 1;
        uint8_t *p = arena_take(&arena, n);
        if (!p)
            break;
        CHECK(((uintptr_t)p & 15) == 0);
        for (size_t k = 0; k < n; k++)
            CHECK(p[k] == 0);
        memset(p, 0xff, n);
        sum += n;
    }
    CHECK(arena.used_bytes <= arena.cap_bytes && sum > 30000);
    CHECK(!arena_take(&arena, 100001));
    CHECK(!arena_take(&arena, SIZE_MAX));
    arena_free(&arena);
    CHECK(arena_take(&arena, 99968)); // one large block, right up to the cap
    CHECK(!arena_take(&arena, 64));
    CHECK(!bytes_copy(&arena, bytes_of("this has no place left, as it is longer")).p);
    arena_free(&arena);
    struct bytes copy = bytes_copy(&arena, bytes_of("abc"));
    CHECK(bytes_equal_text(copy, "abc") && copy.p[3] == 0);
    arena_free(&arena);
}

static void test_buf(void)
{
    struct buf buf;
    buf_init(&buf, 1000);
    CHECK(buf_add(&buf, "hello", 5) == OK);
    CHECK(buf_format(&buf, " %s %d", "world", 7) == OK);
    CHECK(bytes_equal_text(buf_view(&buf), "hello world 7"));
    buf_drop_front(&buf, 6);
    CHECK(bytes_equal_text(buf_view(&buf), "world 7"));
    char many[994];
    memset(many, 'y', sizeof(many));
    CHECK(buf_add(&buf, many, sizeof(many)) == NO_ROOM); // 7 + 994 > 1000
    CHECK(bytes_equal_text(buf_view(&buf), "world 7"));
    CHECK(buf_add(&buf, many, sizeof(many) - 1) == OK && buf.n == 1000);
    CHECK(buf_add(&buf, "z", 1) == NO_ROOM && buf_add(&buf, "", 0) == OK);
    CHECK(buf_add(&buf, many, SIZE_MAX) == NO_ROOM);
    buf_drop_front(&buf, 5000);
    CHECK(buf.n == 0);
    buf_free(&buf);
    CHECK(bytes_equal_secret(bytes_of("key"), bytes_of("key")));
    CHECK(!bytes_equal_secret(bytes_of("key"), bytes_of("kez")));
    CHECK(!bytes_equal_secret(bytes_of("key"), bytes_of("keyy")));
}

static void test_utf8(void)
{
    static const struct {
        const char *in, *clean;
        size_t whole; // of `in`
    } vectors[] = {
        {"", "", 0},
        {"plain", "plain", 5},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82", 9},
        {"a\xc3", "a\xef\xbf\xbd", 1},
        {"a\xe2\x82", "a\xef\xbf\xbd", 1},
        {"a\xf0\x9f\x99", "a\xef\xbf\xbd", 1},
        {"a\xf0\x9f", "a\xef\xbf\xbd", 1},
        {"a\x82", "a\xef\xbf\xbd", 2}, // stray continuation: whole, replaced later
        {"\x82\x82\x82\x82", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 4},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd", 2},                 // overlong '/'
        {"\xe0\x80\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 3}, // overlong
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 3}, // a surrogate
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
         4},                                 // over U+10FFFF
        {"\xe2\x82(x", "\xef\xbf\xbd(x", 4}, // one U+FFFD for the maximal part
        {"\xf0\x9f\x99g", "\xef\xbf\xbdg", 4},
        {"\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd", 2},
        {"\xe0", "\xef\xbf\xbd", 0},
        {"\xe0\x9f", "\xef\xbf\xbd\xef\xbf\xbd", 2}, // can never become whole
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        struct bytes in = bytes_of(vectors[i].in);
        struct buf out;
        buf_init(&out, 100);
        CHECK(utf8_clean(&out, in) == OK);
        if (!CHECK(bytes_equal_text(buf_view(&out), vectors[i].clean)))
            fprintf(stderr, "    vector %zu\n", i);
        CHECK(utf8_valid(buf_view(&out)));
        CHECK(utf8_valid(in) == bytes_equal(in, buf_view(&out)));
        if (!CHECK(utf8_whole(in) == vectors[i].whole))
            fprintf(stderr, "    vector %zu: %zu\n", i, utf8_whole(in));
        buf_free(&out);
        buf_init(&out, strlen(vectors[i].clean) - (in.n > 0)); // no room: contents left alone
        if (in.n)
            CHECK(utf8_clean(&out, in) == NO_ROOM && out.n == 0);
        buf_free(&out);
    }
    CHECK(utf8_valid((struct bytes){(const uint8_t *)"a\0b", 3}));
}

static void test_tame(void)
{
    static const struct {
        const char *text, *tame;
    } vectors[] = {
        {"", ""},
        {"two\nlines\tand \xc3\xbc \xf0\x9f\x98\x80", "two\nlines\tand \xc3\xbc \xf0\x9f\x98\x80"},
        {"\x1b]0;x\x07\r\x7f", "\xef\xbf\xbd]0;x\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"a\xc2\x9b"
         "2Jb\xc2\xa0",
         "a\xef\xbf\xbd"
         "2Jb\xc2\xa0"}, // CSI in one character
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        struct buf out;
        buf_init(&out, 100);
        CHECK(utf8_tame(&out, bytes_of(vectors[i].text)) == OK);
        if (!CHECK(bytes_equal_text(buf_view(&out), vectors[i].tame)))
            fprintf(stderr, "    vector %zu\n", i);
        buf_free(&out);
    }
    struct buf small;
    buf_init(&small, 3);
    CHECK(utf8_tame(&small, bytes_of("a\x1b")) == NO_ROOM && small.n == 0);
    buf_free(&small);
}

static void test_hex(void)
{
    uint8_t out[3];
    char text[7];
    CHECK(hex_read(out, 3, bytes_of("00a9ff")) && out[0] == 0 && out[1] == 0xa9 && out[2] == 0xff);
    hex_write(text, out, 3);
    CHECK_TEXT(text, "00a9ff");
    CHECK(hex_read(out, 0, bytes_of("")));
    static const char *const bad[] = {"00a9f",  "00a9",   "00a9ff0", "00a9ff00",
                                      "00a9fg", "00A9ff", ""};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK(!hex_read(out, 3, bytes_of(bad[i])));
}

int main(void)
{
    test_hex();
    test_err();
    test_endings();
    test_begins_and_order();
    test_digits();
    test_overflow();
    test_arena();
    test_buf();
    test_utf8();
    test_tame();
    return check_done("base_bytes");
}
