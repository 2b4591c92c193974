// text_kinds.c - the kinds of tokenizers one by one on vocabularies made here: rules of spaces,
// unknown characters, bytes, normalizing, decoding, and what a hostile file can say. Equality with
// llama.cpp on whole texts is the golden tier's.
#include "check.h"
#include "decode_all.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define S "\xe2\x96\x81"

enum { MOST = 1024 };

struct vocabulary {
    struct vocabulary_source source;
    struct bytes tokens[MOST], merges[MOST];
    int32_t types[MOST];
    float scores[MOST];
    char names[256][8];
};

static struct vocabulary *vocabulary_begin(const char *model)
{
    struct vocabulary *v = mem_alloc(sizeof(*v));
    v->source = (struct vocabulary_source){.model = bytes_of(model),
                                           .tokens = v->tokens,
                                           .types = v->types,
                                           .scores = v->scores,
                                           .merges = v->merges,
                                           .bos = -1,
                                           .eos = -1,
                                           .eot = -1,
                                           .eom = -1,
                                           .sep = -1,
                                           .unknown = -1};
    return v;
}

static int32_t add(struct vocabulary *v, const char *text, int32_t type, float score)
{
    int32_t id = (int32_t)v->source.n_tokens++;
    v->tokens[id] = bytes_of(text);
    v->types[id] = type;
    v->scores[id] = score;
    return id;
}

static void add_bytes(struct vocabulary *v)
{
    for (int byte = 0; byte < 256; byte++) {
        snprintf(v->names[byte], sizeof(v->names[byte]), "<0x%02X>", byte);
        add(v, v->names[byte], 6, 0);
    }
}

static struct tokenizer *open(struct vocabulary *v)
{
    struct tokenizer *t = NULL;
    struct err err = {0};
    if (!CHECK(tokenizer_open(&t, &v->source, &err) == OK))
        fprintf(stderr, "    %s\n", err.text);
    free(v);
    return t;
}

static bool encodes(const struct tokenizer *t, struct bytes text, bool special, const int32_t *want,
                    size_t n_want)
{
    int32_t ids[256];
    size_t n = 0;
    struct err err;
    if (tokenizer_encode(t, text, special, ids, 256, &n, &err) != OK)
        return false;
    bool same = n == n_want && memcmp(ids, want, n * sizeof(*ids)) == 0;
    for (size_t i = 0; i < n && !same; i++)
        fprintf(stderr, "%s%d", i ? " " : "    got ", ids[i]);
    if (!same)
        fprintf(stderr, "\n");
    return same;
}
#define ENCODES(t, text, special, ...)                                                             \
    CHECK(encodes(t, bytes_of(text), special, (int32_t[]){__VA_ARGS__},                            \
                  sizeof((int32_t[]){__VA_ARGS__}) / 4))

static bool comes_back(const struct tokenizer *t, struct bytes text)
{
    int32_t ids[1024];
    size_t n = 0;
    struct err err;
    struct buf out;
    buf_init(&out, 1 << 16);
    bool same = tokenizer_encode(t, text, false, ids, 1024, &n, &err) == OK &&
                decode_all(t, ids, n, &out) == OK && bytes_equal(buf_view(&out), text);
    buf_free(&out);
    return same;
}

static void refused(struct vocabulary *v, const char *word)
{
    struct tokenizer *t = NULL;
    struct err err = {0};
    enum status status = tokenizer_open(&t, &v->source, &err);
    if (!CHECK(status != OK && strstr(err.text, word)))
        fprintf(stderr, "    %s: \"%s\", expected \"%s\"\n", status_name(status), err.text, word);
    if (status == OK)
        tokenizer_close(t);
    free(v);
}

// ---- llama --------------------------------------------------------------------------------------

static struct vocabulary *llama(void)
{
    struct vocabulary *v = vocabulary_begin("llama");
    add(v, "<unk>", 2, 0);
    add(v, "<s>", 3, 0);
    add(v, "</s>", 3, 0);
    add_bytes(v);
    add(v, "ab", 1, -2);
    add(v, S "a", 1, -1);
    add(v, "a", 1, -9);
    add(v, "b", 1, -9);
    add(v, S, 1, -9);
    add(v, S "ab", 1, -3);
    add(v, S S, 1, -4);
    add(v, "<mark>", 4, 0);
    return v;
}

