// tokenize.c - `tawny tokenize`: the ids of a file's text on one line, separated by blanks.
//
// Control tokens in the text count as such and BOS is put in front where the model's file says so,
// unless told otherwise. Only the tokenizer is opened: no weights, no device.
#include "args.h"
#include "model/model.h"
#include "verb.h"

#include <stdio.h>
#include <stdlib.h>

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

static enum status run(const struct settings *settings, const char *file, bool plain, bool no_bos,
                       struct err *err)
{
    char path[2100];
    struct buf text;
    struct tokenizer *tokenizer = NULL;
    enum status status = args_model_path(settings, path, sizeof(path), err);
    if (status != OK)
        return status;
    status = file_read(&text, file, FILE_CAP, err);
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
    const char *model = NULL, *file = NULL;
    bool plain = false, no_bos = false;
    const struct arg args[] = {
        {"model", 'm', &model, NULL, "FILE  the model (default: builtin)"},
        {"file", 'f', &file, NULL, "FILE  the text"},
        {"plain", 0, NULL, &plain, "      control tokens in the text are plain text"},
        {"no-bos", 0, NULL, &no_bos, "      leave out the BOS token"},
    };
    struct settings settings;
    struct err err;
    settings_default(&settings);
    enum status status = args_read_settings(args, COUNT_OF(args), argc, argv, &settings, &err);
    if (status == CANCELLED)
        return 0;
    if (status == OK && model)
        status = settings_set(&settings, "model", bytes_of(model), &err);
    if (status == OK && !file)
        status = err_set(&err, BAD_INPUT, "give --file FILE (--help lists the options)");
    if (status != OK)
        return args_fail("tokenize", &err, 2);
    return run(&settings, file, plain, no_bos, &err) == OK ? 0 : args_fail("tokenize", &err, 1);
}
