// hyper.c - the numbers of a model: what every architecture has is read here, then arch->read adds
// its own; each number is bounded before anything is computed from it.
//
// What a file says and this build would compute otherwise is refused. A key of the architecture
// that nobody asked for and that is not known to be harmless is named in the log: the file may mean
// something by it.
#include "arch.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- keys ---------------------------------------------------------------------------------------

void reader_refuse(struct reader *r, enum status status, const char *format, ...)
{
    char text[256];
    va_list args;
    if (r->status != OK)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    r->status = err_set(r->err, status, "%s", text);
}

static const struct gguf_value *find_key(struct reader *r, const char *name)
{
    snprintf(r->key, sizeof(r->key), "%s.%s", r->arch->name, name);
    const struct gguf_value *value = gguf_find(r->gguf, r->key);
    if (value)
        r->asked[value - r->gguf->values] = 1;
    return value;
}

const char *reader_key(struct reader *r, const char *name)
{
    find_key(r, name);
    return r->key;
}

bool reader_has(struct reader *r, const char *name)
{
    return find_key(r, name) != NULL;
}

// NOT_FOUND is an answer only where the key may be missing.
static void settle(struct reader *r, enum status status, bool required)
{
    if (status == NOT_FOUND && required)
        reader_refuse(r, BAD_INPUT, "key '%s' is missing", r->key);
    else if (status != OK && status != NOT_FOUND)
        r->status = status;
}

int32_t reader_int(struct reader *r, const char *name, uint64_t min, uint64_t max, int32_t fallback)
{
    uint64_t value = 0;
    if (r->status != OK)
        return 1;
    enum status status = gguf_get_uint(r->gguf, reader_key(r, name), min, max, &value, r->err);
    settle(r, status, fallback < 0);
    return status == OK ? (int32_t)value : fallback < 0 ? 1 : fallback;
}

float reader_float(struct reader *r, const char *name, double min, double max, float fallback)
{
    float value = fallback;
    if (r->status == OK)
        settle(r, gguf_get_float(r->gguf, reader_key(r, name), min, max, &value, r->err),
               isnan(fallback));
    return isnan(value) ? 1 : value;
}

bool reader_bool(struct reader *r, const char *name, bool fallback)
{
    bool value = fallback;
    if (r->status == OK)
        settle(r, gguf_get_bool(r->gguf, reader_key(r, name), &value, r->err), false);
    return value;
}

static bool item_at(const struct gguf_value *array, uint64_t i, int64_t *out)
{
    int32_t whole;
    switch (array->item_type) {
    case GGUF_U32:
    case GGUF_I32:
        memcpy(&whole, array->p + 4 * i, 4);
        *out = array->item_type == GGUF_U32 ? (int64_t)(uint32_t)whole : whole;
        return true;
    case GGUF_BOOL:
    case GGUF_U8:
        *out = array->p[i];
        return true;
    default:
        return false;
    }
}

static bool read_array(struct reader *r, const struct gguf_value *array, uint64_t min, uint64_t max,
                       int32_t *out)
{
    if (array->n_items < (uint64_t)r->n_layer) {
        reader_refuse(r, BAD_INPUT, "key '%s' has %llu numbers for %d layers", r->key,
                      (unsigned long long)array->n_items, r->n_layer);
        return false;
    }
    for (int32_t i = 0; i < r->n_layer; i++) {
        int64_t item = 0;
        if (!item_at(array, (uint64_t)i, &item)) {
            reader_refuse(r, BAD_INPUT,
                          "key '%s' is an array with items of type %u; expected whole numbers or "
                          "truth values",
                          r->key, array->item_type);
            return false;
        }
        if (item < (int64_t)min || item > (int64_t)max) {
            reader_refuse(r, BAD_INPUT, "key '%s' is %lld in layer %d; allowed are %llu to %llu",
                          r->key, (long long)item, i, (unsigned long long)min,
                          (unsigned long long)max);
            return false;
        }
        out[i] = (int32_t)item;
    }
    return true;
}

