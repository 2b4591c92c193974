// logits.c - `tawny logits`: the raw logits of every position of a text, for comparison with
// other engines; of a model that embeds, the text's vector or scores.
//
// The output file is float32, little endian: one row of n_vocab numbers for each token, in order;
// of a model that embeds, one row as its pooling makes it, not of length 1.
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

struct token_list {
    int32_t *p;
    size_t n;
};

// "1,2,3", blanks around each allowed
static enum status read_ids(const char *text, struct token_list *ids, struct err *err)
{
    ids->p = mem_array(strlen(text) / 2 + 1, sizeof(*ids->p));
    for (const char *at = text;;) {
        char *end;
        errno = 0;
        at += strspn(at, " ");
        long id = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : -1;
        if (id < 0 || errno || id > INT32_MAX)
            return err_set(err, BAD_INPUT,
                           "--tokens: \"%.40s\" where a token id was expected (ids like 1,2,3)",
                           at);
        ids->p[ids->n++] = (int32_t)id;
        at = end + strspn(end, " ");
        if (!*at)
            return OK;
        if (*at++ != ',')
            return err_set(err, BAD_INPUT, "--tokens: \"%.40s\" where a comma was expected",
                           at - 1);
    }
}

static enum status forward_group(struct model *model, const struct token_list *ids, size_t start,
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
static enum status write_logits(struct model *model, const struct token_list *ids, size_t batch,
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

static enum status write_vector(struct model *model, const struct token_list *ids, size_t batch,
                                const char *path, struct err *err)
{
    const struct model_info *info = model_info(model);
    const int32_t n = (int32_t)ids->n, most = info->one_pass || batch == 0 ? n : (int32_t)batch;
    int32_t *pos = mem_array(2 * ids->n, sizeof(*pos)), *seq = pos + n;
    uint8_t *wanted = mem_array(ids->n, 1);
    float *vector = mem_array((size_t)info->n_vector, sizeof(*vector));
    enum status status = OK;
    for (int32_t i = 0; i < n; i++)
        pos[i] = i;
    wanted[n - 1] = 1;
    for (int32_t at = 0, some; at < n && status == OK; at += some) {
        some = n - at < most ? n - at : most;
        status = model_embed(
            model, &(struct batch){some, ids->p + at, pos + at, seq, wanted + at, 0}, vector, err);
    }
    if (status == OK)
        status = file_write(
            path, (struct bytes){(uint8_t *)vector, (size_t)info->n_vector * sizeof(*vector)}, 0644,
            err);
    free(pos);
    free(wanted);
    free(vector);
    return status;
}

struct logits_request {
    const char *text, *out; // text NULL: ids were given
    struct token_list ids;
    int64_t batch;
};

static enum status run(const struct settings *settings, struct logits_request *r, struct err *err)
{
    char path[2100];
    struct compute *compute = NULL;
    struct model *model = NULL;
    enum status status = args_model_path(settings, path, sizeof(path), err);
    size_t most = r->text ? strlen(r->text) + 1 : r->ids.n;
    if (status == OK && most > MOST_TOKENS)
        status = err_set(err, TOO_LARGE, "%zu tokens or bytes; at most %d", most, MOST_TOKENS);
    const struct compute_options options = {settings->device, settings->n_threads, settings->state};
    if (status == OK)
        status = compute_open(&compute, &options, err);
    if (status == OK)
        status = model_open(
            &model, compute, path,
            &(struct model_options){(int32_t)most, 1, MOST_GROUP, settings->kv_q8_0}, err);
    if (status == OK && r->text) {
        r->ids.p = mem_array(most, sizeof(*r->ids.p));
        status = tokenizer_encode(model_tokenizer(model), bytes_of(r->text), true, r->ids.p, most,
                                  &r->ids.n, err);
    }
    const bool embeds = status == OK && model_info(model)->n_vector > 0;
    if (status == OK)
        status =
            (embeds ? write_vector : write_logits)(model, &r->ids, (size_t)r->batch, r->out, err);
    if (status == OK)
        printf("%s: %zu rows of %d float32\n", r->out, embeds ? 1 : r->ids.n,
               embeds ? model_info(model)->n_vector : model_info(model)->n_vocab);
    if (model)
        model_close(model);
    if (compute)
        compute_close(compute);
    return status;
}

static enum status read_command_line(struct settings *settings, struct logits_request *r, int argc,
                                     char **argv, struct err *err)
{
    const char *tokens = NULL, *batch = "512";
    const struct arg args[] = {
        {"tokens", 0, &tokens, NULL, "IDS", "token ids: 1,2,3"},
        {"text", 0, &r->text, NULL, "TEXT", "or a text to tokenize"},
        {"out", 'o', &r->out, NULL, "FILE", "gets float32 rows of n_vocab, one a token"},
        {"batch", 'b', &batch, NULL, "N", "tokens a pass, 1 to 512"},
    };
    const struct command command = {
        "write the raw logits of every position of a text to a file, for comparison with other "
        "engines.",
        args, COUNT_OF(args), settings};
    enum status status = args_read(&command, argc, argv, err);
    if (status == OK)
        status = args_int("batch", batch, 1, MOST_GROUP, &r->batch, err);
    if (status == OK && (!r->out || (!tokens) == (!r->text)))
        status =
            err_set(err, BAD_INPUT,
                    "give --out FILE and one of --tokens and --text (--help lists the options)");
    return status == OK && tokens ? read_ids(tokens, &r->ids, err) : status;
}

int verb_logits(int argc, char **argv)
{
    struct logits_request r = {0};
    struct settings settings;
    struct err err;
    enum status status = read_command_line(&settings, &r, argc, argv, &err);
    int code = status == CANCELLED ? 0 : 2;
    if (status == OK) {
        status = run(&settings, &r, &err);
        code = status == OK ? 0 : 1;
    }
    free(r.ids.p);
    return code ? args_fail("logits", &err, code) : 0;
}