static void test_llama(void)
{
    enum { UNK, BOS, EOS, BYTE0, AB = BYTE0 + 256, S_A, A_, B_, S_, S_AB, LONG_S, MARKED };
    struct tokenizer *t = open(llama());
    ENCODES(t, "ab", false, BOS, S_AB); // " ab": the better pair " a" first, then with b
    ENCODES(t, "aab", false, BOS, S_A, AB);
    ENCODES(t, "a  b", false, BOS, S_A, LONG_S, B_);
    ENCODES(t, "\xc3\xa9", false, BOS, S_, BYTE0 + 0xc3, BYTE0 + 0xa9);
    ENCODES(t, "\xff", false, BOS, S_, BYTE0 + 0xff);
    ENCODES(t, "", false, BOS);
    ENCODES(t, "b<mark>b", false, BOS, S_, B_, MARKED, S_, B_); // a space again behind a found one
    ENCODES(t, "<s>b", true, BOS, BOS, S_, B_);
    CHECK(bytes_equal_text(tokenizer_decode(t, S_A), " a"));
    CHECK(tokenizer_decode(t, BYTE0 + 0xff).n == 1 && tokenizer_decode(t, BOS).n == 0);
    CHECK(tokenizer_is_end(t, EOS) && !tokenizer_is_end(t, BOS));
    // Any bytes; but a space behind the first byte of a character that is cut short is lost, as it
    // is in llama.cpp: it takes it for the rest of the character.
    for (unsigned seed = 1, i = 0; i < 2000; i++) {
        uint8_t text[48];
        size_t n = i % sizeof(text);
        for (size_t k = 0; k < n; k++) {
            seed = seed * 1664525u + 1013904223u;
            uint8_t any = (uint8_t)(seed >> 16), blank = i % 2 == 0 ? ' ' : '<';
            text[k] = seed % 3 != 0           ? (uint8_t)(i % 2 == 0 ? any & 0x7f : any)
                      : (seed >> 24) % 2 == 0 ? blank
                                              : 'a';
            if (i % 2 != 0 && text[k] == ' ')
                text[k] = 'b';
        }
        if (!CHECK(comes_back(t, (struct bytes){text, n})))
            break;
    }
    CHECK(comes_back(t, bytes_of(" \xc3\xa9  \xf0\x9f\x98\x80 ab ")));
    tokenizer_close(t);
    struct vocabulary *v = llama();
    v->source.add_space = SAID_NO;
    v->source.add_bos = SAID_NO;
    v->source.add_eos = SAID_YES;
    t = open(v);
    ENCODES(t, "ab", false, AB, EOS);
    CHECK(comes_back(t, bytes_of(" a")));
    tokenizer_close(t);
}

// ---- t5 -----------------------------------------------------------------------------------------

static void test_unigram(void)
{
    struct vocabulary *v = vocabulary_begin("t5");
    enum { PAD, END, UNKNOWN, AB_, S_A_, B, ABC, S_ };
    add(v, "<pad>", 3, 0);
    add(v, "</s>", 3, 0);
    add(v, "<unk>", 2, 0);
    add(v, "ab", 1, -3);
    add(v, S "a", 1, -2);
    add(v, "b", 1, -2);
    add(v, "abc", 1, -20);
    add(v, S, 1, -2);
    v->source.add_space = SAID_YES;
    struct tokenizer *t = open(v);
    ENCODES(t, "ab", false, S_A_, B, END); // -4 beats -5
    ENCODES(t, "bab", false, S_, B, AB_, END);
    ENCODES(t, "b  b", false, S_, B, S_, S_, B, END);
    ENCODES(t, "bxyzb", false, S_, B, UNKNOWN, B, END); // several unknown are one
    ENCODES(t, "\xff", false, S_, UNKNOWN, END);
    ENCODES(t, "", false, END);
    tokenizer_close(t);
}