bool reader_ints(struct reader *r, const char *name, uint64_t min, uint64_t max, int32_t fallback,
                 int32_t *out)
{
    if (r->status != OK)
        return false;
    const struct gguf_value *value = find_key(r, name);
    if (value && value->type == GGUF_ARRAY)
        return read_array(r, value, min, max, out);
    if (!value && fallback < 0) {
        settle(r, NOT_FOUND, true);
        return false;
    }
    int32_t all = fallback;
    if (value && value->type == GGUF_BOOL)
        all = reader_bool(r, name, false);
    else if (value)
        all = reader_int(r, name, min, max, 0);
    for (int32_t i = 0; i < r->n_layer; i++)
        out[i] = all;
    return value && r->status == OK;
}

// ---- rotation -----------------------------------------------------------------------------------

// YaRN (Peng et al. 2023).
static void read_yarn(struct reader *r, struct hyper *h, struct rope_scaling *rope)
{
    rope->yarn = true;
    rope->n_ctx_orig =
        reader_int(r, "rope.scaling.original_context_length", 1, MAX_CTX, h->n_ctx_train);
    rope->beta_fast = reader_float(r, "rope.scaling.yarn_beta_fast", 0.01, 1e6, 32);
    rope->beta_slow = reader_float(r, "rope.scaling.yarn_beta_slow", 0.01, 1e6, 1);
    rope->attn_factor = reader_float(r, "rope.scaling.attn_factor", 1e-3, 1e3, 1) *
                        reader_float(r, "rope.scaling.yarn_attn_factor", 1e-3, 1e3, 1);
    float ext_factor = reader_float(r, "rope.scaling.yarn_ext_factor", -1e6, 1e6, 1);
    if (ext_factor != 1 && ext_factor >= 0)
        reader_refuse(r, UNSUPPORTED, "YaRN with an extrapolation factor of %g; this build knows 1",
                      (double)ext_factor);
    // What scales scores by the log of the factor already is taken out of the magnitude.
    h->yarn_log_multiplier = reader_float(r, "rope.scaling.yarn_log_multiplier", 0, 1e6, 0);
    if (h->yarn_log_multiplier != 0)
        rope->attn_factor /= 1 + 0.1f * h->yarn_log_multiplier * logf(1 / rope->freq_scale);
}

static void read_rope_scaling(struct reader *r, struct hyper *h, struct rope_scaling *rope)
{
    struct bytes kind = {NULL, 0};
    char text[NAME_TEXT];
    enum status status =
        gguf_get_string(r->gguf, reader_key(r, "rope.scaling.type"), &kind, r->err);
    settle(r, status, false);
    bool linear = status == NOT_FOUND || bytes_equal_text(kind, "linear"),
         yarn = bytes_equal_text(kind, "yarn");
    if (!linear && !yarn && !bytes_equal_text(kind, "none") && !bytes_equal_text(kind, "longrope"))
        reader_refuse(r, UNSUPPORTED,
                      "key '%s' is '%s'; this build knows none, linear, yarn and longrope (and "
                      "the factors in rope_freqs.weight)",
                      r->key, name_text(text, kind));
    float factor = 1;
    if (linear)
        factor = reader_float(r, "rope.scale_linear", 0, 1e6, 0); // the older name
    if ((linear && factor == 0) || yarn)
        factor = reader_float(r, "rope.scaling.factor", 0, 1e6, 1);
    if (factor > 0 && factor < 1e-6f)
        reader_refuse(r, BAD_INPUT, "key '%s' is %g; expected 0 or from 1e-6 to 1e6", r->key,
                      (double)factor);
    rope->freq_scale = factor > 0 ? 1 / factor : 1;
    if (yarn)
        read_yarn(r, h, rope);
    else
        rope->attn_factor = reader_float(r, "rope.scaling.attn_factor", 1e-3, 1e3, 1);
}

// ---- what all have ------------------------------------------------------------------------------

