// text_bpe.c - tokenizer, chat format and stop strings. Equality with another engine is the
// golden tier's; here are the rules one by one, hostile vocabularies, and that long words stay
// cheap.
#include "check.h"
#include "model_fixture.h"

#include <time.h>

static const char *const texts[] = {"ab", "abc", "bc", "\xc4\xa0\x61", "user", "\xc4\xa0\xc4\xa0",
                                    "xyz"};
enum { AB = 256, ABC, BC, SPACE_A, USER, SPACES, XYZ, IM_START, IM_END };
static const char *const merges[] = {"b c", "a b", "a bc",  "\xc4\xa0 a",
                                     "u s", "e r", "us er", "\xc4\xa0 \xc4\xa0"};

static struct tokenizer *open_vocabulary(const char *pre, struct err *err)
{
    struct file f;
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    file_begin(&f);
    add_vocabulary(&f, pre, texts, COUNT_OF(texts), merges, COUNT_OF(merges));
    file_counts(&f);
    if (gguf_parse(&g, buf_view(&f.buf), err) != OK || vocabulary_read(&t, g, err) != OK)
        fprintf(stderr, "%s\n", err->text);
    gguf_close(g);
    buf_free(&f.buf); // the tokenizer keeps nothing of the file
    return t;
}

static bool encodes_bytes(const struct tokenizer *t, struct bytes text, bool special,
                          const int32_t *want, size_t n_want)
{
    int32_t ids[64];
    size_t n = 0;
    struct err err;
    if (tokenizer_encode(t, text, special, ids, 64, &n, &err) != OK)
        return false;
    bool same = n == n_want && memcmp(ids, want, n * sizeof(*ids)) == 0;
    for (size_t i = 0; i < n && !same; i++)
        fprintf(stderr, "%s%d", i ? " " : "    got ", ids[i]);
    if (!same)
        fprintf(stderr, "\n");
    return same;
}
#define ENCODES(t, text, special, ...)                                                             \
    CHECK(encodes_bytes(t, bytes_of(text), special, (int32_t[]){__VA_ARGS__},                      \
                        sizeof((int32_t[]){__VA_ARGS__}) / 4))

static void test_merges(void)
{
    struct err err;
    struct tokenizer *t = open_vocabulary("gpt-2", &err);
    ENCODES(t, "abc", false, ABC); // b+c has the lower rank, then a+bc
    ENCODES(t, "ab", false, AB);
    ENCODES(t, "aab", false, 'a', AB);
    ENCODES(t, " a", false, SPACE_A);
    ENCODES(t, "a  a", false, 'a', ' ', SPACE_A);
    ENCODES(t, "user", false, USER);   // by way of "us" and "er", which are no tokens
    ENCODES(t, "us", false, 'u', 's'); // and whose bytes come out alone
    ENCODES(t, "xyz", false, 'x', 'y', 'z');
    ENCODES(t, "\xff", false, 0xef, 0xbf, 0xbd); // invalid: U+FFFD
    ENCODES(t, "\xed\xa0\x80", false, 0xed, 0xa0, 0x80);
    CHECK(tokenizer_n_vocab(t) == IM_END + 1);
    CHECK(tokenizer_longest(t) == strlen("<|im_start|>"));
    CHECK(bytes_equal_text(tokenizer_decode(t, SPACE_A), " a"));
    CHECK(tokenizer_decode(t, 0xff).n == 1 && tokenizer_decode(t, 0xff).p[0] == 0xff);
    CHECK(tokenizer_decode(t, IM_START).n == 0 && tokenizer_decode(t, -1).n == 0 &&
          tokenizer_decode(t, 1 << 30).n == 0);
    CHECK(tokenizer_is_end(t, IM_END) && !tokenizer_is_end(t, IM_START) &&
          !tokenizer_is_end(t, -1));
    int32_t ids[2];
    size_t n = 9;
    CHECK(tokenizer_encode(t, bytes_of("xyz"), false, ids, 2, &n, &err) == TOO_LARGE && n == 9);
    CHECK(tokenizer_encode(t, bytes_of(""), false, ids, 0, &n, &err) == OK && n == 0);
    tokenizer_close(t);
}

static void test_whole_words(void)
{
    struct err err;
    struct tokenizer *t = open_vocabulary("qwen2", &err);
    ENCODES(t, "a  a", false, 'a', ' ', SPACE_A);
    ENCODES(t, "12", false, '1', '2');
    tokenizer_close(t);
    struct file f;
    struct gguf *g = NULL;
    file_begin(&f);
    add_vocabulary(&f, "llama-bpe", texts, COUNT_OF(texts), merges, COUNT_OF(merges));
    key_u32(&f, "tokenizer.ggml.bos_token_id", 3);
    file_counts(&f);
    CHECK(gguf_parse(&g, buf_view(&f.buf), &err) == OK && vocabulary_read(&t, g, &err) == OK);
    ENCODES(t, "xyz", false, 3,
            XYZ); // a whole word that is a token needs no merges; and this family begins with BOS
    tokenizer_close(t);
    gguf_close(g);
    buf_free(&f.buf);
}