// Charsmaps that lead outside themselves match nothing and harm nobody.
static void test_hostile_charsmap(void)
{
    uint32_t seed = 7;
    for (int i = 0; i < 300; i++) {
        uint8_t map[64];
        for (size_t k = 0; k < sizeof(map); k++) {
            seed = seed * 1664525u + 1013904223u;
            map[k] = (uint8_t)(seed >> 16);
        }
        uint32_t n_array = i % 3 == 0 ? seed : i % 3 == 1 ? 32 : 60;
        memcpy(map, &n_array, 4);
        struct vocabulary *v = vocabulary_begin("t5");
        add(v, "<pad>", 3, 0);
        add(v, "</s>", 3, 0);
        add(v, "<unk>", 2, 0);
        add(v, "a", 1, -1);
        v->source.charsmap = (struct bytes){map, (size_t)i % (sizeof(map) + 1)};
        struct tokenizer *t = open(v);
        int32_t ids[64];
        size_t n = 0;
        struct err err;
        CHECK(tokenizer_encode(t, bytes_of("a b\xc3\xa9 \x01\x7f\xf0\x9f\x98\x80"), false, ids, 64,
                               &n, &err) == OK);
        tokenizer_close(t);
    }
}

// ---- bert, rwkv, plamo --------------------------------------------------------------------------

static void test_wordpiece(void)
{
    enum { UNKNOWN, CLS, SEP, HE, LLO, DOT, E, HAN, HALLO };
    for (int cased = 0; cased < 2; cased++) {
        struct vocabulary *v = vocabulary_begin("bert");
        add(v, "[UNK]", 2, 0);
        add(v, "[CLS]", 3, 0);
        add(v, "[SEP]", 3, 0);
        add(v, S "he", 1, 0);
        add(v, "llo", 1, 0);
        add(v, S ".", 1, 0);
        add(v, S "e", 1, 0);
        add(v, S "\xe4\xb8\xad", 1, 0);
        add(v, S "Hello", 1, 0);
        v->source.bos = CLS;
        v->source.sep = SEP;
        v->source.unknown = UNKNOWN;
        v->source.lowercase = cased ? SAID_NO : UNSAID;
        struct tokenizer *t = open(v);
        if (cased)
            ENCODES(t, "Hello", false, CLS, HALLO, SEP);
        else
            ENCODES(t, "Hello", false, CLS, HE, LLO, SEP);
        ENCODES(t, "hello.", false, CLS, HE, LLO, DOT, SEP);
        ENCODES(t, "\xe4\xb8\xad\xe4\xb8\xad", false, CLS, HAN, HAN, SEP);
        ENCODES(t, "hellox e", false, CLS, UNKNOWN, E, SEP); // the whole word
        ENCODES(t, "  \n ", false, CLS, SEP);
        if (!cased) // accents go, composed or not
            ENCODES(t, "\xc3\x89 e\xcc\x81", false, CLS, E, E, SEP);
        tokenizer_close(t);
    }
}

static void test_rwkv(void)
{
    struct vocabulary *v = vocabulary_begin("rwkv");
    enum { END, A, AB_, ABCD, B, NEWLINE, FF, BACKSLASH };
    add(v, "<s>", 3, 0);
    add(v, "a", 1, 0);
    add(v, "ab", 1, 0);
    add(v, "abcd", 1, 0);
    add(v, "b", 1, 0);
    add(v, "\\n", 1, 0);
    add(v, "\\xff", 1, 0);
    add(v, "\\\\", 1, 0);
    struct tokenizer *t = open(v);
    ENCODES(t, "abcab\n\xff\\", false, AB_, AB_, NEWLINE, FF, BACKSLASH); // c is nothing
    ENCODES(t, "abcd", false, ABCD);
    CHECK(bytes_equal_text(tokenizer_decode(t, NEWLINE), "\n"));
    tokenizer_close(t);
}

static void test_plamo(void)
{
    struct vocabulary *v = vocabulary_begin("plamo2");
    enum { UNKNOWN, BEGIN, END, PAD, BYTE, A = BYTE + 256, AB_, B };
    add(v, "<u>", 2, 0);
    add(v, "<b>", 3, 0);
    add(v, "<e>", 3, 0);
    add(v, "<p>", 3, 0);
    add_bytes(v);
    add(v, "a", 1, -1);
    add(v, "ab", 1, -2);
    add(v, "b", 1, -1);
    struct tokenizer *t = open(v);
    ENCODES(t, "ab", false, AB_); // equal cost: the longer
    ENCODES(t, "bab\xc3\xa9", false, B, AB_, BYTE + 0xc3, BYTE + 0xa9);
    ENCODES(t,
            "\xef\xbb\xbf"
            "a",
            false, A); // without the byte order mark
    tokenizer_close(t);
}

// ---- BPE over characters ------------------------------------------------------------------------

