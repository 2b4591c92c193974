// weights.c - the architectures: which numbers and tensors a `llama` or `qwen2` file must have,
// each checked before use.
//
// Tensor names and shapes (GGUF dims[0] is the row length, so [rows][cols] here is dims {cols,
// rows} there):
//   token_embd.weight  [n_vocab][n_embd]           output_norm.weight [n_embd]      output.weight
//   [n_vocab][n_embd], or tied blk.N.attn_norm.weight [n_embd]                blk.N.ffn_norm.weight
//   [n_embd] blk.N.attn_q.weight [n_head*head_dim][n_embd]  blk.N.attn_k|v.weight
//   [n_head_kv*head_dim][n_embd]   (+ .bias) blk.N.attn_output.weight [n_embd][n_head*head_dim] (+
//   .bias) blk.N.ffn_gate|up.weight [n_ff][n_embd]        blk.N.ffn_down.weight [n_embd][n_ff]
//   rope_freqs.weight [n_rot/2] (llama): divides the rotation frequencies
//
// A tensor that no rule names is an error: the file would be another architecture, and silently
// wrong text is worse.

#include "parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_LAYER = 1024,
    MAX_EMBD = 1 << 17,
    MAX_FF = 1 << 20,
    MAX_HEAD = 4096,
    MAX_HEAD_DIM = 1024,
    MAX_CTX = 1 << 24,
};

// ---- hyper-parameters ---------------------------------------------------------------------------

struct reader { // reads "<arch>.<name>" keys; the first failure stays
    const struct gguf *gguf;
    const char *arch;
    enum status status;
    struct err *err;
    char key[96];
};

static const char *key_of(struct reader *r, const char *name)
{
    snprintf(r->key, sizeof(r->key), "%s.%s", r->arch, name);
    return r->key;
}

// fallback < 0: the key must be there.
static int32_t read_int(struct reader *r, const char *name, uint64_t min, uint64_t max,
                        int32_t fallback)
{
    if (r->status != OK)
        return 1;
    uint64_t value = 0;
    enum status status = gguf_get_uint(r->gguf, key_of(r, name), min, max, &value, r->err);
    if (status == OK)
        return (int32_t)value;
    if (status == NOT_FOUND && fallback >= 0)
        return fallback;
    r->status =
        status != NOT_FOUND ? status : err_set(r->err, BAD_INPUT, "key '%s' is missing", r->key);
    return 1;
}

static float read_float(struct reader *r, const char *name, double min, double max, float fallback)
{
    if (r->status != OK)
        return 1;
    float value = fallback;
    enum status status = gguf_get_float(r->gguf, key_of(r, name), min, max, &value, r->err);
    if (status == NOT_FOUND && isnan(fallback))
        status = err_set(r->err, BAD_INPUT, "key '%s' is missing", r->key);
    if (status != OK && status != NOT_FOUND)
        r->status = status;
    return value;
}

// YaRN (Peng et al. 2023). What a file may also say and this build would compute otherwise is
// refused.
static enum status read_yarn(struct reader *r, struct hyper *out)
{
    struct rope_scaling *rope = &out->rope_scaling;
    rope->yarn = true;
    rope->n_ctx_orig =
        read_int(r, "rope.scaling.original_context_length", 1, MAX_CTX, out->n_ctx_train);
    rope->beta_fast = read_float(r, "rope.scaling.yarn_beta_fast", 0.01, 1e6, 32);
    rope->beta_slow = read_float(r, "rope.scaling.yarn_beta_slow", 0.01, 1e6, 1);
    rope->attn_factor = read_float(r, "rope.scaling.attn_factor", 1e-3, 1e3, 1) *
                        read_float(r, "rope.scaling.yarn_attn_factor", 1e-3, 1e3, 1);
    float ext_factor = read_float(r, "rope.scaling.yarn_ext_factor", -1e6, 1e6, 1),
          log_multiplier = read_float(r, "rope.scaling.yarn_log_multiplier", -1e6, 1e6, 0);
    if (r->status == OK && ((ext_factor != 1 && ext_factor >= 0) || log_multiplier != 0))
        r->status = err_set(r->err, UNSUPPORTED,
                            "YaRN with an extrapolation factor of %g and a log multiplier of %g; "
                            "this build knows 1 and 0",
                            (double)ext_factor, (double)log_multiplier);
    return r->status;
}