static void read_heads(struct reader *r, struct hyper *h)
{
    int32_t *n_head = mem_array(2 * (size_t)h->n_layer, sizeof(*n_head)),
            *n_head_kv = n_head + h->n_layer;
    reader_ints(r, "attention.head_count", 0, MAX_HEAD, REQUIRED, n_head);
    if (!reader_ints(r, "attention.head_count_kv", 0, MAX_HEAD, 0, n_head_kv))
        memcpy(n_head_kv, n_head, (size_t)h->n_layer * sizeof(*n_head));
    int32_t head_dim = reader_int(r, "attention.key_length", 2, MAX_HEAD_DIM, 0),
            head_dim_v = reader_int(r, "attention.value_length", 1, MAX_HEAD_DIM, 0);
    for (int32_t i = 0; i < h->n_layer && r->status == OK; i++) {
        struct layer_hyper *layer = &h->layers[i];
        layer->n_head = n_head[i];
        layer->n_head_kv = n_head_kv[i];
        layer->head_dim = head_dim;
        if (head_dim == 0 && n_head[i] > 0 &&
            (h->n_embd % n_head[i] != 0 || h->n_embd / n_head[i] > MAX_HEAD_DIM))
            reader_refuse(
                r, BAD_INPUT,
                "key '%s.attention.head_count': an embedding of %d cannot be divided among "
                "%d heads of at most %d",
                r->arch->name, h->n_embd, n_head[i], MAX_HEAD_DIM);
        else if (head_dim == 0 && n_head[i] > 0)
            layer->head_dim = h->n_embd / n_head[i];
        layer->head_dim_v = head_dim_v > 0 ? head_dim_v : layer->head_dim;
    }
    free(n_head);
}

// Layers without attention may have no heads.
static int32_t first_head_dim(const struct hyper *h)
{
    for (int32_t i = 0; i < h->n_layer; i++)
        if (h->layers[i].head_dim > 0)
            return h->layers[i].head_dim;
    return 0;
}

static void read_common(struct reader *r, struct hyper *h)
{
    h->n_embd = reader_int(r, "embedding_length", 1, MAX_EMBD, REQUIRED);
    h->n_ctx_train = reader_int(r, "context_length", 1, MAX_CTX, REQUIRED);
    int32_t *n_ff = mem_array((size_t)h->n_layer, sizeof(*n_ff));
    reader_ints(r, "feed_forward_length", 0, MAX_FF, 0, n_ff);
    for (int32_t i = 0; i < h->n_layer; i++)
        h->layers[i] = (struct layer_hyper){.parts = PART_ATTENTION | PART_KEYS | PART_DENSE,
                                            .n_ff = n_ff[i],
                                            .rope = ROPE_MAIN,
                                            .kv_layer = i};
    free(n_ff);
    read_heads(r, h);
    h->eps = reader_float(r,
                          r->arch->layer_norm ? "attention.layer_norm_epsilon"
                                              : "attention.layer_norm_rms_epsilon",
                          0, 1, NAN);
    embed_read(r, h);
    h->activation = ACTIVATION_SILU;
    h->embed_scale = h->residual_scale = h->logit_scale = 1;
    struct rope_hyper *rope = &h->ropes[ROPE_MAIN];
    rope->scaling.freq_base = reader_float(r, "rope.freq_base", 1, 1e12, 10000);
    rope->n_rot = reader_int(r, "rope.dimension_count", 2, MAX_HEAD_DIM, first_head_dim(h));
    read_rope_scaling(r, h, &rope->scaling);
}

// ---- experts, windows ---------------------------------------------------------------------------

static void read_gating(struct reader *r, struct route *route, int32_t n_expert)
{
    enum { SOFTMAX = 1, SIGMOID, SOFTMAX_OF_CHOSEN, SQRT_SOFTPLUS }; // values of the key
    static const enum route_score SCORES[] = {ROUTE_SOFTMAX, ROUTE_SIGMOID, ROUTE_TOP_SOFTMAX,
                                              ROUTE_SOFTPLUS};
    int32_t gating = reader_int(r, "expert_gating_func", 0, SQRT_SOFTPLUS, 0);
    if (gating > 0)
        route->score = SCORES[gating - 1];
    float scale = reader_float(r, "expert_weights_scale", 0, 1e6, 1);
    route->scale = scale == 0 ? 1 : scale;
    route->normalise = reader_bool(r, "expert_weights_norm", route->normalise);
    route->n_group = reader_int(r, "expert_group_count", 0, EXPERTS_MOST, 0);
    route->n_group_used = reader_int(r, "expert_group_used_count", 0, EXPERTS_MOST, 0);
    if (route->n_group <= 1 || route->n_group_used == 0)
        route->n_group = route->n_group_used = 0;
    else if (n_expert % route->n_group != 0 || route->n_group_used > route->n_group)
        reader_refuse(r, BAD_INPUT,
                      "key '%s.expert_group_count': %d experts in %d groups, of which %d are used",
                      r->arch->name, n_expert, route->n_group, route->n_group_used);
}

