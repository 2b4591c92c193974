// infill.c - the prompt of a gap: what stands before it and behind it, between the marks that a
// model was trained to see there.
//
//   PREFIX before SUFFIX behind MIDDLE           the model writes the middle
//   SUFFIX behind PREFIX before                  Codestral, which has no third mark
//
// (Bavarian et al. 2022.) Which marks there are is told by the vocabulary alone. Further files
// stand in front, each behind the mark of a file and its name where the vocabulary has one (as the
// report on Qwen2.5-Coder has repositories), else one behind another. What a client sent is text:
// marks in it are none.
#include "text.h"

static const struct marks {
    const char *prefix, *suffix, *middle; // middle NULL: the suffix stands first
} known[] = {
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},
    {"<fim-prefix>", "<fim-suffix>", "<fim-middle>"},
    {"\xe2\x96\x81<PRE>", "\xe2\x96\x81<SUF>", "\xe2\x96\x81<MID>"},
    {"<PRE>", "<SUF>", "<MID>"},
    {"<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"},
    {"<|prefix|>", "<|suffix|>", "<|middle|>"},
    {"<|plamo:fim_prefix|>", "<|plamo:fim_suffix|>", "<|plamo:fim_middle|>"},
    {"<\xef\xbd\x9c"
     "fim\xe2\x96\x81"
     "begin\xef\xbd\x9c>",
     "<\xef\xbd\x9c"
     "fim\xe2\x96\x81hole\xef\xbd\x9c>",
     "<\xef\xbd\x9c"
     "fim\xe2\x96\x81"
     "end\xef\xbd\x9c>"}, // DeepSeek
    {"[PREFIX]", "[SUFFIX]", NULL},
};

struct ids { // of the marks; -1: none
    int32_t prefix, suffix, middle, file, repository;
};

static bool find_marks(const struct tokenizer *tokenizer, struct ids *out)
{
    static const char *const files[] = {"<|file_sep|>", "<file_sep>", "<file-sep>", "<filename>"},
                             *const repositories[] = {"<|repo_name|>", "<repo_name>", "<reponame>"};
    *out = (struct ids){-1, -1, -1, -1, -1};
    for (size_t i = 0; i < COUNT_OF(files) && out->file < 0; i++)
        out->file = tokenizer_find_special(tokenizer, files[i]);
    for (size_t i = 0; i < COUNT_OF(repositories) && out->repository < 0; i++)
        out->repository = tokenizer_find_special(tokenizer, repositories[i]);
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        out->prefix = tokenizer_find_special(tokenizer, known[i].prefix);
        out->suffix = tokenizer_find_special(tokenizer, known[i].suffix);
        out->middle = known[i].middle ? tokenizer_find_special(tokenizer, known[i].middle) : -1;
        if (out->prefix >= 0 && out->suffix >= 0 && (!known[i].middle || out->middle >= 0))
            return true;
    }
    return false;
}

bool infill_has_marks(const struct tokenizer *tokenizer)
{
    struct ids marks;
    return find_marks(tokenizer, &marks);
}

struct spelling { // ids on their way
    const struct tokenizer *tokenizer;
    int32_t *ids;
    size_t cap, *n;
    enum status status; // the first error
    struct err *err;
};

static void add_mark(struct spelling *s, int32_t id)
{
    if (s->status != OK || id < 0)
        return;
    if (*s->n == s->cap)
        s->status = err_set(s->err, TOO_LARGE, "the prompt is over %zu tokens", s->cap);
    else
        s->ids[(*s->n)++] = id;
}

static void add_text(struct spelling *s, struct bytes text)
{
    if (s->status == OK && text.n > 0)
        s->status = tokenizer_append(s->tokenizer, text, false, s->ids, s->cap, s->n, s->err);
}

static void add_files(struct spelling *s, const struct ids *marks, const struct infill *infill)
{
    if (infill->n_files == 0)
        return;
    if (marks->file >= 0 && marks->repository >= 0) {
        add_mark(s, marks->repository);
        add_text(s, bytes_of("repository\n"));
    }
    for (size_t i = 0; i < infill->n_files; i++) {
        add_mark(s, marks->file);
        if (marks->file >= 0) {
            add_text(s, infill->files[i].name);
            add_text(s, bytes_of("\n"));
        }
        add_text(s, infill->files[i].text);
        if (marks->file < 0)
            add_text(s, bytes_of("\n\n"));
    }
    add_mark(s, marks->file);
    if (marks->file >= 0)
        add_text(s, bytes_of("file\n"));
}

uint64_t infill_bytes(const struct infill *infill)
{
    uint64_t n = infill->before.n + infill->behind.n + infill->begun.n + 64;
    for (size_t i = 0; i < infill->n_files; i++)
        n += infill->files[i].name.n + infill->files[i].text.n + 8;
    return n;
}

enum status infill_encode(const struct tokenizer *tokenizer, const struct infill *infill,
                          int32_t *ids, size_t cap, size_t *n, struct err *err)
{
    struct ids marks;
    struct spelling s = {tokenizer, ids, cap, n, OK, err};
    if (!find_marks(tokenizer, &marks))
        return err_set(err, UNSUPPORTED,
                       "%s: this model's vocabulary has no tokens that mark a gap, so it cannot "
                       "fill one in",
                       infill->path);
    *n = 0;
    s.status = tokenizer_encode(tokenizer, bytes_of(""), false, ids, cap, n, err); // BOS, or none
    add_files(&s, &marks, infill);
    if (marks.middle < 0) {
        add_mark(&s, marks.suffix);
        add_text(&s, infill->behind);
    }
    add_mark(&s, marks.prefix);
    add_text(&s, infill->before);
    if (marks.middle >= 0) {
        add_mark(&s, marks.suffix);
        add_text(&s, infill->behind);
        add_mark(&s, marks.middle);
    }
    add_text(&s, infill->begun);
    return s.status;
}
