// logits.c - `tawny logits`: the raw logits of every position of a text, for comparison with
// other engines.
//
// The output file is float32, little endian: one row of n_vocab numbers for each token, in order.
// Passes of --batch tokens: many take the path that the server uses for a prompt, 1 to 8 that of
// generation. Text is tokenized with its control tokens and with BOS as the model's file says.
#include "args.h"
#include "model/model.h"
#include "verb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP_BYTES = 64 << 20, LEAST_GROUP = 32, MOST_GROUP = 512, MOST_TOKENS = 1 << 20 };

struct ids {
    int32_t *p;
    size_t n;
};

// "1,2,3" (spaces too)
static enum status read_ids(const char *text, struct ids *ids, struct err *err)
{
    ids->p = mem_array(strlen(text) / 2 + 1, sizeof(*ids->p));
    for (const char *at = text; *at;) {
        char *end;
        errno = 0;
        long id = strtol(at, &end, 10);
        if (end == at || errno || id < 0 || id > INT32_MAX)
            return err_set(err, BAD_INPUT,
                           "--tokens: \"%.40s\" is not a token id (expected ids like 1,2,3)", at);
        ids->p[ids->n++] = (int32_t)id;
        at = end + strspn(end, ", ");
        if (at == end && *at)
            return err_set(err, BAD_INPUT, "--tokens: \"%.40s\": expected a comma", at);
    }
    return ids->n ? OK : err_set(err, BAD_INPUT, "--tokens: no ids");
}

static enum status forward_group(struct model *model, const struct ids *ids, size_t start,
                                 int32_t n, float *logits, struct err *err)
{
    int32_t pos[MOST_GROUP], seq[MOST_GROUP] = {0};
    uint8_t wanted[MOST_GROUP];
    memset(wanted, 1, sizeof(wanted));
    for (int32_t i = 0; i < n; i++)
        pos[i] = (int32_t)start + i;
    return model_forward(model, &(struct batch){n, ids->p + start, pos, seq, wanted, 0},
                         (struct logits){.value = logits}, err);
}

// batch: tokens a pass; 0: as many as the memory for their logits allows.
static enum status write_logits(struct model *model, const struct ids *ids, size_t batch,
                                const char *path, struct err *err)
{
    size_t n_vocab = (size_t)model_info(model)->n_vocab,
           group = GROUP_BYTES / (n_vocab * sizeof(float));
    group = group < LEAST_GROUP ? LEAST_GROUP : group > MOST_GROUP ? MOST_GROUP : group;
    group = batch > 0 && batch < group ? batch : group;
    FILE *file = fopen(path, "wb");
    if (!file)
        return err_set(err, IO_ERROR, "--out %s: %s", path, strerror(errno));
    float *logits = mem_array(group * n_vocab, sizeof(*logits));
    enum status status = OK;
    for (size_t start = 0; start < ids->n && status == OK; start += group) {
        size_t n = ids->n - start < group ? ids->n - start : group;
        status = forward_group(model, ids, start, (int32_t)n, logits, err);
        if (status == OK && fwrite(logits, n_vocab * sizeof(*logits), n, file) != n)
            status = err_set(err, IO_ERROR, "--out %s: %s", path, strerror(errno));
    }
    if (fclose(file) != 0 && status == OK)
        status = err_set(err, IO_ERROR, "--out %s: %s", path, strerror(errno));
    free(logits);
    return status;
}

struct request {
    const char *tokens, *text, *out; // tokens or text is NULL
    int64_t batch;
};

static enum status run(const struct settings *settings, const struct request *r, struct err *err)
{
    char path[2100];
    struct compute *compute = NULL;
    struct model *model = NULL;
    struct ids ids = {NULL, 0};
    enum status status = args_model_path(settings, path, sizeof(path), err);
    if (status == OK && r->tokens)
        status = read_ids(r->tokens, &ids, err);
    size_t most = r->tokens ? ids.n : strlen(r->text) + 1;
    if (status == OK && most > MOST_TOKENS)
        status = err_set(err, TOO_LARGE, "%zu tokens or bytes; at most %d", most, MOST_TOKENS);
    const struct compute_options options = {settings->device, settings->n_threads, settings->state};
    if (status == OK)
        status = compute_open(&compute, &options, err);
    if (status == OK)
        status = model_open(
            &model, compute, path,
            &(struct model_options){(int32_t)most, 1, MOST_GROUP, settings->kv_q8_0}, err);
    if (status == OK && !r->tokens) {
        ids.p = mem_array(most, sizeof(*ids.p));
        status = tokenizer_encode(model_tokenizer(model), bytes_of(r->text), true, ids.p, most,
                                  &ids.n, err);
    }
    if (status == OK)
        status = write_logits(model, &ids, (size_t)r->batch, r->out, err);
    if (status == OK)
        printf("%s: %zu rows of %d float32\n", r->out, ids.n, model_info(model)->n_vocab);
    if (model)
        model_close(model);
    if (compute)
        compute_close(compute);
    free(ids.p);
    return status;
}

int verb_logits(int argc, char **argv)
{
    const char *model = NULL, *threads = NULL, *batch = NULL;
    struct request r = {0};
    const struct arg args[] = {
        {"model", 'm', &model, NULL, "FILE  the model (default: builtin)"},
        {"tokens", 0, &r.tokens, NULL, "IDS   token ids, 1,2,3"},
        {"text", 0, &r.text, NULL, "TEXT  or a text to tokenize"},
        {"out", 'o', &r.out, NULL, "FILE  float32 rows of n_vocab, one a token"},
        {"batch", 'b', &batch, NULL, "N     tokens a pass, 1 to 512 (default 512)"},
        {"threads", 't', &threads, NULL, "N     CPU threads (0: one a core)"},
    };
    struct settings settings;
    struct err err;
    settings_default(&settings);
    enum status status = args_read_settings(args, COUNT_OF(args), argc, argv, &settings, &err);
    if (status == CANCELLED)
        return 0;
    if (status == OK && model)
        status = settings_set(&settings, "model", bytes_of(model), &err);
    if (status == OK && threads)
        status = settings_set(&settings, "threads", bytes_of(threads), &err);
    if (status == OK)
        status = args_int("batch", batch, 1, MOST_GROUP, &r.batch, &err);
    if (status == OK && (!r.out || (!r.tokens) == (!r.text)))
        status =
            err_set(&err, BAD_INPUT,
                    "give --out FILE and one of --tokens and --text (--help lists the options)");
    if (status != OK)
        return args_fail("logits", &err, 2);
    return run(&settings, &r, &err) == OK ? 0 : args_fail("logits", &err, 1);
}