void reader_experts(struct reader *r, struct hyper *h, bool required)
{
    h->n_expert = reader_int(r, "expert_count", required, EXPERTS_MOST, required ? REQUIRED : 0);
    if (h->n_expert == 0 || r->status != OK)
        return;
    h->n_expert_used = reader_int(r, "expert_used_count", 1, EXPERTS_USED_MOST, REQUIRED);
    if (h->n_expert_used > h->n_expert)
        reader_refuse(r, BAD_INPUT, "key '%s' is %d; there are %d experts", r->key,
                      h->n_expert_used, h->n_expert);
    const int32_t n_ff = (int32_t)hyper_most(h, N_FF);
    h->n_ff_exp =
        reader_int(r, "expert_feed_forward_length", 1, MAX_FF, n_ff > 0 ? n_ff : REQUIRED);
    const int32_t n_shared = reader_int(r, "expert_shared_count", 0, 64, 0);
    h->n_ff_shared = reader_int(r, "expert_shared_feed_forward_length", 0, MAX_FF,
                                n_shared > 0 ? n_shared * h->n_ff_exp : 0);
    read_gating(r, &h->route, h->n_expert);
    for (int32_t i = reader_int(r, "leading_dense_block_count", 0, MAX_LAYER, 0); i < h->n_layer;
         i++) {
        h->layers[i].parts &= ~(uint32_t)PART_DENSE;
        h->layers[i].parts |= (uint32_t)PART_EXPERTS | (h->n_ff_shared > 0 ? PART_SHARED : 0);
    }
}

void reader_window(struct reader *r, struct hyper *h, int32_t period)
{
    const int32_t window = reader_int(r, "attention.sliding_window", 0, MAX_CTX, 0);
    int32_t *windowed = mem_array((size_t)h->n_layer, sizeof(*windowed));
    for (int32_t i = 0; i < h->n_layer; i++)
        windowed[i] = i % period < period - 1;
    const struct gguf_value *pattern = find_key(r, "attention.sliding_window_pattern");
    if (pattern && pattern->type == GGUF_ARRAY)
        reader_ints(r, "attention.sliding_window_pattern", 0, 1, 0, windowed);
    else if (pattern)
        for (int32_t i = 0,
                     every = reader_int(r, "attention.sliding_window_pattern", 1, MAX_LAYER, 1);
             i < h->n_layer; i++)
            windowed[i] = i % every < every - 1;
    for (int32_t i = 0; i < h->n_layer && window > 0; i++) {
        h->layers[i].window = windowed[i] ? window : 0;
        if (windowed[i] && h->ropes[ROPE_WINDOW].n_rot > 0)
            h->layers[i].rope = ROPE_WINDOW;
    }
    free(windowed);
}

void reader_temperature(struct reader *r, struct hyper *h, const char *length)
{
    h->temperature = reader_float(r, "attention.temperature_scale", 0, 1e6, 0);
    h->temperature_length = reader_int(r, length, 1, MAX_CTX, h->n_ctx_train);
}

void reader_recurrent(struct reader *r, struct hyper *h)
{
    h->n_conv = reader_int(r, "ssm.conv_kernel", 2, CONV_MOST, REQUIRED);
    h->d_inner = reader_int(r, "ssm.inner_size", 16, MAX_EMBD, REQUIRED);
    h->d_state = reader_int(r, "ssm.state_size", 16, MAMBA_MOST, REQUIRED);
    h->n_state_head = reader_int(r, "ssm.time_step_rank", 1, MAX_HEAD, REQUIRED);
    h->n_group = reader_int(r, "ssm.group_count", 1, MAX_HEAD, REQUIRED);
    if (r->status == OK &&
        (h->d_inner % h->n_state_head != 0 || h->n_state_head % h->n_group != 0 ||
         h->d_state % 16 != 0 || h->d_inner / h->n_state_head % 16 != 0))
        reader_refuse(r, UNSUPPORTED,
                      "keys '%s.ssm.*': recurrent layers of %d numbers in %d heads of %d groups, "
                      "with a state of %d each: heads must divide evenly and be multiples of 16 "
                      "wide, as the state",
                      r->arch->name, h->d_inner, h->n_state_head, h->n_group, h->d_state);
}

