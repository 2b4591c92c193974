// pretokenizer.c - cuts text into the words that byte-level BPE works inside, with the expressions
// of the model's family.
//
// tokenizer.ggml.pre names the family. The expressions are the published ones of the families'
// tokenizer.json; \s is spelled
// \p{wspace} because PCRE2's \s also takes U+180E, which the tokenizers' own engine does not. A
// list of several expressions is applied one after the other, each inside the pieces left by the
// one before; what lies between two matches is a piece.
//
// The one thing a reader would get wrong: validity. llama.cpp lets lone surrogates
// pass and turns every other invalid byte, one by one, into U+FFFD; the ids depend on it. PCRE2
// must see valid UTF-8 (we pass PCRE2_NO_UTF_CHECK, else every match would check all the rest of
// the text again), hence the two texts of struct clean_text.

#include "inside.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EXPRESSIONS = 4 };

#define CONTRACTION_ANY_CASE "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define WORD_TAIL                                                                                  \
    "| "                                                                                           \
    "?[^\\p{wspace}\\p{L}\\p{N}]+[\\r\\n]*|\\p{wspace}*[\\r\\n]+|\\p{wspace}+(?!\\P{wspace})|\\p{" \
    "wspace}+"

static const char gpt2_expression[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\p{wspace}\\p{L}\\p{N}]+"
    "|\\p{wspace}+(?!\\P{wspace})|\\p{wspace}+";
static const char llama3_expression[] =
    CONTRACTION_ANY_CASE "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" WORD_TAIL;
static const char qwen2_expression[] =
    CONTRACTION_ANY_CASE "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" WORD_TAIL;

static const struct family {
    const char *names; // space separated values of tokenizer.ggml.pre
    const char *expressions[MAX_EXPRESSIONS];
    bool whole_words, adds_bos;
} families[] = {
    {"default", {"[\\p{P}$+<=>^~|]+", gpt2_expression, "\\p{N}+", "[0-9][0-9][0-9]"}, false, false},
    {"gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert mpt "
     "olmo "
     "jais trillion granite-docling exaone4",
     {gpt2_expression},
     false,
     false},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     {llama3_expression},
     true,
     true},
    {"dbrx smaug-bpe glm4 chatglm-bpe", {llama3_expression}, false, false},
    {"qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
     {qwen2_expression},
     false,
     false},
    {"starcoder refact command-r smollm codeshell exaone minerva-7b mellum2",
     {"\\p{N}", gpt2_expression},
     false,
     false},
};

struct pretokenizer {
    const struct family *family;
    pcre2_code *code[MAX_EXPRESSIONS];
    int n_codes;
};

// ---- families -----------------------------------------------------------------------------------

static bool names_contain(const char *names, struct bytes name)
{
    for (const char *p = names; *p != 0;) {
        size_t n = strcspn(p, " ");
        if (bytes_equal(name, (struct bytes){(const uint8_t *)p, n}))
            return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

enum status pretokenizer_open(struct pretokenizer **out, struct bytes name, struct err *err)
{
    const struct family *family = NULL;
    if (name.n == 0)
        name = bytes_of("default");
    for (size_t i = 0; i < COUNT_OF(families); i++)
        if (names_contain(families[i].names, name))
            family = &families[i];
    char text[NAME_TEXT];
    if (!family)
        return err_set(err, UNSUPPORTED,
                       "key 'tokenizer.ggml.pre' is '%s'; this build knows the pre-tokenizers of "
                       "the families gpt-2, "
                       "llama-bpe, qwen2, starcoder and default",
                       name_text(text, name));
    struct pretokenizer *pre = mem_alloc(sizeof(*pre));
    pre->family = family;
    for (int i = 0; i < MAX_EXPRESSIONS && family->expressions[i]; i++) {
        int code;
        PCRE2_SIZE offset;
        pre->code[i] = pcre2_compile((PCRE2_SPTR)family->expressions[i], PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_UCP, &code, &offset, NULL);
        if (!pre->code[i])
            die("pre-tokenizer expression %d of '%s': PCRE2 error %d at %zu", i, family->names,
                code, (size_t)offset);
        pre->n_codes = i + 1;
    }
    *out = pre;
    return OK;
}

void pretokenizer_close(struct pretokenizer *pretokenizer)
{
    if (!pretokenizer)
        return;
    for (int i = 0; i < pretokenizer->n_codes; i++)
        pcre2_code_free(pretokenizer->code[i]);
    free(pretokenizer);
}

bool pretokenizer_whole_words(const struct pretokenizer *pretokenizer)
{
    return pretokenizer->family->whole_words;
}

bool pretokenizer_adds_bos(const struct pretokenizer *pretokenizer)
{
    return pretokenizer->family->adds_bos;
}

// ---- loose UTF-8 --------------------------------------------------------------------------------

// One code point of p[0 .. n): its length, or 0 when p[0] does not start one. Surrogates count as
// code points.
static size_t decode_loose(const uint8_t *p, size_t n, uint32_t *point)
{
    static const uint8_t lead_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = p[0] < 0x80   ? 1
                    : p[0] < 0xc0 ? 0
                    : p[0] < 0xe0 ? 2
                    : p[0] < 0xf0 ? 3
                    : p[0] < 0xf8 ? 4
                                  : 0;
    if (length == 0 || length > n)
        return 0;
    uint32_t value = p[0] & lead_mask[length];
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (p[i] & 0x3f);
    }
    *point = value;
    return value >= least[length] && value <= 0x10ffff ? length : 0;
}

static size_t encode(uint8_t *out, uint32_t point)
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (uint8_t)(0xc0 | point >> 6);
        out[1] = (uint8_t)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (uint8_t)(0xe0 | point >> 12);
        out[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | point >> 18);
    out[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (point & 0x3f));
    return 4;
}

