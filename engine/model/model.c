// model.c - opens a model: file, tokenizer, hyper-parameters, weights, KV cache and the memory of a
// forward pass, in that order.
//
// The weights stay in the mapped file for as long as the model is open; a device that has its own
// memory copies them.

#include "arch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_BATCH = 8192, MAX_SEQ = 4096 };

// ---- what a person reads about the model --------------------------------------------------------

// A name as a person may read it: whole UTF-8, cut to its room, without control characters.
static void copy_printable(char *out, size_t size, struct bytes text)
{
    struct buf clean, tame;
    buf_init(&clean, SIZE_MAX);
    buf_init(&tame, SIZE_MAX);
    text.n = text.n < 4 * size ? text.n : 4 * size;
    if (utf8_clean(&clean, text) != OK || utf8_tame(&tame, buf_view(&clean)) != OK)
        die("a model's name is not to be had");
    size_t n = tame.n < size - 1 ? tame.n : utf8_whole((struct bytes){tame.p, size - 1});
    for (size_t i = 0; i < n; i++)
        out[i] = tame.p[i] < 0x20 ? ' ' : (char)tame.p[i]; // utf8_tame leaves newlines and tabs
    out[n] = 0;
    buf_free(&clean);
    buf_free(&tame);
}

// The mix that general.file_type names, else the storage format with the most bytes.
static void name_quantisation(struct model_info *info, const struct gguf *gguf)
{
    static const struct {
        uint64_t file_type;
        const char *name;
    } names[] = {{0, "F32"},     {1, "F16"},      {2, "Q4_0"},    {3, "Q4_1"},    {7, "Q8_0"},
                 {8, "Q5_0"},    {9, "Q5_1"},     {10, "Q2_K"},   {11, "Q3_K_S"}, {12, "Q3_K_M"},
                 {13, "Q3_K_L"}, {14, "Q4_K_S"},  {15, "Q4_K_M"}, {16, "Q5_K_S"}, {17, "Q5_K_M"},
                 {18, "Q6_K"},   {21, "Q2_K_S"},  {25, "IQ4_NL"}, {30, "IQ4_XS"}, {32, "BF16"},
                 {38, "MXFP4"},  {19, "IQ2_XXS"}, {20, "IQ2_XS"}, {22, "IQ3_XS"}, {23, "IQ3_XXS"},
                 {24, "IQ1_S"},  {26, "IQ3_S"},   {27, "IQ3_M"},  {28, "IQ2_S"},  {29, "IQ2_M"},
                 {31, "IQ1_M"},  {36, "TQ1_0"},   {37, "TQ2_0"}};
    uint64_t file_type = UINT64_MAX, bytes_of_type[64] = {0}, best = 0;
    if (gguf_get_uint(gguf, "general.file_type", 0, 1024, &file_type, NULL) == OK)
        for (size_t i = 0; i < COUNT_OF(names); i++)
            if (names[i].file_type == file_type) {
                snprintf(info->quantisation, sizeof(info->quantisation), "%s", names[i].name);
                return;
            }
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        uint32_t type = gguf->tensors[i].type % COUNT_OF(bytes_of_type);
        bytes_of_type[type] += gguf->tensors[i].n_bytes;
        if (bytes_of_type[type] > bytes_of_type[best])
            best = type;
    }
    snprintf(info->quantisation, sizeof(info->quantisation), "%s",
             gguf_tensor_type_name((uint32_t)best));
}

// What is known without the architecture.
static void fill_names(struct model_info *info, const struct gguf *gguf, const char *path)
{
    struct bytes base = gguf_file_name(path), name = {NULL, 0};
    copy_printable(info->id, sizeof(info->id), base);
    if (gguf_get_string(gguf, "general.name", &name, NULL) != OK || name.n == 0)
        name = base;
    copy_printable(info->name, sizeof(info->name), name);
    name_quantisation(info, gguf);
    for (uint64_t i = 0; i < gguf->n_tensors; i++)
        info->n_params += (int64_t)gguf->tensors[i].n_elements;
    info->file_bytes = gguf->file_bytes;
    info->whole_bytes = gguf->whole_bytes;
    info->n_parts = (int32_t)gguf->split.count;
    info->n_parts_missing = (int32_t)gguf->n_missing;
}

