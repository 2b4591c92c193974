// special.c - what a file says, and what it leaves out, of its special tokens: which are control
// tokens, which end a text, which are put in front and behind.
//
// Many files give such tokens a wrong type or no key; llama.cpp knows them by their texts, and so
// does the table here. A mark is a token of structure that answers are read by (a channel, a
// thought, a call): what a client sends never becomes one, what the model writes of them is given
// out.

#include "inside.h"

#include <string.h>

// FOUND: a mark only where the file says that it is found by its text.
enum { ENDS = 1, IS_CONTROL = 2, IS_MARK = 4, FOUND = 8 };

static const struct known {
    const char *text;
    int what;
} known[] = {
    {"<|eot_id|>", ENDS},
    {"<|im_end|>", ENDS},
    {"<|end|>", ENDS},
    {"<|return|>", ENDS},
    {"<|call|>", ENDS},
    {"<|flush|>", ENDS},
    {"<|calls|>", ENDS},
    {"<end_of_turn>", ENDS},
    {"<|endoftext|>", ENDS},
    {"</s>", ENDS},
    {"<|eom_id|>", ENDS},
    {"<EOT>", ENDS},
    {"_<EOT>", ENDS},
    {"[EOT]", ENDS},
    {"[EOS]", ENDS},
    {"<|end_of_text|>", ENDS},
    {"<end_of_utterance>", ENDS},
    {"<eos>", ENDS},
    {"<turn|>", ENDS},
    {"<|tool_response>", ENDS},
    {"<\xef\xbd\x9c"
     "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>",
     ENDS},
    {"[e~[", ENDS},
    {"<|ifm|im_end|>", ENDS},
    {"<|fim_pad|>", ENDS},
    {"<fim-pad>", ENDS},
    {"<fim_pad>", ENDS},
    {"<PAD>", ENDS},
    {"[PAD]", ENDS},
    {"<|fim_repo|>", ENDS},
    {"<|repo_name|>", ENDS},
    {"<fim-repo>", ENDS},
    {"<REPO>", ENDS},
    {"<reponame>", ENDS},
    {"<|file_sep|>", ENDS},
    {"<|plamo:file_separator|>", ENDS},
    {"<|fim_prefix|>", IS_CONTROL},
    {"<fim-prefix>", IS_CONTROL},
    {"<fim_prefix>", IS_CONTROL},
    {"<PRE>", IS_CONTROL},
    {"<|code_prefix|>", IS_CONTROL},
    {"<|prefix|>", IS_CONTROL},
    {"<|plamo:fim_prefix|>", IS_CONTROL},
    {"<|fim_suffix|>", IS_CONTROL},
    {"<fim-suffix>", IS_CONTROL},
    {"<fim_suffix>", IS_CONTROL},
    {"<SUF>", IS_CONTROL},
    {"<|code_suffix|>", IS_CONTROL},
    {"<|suffix|>", IS_CONTROL},
    {"<|plamo:fim_suffix|>", IS_CONTROL},
    {"<|fim_middle|>", IS_CONTROL},
    {"<fim-middle>", IS_CONTROL},
    {"<fim_middle>", IS_CONTROL},
    {"<MID>", IS_CONTROL},
    {"<|code_middle|>", IS_CONTROL},
    {"<|middle|>", IS_CONTROL},
    {"<|plamo:fim_middle|>", IS_CONTROL},
    {"<\xef\xbd\x9c"
     "fim\xe2\x96\x81"
     "begin\xef\xbd\x9c>",
     IS_CONTROL},
    {"<\xef\xbd\x9c"
     "fim\xe2\x96\x81hole\xef\xbd\x9c>",
     IS_CONTROL},
    {"<\xef\xbd\x9c"
     "fim\xe2\x96\x81"
     "end\xef\xbd\x9c>",
     IS_CONTROL},
    {"<|channel|>", IS_MARK},
    {"<|message|>", IS_MARK},
    {"<|start|>", IS_MARK},
    {"<|constrain|>", IS_MARK},
    {"<think>", IS_MARK | FOUND},
    {"</think>", IS_MARK | FOUND},
    {"<tool_call>", IS_MARK | FOUND},
    {"</tool_call>", IS_MARK | FOUND},
    {"<tool_response>", IS_MARK | FOUND},
    {"</tool_response>", IS_MARK | FOUND},
};