void layer_recurs(struct layer_hyper *layer, enum part kind)
{
    layer->parts &= ~(uint32_t)(PART_ATTENTION | PART_KEYS);
    layer->parts |= (uint32_t)kind;
}

// ---- checks -------------------------------------------------------------------------------------

static void check_layer(struct reader *r, const struct hyper *h, int32_t i)
{
    const struct layer_hyper *layer = &h->layers[i];
    const int32_t n_rot = layer->rope >= 0 ? h->ropes[layer->rope].n_rot : 0;
    if (layer->parts & PART_ATTENTION) {
        if (layer->n_head < 1 || layer->n_head_kv < 1)
            reader_refuse(
                r, BAD_INPUT,
                "keys '%s.attention.head_count' and 'head_count_kv' are %d and %d in layer %d; "
                "it needs one head at least",
                r->arch->name, layer->n_head, layer->n_head_kv, i);
        else if (layer->n_head % layer->n_head_kv != 0)
            reader_refuse(r, BAD_INPUT,
                          "key '%s.attention.head_count_kv': %d attention heads cannot share %d "
                          "key/value heads",
                          r->arch->name, layer->n_head, layer->n_head_kv);
        else if (layer->head_dim % 2 != 0 || n_rot % 2 != 0 || n_rot > layer->head_dim)
            reader_refuse(r, BAD_INPUT,
                          "key '%s.rope.dimension_count': heads of %d dimensions with %d of them "
                          "rotated: both must be even, the second no larger",
                          r->arch->name, layer->head_dim, n_rot);
        else if ((int64_t)layer->n_head * layer->head_dim > MAX_EMBD)
            reader_refuse(
                r, BAD_INPUT,
                "key '%s.attention.head_count': %d heads of %d dimensions: more than %d in "
                "all",
                r->arch->name, layer->n_head, layer->head_dim, MAX_EMBD);
        else if (layer->head_dim_v != layer->head_dim)
            reader_refuse(r, UNSUPPORTED,
                          "key '%s.attention.value_length' is %d, the key length %d; this build "
                          "needs them equal",
                          r->arch->name, layer->head_dim_v, layer->head_dim);
    }
    if ((layer->parts & PART_DENSE) && layer->n_ff < 1)
        reader_refuse(r, BAD_INPUT, "key '%s.feed_forward_length' is missing or 0 in layer %d",
                      r->arch->name, i);
}

static void check_experts(struct reader *r, const struct hyper *h)
{
    uint32_t parts = 0;
    for (int32_t i = 0; i < h->n_layer; i++)
        parts |= h->layers[i].parts;
    if (parts & PART_EXPERTS)
        return;
    int32_t n = reader_int(r, "expert_count", 0, INT32_MAX, 0);
    if (n > 0)
        reader_refuse(r, UNSUPPORTED,
                      "a mixture of %d experts; this build runs the architecture '%s' without", n,
                      r->arch->name);
}

// Keys that describe and change nothing that is computed, and those of towers for images and sound.
static bool harmless(struct bytes name)
{
    static const char *const TOWERS[] = {"vision.", "audio.", "mm."};
    static const char *const NAMES[] = {
        "vocab_size",
        "rope.scaling.finetuned",
        "use_parallel_residual",
        "tensor_data_layout",
        "rope.scaling.original_context_length",
        "rope.scaling.factor",
        "expert_used_count",
        "expert_count",
    };
    for (size_t i = 0; i < COUNT_OF(TOWERS); i++)
        if (name.n > strlen(TOWERS[i]) && memcmp(name.p, TOWERS[i], strlen(TOWERS[i])) == 0)
            return true;
    for (size_t i = 0; i < COUNT_OF(NAMES); i++)
        if (bytes_equal_text(name, NAMES[i]))
            return true;
    return false;
}

static void name_unasked(const struct reader *r)
{
    const size_t n_prefix = strlen(r->arch->name) + 1;
    for (uint64_t i = 0; i < r->gguf->n_values; i++) {
        struct bytes key = r->gguf->values[i].key;
        char text[NAME_TEXT];
        if (r->asked[i] || key.n <= n_prefix || memcmp(key.p, r->arch->name, n_prefix - 1) != 0 ||
            key.p[n_prefix - 1] != '.')
            continue;
        if (!harmless((struct bytes){key.p + n_prefix, key.n - n_prefix}))
            log_warn("key '%s' means nothing to this build's architecture '%s'",
                     name_text(text, key), r->arch->name);
    }
}