static void test_special(void)
{
    struct err err;
    struct tokenizer *t = open_vocabulary("gpt-2", &err);
    ENCODES(t, "<|im_start|>abc<|im_end|>", true, IM_START, ABC, IM_END);
    int32_t ids[64];
    size_t n = 0;
    CHECK(tokenizer_encode(t, bytes_of("<|im_start|>"), false, ids, 64, &n, &err) == OK && n == 12);
    ENCODES(t, "<|im_start|<|im_end|>", true, '<', '|', 'i', 'm', '_', 's', 't', 'a', 'r', 't', '|',
            IM_END);
    tokenizer_close(t);
}

// What real files have beside: scores that are whole numbers (Mistral), a list of ends (Ollama).
static void test_ends(void)
{
    struct file f;
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    struct err err = {0};
    file_begin(&f);
    add_vocabulary(&f, "gpt-2", NULL, 0, NULL, 0);
    array_begin(&f, "tokenizer.ggml.scores", GGUF_I32, 258);
    for (int i = 0; i < 258; i++)
        put_u32(&f, 0);
    array_begin(&f, "tokenizer.ggml.eos_token_ids", GGUF_I32, 2);
    put_u32(&f, 257);
    put_u32(&f, 'q');
    file_counts(&f);
    CHECK(gguf_parse(&g, buf_view(&f.buf), &err) == OK);
    if (CHECK(vocabulary_read(&t, g, &err) == OK)) {
        CHECK(tokenizer_is_end(t, 257) && tokenizer_is_end(t, 'q') && !tokenizer_is_end(t, 'r'));
        tokenizer_close(t);
    }
    gguf_close(g);
    buf_free(&f.buf);
}

// A vocabulary that must be refused, with a word of the sentence.
static void refused(const char *word, void (*spoil)(struct file *f))
{
    struct file f;
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    struct err err = {0};
    file_begin(&f);
    spoil(&f);
    file_counts(&f);
    CHECK(gguf_parse(&g, buf_view(&f.buf), &err) == OK);
    enum status status = g ? vocabulary_read(&t, g, &err) : OK;
    if (!CHECK(status != OK && strstr(err.text, word)))
        fprintf(stderr, "    %s: \"%s\", expected \"%s\"\n", status_name(status), err.text, word);
    gguf_close(g);
    buf_free(&f.buf);
}

static void spoil_none(struct file *f)
{
    key_u32(f, "k", 1);
}
static void spoil_kind(struct file *f)
{
    key_text(f, "tokenizer.ggml.model", "runes");
}
static void spoil_pre(struct file *f)
{
    add_vocabulary(f, "tokken", NULL, 0, NULL, 0);
}
static void spoil_merge(struct file *f)
{
    add_vocabulary(f, NULL, NULL, 0, (const char *const[]){"ab"}, 1);
}
static void spoil_merge_end(struct file *f)
{
    add_vocabulary(f, NULL, NULL, 0, (const char *const[]){"ab "}, 1);
}
static void spoil_twice(struct file *f)
{
    add_vocabulary(f, NULL, (const char *const[]){"zz", "zz"}, 2, NULL, 0);
}
static void spoil_bos(struct file *f)
{
    add_vocabulary(f, NULL, NULL, 0, NULL, 0);
    key_u32(f, "tokenizer.ggml.bos_token_id", 258);
}
static void spoil_ends(struct file *f)
{
    add_vocabulary(f, NULL, NULL, 0, NULL, 0);
    array_begin(f, "tokenizer.ggml.eos_token_ids", GGUF_I32, 1);
    put_u32(f, 258);
}
static void spoil_no_bos(struct file *f)
{
    add_vocabulary(f, "llama-bpe", NULL, 0, NULL, 0);
}
static void spoil_types(struct file *f)
{
    key_text(f, "tokenizer.ggml.model", "gpt2");
    array_begin(f, "tokenizer.ggml.tokens", GGUF_STRING, 1);
    put_text(f, "a");
    array_begin(f, "tokenizer.ggml.token_type", GGUF_I32, 0);
}
static void spoil_empty(struct file *f)
{
    key_text(f, "tokenizer.ggml.model", "gpt2");
    array_begin(f, "tokenizer.ggml.tokens", GGUF_STRING, 0);
}

static void test_refused(void)
{
    refused("tokenizer.ggml.model", spoil_none);
    refused("'runes'", spoil_kind);
    refused("'tokken'", spoil_pre);
    refused("line 0", spoil_merge);
    refused("line 0", spoil_merge_end);
    refused("same text 'zz'", spoil_twice);
    refused("bos_token_id", spoil_bos);
    refused("bos_token_id", spoil_no_bos);
    refused("eos_token_ids", spoil_ends);
    refused("token_type", spoil_types);
    refused("no vocabulary", spoil_empty);
}