static void fill_info(struct model *m, const char *path)
{
    struct model_info *info = &m->info;
    const struct hyper *h = &m->hyper;
    fill_names(info, m->gguf, path);
    snprintf(info->arch, sizeof(info->arch), "%s", h->arch->name);
    info->n_params += m->weights.n_guessed;
    info->whole_bytes += m->weights.n_guessed_bytes;
    info->kv_bytes = m->kv.n_bytes;
    info->n_layer = info->n_layer_on_device = h->n_layer;
    info->n_embd = h->n_embd;
    info->n_ff = (int32_t)hyper_most(h, N_FF);
    for (int32_t i = 0; i < h->n_layer; i++)
        if (h->layers[i].n_head > info->n_head) {
            info->n_head = h->layers[i].n_head;
            info->n_head_kv = h->layers[i].n_head_kv;
            info->head_dim = h->layers[i].head_dim;
        }
    info->n_vocab = h->n_vocab;
    info->n_ctx = h->n_ctx;
    info->n_ctx_train = h->n_ctx_train;
    info->draft_bytes = m->weights.draft_bytes;
    info->drafts = h->n_draft > 0;
    info->needs_snapshots = hyper_recurrent(h);
    info->takes_back =
        !h->sees_all && (!hyper_recurrent(h) || info->plan.n_slots > info->plan.n_seq);
    for (int32_t k = 0; k < info->plan.n_pools; k++)
        info->needs_snapshots |=
            info->plan.pools[k].window > 0 && info->plan.pools[k].window < h->n_ctx;
    embed_info(m);
}

// What its chat template and its vocabulary say that it can.
static void fill_abilities(struct model *m)
{
    const struct answer_family family = answer_family_find(model_chat_template(m), m->tokenizer);
    m->info.thinks = m->info.pooling == POOLING_NONE && family.thought;
    m->info.calls = m->info.pooling == POOLING_NONE && !family.told;
    m->info.fills = m->info.pooling == POOLING_NONE && infill_has_marks(m->tokenizer);
}

// ---- open and close -----------------------------------------------------------------------------

// The length of a layer's rows that is no multiple of 32; 0: all are.
static int64_t odd_row(const struct hyper *h, const struct layer_hyper *layer)
{
    const bool groups = h->n_out_group > 0;
    const int64_t rows[] = {h->n_embd,
                            layer->n_ff,
                            h->n_stream_low,
                            groups ? h->n_lora_q : 0,
                            groups ? hyper_dim(h, layer, N_OUT_HEADS) : 0,
                            groups ? hyper_dim(h, layer, N_LORA_OUT) : 0};
    for (size_t k = 0; k < COUNT_OF(rows); k++)
        if (rows[k] % 32 != 0)
            return rows[k];
    return 0;
}

// The processor takes any shape; kernels of a GPU read rows in pieces (compute.h).
static enum status check_device(const struct compute *compute, const struct hyper *h,
                                struct err *err)
{
    if (strcmp(compute_info(compute)->backend, "cpu") == 0)
        return OK;
    if (hyper_recurrent(h) && !compute_has_recurrent(compute))
        return err_set(err, UNSUPPORTED,
                       "architecture '%s' has recurrent layers, which run on the processor only in "
                       "this build: device = cpu",
                       h->arch->name);
    for (int32_t i = 0; i < h->n_layer; i++) {
        const struct layer_hyper *layer = &h->layers[i];
        if (layer->head_dim % 8 != 0 || layer->head_dim > 576)
            return err_set(
                err, UNSUPPORTED,
                "heads of %d dimensions; on %s they must be a multiple of 8, at most 576",
                layer->head_dim, compute_info(compute)->device);
        const int64_t row = odd_row(h, layer);
        if (row > 0)
            return err_set(err, UNSUPPORTED,
                           "rows of %lld numbers; on %s they must be a multiple of 32",
                           (long long)row, compute_info(compute)->device);
    }
    return OK;
}

// A text whose tokens see all of it is one pass, which then bounds the context: as many rows as its
// context has, ONE_PASS_MOST at most, or half as many, and again, where memory is short.
enum { ONE_PASS_MOST = 8192, ONE_PASS_LEAST = 2048 };
static enum status plan_one_pass(struct model *m, struct err *err)
{
    enum status status;
    m->options.n_seq += m->options.n_held; // nothing is held of texts: they are read together
    m->options.n_held = 0;
    for (int32_t most = ONE_PASS_MOST;; most /= 2) {
        const int32_t train = m->hyper.n_ctx_train, asked = m->options.n_ctx;
        m->options.n_batch = train < most ? train : most;
        if (asked > 0 && asked < m->options.n_batch)
            m->options.n_batch = asked;
        status = plan_make(&m->info.plan, m->compute, &m->weights, &m->hyper, &m->options, err);
        if (status != OK || (m->info.plan.fits && m->info.plan.n_ctx == m->options.n_batch) ||
            most / 2 < ONE_PASS_LEAST)
            return status;
    }
}

