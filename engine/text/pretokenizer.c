// pretokenizer.c - cuts text into the words that byte-level BPE works inside, with the expressions
// of the model's family (families.c).
//
// A list of several expressions is applied one after the other, each inside the pieces left by the
// one before; what lies between two matches is a piece.
//
// The one thing a reader would get wrong: validity. llama.cpp lets lone surrogates pass and turns
// every other invalid byte, one by one, into U+FFFD; the ids depend on it. PCRE2 must see valid
// UTF-8 (we pass PCRE2_NO_UTF_CHECK, else every match would check all the rest of the text again),
// hence the two texts of struct clean_text.

#include "inside.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct pretokenizer {
    const struct family *family;
    pcre2_code *code[MAX_STEPS];
    int n_codes;
};

// ---- life ---------------------------------------------------------------------------------------

enum status pretokenizer_open(struct pretokenizer **out, struct bytes name, struct err *err)
{
    if (name.n == 0)
        name = bytes_of("default");
    const struct family *family = family_find(name);
    char text[NAME_TEXT];
    if (!family)
        return err_set(err, UNSUPPORTED,
                       "key 'tokenizer.ggml.pre' is '%s': this build does not know how that family "
                       "cuts text into words; a newer one may",
                       name_text(text, name));
    struct pretokenizer *pre = mem_alloc(sizeof(*pre));
    pre->family = family;
    for (int i = 0; i < MAX_STEPS && family->steps[i].expression; i++) {
        int code;
        PCRE2_SIZE offset;
        pre->code[i] =
            pcre2_compile((PCRE2_SPTR)family->steps[i].expression, PCRE2_ZERO_TERMINATED,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_NO_AUTO_CAPTURE, &code, &offset, NULL);
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

const struct family *pretokenizer_family(const struct pretokenizer *pretokenizer)
{
    return pretokenizer->family;
}

// ---- clean text --------------------------------------------------------------------------------

void clean_text_make(struct clean_text *out, struct bytes text)
{
    uint8_t *clean = mem_array(text.n + 1, 3); // an invalid byte becomes 3 bytes
    size_t n = 0, n_surrogates = 0;
    for (size_t i = 0; i < text.n;) {
        uint32_t point = 0xfffd;
        size_t length = unicode_decode(text.p + i, text.n - i, &point);
        if (length == 0)
            point = 0xfffd;
        n_surrogates += point >= 0xd800 && point <= 0xdfff;
        n += unicode_encode(clean + n, point);
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
            unicode_encode(out->shape + i, 0xe000); // no letter, mark or sign, as they
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

struct matching {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    enum how how;
    const uint8_t *shape;
};

// A run of digits in threes from its end: 1234567 is 1, 234, 567. Digits are code points.
static void add_threes(const uint8_t *shape, size_t start, size_t end, bool first,
                       struct words *words)
{
    size_t n = 0;
    for (size_t i = start; i < end; i++)
        n += (shape[i] & 0xc0) != 0x80;
    for (size_t i = start; i < end; i++) {
        if ((shape[i] & 0xc0) == 0x80)
            continue;
        if (n % 3 == 0 && (i > start || !first))
            add_end(words, i);
        n--;
    }
    add_end(words, end);
}

// Cuts shape[start .. end); lookahead sees the piece's end as the end of the text.
static enum status cut(const struct matching *m, size_t start, size_t end, struct words *words,
                       struct err *err)
{
    const uint8_t *piece = m->shape + start;
    size_t n = end - start, at = 0;
    if (n == unicode_length(*piece)) { // one character
        add_end(words, end);
        return OK;
    }
    while (at < n) {
        int rc = pcre2_match(m->code, piece, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, m->data,
                             m->context);
        if (rc == PCRE2_ERROR_NOMATCH)
            break;
        if (rc < 0)
            return err_set(err, TOO_LARGE,
                           "text of %zu bytes cannot be cut into words (PCRE2 error %d)", n, rc);
        const PCRE2_SIZE *found = pcre2_get_ovector_pointer(m->data);
        if (m->how != CUT) {
            add_threes(m->shape, start + found[0], start + found[1],
                       m->how == THREES || found[0] == 0, words);
        } else {
            if (found[0] > at)
                add_end(words, start + found[0]);
            add_end(words, start + found[1]);
        }
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
    pcre2_set_match_limit(context, UINT32_MAX); // steps grow with the text only (families.c)
    pcre2_set_heap_limit(context, 256 * 1024);  // KiB
    struct words pieces = {NULL, 0, 0};
    words->n = 0;
    if (clean->n > 0)
        add_end(words, clean->n);
    for (int i = 0; i < pretokenizer->n_codes && status == OK; i++) {
        struct matching m = {pretokenizer->code[i], match, context,
                             pretokenizer->family->steps[i].how, clean->shape};
        struct words before = *words;
        *words = pieces;
        pieces = before;
        words->n = 0;
        for (size_t w = 0; w < pieces.n && status == OK; w++)
            status = cut(&m, w > 0 ? pieces.end[w - 1] : 0, pieces.end[w], words, err);
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