void clean_text_make(struct clean_text *out, struct bytes text)
{
    uint8_t *clean = mem_array(text.n + 1, 3); // an invalid byte becomes 3 bytes
    size_t n = 0, n_surrogates = 0;
    for (size_t i = 0; i < text.n;) {
        uint32_t point = 0xfffd;
        size_t length = decode_loose(text.p + i, text.n - i, &point);
        if (length == 0)
            point = 0xfffd;
        n_surrogates += point >= 0xd800 && point <= 0xdfff;
        n += encode(clean + n, point);
        i += length != 0 ? length : 1;
    }
    out->text = out->shape = clean;
    out->n = n;
    if (n_surrogates == 0)
        return;
    out->shape = mem_array(n + 1, 1);
    memcpy(out->shape, clean, n);
    for (size_t i = 0; i + 2 < n; i++)
        if (clean[i] == 0xed && clean[i + 1] >= 0xa0)
            encode(out->shape + i, 0xfffd);
}

void clean_text_free(struct clean_text *clean)
{
    if (clean->shape != clean->text)
        free(clean->shape);
    free(clean->text);
}

// ---- cutting ------------------------------------------------------------------------------------

static void add_end(struct words *words, size_t end)
{
    if (words->n == words->allocated) {
        words->allocated = words->allocated != 0 ? words->allocated * 2 : 256;
        words->end = mem_resize(words->end, words->allocated * sizeof(*words->end));
    }
    words->end[words->n++] = end;
}

// Cuts shape[start .. end) with one expression; lookahead sees the piece's end as the end of the
// text.
static enum status cut(pcre2_code *code, pcre2_match_data *match, pcre2_match_context *context,
                       const uint8_t *shape, size_t start, size_t end, struct words *words,
                       struct err *err)
{
    const uint8_t *piece = shape + start;
    size_t n = end - start, at = 0;
    while (at < n) {
        int rc =
            pcre2_match(code, piece, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, match, context);
        if (rc == PCRE2_ERROR_NOMATCH)
            break;
        if (rc < 0)
            return err_set(err, TOO_LARGE,
                           "text of %zu bytes cannot be cut into words (PCRE2 error %d)", n, rc);
        const PCRE2_SIZE *found = pcre2_get_ovector_pointer(match);
        if (found[0] > at)
            add_end(words, start + found[0]);
        add_end(words, start + found[1]);
        at = found[1];
    }
    if (at < n)
        add_end(words, end);
    return OK;
}

enum status pretokenizer_split(const struct pretokenizer *pretokenizer,
                               const struct clean_text *clean, struct words *words, struct err *err)
{
    enum status status = OK;
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    if (!match || !context)
        die("out of memory");
    pcre2_set_match_limit(
        context, UINT32_MAX); // steps grow with the text only; the expressions do not nest repeats
    pcre2_set_heap_limit(context, 256 * 1024); // KiB
    struct words pieces = {NULL, 0, 0};
    words->n = 0;
    if (clean->n > 0)
        add_end(words, clean->n);
    for (int i = 0; i < pretokenizer->n_codes && status == OK; i++) {
        struct words before = *words;
        *words = pieces;
        pieces = before;
        words->n = 0;
        for (size_t w = 0; w < pieces.n && status == OK; w++)
            status = cut(pretokenizer->code[i], match, context, clean->shape,
                         w > 0 ? pieces.end[w - 1] : 0, pieces.end[w], words, err);
    }
    words_free(&pieces);
    pcre2_match_data_free(match);
    pcre2_match_context_free(context);
    return status;
}

void words_free(struct words *words)
{
    free(words->end);
    *words = (struct words){NULL, 0, 0};
}