static int what_is(struct bytes text)
{
    if (text.n < 4 || text.n > 40)
        return 0;
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (bytes_equal_text(text, known[i].text))
            return known[i].what;
    return 0;
}

// <|user|>, and DeepSeek's with wide bars: files often call them a text like any other, but turns
// are made of them.
static bool is_mark_shaped(struct bytes text)
{
    static const char *const sides[][2] = {{"<|", "|>"}, {"<\xef\xbd\x9c", "\xef\xbd\x9c>"}};
    for (size_t i = 0; i < COUNT_OF(sides); i++) {
        const size_t n = strlen(sides[i][0]);
        if (text.n > 2 * n && memcmp(text.p, sides[i][0], n) == 0 &&
            memcmp(text.p + text.n - n, sides[i][1], n) == 0)
            return true;
    }
    return false;
}

static bool has_token(const struct vocabulary_source *source, const char *text)
{
    for (size_t i = 0; i < source->n_tokens; i++)
        if (bytes_equal_text(source->tokens[i], text))
            return true;
    return false;
}

// Texts that end nothing beside certain others: gpt-oss and Solar close every message with <|end|>,
// and in Gemma 4 and PLaMo </s> is the end of a struck-out passage.
static bool end_is_mark(const struct vocabulary_source *source)
{
    bool call = has_token(source, "<|call|>") || has_token(source, "<|calls|>");
    return call && (has_token(source, "<|return|>") || has_token(source, "<|flush|>"));
}

static bool s_is_plain(const struct vocabulary_source *source)
{
    return has_token(source, "<|tool_response>") || has_token(source, "<|plamo:eos|>");
}

void special_types(uint8_t *type, const struct vocabulary_source *source)
{
    bool end = end_is_mark(source), s = s_is_plain(source);
    for (size_t i = 0; i < source->n_tokens; i++) {
        struct bytes text = source->tokens[i];
        int32_t said = source->types ? source->types[i] : TYPE_NORMAL;
        int what = what_is(text);
        // llama.cpp's "undefined" (0 and the unknown) is found by its text and decodes to nothing
        type[i] = (uint8_t)(said >= TYPE_NORMAL && said <= TYPE_BYTE ? said : TYPE_UNUSED);
        if (s && bytes_equal_text(text, "</s>"))
            type[i] = TYPE_NORMAL;
        else if ((what & IS_MARK) != 0 || (end && bytes_equal_text(text, "<|end|>")))
            type[i] = (what & FOUND) == 0 || said == TYPE_USER || said == TYPE_CONTROL ? TYPE_MARK
                                                                                       : type[i];
        else if (what != 0)
            type[i] = TYPE_CONTROL;
        else if (said == TYPE_USER && is_mark_shaped(text))
            type[i] = TYPE_MARK;
    }
}

// ---- ids ----------------------------------------------------------------------------------------

static void add_end(struct tokenizer *t, int32_t id)
{
    for (int i = 0; i < t->n_end; i++)
        if (t->end[i] == id)
            return;
    if (id >= 0 && t->n_end < MAX_END)
        t->end[t->n_end++] = id;
}

static enum status read_id(const struct tokenizer *t, const char *key, int64_t id, int32_t usual,
                           int32_t *out, struct err *err)
{
    if (id >= t->n_vocab)
        return err_set(err, BAD_INPUT,
                       "key 'tokenizer.ggml.%s' is %lld; the vocabulary has %d tokens", key,
                       (long long)id, t->n_vocab);
    *out = id >= 0 ? (int32_t)id : usual < t->n_vocab ? usual : -1;
    return OK;
}