static uint64_t cpu_us(void) // of this thread: the machine may be busy
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

// n log n: sixteen times the text may cost 16 * 5/4 and some noise, not 256 times.
static void test_long_words(void)
{
    struct err err;
    struct tokenizer *t = open_vocabulary("qwen2", &err);
    enum { LONG = 1 << 18 };
    uint8_t *text = mem_alloc(LONG);
    int32_t *ids = mem_array(LONG * 3, sizeof(*ids));
    static const char *const fills[] = {"ab",           "a", " ", "\n", "\xff", "!", "<|im_",
                                        "<|im_start|>", "'"};
    for (size_t i = 0; i < COUNT_OF(fills); i++) {
        uint64_t us[2];
        for (int pass = 0; pass < 2; pass++) {
            size_t n_text = pass ? LONG : LONG / 16, n = 0, m = strlen(fills[i]);
            for (size_t k = 0; k < n_text; k++)
                text[k] = (uint8_t)fills[i][k % m];
            uint64_t start = cpu_us();
            CHECK(tokenizer_encode(t, (struct bytes){text, n_text}, true, ids, LONG * 3, &n,
                                   &err) == OK &&
                  n > 0);
            us[pass] = cpu_us() - start;
        }
        if (!CHECK(us[1] < us[0] * 80 + 100000))
            fprintf(stderr, "    \"%s\": %llu us for 16 KiB, %llu us for 256 KiB\n", fills[i],
                    (unsigned long long)us[0], (unsigned long long)us[1]);
    }
    free(text);
    free(ids);
    tokenizer_close(t);
}

// ---- stop strings -------------------------------------------------------------------------------

static void take_sent(char *sent, size_t *n, struct bytes out)
{
    CHECK(utf8_valid(out));
    if (out.n)
        memcpy(sent + *n, out.p, out.n);
    *n += out.n;
}

// Feeds `text` in pieces of `size` bytes; what was sent must be `want`, and `stopped` as told. The
// stop string that is told must be one of the list, and stand behind what was sent.
static void stops(const char *const *list, size_t n_list, const char *text, size_t size,
                  const char *want, bool want_stop)
{
    struct bytes views[4];
    char sent[256];
    size_t n = 0;
    bool stopped = false;
    for (size_t i = 0; i < n_list; i++)
        views[i] = bytes_of(list[i]);
    struct stopper *s;
    stopper_open(&s, views, n_list);
    struct bytes all = bytes_of(text), out;
    for (size_t at = 0; at < all.n && !stopped; at += size) {
        size_t left = all.n - at;
        stopped = stopper_feed(s, (struct bytes){all.p + at, left < size ? left : size}, &out);
        take_sent(sent, &n, out);
    }
    if (!stopped) {
        out = stopper_flush(s);
        take_sent(sent, &n, out);
    }
    sent[n] = 0;
    CHECK_TEXT(sent, want);
    CHECK(stopped == want_stop);
    const struct bytes stop = stopper_completed(s);
    bool listed = !want_stop && stop.n == 0;
    for (size_t i = 0; i < n_list; i++)
        listed = listed || (stop.n > 0 && bytes_equal_text(stop, list[i]));
    CHECK(listed && (!want_stop || memcmp(text + n, stop.p, stop.n) == 0));
    stopper_close(s);
}

static void test_stops(void)
{
    static const char *const end[] = {"END"}, *const two[] = {"\n\n", "User:"},
                             *const inner[] = {"abcd", "bc"};
    static const char *const repeated[] = {"aab"}, *const empty[] = {""};
    for (size_t size = 1; size < 9; size++) {
        stops(end, 1, "hello END world", size, "hello ", true);
        stops(end, 1, "hello EN world", size, "hello EN world", false);
        stops(end, 1, "ends in EN", size, "ends in EN", false);
        stops(two, 2, "a\nb User: x", size, "a\nb ", true);
        stops(two, 2, "a\n\nb", size, "a", true);
        stops(repeated, 1, "aaaab!", size, "aa", true);
        stops(empty, 1, "text", size, "text", false);
        stops(NULL, 0,
              "gr\xc3\xb6\xc3\x9f"
              "e \xf0\x9f\x98\x80.",
              size,
              "gr\xc3\xb6\xc3\x9f"
              "e \xf0\x9f\x98\x80.",
              false);
        stops(end, 1,
              "\xf0\x9f\x98\x80"
              "END",
              size, "\xf0\x9f\x98\x80", true);
        stops(NULL, 0, "bad\xff!", size, "bad\xef\xbf\xbd!", false);
    }
    for (size_t size = 1; size < 6; size++)
        stops(inner, 2, "xabcd", size, "xa",
              true); // the stop that is complete first wins, however the text is cut
    stops(NULL, 0, "cut \xe2\x82", 1, "cut \xef\xbf\xbd", false);
}

int main(void)
{
    test_merges();
    test_whole_words();
    test_special();
    test_ends();
    test_refused();
    test_long_words();
    test_stops();
    return check_done("text_bpe");
}