static enum status read_rope_scaling(struct reader *r, struct hyper *out)
{
    struct bytes kind = {NULL, 0};
    char text[NAME_TEXT];
    enum status status = gguf_get_string(r->gguf, key_of(r, "rope.scaling.type"), &kind, r->err);
    if (status != OK && status != NOT_FOUND)
        return status;
    bool linear = status == NOT_FOUND || bytes_equal_text(kind, "linear"),
         yarn = bytes_equal_text(kind, "yarn");
    if (!linear && !yarn && !bytes_equal_text(kind, "none"))
        return err_set(r->err, UNSUPPORTED,
                       "key '%s' is '%s'; this build knows none, linear and yarn (and the factors "
                       "in rope_freqs.weight)",
                       r->key, name_text(text, kind));
    float factor = 1;
    if (linear)
        factor = read_float(r, "rope.scale_linear", 0, 1e6, 0); // the older name
    if ((linear && factor == 0) || yarn)
        factor = read_float(r, "rope.scaling.factor", 0, 1e6, 1);
    if (r->status == OK && factor > 0 && factor < 1e-6f)
        return err_set(r->err, BAD_INPUT, "key '%s' is %g; expected 0 or from 1e-6 to 1e6", r->key,
                       (double)factor);
    out->rope_scaling.freq_scale = factor > 0 ? 1 / factor : 1;
    return yarn ? read_yarn(r, out) : r->status;
}

static enum status check_hyper(const struct hyper *h, const struct gguf *gguf, struct err *err)
{
    char key[96];
    uint64_t n_experts = 0, value_length = (uint64_t)h->head_dim;
    if (h->n_head % h->n_head_kv != 0)
        return err_set(err, BAD_INPUT, "%d attention heads cannot share %d key/value heads",
                       h->n_head, h->n_head_kv);
    if (h->head_dim % 2 != 0 || h->n_rot % 2 != 0 || h->n_rot > h->head_dim)
        return err_set(err, BAD_INPUT,
                       "heads of %d dimensions with %d of them rotated: both must be even, the "
                       "second no larger",
                       h->head_dim, h->n_rot);
    if ((int64_t)h->n_head * h->head_dim > MAX_EMBD)
        return err_set(err, BAD_INPUT, "%d heads of %d dimensions: more than %d in all", h->n_head,
                       h->head_dim, MAX_EMBD);
    snprintf(key, sizeof(key), "%s.attention.value_length", h->arch);
    enum status status = gguf_get_uint(gguf, key, 1, MAX_HEAD_DIM, &value_length, err);
    if (status != OK && status != NOT_FOUND)
        return status;
    if (value_length != (uint64_t)h->head_dim)
        return err_set(err, UNSUPPORTED,
                       "key '%s' is %llu, the key length %d; this build needs them equal", key,
                       (unsigned long long)value_length, h->head_dim);
    snprintf(key, sizeof(key), "%s.expert_count", h->arch);
    status = gguf_get_uint(gguf, key, 0, UINT32_MAX, &n_experts, err);
    if (status != OK && status != NOT_FOUND)
        return status;
    if (n_experts > 0)
        return err_set(err, UNSUPPORTED, "a mixture of %llu experts; this build runs dense models",
                       (unsigned long long)n_experts);
    return OK;
}