// What holds when the file does not say.
static const struct usual {
    int32_t bos, eos, unknown, sep;
    bool add_bos, add_eos, add_sep, add_space;
} usual[] = {
    [BPE] = {-1, -1, -1, -1, false, false, false, false},
    [SCORED] = {1, 2, 0, -1, true, false, false, true},
    [UNIGRAM] = {-1, 1, 2, -1, false, true, false, false},
    [WORDPIECE] = {101, -1, 100, 102, true, false, true, false},
    [GREEDY] = {-1, -1, -1, -1, false, false, false, false},
    [PLAMO] = {1, 2, 0, -1, false, false, false, false},
};

static bool flag(enum said said, bool otherwise)
{
    return said == UNSAID ? otherwise : said == SAID_YES;
}

static void read_flags(struct tokenizer *t, const struct vocabulary_source *source)
{
    const struct usual *u = &usual[t->kind];
    const struct family *family = t->pretokenizer ? pretokenizer_family(t->pretokenizer) : NULL;
    bool gemma4 = family && family->whole_newlines && !family->space_words;
    t->add_bos = flag(source->add_bos, u->add_bos || (family && family->adds_bos)) || gemma4;
    t->add_eos = flag(source->add_eos, u->add_eos);
    t->add_sep = t->kind == WORDPIECE;
    if (t->kind == WORDPIECE)
        t->add_bos = true;
    if (t->kind == WORDPIECE || t->kind == GREEDY)
        t->add_eos = false;
    if (t->kind == GREEDY)
        t->add_bos = false;
    t->add_space = flag(source->add_space, u->add_space);
    t->merge_spaces = source->merge_spaces == SAID_YES;
    t->lowercase = flag(source->lowercase, t->kind == WORDPIECE);
    t->strip_accents = flag(source->strip_accents, t->lowercase);
    t->nfc = source->nfc == SAID_YES;
}

static enum status check_flags(const struct tokenizer *t, struct err *err)
{
    const char *what = t->add_bos && t->bos < 0   ? "BOS"
                       : t->add_eos && t->eos < 0 ? "EOS"
                       : t->add_sep && t->sep < 0 ? "separator"
                                                  : NULL;
    if (!what)
        return OK;
    return err_set(err, BAD_INPUT,
                   "a %s token is to be added, but key 'tokenizer.ggml.%s' names none", what,
                   *what == 'B'   ? "bos_token_id"
                   : *what == 'E' ? "eos_token_id"
                                  : "seperator_token_id");
}

static enum status read_ids(struct tokenizer *t, const struct vocabulary_source *source,
                            struct err *err)
{
    const struct usual *u = &usual[t->kind];
    int32_t eot = -1, eom = -1;
    const struct {
        const char *key;
        int64_t id;
        int32_t usual, *out;
    } ids[] = {
        {"bos_token_id", source->bos, u->bos, &t->bos},
        {"eos_token_id", source->eos, u->eos, &t->eos},
        {"seperator_token_id", source->sep, u->sep, &t->sep},
        {"unknown_token_id", source->unknown, u->unknown, &t->unknown},
        {"eot_token_id", source->eot, -1, &eot},
        {"eom_token_id", source->eom, -1, &eom},
    };
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        enum status status = read_id(t, ids[i].key, ids[i].id, ids[i].usual, ids[i].out, err);
        if (status != OK)
            return status;
    }
    add_end(t, t->eos);
    add_end(t, eot);
    add_end(t, eom);
    for (size_t i = 0; i < source->n_ends; i++) {
        int32_t end = -1;
        enum status status = read_id(t, "eos_token_ids", source->ends[i], -1, &end, err);
        if (status != OK)
            return status;
        add_end(t, end);
    }
    return OK;
}

enum status special_ids(struct tokenizer *t, const struct vocabulary_source *source,
                        struct err *err)
{
    enum status status = read_ids(t, source, err);
    if (status != OK)
        return status;
    for (int32_t i = 0; i < t->n_vocab; i++)
        if (t->type[i] == TYPE_CONTROL && (what_is(source->tokens[i]) & ENDS) != 0)
            add_end(t, i);
    read_flags(t, source);
    return check_flags(t, err);
}
