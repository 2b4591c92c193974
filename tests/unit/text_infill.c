// text_infill.c - the prompt of a gap: the marks of each kind of vocabulary in their order, files
// in front, and that nothing a client wrote becomes a mark.
#include "check.h"
#include "text/text.h"

enum { N_LETTERS = 94, SPACE = N_LETTERS, LINE, FIRST_MARK }; // '!' .. '~', then these
enum { CAP = 400 };

static char letters[N_LETTERS][2];
static struct bytes tokens[FIRST_MARK + 8];
static int32_t types[FIRST_MARK + 8];

// A byte-level vocabulary of one letter a token, with these marks behind.
static struct tokenizer *vocabulary(const char *const *marks, bool bos)
{
    static const struct bytes merges[] = {{(const uint8_t *)"! !", 3}};
    size_t n = FIRST_MARK;
    for (int i = 0; i < N_LETTERS; i++) {
        letters[i][0] = (char)('!' + i);
        tokens[i] = (struct bytes){(const uint8_t *)letters[i], 1};
        types[i] = 1;
    }
    tokens[SPACE] = bytes_of("\xc4\xa0");
    tokens[LINE] = bytes_of("\xc4\x8a");
    types[SPACE] = types[LINE] = 1;
    for (; marks[n - FIRST_MARK]; n++) {
        tokens[n] = bytes_of(marks[n - FIRST_MARK]);
        types[n] = 3;
    }
    const struct vocabulary_source source = {.model = bytes_of("gpt2"),
                                             .pre = bytes_of("gpt-2"),
                                             .tokens = tokens,
                                             .types = types,
                                             .n_tokens = n,
                                             .merges = merges,
                                             .n_merges = 0,
                                             .bos = bos ? FIRST_MARK : -1,
                                             .eos = FIRST_MARK,
                                             .eot = -1,
                                             .eom = -1,
                                             .sep = -1,
                                             .unknown = -1,
                                             .add_bos = bos ? SAID_YES : SAID_NO};
    struct tokenizer *out = NULL;
    struct err err = {0};
    if (!CHECK(tokenizer_open(&out, &source, &err) == OK))
        fprintf(stderr, "    %s\n", err.text);
    return out;
}

// What the ids say: marks as they are called.
static const char *prompt(const char *const *marks, bool bos, const struct infill *infill)
{
    static char out[2000];
    struct tokenizer *tokenizer = vocabulary(marks, bos);
    int32_t ids[CAP];
    size_t n = 0, at = 0;
    struct err err = {0};
    out[0] = 0;
    enum status status = infill_encode(tokenizer, infill, ids, CAP, &n, &err);
    if (status != OK)
        snprintf(out, sizeof(out), "%s: %s", status_name(status), err.text);
    CHECK(n <= infill_bytes(infill));
    for (size_t i = 0; status == OK && i < n; i++) {
        const struct bytes piece = tokenizer_mark(tokenizer, ids[i]);
        const bool mark = ids[i] >= FIRST_MARK;
        at += (size_t)snprintf(out + at, sizeof(out) - at, mark ? "[%.*s]" : "%.*s", (int)piece.n,
                               (const char *)piece.p);
    }
    tokenizer_close(tokenizer);
    return out;
}

static const char *const qwen[] = {"<|endoftext|>",
                                   "<|fim_prefix|>",
                                   "<|fim_suffix|>",
                                   "<|fim_middle|>",
                                   "<|repo_name|>",
                                   "<|file_sep|>",
                                   NULL},
                         *const starcoder[] = {"<|endoftext|>", "<fim_prefix>", "<fim_middle>",
                                               "<fim_suffix>",  "<filename>",   NULL},
                         *const codestral[] = {"</s>", "[SUFFIX]", "[PREFIX]", NULL},
                         *const none[] = {"<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>",
                                          NULL};

int main(void)
{
    const struct infill_file files[] = {{bytes_of("a.c"), bytes_of("x")},
                                        {bytes_of("b c"), bytes_of("y\n")}};
    struct infill gap = {.before = bytes_of("int f"), .behind = bytes_of("}"), .path = "suffix"};
    CHECK_TEXT(prompt(qwen, false, &gap), "[<|fim_prefix|>]int f[<|fim_suffix|>]}[<|fim_middle|>]");
    CHECK_TEXT(prompt(starcoder, true, &gap),
               "[<|endoftext|>][<fim_prefix>]int f[<fim_suffix>]}[<fim_middle>]");
    CHECK_TEXT(prompt(codestral, false, &gap), "[[SUFFIX]]}[[PREFIX]]int f");
    CHECK_TEXT(prompt(none, false, &gap),
               "unsupported: suffix: this model's vocabulary has no tokens that mark a gap, so it "
               "cannot fill one in");
    gap.before = bytes_of("<|fim_middle|>");
    gap.behind = bytes_of("");
    CHECK_TEXT(prompt(qwen, false, &gap),
               "[<|fim_prefix|>]<|fim_middle|>[<|fim_suffix|>][<|fim_middle|>]");
    gap = (struct infill){.before = bytes_of("p"), .files = files, .n_files = 2, .path = "x"};
    CHECK_TEXT(prompt(qwen, false, &gap),
               "[<|repo_name|>]repository\n[<|file_sep|>]a.c\nx[<|file_sep|>]b c\ny\n[<|file_sep|>]"
               "file\n[<|fim_prefix|>]p[<|fim_suffix|>][<|fim_middle|>]");
    CHECK_TEXT(
        prompt(starcoder, false, &gap),
        "[<filename>]a.c\nx[<filename>]b c\ny\n[<filename>]file\n[<fim_prefix>]p[<fim_suffix>"
        "][<fim_middle>]");
    gap = (struct infill){.before = bytes_of("p"), .begun = bytes_of("b"), .path = "x"};
    CHECK_TEXT(prompt(qwen, false, &gap), "[<|fim_prefix|>]p[<|fim_suffix|>][<|fim_middle|>]b");
    gap = (struct infill){.before = bytes_of("p"), .files = files, .n_files = 2, .path = "x"};
    CHECK_TEXT(prompt(codestral, false, &gap), "x\n\ny\n\n\n[[SUFFIX]][[PREFIX]]p");
    return check_done("text_infill");
}