enum status hyper_read(struct hyper *out, const struct gguf *gguf, struct err *err)
{
    struct bytes arch = {NULL, 0};
    char text[NAME_TEXT];
    struct hyper h = {0};
    enum status status = gguf_get_string(gguf, "general.architecture", &arch, err);
    if (status == NOT_FOUND)
        return err_set(err, BAD_INPUT, "key 'general.architecture' is missing");
    if (status != OK)
        return status;
    if (!bytes_equal_text(arch, "llama") && !bytes_equal_text(arch, "qwen2"))
        return err_set(err, UNSUPPORTED, "architecture '%s'; this build runs llama and qwen2",
                       name_text(text, arch));
    snprintf(h.arch, sizeof(h.arch), "%s", name_text(text, arch));
    struct reader r = {.gguf = gguf, .arch = h.arch, .status = OK, .err = err};
    h.n_layer = read_int(&r, "block_count", 1, MAX_LAYER, -1);
    h.n_embd = read_int(&r, "embedding_length", 1, MAX_EMBD, -1);
    h.n_ff = read_int(&r, "feed_forward_length", 1, MAX_FF, -1);
    h.n_head = read_int(&r, "attention.head_count", 1, MAX_HEAD, -1);
    h.n_head_kv = read_int(&r, "attention.head_count_kv", 1, MAX_HEAD, h.n_head);
    h.n_ctx_train = read_int(&r, "context_length", 1, MAX_CTX, -1);
    h.head_dim = read_int(&r, "attention.key_length", 2, MAX_HEAD_DIM, 0);
    h.rms_eps = read_float(&r, "attention.layer_norm_rms_epsilon", 0, 1, NAN);
    h.rope_scaling.freq_base = read_float(&r, "rope.freq_base", 1, 1e12, 10000);
    if (r.status != OK)
        return r.status;
    if (h.head_dim == 0 && (h.n_embd % h.n_head != 0 || h.n_embd / h.n_head > MAX_HEAD_DIM))
        return err_set(err, BAD_INPUT,
                       "an embedding of %d cannot be divided among %d heads of at most %d",
                       h.n_embd, h.n_head, MAX_HEAD_DIM);
    if (h.head_dim == 0)
        h.head_dim = h.n_embd / h.n_head;
    h.n_rot = read_int(&r, "rope.dimension_count", 2, MAX_HEAD_DIM, h.head_dim);
    h.rope_pairs = strcmp(h.arch, "qwen2") == 0 ? ROPE_NEOX : ROPE_NORM;
    if (r.status == OK)
        r.status = read_rope_scaling(&r, &h);
    if (r.status == OK)
        r.status = check_hyper(&h, gguf, err);
    if (r.status == OK)
        *out = h;
    return r.status;
}

// ---- tensors ------------------------------------------------------------------------------------

struct loader {
    struct compute *compute;
    const struct gguf *gguf;
    const struct hyper *hyper;
    struct err *err;
    char name[64];
};

static const char *layer_name(struct loader *l, int32_t i, const char *name)
{
    snprintf(l->name, sizeof(l->name), "blk.%d.%s", i, name);
    return l->name;
}

static enum status unknown_format(struct loader *l, const char *name, uint32_t type)
{
    char known[192];
    size_t n = 0;
    for (uint32_t i = 0; i < 64; i++)
        if (dtype_known(i) && n < sizeof(known))
            n += (size_t)snprintf(known + n, sizeof(known) - n, " %s", dtype_name((enum dtype)i));
    return err_set(l->err, UNSUPPORTED, "tensor '%s' is stored as %s; this build computes with%s",
                   name, gguf_tensor_type_name(type), known);
}

static enum status find(struct loader *l, const char *name, int64_t n_rows, int64_t n_cols,
                        const struct gguf_tensor **out)
{
    struct gguf_tensor *tensor = gguf_find_tensor(l->gguf, name);
    if (!tensor)
        return NOT_FOUND;
    uint64_t rows = tensor->dims[1];
    if (tensor->dims[0] != (uint64_t)n_cols || rows != (uint64_t)n_rows || tensor->dims[2] != 1 ||
        tensor->dims[3] != 1)
        return err_set(l->err, BAD_INPUT,
                       "tensor '%s' is %llu x %llu x %llu x %llu; expected %lld x %lld", name,
                       (unsigned long long)tensor->dims[0], (unsigned long long)rows,
                       (unsigned long long)tensor->dims[2], (unsigned long long)tensor->dims[3],
                       (long long)n_cols, (long long)n_rows);
    if (!dtype_known(tensor->type))
        return unknown_format(l, name, tensor->type);
    tensor->used = true;
    *out = tensor;
    return OK;
}

static enum status missing(struct loader *l, const char *name)
{
    return err_set(l->err, BAD_INPUT, "tensor '%s' is missing", name);
}

static enum status matrix(struct loader *l, struct tensor *out, const char *name, int64_t n_rows,
                          int64_t n_cols)
{
    const struct gguf_tensor *tensor = NULL;
    enum status status = find(l, name, n_rows, n_cols, &tensor);
    if (status != OK)
        return status == NOT_FOUND ? missing(l, name) : status;
    if (tensor->offset % 32 != 0)
        return err_set(l->err, UNSUPPORTED,
                       "tensor '%s' is at offset %llu; matrices must be at a multiple of 32", name,
                       (unsigned long long)tensor->offset);
    status = compute_weight(l->compute, out, (enum dtype)tensor->type, n_rows, n_cols,
                            l->gguf->file.p + tensor->offset, l->err);
    return status != OK && l->err ? err_prefix(l->err, "tensor '%s'", name) : status;
}