// All that the head tells, up to the plan.
static enum status read_head(struct model *m, int32_t n_vocab, const struct model_options *options,
                             struct err *err)
{
    m->options = *options;
    struct hyper *h = &m->hyper;
    enum status status = hyper_read(h, m->gguf, options->draft, err);
    if (status == OK)
        status = check_device(m->compute, h, err);
    if (status != OK)
        return status;
    h->n_vocab = n_vocab;
    status = weights_plan(&m->weights, m->compute, m->gguf, h, err);
    if (status == OK)
        status = embed_check(h, &m->weights, err);
    if (status == OK && h->sees_all)
        status = plan_one_pass(m, err);
    else if (status == OK)
        status = plan_make(&m->info.plan, m->compute, &m->weights, h, options, err);
    h->n_ctx = m->info.plan.n_ctx;
    return status;
}

static enum status open_parts(struct model *m, const struct model_options *options, struct err *err)
{
    const struct hyper *h = &m->hyper;
    enum status status = vocabulary_read(&m->tokenizer, m->gguf, err);
    if (status == OK)
        template_read(&m->template, m->gguf, m->tokenizer);
    if (status == OK)
        status = read_head(m, tokenizer_n_vocab(m->tokenizer), options, err);
    if (status == OK && !m->info.plan.fits)
        status = plan_refuse(&m->info.plan, err);
    if (status == OK)
        status = kv_open(&m->kv, m->compute, h, &m->info.plan, m->options.n_batch, err);
    if (status == OK)
        status = activations_open(&m->act, m->compute, h, &m->options, err);
    if (status == OK && h->pooling != POOLING_NONE) {
        const size_t n = (size_t)m->options.n_seq * (size_t)h->n_embd;
        m->pooled = mem_array(n, sizeof(*m->pooled));
        m->ended = mem_array(n, sizeof(*m->ended));
    }
    if (h->ngram.n > 0)
        m->ngram = mem_array((size_t)m->options.n_batch * (size_t)h->n_embd, sizeof(*m->ngram));
    m->scratch = mem_array(5 * (size_t)m->options.n_batch, sizeof(*m->scratch));
    return status;
}

static enum status check_options(const struct model_options *options, struct err *err)
{
    if (options->n_ctx >= CTX_AUTO && options->n_seq >= 1 && options->n_seq <= MAX_SEQ &&
        options->n_held >= 0 && options->n_held <= MAX_SEQ && options->n_batch >= 1 &&
        options->n_batch <= MAX_BATCH)
        return OK;
    return err_set(err, BAD_INPUT,
                   "model options out of range: ctx %d, %d sequences (1 to %d), batch %d (1 to %d)",
                   options->n_ctx, options->n_seq, MAX_SEQ, options->n_batch, MAX_BATCH);
}

// A head may come without its vocabulary; what the output matrix must be then tells its length.
static int32_t vocabulary_length(const struct gguf *gguf)
{
    const struct gguf_value *tokens = gguf_find(gguf, "tokenizer.ggml.tokens");
    const struct gguf_tensor *embd = gguf_find_tensor(gguf, "token_embd.weight");
    uint64_t n = tokens && tokens->type == GGUF_ARRAY ? tokens->n_items : embd ? embd->dims[1] : 0;
    return n < INT32_MAX ? (int32_t)n : INT32_MAX;
}

enum status model_plan(struct model_info *out, struct compute *compute, const char *path,
                       const struct model_options *options, struct err *err)
{
    struct model m = {.compute = compute};
    enum status status = check_options(options, err);
    if (status == OK)
        status = gguf_open_head(&m.gguf, path, err);
    if (status != OK)
        return status;
    status = read_head(&m, vocabulary_length(m.gguf), options, err);
    if (status == OK) {
        fill_info(&m, path);
        *out = m.info;
    }
    weights_close(&m.weights, m.compute);
    hyper_free(&m.hyper);
    gguf_close(m.gguf);
    return status != OK && err ? err_prefix(err, "model file %s", path) : status;
}