// ---- reading ------------------------------------------------------------------------------------

static enum status find_arch(const struct gguf *gguf, const struct arch **out, struct err *err)
{
    struct bytes name = {NULL, 0};
    char text[NAME_TEXT], known[220];
    enum status status = gguf_get_string(gguf, "general.architecture", &name, err);
    if (status == NOT_FOUND)
        return err_set(err, BAD_INPUT, "key 'general.architecture' is missing");
    if (status != OK)
        return status;
    *out = arch_find(name);
    if (!*out)
        return err_set(err, UNSUPPORTED, "architecture '%s'; this build runs %s",
                       name_text(text, name), arch_names(known, sizeof(known)));
    return OK;
}

// Layer i only predicts further tokens. Of some architectures (says_mtp) files that were made
// without such layers say all the same that the last one is one.
static bool predicts(const struct gguf *gguf, int32_t i)
{
    char projection[64], norm[64];
    snprintf(projection, sizeof(projection), "blk.%d.nextn.eh_proj.weight", i);
    snprintf(norm, sizeof(norm), "blk.%d.attn_norm.weight", i);
    return gguf->n_missing > 0 || gguf_find_tensor(gguf, projection) ||
           !gguf_find_tensor(gguf, norm);
}

static void read_counts(struct reader *r, struct hyper *h)
{
    h->n_layer = reader_int(r, "block_count", 1, MAX_LAYER, REQUIRED);
    h->n_mtp = reader_int(r, "nextn_predict_layers", 0, MAX_LAYER, 0);
    if (h->arch->says_mtp && h->n_mtp > 0 && h->n_mtp < h->n_layer &&
        !predicts(r->gguf, h->n_layer - h->n_mtp)) {
        log_info("key '%s' is %d, but block %d has no projection to predict with: all %d blocks "
                 "are taken for layers",
                 r->key, h->n_mtp, h->n_layer - h->n_mtp, h->n_layer);
        h->n_mtp = 0;
    }
    if (h->n_mtp >= h->n_layer)
        reader_refuse(r, BAD_INPUT, "key '%s' is %d of %d layers", r->key, h->n_mtp, h->n_layer);
    h->n_mtp = r->status == OK ? h->n_mtp : 0;
    r->n_layer = h->n_layer -= h->n_mtp;
}

enum status hyper_read(struct hyper *out, const struct gguf *gguf, bool draft, struct err *err)
{
    struct hyper h = {0};
    enum status status = find_arch(gguf, &h.arch, err);
    if (status != OK)
        return status;
    struct reader r = {.gguf = gguf,
                       .arch = h.arch,
                       .err = err,
                       .asked = mem_array((size_t)gguf->n_values + 1, 1)};
    read_counts(&r, &h);
    h.layers = mem_array((size_t)h.n_layer + 1, sizeof(*h.layers)); // one for draft_read
    read_common(&r, &h);
    if (r.status == OK)
        h.arch->read(&r, &h);
    for (int32_t i = 0; i < h.n_layer && r.status == OK; i++)
        check_layer(&r, &h, i);
    check_experts(&r, &h);
    if (h.post_eps == 0)
        h.post_eps = h.eps;
    if (h.attention_scale == 0)
        h.attention_scale = 1 / sqrtf((float)hyper_most(&h, HEAD_DIM));
    if (r.status == OK) {
        if (draft)
            draft_read(&h);
        name_unasked(&r);
        *out = h;
    } else {
        hyper_free(&h);
    }
    free(r.asked);
    return r.status;
}

void hyper_free(struct hyper *hyper)
{
    free(hyper->layers);
    hyper->layers = NULL;
}

// ---- lengths ------------------------------------------------------------------------------------