// Norms and biases are small: decoded to F32 in the device's memory whatever the file stores.
// NOT_FOUND: not there.
static enum status optional_vector(struct loader *l, struct tensor *out, const char *name,
                                   int64_t n)
{
    const struct gguf_tensor *tensor = NULL;
    enum status status = find(l, name, 1, n, &tensor);
    if (status != OK)
        return status;
    status = compute_tensor(l->compute, out, DTYPE_F32, 1, n, l->err);
    if (status != OK)
        return status;
    float *values = mem_array((size_t)n, sizeof(*values));
    dtype_decode((enum dtype)tensor->type, values, l->gguf->file.p + tensor->offset, n);
    tensor_write(l->compute, out, values, (size_t)n * sizeof(*values));
    free(values);
    return OK;
}

static enum status vector(struct loader *l, struct tensor *out, const char *name, int64_t n)
{
    enum status status = optional_vector(l, out, name, n);
    return status == NOT_FOUND ? missing(l, name) : status;
}

static enum status bias(struct loader *l, struct tensor *out, const char *name, int64_t n,
                        bool needed)
{
    enum status status = needed ? vector(l, out, name, n) : optional_vector(l, out, name, n);
    return status == NOT_FOUND ? OK : status;
}

static enum status load_layer(struct loader *l, struct layer *layer, int32_t i)
{
    const struct hyper *h = l->hyper;
    int64_t n_q = (int64_t)h->n_head * h->head_dim, n_kv = (int64_t)h->n_head_kv * h->head_dim;
    bool biased = strcmp(h->arch, "qwen2") == 0;
    const struct {
        struct tensor *tensor;
        const char *name;
        int64_t n_rows, n_cols;
    } matrices[] = {
        {&layer->attn_q, "attn_q.weight", n_q, h->n_embd},
        {&layer->attn_k, "attn_k.weight", n_kv, h->n_embd},
        {&layer->attn_v, "attn_v.weight", n_kv, h->n_embd},
        {&layer->attn_output, "attn_output.weight", h->n_embd, n_q},
        {&layer->ffn_gate, "ffn_gate.weight", h->n_ff, h->n_embd},
        {&layer->ffn_up, "ffn_up.weight", h->n_ff, h->n_embd},
        {&layer->ffn_down, "ffn_down.weight", h->n_embd, h->n_ff},
    };
    enum status status = OK;
    for (size_t k = 0; k < COUNT_OF(matrices) && status == OK; k++)
        status = matrix(l, matrices[k].tensor, layer_name(l, i, matrices[k].name),
                        matrices[k].n_rows, matrices[k].n_cols);
    if (status == OK)
        status = vector(l, &layer->attn_norm, layer_name(l, i, "attn_norm.weight"), h->n_embd);
    if (status == OK)
        status = vector(l, &layer->ffn_norm, layer_name(l, i, "ffn_norm.weight"), h->n_embd);
    if (status == OK)
        status = bias(l, &layer->attn_q_bias, layer_name(l, i, "attn_q.bias"), n_q, biased);
    if (status == OK)
        status = bias(l, &layer->attn_k_bias, layer_name(l, i, "attn_k.bias"), n_kv, biased);
    if (status == OK)
        status = bias(l, &layer->attn_v_bias, layer_name(l, i, "attn_v.bias"), n_kv, biased);
    if (status == OK)
        status = bias(l, &layer->attn_output_bias, layer_name(l, i, "attn_output.bias"), h->n_embd,
                      false);
    return status;
}

// Llama 3's scaling, one divisor a frequency: *out [n_rot / 2], NULL when there is none.
static enum status read_rope_freqs(struct loader *l, float **out)
{
    const struct gguf_tensor *tensor = NULL;
    int32_t n = l->hyper->n_rot / 2;
    if (strcmp(l->hyper->arch, "llama") != 0)
        return OK;
    enum status status = find(l, "rope_freqs.weight", 1, n, &tensor);
    if (status != OK)
        return status == NOT_FOUND ? OK : status;
    if (tensor->type != DTYPE_F32)
        return err_set(l->err, UNSUPPORTED,
                       "tensor 'rope_freqs.weight' is stored as %s; expected F32",
                       gguf_tensor_type_name(tensor->type));
    *out = mem_array((size_t)n, sizeof **out);
    memcpy(*out, l->gguf->file.p + tensor->offset, (size_t)n * sizeof **out);
    for (int32_t i = 0; i < n; i++)
        if (!((*out)[i] > 0) || !isfinite((*out)[i]))
            return err_set(
                l->err, BAD_INPUT,
                "tensor 'rope_freqs.weight': factor %d is %g; expected a positive number", i,
                (double)(*out)[i]);
    return OK;
}