static struct vocabulary *gemma4(void)
{
    struct vocabulary *v = vocabulary_begin("gemma4");
    add(v, "<bos>", 3, 0);
    add_bytes(v);
    static const char *const texts[] = {"a", "b", S, S "a", S "ab", "\n\n"};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        add(v, texts[i], 1, 0);
    v->merges[v->source.n_merges++] = bytes_of(S " a");
    v->merges[v->source.n_merges++] = bytes_of(S "a b");
    v->source.bos = 0;
    return v;
}

static void test_gemma4(void)
{
    enum { BEGIN, BYTE, A = BYTE + 256, B, BLANK, SPACE_A, SPACE_AB, NEWLINES };
    struct tokenizer *t = open(gemma4());
    ENCODES(t, "a ab b", false, BEGIN, A, SPACE_AB, BLANK, B);
    ENCODES(t, "a\n\nb\n", false, BEGIN, A, NEWLINES, B, BYTE + 10);
    ENCODES(t, "\xc3\xa9", false, BEGIN, BYTE + 0xc3, BYTE + 0xa9);
    CHECK(comes_back(t, bytes_of("a b\n\n\xf0\x9f\x98\x80 ab")));
    tokenizer_close(t);
}

static void test_nfc(void)
{
    for (int nfc = 0; nfc < 2; nfc++) {
        struct vocabulary *v = gemma4();
        v->source.nfc = nfc ? SAID_YES : UNSAID;
        enum { E_ACUTE = 1 + 256 + 6, GA };
        add(v, "\xc3\xa9", 1, 0);
        add(v, "\xea\xb0\x80", 1, 0);
        struct tokenizer *t = open(v);
        if (nfc) {
            ENCODES(t, "e\xcc\x81", false, 0, E_ACUTE);
            ENCODES(t, "\xe1\x84\x80\xe1\x85\xa1", false, 0, GA); // Hangul, by arithmetic
        } else {
            ENCODES(t, "e\xcc\x81", false, 0, 1 + 'e', 1 + 0xcc, 1 + 0x81);
        }
        tokenizer_close(t);
    }
}

// ---- DNA ----------------------------------------------------------------------------------------

#define K "\xee\x80\x80" // U+E000, behind six letters of DNA

static struct vocabulary *dna(bool marks)
{
    static const char *const texts[] = {"A",        "C",        "AC",     "ACGTAC" K,
                                        "AAAAAA" K, "GAAAAA" K, "ACGT" K, "ACGTAN" K};
    struct vocabulary *v = vocabulary_begin("hybriddna");
    v->source.pre = bytes_of("qwen2");
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        add(v, texts[i], 1, 0);
    add(v, "<dna>", 1, 0);
    add(v, "</dna>", 1, 0);
    if (marks)
        add(v, "<oov>", 1, 0);
    v->merges[v->source.n_merges++] = bytes_of("A C");
    return v;
}

static void test_dna(void)
{
    enum { A, C, AC, ACGTAC, AAAAAA, GAAAAA, SHORT, WRONG, OPEN, CLOSE, OOV };
    struct tokenizer *t = open(dna(true));
    ENCODES(t, "ACA<dna>acGTACAAAAAAg</dna>AC", false, AC, A, OPEN, ACGTAC, AAAAAA, GAAAAA, CLOSE,
            AC);
    ENCODES(t, "<dna></dna>", false, OPEN, CLOSE);
    ENCODES(t, "<dna>ACGTANACGTAC", false, OPEN, OOV, ACGTAC);         // no end
    ENCODES(t, "<dna>CCCCCC\xff</dna>", false, OPEN, OOV, OOV, CLOSE); // no token; no base
    ENCODES(t, "<dna>A<dna>AAAA", false, OPEN, OOV, AAAAAA);
    ENCODES(t, "AC</dna", false, AC); // bytes that nothing spells are lost, as in any vocabulary
    CHECK(bytes_equal_text(tokenizer_decode(t, ACGTAC), "ACGTAC"));
    tokenizer_close(t);
    refused(dna(false), "'<oov>'");
}

// ---- marks, ends --------------------------------------------------------------------------------

