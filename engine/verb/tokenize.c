// tokenize.c - `tawny tokenize`: the ids of a text on one line, separated by blanks.
//
// Control tokens in the text count as such and BOS is put in front where the model's file says so,
// unless told otherwise. Only the tokenizer is opened: no weights, no device.
#include "args.h"
#include "model/model.h"
#include "verb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_CAP = 64 << 20 };

static enum status print_ids(const struct tokenizer *tokenizer, struct bytes text, bool plain,
                             bool no_bos, struct err *err)
{
    size_t cap = text.n * 3 + 1, n = 0; // an invalid byte can become three tokens
    int32_t *ids = mem_array(cap, sizeof(*ids));
    enum status status = tokenizer_encode(tokenizer, text, !plain, ids, cap, &n, err);
    size_t first = no_bos && status == OK && tokenizer_add_bos(tokenizer) ? 1 : 0;
    for (size_t i = first; i < n && status == OK; i++)
        printf(i > first ? " %d" : "%d", ids[i]);
    if (status == OK)
        putchar('\n');
    free(ids);
    return status;
}

// The file, "-" for stdin, or else the text itself.
static enum status read_text(struct buf *out, const char *file, const char *text, struct err *err)
{
    if (file)
        return args_read_file(out, file, FILE_CAP, err);
    buf_init(out, FILE_CAP);
    return buf_add(out, text, strlen(text));
}

static enum status run(const struct settings *settings, const char *file, const char *words,
                       bool plain, bool no_bos, struct err *err)
{
    char path[2100];
    struct buf text;
    struct tokenizer *tokenizer = NULL;
    enum status status = args_model_path(settings, path, sizeof(path), err);
    if (status != OK)
        return status;
    status = read_text(&text, file, words, err);
    if (status != OK)
        return status;
    status = model_tokenizer_open(&tokenizer, path, err);
    if (status == OK) {
        status = print_ids(tokenizer, buf_view(&text), plain, no_bos, err);
        tokenizer_close(tokenizer);
    }
    buf_free(&text);
    return status;
}

int verb_tokenize(int argc, char **argv)
{
    const char *file = NULL, *text = NULL;
    bool plain = false, no_bos = false;
    struct settings settings;
    struct err err;
    const struct arg args[] = {
        {"file", 'f', &file, NULL, "FILE", "the text; -: what stdin says"},
        {"text", 0, &text, NULL, "TEXT", "or the text itself"},
        {"plain", 0, NULL, &plain, NULL, "control tokens in the text are plain text"},
        {"no-bos", 0, NULL, &no_bos, NULL, "leave out the BOS token"},
    };
    const struct command command = {"print the token ids of a text on one line.", args,
                                    COUNT_OF(args), &settings};
    enum status status = args_read(&command, argc, argv, &err);
    if (status == CANCELLED)
        return 0;
    if (status == OK && (!file) == (!text))
        status = err_set(&err, BAD_INPUT,
                         "give one of --file FILE and --text TEXT (--help lists the options)");
    if (status != OK)
        return args_fail("tokenize", &err, 2);
    status = run(&settings, file, text, plain, no_bos, &err);
    return status == OK ? 0 : args_fail("tokenize", &err, 1);
}