static enum status load_rope(struct loader *l, struct weights *w)
{
    const struct hyper *h = l->hyper;
    float *factors = NULL;
    enum status status = read_rope_freqs(l, &factors);
    if (status == OK)
        status = compute_tensor(l->compute, &w->rope_turns, DTYPE_I32, 1, h->n_rot, l->err);
    if (status == OK) {
        struct rope_scaling scaling = h->rope_scaling;
        scaling.freq_factors = factors;
        int32_t *turns = mem_array((size_t)h->n_rot, sizeof(*turns));
        rope_turns(turns, &w->rope_magnitude, h->n_rot, &scaling);
        tensor_write(l->compute, &w->rope_turns, turns, (size_t)h->n_rot * sizeof(*turns));
        free(turns);
    }
    free(factors);
    return status;
}

static enum status check_unused(struct loader *l)
{
    for (uint64_t i = 0; i < l->gguf->n_tensors; i++) {
        char text[NAME_TEXT];
        if (!l->gguf->tensors[i].used)
            return err_set(l->err, UNSUPPORTED,
                           "tensor '%s' is not part of the architecture '%s' with %d layers as "
                           "this build knows it",
                           name_text(text, l->gguf->tensors[i].name), l->hyper->arch,
                           l->hyper->n_layer);
    }
    return OK;
}

static enum status load_all(struct loader *l, struct weights *w)
{
    const struct hyper *h = l->hyper;
    enum status status = matrix(l, &w->token_embd, "token_embd.weight", h->n_vocab, h->n_embd);
    if (status == OK)
        status = vector(l, &w->output_norm, "output_norm.weight", h->n_embd);
    w->tied = !gguf_find_tensor(l->gguf, "output.weight");
    if (status == OK && w->tied)
        w->output = w->token_embd;
    else if (status == OK)
        status = matrix(l, &w->output, "output.weight", h->n_vocab, h->n_embd);
    if (status == OK)
        status = load_rope(l, w);
    for (int32_t i = 0; i < h->n_layer && status == OK; i++)
        status = load_layer(l, &w->layers[i], i);
    return status == OK ? check_unused(l) : status;
}

enum status weights_open(struct weights *out, struct compute *compute, const struct gguf *gguf,
                         const struct hyper *hyper, struct err *err)
{
    struct loader loader = {.compute = compute, .gguf = gguf, .hyper = hyper, .err = err};
    struct weights w = {.layers = mem_array((size_t)hyper->n_layer, sizeof(struct layer))};
    enum status status = load_all(&loader, &w);
    if (status != OK)
        weights_close(&w, compute, hyper);
    else
        *out = w;
    return status;
}

static void release(struct compute *compute, struct tensor *tensor)
{
    if (tensor->buffer)
        tensor_free(compute, tensor);
}

void weights_close(struct weights *weights, struct compute *compute, const struct hyper *hyper)
{
    for (int32_t i = 0; i < hyper->n_layer && weights->layers; i++) {
        struct layer *layer = &weights->layers[i];
        struct tensor *all[] = {
            &layer->attn_norm,        &layer->attn_q,      &layer->attn_k,      &layer->attn_v,
            &layer->attn_q_bias,      &layer->attn_k_bias, &layer->attn_v_bias, &layer->attn_output,
            &layer->attn_output_bias, &layer->ffn_norm,    &layer->ffn_gate,    &layer->ffn_up,
            &layer->ffn_down,
        };
        for (size_t k = 0; k < COUNT_OF(all); k++)
            release(compute, all[k]);
    }
    if (!weights->tied)
        release(compute, &weights->output);
    release(compute, &weights->token_embd);
    release(compute, &weights->output_norm);
    release(compute, &weights->rope_turns);
    free(weights->layers);
    *weights = (struct weights){0};
}