// Whether all of it is there, by its head.
static enum status check_whole(const struct model_info *info, struct err *err)
{
    if (info->n_parts_missing > 0)
        return err_set(err, NOT_FOUND, "of its %d parts %d are not there", (int)info->n_parts,
                       (int)info->n_parts_missing);
    if (info->file_bytes < info->whole_bytes)
        return err_set(err, BAD_INPUT, "%llu of its %llu bytes are there: it is not whole",
                       (unsigned long long)info->file_bytes, (unsigned long long)info->whole_bytes);
    return OK;
}

// The part of a tensor that one token reads: of experts those that are chosen, of embeddings a row
// where the output has a tensor of its own, nothing of what is not loaded.
static double share_read(const struct gguf *gguf, const struct hyper *h,
                         const struct gguf_tensor *tensor)
{
    static const char EXPERTS[] = "_exps.", *const left[] = {"v.", "mm.", "rope_freqs"};
    const struct bytes name = tensor->name;
    for (size_t i = 0; i < COUNT_OF(left); i++)
        if (bytes_begins_with(name, left[i]))
            return 0;
    char layer[12] = ""; // a name in the file ends without a NUL
    if (bytes_begins_with(name, "blk."))
        snprintf(layer, sizeof(layer), "%.*s", (int)(name.n - 4 < 11 ? name.n - 4 : 11),
                 (const char *)name.p + 4);
    if (layer[0] && strtol(layer, NULL, 10) >= h->n_layer)
        return 0;
    if (h->n_expert > 0 && memmem(name.p, name.n, EXPERTS, strlen(EXPERTS)))
        return (double)h->n_expert_used / h->n_expert;
    if (bytes_equal_text(name, "token_embd.weight") && gguf_find_tensor(gguf, "output.weight"))
        return 0;
    return 1;
}

// Of a model in several files the first one is known: the rest is taken to be like it.
static uint64_t bytes_of_token(const struct gguf *gguf, const struct hyper *h)
{
    double read = 0, all = 0;
    for (uint64_t i = 0; i < gguf->n_tensors; i++) {
        const struct gguf_tensor *tensor = &gguf->tensors[i];
        read += (double)tensor->n_bytes * share_read(gguf, h, tensor);
        all += (double)tensor->n_bytes;
    }
    return all > 0 ? (uint64_t)(read / all * (double)gguf->file_bytes) : 0;
}

enum status model_describe(struct model_info *out, const char *path, struct err *err)
{
    struct gguf *gguf;
    struct hyper h = {0};
    struct bytes arch;
    *out = (struct model_info){.n_layer = 0};
    enum status status = gguf_open_head(&gguf, path, err);
    if (status != OK)
        return status;
    fill_names(out, gguf, path);
    if (gguf_get_string(gguf, "general.architecture", &arch, NULL) == OK)
        copy_printable(out->arch, sizeof(out->arch), arch);
    status = hyper_read(&h, gguf, false, err);
    if (status == OK) {
        out->n_layer = h.n_layer;
        out->n_embd = h.n_embd;
        out->n_ctx_train = h.n_ctx_train;
        out->token_bytes = bytes_of_token(gguf, &h);
        out->pooling = h.pooling;
        out->n_vector = h.pooling == POOLING_NONE || h.pooling == POOLING_RANK ? 0 : h.n_embd;
        status = check_whole(out, err);
    }
    hyper_free(&h);
    gguf_close(gguf);
    return status;
}

enum status model_begin(struct model **out, struct compute *compute, const char *path,
                        const struct model_options *options, struct err *err)
{
    static uint32_t n_opened; // by the engine's thread
    enum status status = check_options(options, err);
    if (status != OK)
        return status;
    struct model *m = mem_alloc(sizeof(*m));
    m->number = ++n_opened;
    m->compute = compute;
    status = gguf_open(&m->gguf, path, err);
    if (status != OK) {
        free(m);
        return status;
    }
    status = open_parts(m, options, err);
    if (status != OK) {
        model_close(m);
        return err ? err_prefix(err, "model file %s", path) : status;
    }
    fill_info(m, path);
    fill_abilities(m);
    struct stat file;
    if (stat(path, &file) == 0) // the one inside this binary has none
        m->file_ns = (int64_t)file.st_mtim.tv_sec * 1000000000 + file.st_mtim.tv_nsec;
    *out = m;
    return OK;
}