// Of several streams, of blocks that are chosen, of a table that is read by the last tokens.
static int64_t stream_dim(const struct hyper *h, const struct layer_hyper *l, enum dim dim)
{
    const int64_t all = (int64_t)h->n_stream * h->n_embd;
    const bool ngram = l->parts & PART_NGRAM, chosen = l->parts & PART_CHOSEN,
               index = l->parts & PART_INDEX;
    const int64_t n = h->n_stream, mixes = h->n_round > 0, far = l->parts & PART_FAR ? 1 : 0,
                  halves = far_overlaps(l) ? 2 : 1,
                  pooled = l->head_dim > h->index_dim ? l->head_dim : h->index_dim;
    const int64_t dims[N_DIMS - N_STREAMS] = {
        [N_STREAMS - N_STREAMS] = all,
        [N_STREAM - N_STREAMS] = h->n_stream,
        [STREAM_LOW - N_STREAMS] = h->n_stream_low,
        [N_INDEX_Q - N_STREAMS] = (int64_t)h->n_index_head * h->index_dim,
        [INDEX_DIM - N_STREAMS] = h->index_dim,
        [NGRAM_DIM - N_STREAMS] = h->ngram.dim,
        [N_NGRAM_ROWS - N_STREAMS] = h->ngram.n_rows,
        [N_NGRAM_CONV - N_STREAMS] = h->ngram.n_conv,
        [N_INDEX_Q_ACT - N_STREAMS] = index || chosen ? (int64_t)h->n_index_head * h->index_dim : 0,
        [INDEX_DIM_ACT - N_STREAMS] = index ? h->index_dim : 0,
        [N_NGRAM_ACT - N_STREAMS] = ngram ? h->n_embd : 0,
        [N_NGRAM_STATE - N_STREAMS] = ngram ? (h->ngram.n_conv - 1) * h->ngram.n * all : 0,
        [N_STREAMS_GATED - N_STREAMS] = mixes ? 0 : all,
        [N_STREAMS_MIX - N_STREAMS] = mixes * n * (2 + n),
        [N_STREAMS_WEIGHT - N_STREAMS] = mixes * n * (1 + n),
        [N_SCALES - N_STREAMS] = 3,
        [FAR_RATIO - N_STREAMS] = far * l->ratio,
        [N_COMPRESS - N_STREAMS] = far * halves * l->head_dim,
        [N_INDEX_COMPRESS - N_STREAMS] = chosen ? 2 * (int64_t)h->index_dim : 0,
        [N_COMPRESS_ACT - N_STREAMS] = far * halves * pooled,
        [N_POOLED_ACT - N_STREAMS] = far * pooled,
        [N_INDEX_HEAD - N_STREAMS] = chosen ? h->n_index_head : 0,
        [N_OUT_HEADS - N_STREAMS] =
            h->n_out_group > 0 ? (int64_t)l->n_head * l->head_dim / h->n_out_group : 0,
        [N_LORA_OUT - N_STREAMS] = (int64_t)h->n_out_group * h->n_lora_out,
    };
    return dims[dim - N_STREAMS];
}