static void test_marks(void)
{
    struct vocabulary *v = gemma4();
    int32_t think = add(v, "</think>", 4, 0), end = add(v, "<|im_end|>", 1, 0);
    struct tokenizer *t = open(v);
    int32_t ids[64];
    size_t n = 0;
    struct err err;
    ENCODES(t, "</think><|im_end|>", true, 0, think, end);
    CHECK(tokenizer_encode(t, bytes_of("</think><|im_end|>"), false, ids, 64, &n, &err) == OK);
    for (size_t i = 0; i < n; i++) // what a client says stays text
        CHECK(ids[i] != think && ids[i] != end);
    CHECK(bytes_equal_text(tokenizer_decode(t, think), "</think>")); // what the model says shows
    CHECK(tokenizer_decode(t, end).n == 0 && tokenizer_is_end(t, end));
    tokenizer_close(t);
    v = gemma4();
    int32_t message_end = add(v, "<|end|>", 3, 0);
    add(v, "<|return|>", 3, 0);
    add(v, "<|call|>", 3, 0);
    t = open(v);
    CHECK(!tokenizer_is_end(t, message_end) && tokenizer_is_end(t, message_end + 1));
    tokenizer_close(t);
}

// ---- refused ------------------------------------------------------------------------------------

static void test_refused(void)
{
    struct vocabulary *v = gemma4();
    v->tokens[3].n = (size_t)3 << 30; // is measured, never read
    refused(v, "token 3 is a text of 3221225472 bytes");
    v = llama();
    v->source.eos = 1 << 20;
    refused(v, "'tokenizer.ggml.eos_token_id' is 1048576");
    v = vocabulary_begin("bert"); // the usual ids are outside of so small a vocabulary
    add(v, "a", 1, 0);
    refused(v, "bos_token_id");
    v = vocabulary_begin("bert");
    add(v, "a", 1, 0);
    v->source.bos = 0;
    refused(v, "seperator_token_id");
    v = gemma4();
    v->merges[0] = bytes_of("ab");
    refused(v, "line 0");
    v = llama();
    add(v, "ab", 1, 0);
    refused(v, "same text 'ab'");
    v = vocabulary_begin("runes");
    add(v, "a", 1, 0);
    refused(v, "'runes'");
}

// Types, scores and texts as a fuzzer would have them: whatever opens also encodes.
static void test_wild(void)
{
    static const char *const models[] = {"llama",  "t5",     "bert",   "rwkv",
                                         "plamo2", "plamo3", "gemma4", "whitespace"};
    static const char *const texts[] = {"a",    "b",        S,        "aa",   "ab",
                                        "\xff", "\xe2\x96", "<0x41>", "",     "\xf0\x9f\x98\x80",
                                        "\\x4", "\\",       "ba",     "aaaa", "<|im_end|>"};
    uint32_t seed = 3;
    for (int i = 0; i < 400; i++) {
        struct vocabulary *v = vocabulary_begin(models[i % COUNT_OF(models)]);
        for (size_t k = 0; k < COUNT_OF(texts); k++) {
            seed = seed * 1664525u + 1013904223u;
            float score = (float)(int32_t)seed / 1e8f;
            if (seed >> 28 == 0)
                score = seed & 1 ? 1e38f * 1e10f : (1e38f * 1e10f) * 0;
            add(v, texts[k], (int32_t)(seed >> 20) % 9 - 1, score);
        }
        v->merges[0] = bytes_of("a a");
        v->merges[1] = bytes_of("aa aa");
        v->merges[2] = bytes_of("\xff \xff");
        v->source.n_merges = 3;
        v->source.bos = v->source.eos = v->source.sep = 0;
        struct tokenizer *t = NULL;
        struct err err = {0};
        int32_t ids[512];
        size_t n = 0;
        if (tokenizer_open(&t, &v->source, &err) == OK) {
            CHECK(tokenizer_encode(t, bytes_of("aaab \xff<0x41>\xf0\x9f\x98\x80\\<|im_end|>\xe2"),
                                   i % 2 == 0, ids, 512, &n, &err) == OK);
            for (size_t k = 0; k < n; k++)
                CHECK(ids[k] >= 0 && ids[k] < tokenizer_n_vocab(t));
            tokenizer_close(t);
        } else {
            CHECK(err.text[0] != 0);
        }
        free(v);
    }
}

int main(void)
{
    test_llama();
    test_unigram();
    test_hostile_charsmap();
    test_wordpiece();
    test_rwkv();
    test_plamo();
    test_gemma4();
    test_nfc();
    test_dna();
    test_marks();
    test_refused();
    test_wild();
    return check_done("text_kinds");
}