// ---- loading ------------------------------------------------------------------------------------

static enum status load_some(struct model *m, uint32_t budget_ms, struct err *err)
{
    enum status status =
        weights_load_some(&m->weights, m->compute, m->gguf, &m->hyper, budget_ms, err);
    if (forward_file(m, err) != OK)
        return IO_ERROR; // whatever was said of what was read
    m->is_loaded = status == OK;
    if (status != OK && status != AGAIN && err)
        return err_prefix(err, "model %s", m->info.id);
    return status;
}

enum status model_load_some(struct model *model, uint32_t budget_ms, struct err *err)
{
    if (model->is_loaded)
        return forward_rehearse(model, err);
    enum status status = load_some(model, budget_ms, err);
    return status == OK ? AGAIN : status;
}

enum status model_open(struct model **out, struct compute *compute, const char *path,
                       const struct model_options *options, struct err *err)
{
    struct model *m;
    enum status status = model_begin(&m, compute, path, options, err);
    if (status != OK)
        return status;
    do
        status = load_some(m, UINT32_MAX, err);
    while (status == AGAIN);
    if (status == OK)
        *out = m;
    else
        model_close(m);
    return status;
}

void model_progress(const struct model *model, struct model_progress *out)
{
    *out = (struct model_progress){.done_bytes = model->weights.n_bytes_loaded,
                                   .total_bytes = model->weights.n_bytes,
                                   .compiling = model->is_loaded};
}

void model_close(struct model *model)
{
    if (!model)
        return;
    activations_close(&model->act, model->compute);
    kv_close(&model->kv, model->compute);
    weights_close(&model->weights, model->compute);
    hyper_free(&model->hyper);
    template_close(model->template);
    tokenizer_close(model->tokenizer);
    gguf_close(model->gguf);
    free(model->scratch);
    free(model->pooled);
    free(model->ended);
    free(model->ngram);
    free(model);
}

const struct model_info *model_info(const struct model *model)
{
    return &model->info;
}

const struct tokenizer *model_tokenizer(const struct model *model)
{
    return model->tokenizer;
}

const struct template *model_template(const struct model *model)
{
    return model->template;
}

struct bytes model_chat_template(const struct model *model)
{
    static const char *const keys[] = {"tokenizer.chat_template.tool_use",
                                       "tokenizer.chat_template"};
    struct bytes text = {NULL, 0};
    for (size_t i = 0; i < COUNT_OF(keys) && text.n == 0; i++)
        if (gguf_get_string(model->gguf, keys[i], &text, NULL) != OK)
            text.n = 0;
    return text;
}

// ---- what sequences hold ------------------------------------------------------------------------

int32_t model_held(const struct model *model, int32_t seq)
{
    return past_held(model->kv.past, seq);
}

int32_t model_keeps(const struct model *model, int32_t seq, int32_t n)
{
    return past_keeps(model->kv.past, seq, n);
}

int32_t model_cut(struct model *model, int32_t seq, int32_t n)
{
    return past_cut(model->kv.past, seq, n);
}

int32_t model_fork(struct model *model, int32_t from, int32_t to, int32_t n)
{
    struct kv *kv = &model->kv;
    const int32_t kept = past_fork(kv->past, from, to, n);
    const size_t n_ctx = (size_t)kv->shape.n_ctx;
    if (kv->token && kept > 0 && from != to)
        memcpy(kv->token + (size_t)to * n_ctx, kv->token + (size_t)from * n_ctx,
               (size_t)kept * sizeof(*kv->token));
    return kept;
}

enum status model_reserve(struct model *model, int32_t seq, int32_t n)
{
    return past_reserve(model->kv.past, seq, n);
}

int32_t model_states_free(const struct model *model)
{
    return model->kv.shape.n_slots > 0 ? past_slots_free(model->kv.past) : INT32_MAX;
}

int64_t model_room(const struct model *model)
{
    return past_room(model->kv.past);
}

enum status model_snapshot(struct model *model, int32_t seq)
{
    return past_snapshot(model->kv.past, seq);
}

int32_t model_snapshots(const struct model *model, int32_t seq, int32_t out[MODEL_SNAPSHOTS_MOST])
{
    return past_snapshots(model->kv.past, seq, out);
}

void model_drop(struct model *model, int32_t seq, int32_t pos)
{
    past_drop(model->kv.past, seq, pos);
}

void model_check(const struct model *model)
{
    past_check(model->kv.past);
}