int64_t hyper_dim(const struct hyper *h, const struct layer_hyper *l, enum dim dim)
{
    const int64_t n_q = (int64_t)l->n_head * l->head_dim, n_k = (int64_t)l->n_head_kv * l->head_dim,
                  n_v = (int64_t)l->n_head_kv * l->head_dim_v, n_rot = h->ropes[ROPE_MAIN].n_rot;
    const bool mla = l->parts & PART_MLA;
    const int64_t conv =
        l->parts & PART_CONV ? h->n_embd : h->d_inner + 2 * (int64_t)h->n_group * h->d_state;
    if (dim >= N_STREAMS)
        return stream_dim(h, l, dim);
    const int64_t dims[N_DIMS] = {
        [ONE] = 1,
        [N_EMBD] = h->n_embd,
        [N_EMBD_2] = 2 * (int64_t)h->n_embd,
        [N_VOCAB] = h->n_vocab,
        [N_Q] = n_q,
        [N_K] = n_k,
        [N_V] = n_v,
        [N_ATT] = (int64_t)l->n_head * l->head_dim_v,
        [N_QKV] = n_q + n_k + n_v,
        [N_HEAD] = l->n_head,
        [HEAD_DIM] = l->head_dim,
        [N_FREQS] = h->ropes[ROPE_MAIN].n_rot / 2,
        [N_FF] = l->n_ff,
        [N_FF_2] = 2 * (int64_t)l->n_ff,
        [N_EXPERT] = h->n_expert,
        [N_FF_EXP] = h->n_ff_exp,
        [N_FF_EXP_2] = 2 * (int64_t)h->n_ff_exp,
        [N_FF_SHARED] = h->n_ff_shared,
        [N_USED] = h->n_expert_used,
        [N_USED_EMBD] = (int64_t)h->n_expert_used * h->n_embd,
        [N_LORA_Q] = h->n_lora_q,
        [N_LORA_KV] = h->n_lora_kv,
        [N_KV_MLA] = mla ? h->n_lora_kv + n_rot : 0,
        [HEAD_NOPE] = h->head_dim_mla - n_rot,
        [HEAD_V_MLA] = h->head_dim_v_mla,
        [N_Q_MLA] = (int64_t)l->n_head * h->head_dim_mla,
        [N_V_MLA] = (int64_t)l->n_head * h->head_dim_v_mla,
        [N_NOPE_ACT] = mla ? l->n_head * (h->head_dim_mla - n_rot) : 0,
        [N_EMBD_LAYER] = h->n_embd_layer,
        [N_EMBD_LAYERS] = (int64_t)h->n_embd_layer * h->n_layer,
        [N_Q_GATED] = h->gate_in_q ? 2 * n_q : n_q,
        [N_CONV] = h->n_conv,
        [N_CONV_CHANNELS] = conv,
        [D_INNER] = h->d_inner,
        [N_STATE_HEAD] = h->n_state_head,
        [N_STATE_HEAD_2] = 2 * (int64_t)h->n_state_head,
        [N_GROUP] = h->n_group,
        [D_STATE] = h->d_state,
        [D_GROUP] = h->n_group > 0 ? h->d_inner / h->n_group : 0,
        [N_MAMBA_IN] = h->d_inner + conv + h->n_state_head,
        [N_EMBD_3] = 3 * (int64_t)h->n_embd,
        [N_CONV_STATE] = l->parts & PART_RECURRENT ? (h->n_conv - 1) * conv : 0,
        [N_STATE] = l->parts & (PART_DELTA | PART_MAMBA) ? (int64_t)h->d_inner * h->d_state : 0,
        [N_RECURRENT_ACT] = l->parts & PART_DELTA   ? conv
                            : l->parts & PART_MAMBA ? h->d_inner + conv + h->n_state_head
                            : l->parts & PART_CONV  ? 3 * (int64_t)h->n_embd
                                                    : 0,
        [N_BETA_ACT] = l->parts & PART_DELTA ? 2 * (int64_t)h->n_state_head : 0,
        [N_QKV_ACT] = h->fused_qkv ? n_q + n_k + n_v : 0,
        [N_FF_ACT] = l->n_ff > h->n_ff_shared ? l->n_ff : h->n_ff_shared,
        [N_FF_2_ACT] = h->fused_ffn ? 2 * (int64_t)l->n_ff : 0,
        [N_GATE_ACT] = h->attention_gate ? (int64_t)l->n_head * l->head_dim_v : 0,
        [N_ABSORBED_ACT] = mla ? (int64_t)l->n_head * h->n_lora_kv : 0,
        [N_HEAD_ACT] = mla ? l->n_head : h->n_out_group,
        [N_ADDED2_ACT] = h->two_networks ? h->n_embd : 0,
        [N_PAIR_ACT] = l->parts & PART_NEXTN ? 2 * (int64_t)h->n_embd : 0,
        [N_USED_FF_EXP] = (int64_t)h->n_expert_used * h->n_ff_exp,
        [N_CTX_TRAIN] = h->n_ctx_train,
        [N_TOKEN_TYPES] = h->n_token_types,
        [N_CLS] = h->n_cls,
        [N_CLS_OUT] = h->n_cls_out,
        [N_DENSE_2] = h->n_dense_2,
        [N_DENSE_3] = h->n_dense_3,
        [N_UP] = h->fused_ffn ? 2 * (int64_t)l->n_ff : l->n_ff,
    };
    return dims[dim];
}

bool hyper_recurrent(const struct hyper *h)
{
    return hyper_most(h, N_CONV_STATE) > 0;
}

int32_t hyper_layers(const struct hyper *h)
{
    return h->n_layer + h->n_draft;
}

int64_t hyper_most(const struct hyper *h, enum dim dim)
{
    int64_t most = 0;
    for (int32_t i = 0; i < hyper_layers(h); i++) {
        int64_t n = hyper_dim(h, &h->layers[i], dim);
        most = n > most ? n : most;
    }
    return most;
}
