// weights.c - the tensors of a model, as its architecture's rules name them.
//
// weights_plan() finds every tensor, checks its name, shape and format, and refuses a file in which
// one is missing or one is left over: another architecture's file would give wrong text in silence.
// Nothing is loaded before all of it fits; weights_load_some() then hands over a slice at a time.
// GGUF's dims[0] is the row length, so [rows][cols] here is dims {cols, rows} there.

#include "arch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the plan -----------------------------------------------------------------------------------

struct planner {
    const struct compute *compute;
    struct gguf *gguf;
    const struct hyper *hyper;
    struct weights *w;
    size_t n_allocated;
    struct err *err;
};

static enum status unknown_format(const struct compute *compute, const char *name, uint32_t type,
                                  struct err *err)
{
    char known[256] = "";
    size_t n = 0;
    for (uint32_t i = 0; i < 64; i++)
        if (compute_runs(compute, (enum dtype)i) && n < sizeof(known))
            n += (size_t)snprintf(known + n, sizeof(known) - n, " %s", dtype_name((enum dtype)i));
    return err_set(err, UNSUPPORTED, "tensor '%s' is stored as %s; this build computes with%s",
                   name, gguf_tensor_type_name(type), known);
}

static enum status check_shape(const struct planner *p, const char *name,
                               const struct gguf_tensor *tensor, const uint64_t want[3])
{
    for (int i = 0; i < 4; i++)
        if (tensor->dims[i] != (i < 3 ? want[i] : 1))
            return err_set(p->err, BAD_INPUT,
                           "tensor '%s' is %llu x %llu x %llu x %llu; the architecture '%s' with "
                           "these keys expects %llu x %llu x %llu",
                           name, (unsigned long long)tensor->dims[0],
                           (unsigned long long)tensor->dims[1], (unsigned long long)tensor->dims[2],
                           (unsigned long long)tensor->dims[3], p->hyper->arch->name,
                           (unsigned long long)want[0], (unsigned long long)want[1],
                           (unsigned long long)want[2]);
    return OK;
}

static enum status check_stored(const struct compute *compute, const struct rule *rule,
                                const char *name, const struct gguf_tensor *tensor, struct err *err)
{
    if (rule->form == EXPERTS && tensor->type == DTYPE_I32)
        return OK;
    if (rule->form == EXPERTS)
        return err_set(err, UNSUPPORTED, "tensor '%s' is stored as %s; expected I32", name,
                       gguf_tensor_type_name(tensor->type));
    if (!dtype_known(tensor->type) ||
        (rule->form == MATRIX && !compute_runs(compute, (enum dtype)tensor->type)))
        return unknown_format(compute, name, tensor->type, err);
    if (rule->form == FACTORS && tensor->type != DTYPE_F32)
        return err_set(err, UNSUPPORTED, "tensor '%s' is stored as %s; expected F32", name,
                       gguf_tensor_type_name(tensor->type));
    if (rule->form == MATRIX && tensor->offset % 32 != 0)
        return err_set(err, UNSUPPORTED,
                       "tensor '%s' is at offset %llu; matrices must be at a multiple of 32", name,
                       (unsigned long long)tensor->offset);
    return OK;
}

static void place(struct planner *p, const struct rule *rule, const struct gguf_tensor *tensor,
                  struct tensor *slot)
{
    struct weights *w = p->w;
    if (w->n_placements == p->n_allocated) {
        p->n_allocated = p->n_allocated ? 2 * p->n_allocated : 256;
        w->placements = mem_resize(w->placements, p->n_allocated * sizeof(*w->placements));
    }
    w->placements[w->n_placements++] = (struct placement){
        rule, tensor, slot, (int64_t)(tensor->dims[1] * tensor->dims[2]), (int64_t)tensor->dims[0]};
    w->n_bytes += tensor->n_bytes;
}

// What a tensor of a missing part is thought to be stored like: the one of the same rule in another
// layer, else the largest matrix there is. NULL: neither.
static const struct gguf_tensor *resembling(const struct planner *p, const struct rule *rule)
{
    const struct gguf_tensor *best = NULL;
    for (int32_t i = 0; i < hyper_layers(p->hyper) && rule->of_layer; i++) {
        char name[NAME_TEXT];
        snprintf(name, sizeof(name), "blk.%d.%s", i, rule->name);
        const struct gguf_tensor *tensor = gguf_find_tensor(p->gguf, name);
        if (tensor)
            return tensor;
    }
    if (rule->form != MATRIX || (rule->of_layer && (rule->parts & OPTIONAL)))
        return NULL;
    for (uint64_t i = 0; i < p->gguf->n_tensors; i++)
        if (p->gguf->tensors[i].n_dims > 1 &&
            (!best || p->gguf->tensors[i].n_bytes > best->n_bytes))
            best = &p->gguf->tensors[i];
    return best;
}

static enum status guess(struct planner *p, const struct rule *rule, const char *name,
                         const uint64_t want[3], struct gguf_tensor **out)
{
    const struct gguf_tensor *like = resembling(p, rule);
    if (!like && (rule->parts & OPTIONAL))
        return OK;
    if (!like && rule->form == MATRIX)
        return err_set(
            p->err, BAD_INPUT,
            "%u parts of the model are missing, and those that are there do not tell how "
            "its matrices are stored: the next part is needed too",
            p->gguf->n_missing);
    struct gguf_tensor *tensor = arena_take(&p->gguf->guesses, sizeof(*tensor));
    *tensor = (struct gguf_tensor){.name = bytes_copy(&p->gguf->guesses, bytes_of(name)),
                                   .type = like ? like->type : DTYPE_F32,
                                   .n_dims = 4,
                                   .dims = {want[0], want[1], want[2], 1}};
    if (!dtype_known(tensor->type) ||
        want[0] % (uint64_t)dtype_block_elements((enum dtype)tensor->type) != 0)
        tensor->type = DTYPE_F16; // as quantisers store rows that are no whole blocks
    if (rule->form == EXPERTS)
        tensor->type = DTYPE_I32;
    enum status status = gguf_measure(tensor, name, p->err);
    if (status != OK)
        return status;
    p->w->n_guessed += (int64_t)tensor->n_elements;
    p->w->n_guessed_bytes += tensor->n_bytes;
    *out = tensor;
    return OK;
}

// The tensor of a rule in layer i, by either of its names. name: the first one, for sentences.
static struct gguf_tensor *find_tensor(const struct planner *p, const struct rule *rule, int32_t i,
                                       char name[NAME_TEXT])
{
    char other[NAME_TEXT];
    if (!rule->of_layer) {
        snprintf(name, NAME_TEXT, "%s", rule->name);
        return gguf_find_tensor(p->gguf, name);
    }
    snprintf(name, NAME_TEXT, "blk.%d.%s", i, rule->name);
    struct gguf_tensor *tensor = gguf_find_tensor(p->gguf, name);
    if (tensor || !rule->also)
        return tensor;
    snprintf(other, sizeof(other), "blk.%d.%s", i, rule->also);
    return gguf_find_tensor(p->gguf, other);
}

// One rule in one layer (or, layer 0, of the model).
static enum status apply(struct planner *p, const struct rule *rule, int32_t i)
{
    char name[NAME_TEXT];
    const struct layer_hyper *layer = &p->hyper->layers[i];
    const uint64_t want[3] = {
        (uint64_t)hyper_dim(p->hyper, layer, rule->cols),
        (uint64_t)hyper_dim(p->hyper, layer, rule->rows),
        (uint64_t)hyper_dim(p->hyper, layer, rule->planes),
    };
    struct gguf_tensor *tensor = find_tensor(p, rule, i, name);
    if (!tensor && p->gguf->n_missing > 0) {
        enum status status = guess(p, rule, name, want, &tensor);
        if (status != OK)
            return status;
    }
    if (!tensor && (rule->parts & OPTIONAL))
        return OK;
    if (!tensor)
        return err_set(p->err, BAD_INPUT, "tensor '%s' is missing; the architecture '%s' needs it",
                       name, p->hyper->arch->name);
    enum status status = check_shape(p, name, tensor, want);
    if (status == OK)
        status = check_stored(p->compute, rule, name, tensor, p->err);
    if (status != OK)
        return status;
    tensor->used = true;
    char *base = rule->of_layer ? (char *)&p->w->layers[i] : (char *)p->w;
    void *slot = base + rule->slot;
    if (rule->form == FILED)
        *(const struct gguf_tensor **)slot = tensor;
    else
        place(p, rule, tensor, slot);
    return OK;
}

static enum status check_unused(const struct planner *p)
{
    for (uint64_t i = 0; i < p->gguf->n_tensors; i++) {
        char text[NAME_TEXT];
        if (!p->gguf->tensors[i].used)
            return err_set(p->err, UNSUPPORTED,
                           "tensor '%s' is not part of the architecture '%s' with %d layers as "
                           "this build knows it",
                           name_text(text, p->gguf->tensors[i].name), p->hyper->arch->name,
                           p->hyper->n_layer);
    }
    return OK;
}

// Keys and values of a layer that reads an earlier one's, and the like.
static void skip_unread(const struct planner *p)
{
    const struct arch *arch = p->hyper->arch;
    uint64_t n = 0, n_bytes = 0;
    char name[NAME_TEXT];
    for (int32_t i = 0; i < p->hyper->n_layer; i++)
        for (size_t k = 0; k < arch->n_rules; k++) {
            struct gguf_tensor *tensor = NULL;
            if (arch->rules[k].parts & UNREAD)
                tensor = find_tensor(p, &arch->rules[k], i, name);
            if (!tensor || tensor->used)
                continue;
            tensor->used = true;
            n++;
            n_bytes += tensor->n_bytes;
        }
    if (n > 0)
        log_info("%llu tensors (%llu MB) are in layers that do not read them; this build leaves "
                 "them out",
                 (unsigned long long)n, (unsigned long long)(n_bytes >> 20));
}

static void skip(const struct planner *p, const char *const *starts, size_t n_starts,
                 const char *what)
{
    uint64_t n = 0, n_bytes = 0;
    for (uint64_t i = 0; i < p->gguf->n_tensors; i++)
        for (size_t k = 0; k < n_starts; k++)
            if (bytes_begins_with(p->gguf->tensors[i].name, starts[k])) {
                p->gguf->tensors[i].used = true;
                n++;
                n_bytes += p->gguf->tensors[i].n_bytes;
            }
    if (n > 0)
        log_info("%llu tensors (%llu MB) %s are in the file and left out", (unsigned long long)n,
                 (unsigned long long)(n_bytes >> 20), what);
}

static uint64_t bytes_of_block(const struct planner *p, const char *start)
{
    uint64_t n_bytes = 0;
    for (uint64_t i = 0; i < p->gguf->n_tensors; i++)
        if (bytes_begins_with(p->gguf->tensors[i].name, start))
            n_bytes += p->gguf->tensors[i].n_bytes;
    return n_bytes;
}

// Vision towers, and layers that predict further tokens, travel in some files; text comes without.
static void skip_others(const struct planner *p)
{
    static const char *const TOWERS[] = {"v.", "mm.", "a."}, *const MTP[] = {"mtp."};
    char block[16];
    const char *start = block;
    skip(p, TOWERS, COUNT_OF(TOWERS), "for images or sound");
    skip(p, MTP, COUNT_OF(MTP), "that predict further tokens");
    for (int32_t i = 0; i < p->hyper->n_mtp; i++) {
        snprintf(block, sizeof(block), "blk.%d.", p->hyper->n_layer + i);
        p->w->draft_bytes += bytes_of_block(p, block);
        if (i >= p->hyper->n_draft)
            skip(p, &start, 1, "that predict further tokens");
    }
}

// Does the layer have what the rule is about? A rule of the model asks the first layer.
static bool is_about(const struct rule *rule, const struct layer_hyper *layer)
{
    const uint32_t parts = rule->parts & ~(uint32_t)(OPTIONAL | UNREAD);
    return (layer->parts & parts) == parts;
}

static enum status apply_all(struct planner *p)
{
    const struct arch *arch = p->hyper->arch;
    enum status status = OK;
    for (int32_t i = -1; i < hyper_layers(p->hyper); i++) // -1: the model's
        for (size_t k = 0; k < arch->n_rules && status == OK; k++) {
            const struct rule *rule = &arch->rules[k];
            const int32_t layer = i < 0 ? 0 : i;
            if (rule->of_layer == (i >= 0) && is_about(rule, &p->hyper->layers[layer]))
                status = apply(p, rule, layer);
        }
    skip_unread(p);
    skip_others(p);
    return status == OK ? check_unused(p) : status;
}

enum status weights_plan(struct weights *out, const struct compute *compute, struct gguf *gguf,
                         const struct hyper *hyper, struct err *err)
{
    struct planner planner = {compute, .gguf = gguf, .hyper = hyper, .w = out, .err = err};
    *out = (struct weights){.layers = mem_array((size_t)hyper_layers(hyper), sizeof(struct layer))};
    return apply_all(&planner);
}

// ---- loading ------------------------------------------------------------------------------------

static enum status check_factors(const struct placement *place, const uint8_t *data,
                                 struct err *err)
{
    float factor;
    for (int64_t i = 0; i < place->n_cols; i++) {
        memcpy(&factor, data + 4 * i, sizeof(factor));
        if (!(factor > 0) || !isfinite(factor))
            return err_set(err, BAD_INPUT,
                           "tensor '%s': factor %lld is %g; expected a positive number",
                           place->rule->name, (long long)i, (double)factor);
    }
    return OK;
}

// Norms and biases are small: decoded to F32.
static enum status load_vector(struct compute *compute, const struct placement *place,
                               const uint8_t *data, struct err *err)
{
    const int64_t n = place->n_rows * place->n_cols;
    enum status status =
        compute_tensor(compute, place->slot, DTYPE_F32, place->n_rows, place->n_cols, err);
    if (status != OK)
        return status;
    float *values = mem_array((size_t)n, sizeof(*values));
    dtype_decode((enum dtype)place->tensor->type, values, data, n);
    for (int64_t i = 0; i < n && status == OK; i++)
        if (!isfinite(values[i])) // no logit would be a number, and nobody could tell why
            status = err_set(err, BAD_INPUT,
                             "number %lld is %g: the file is damaged, or was made "
                             "wrongly",
                             (long long)i, (double)values[i]);
    tensor_write(compute, place->slot, values, (size_t)n * sizeof(*values));
    free(values);
    return status;
}

// Numbers of experts, each of one that there is.
static enum status load_experts(struct compute *compute, const struct placement *place,
                                const struct hyper *hyper, const uint8_t *data, struct err *err)
{
    const int64_t n = place->n_rows * place->n_cols;
    for (int64_t i = 0; i < n; i++) {
        int32_t id;
        memcpy(&id, data + 4 * i, sizeof(id));
        if (id < 0 || id >= hyper->n_expert)
            return err_set(err, BAD_INPUT, "number %lld is expert %d of %d", (long long)i, id,
                           hyper->n_expert);
    }
    enum status status =
        compute_tensor(compute, place->slot, DTYPE_I32, place->n_rows, place->n_cols, err);
    if (status == OK)
        tensor_write(compute, place->slot, data, (size_t)n * sizeof(int32_t));
    return status;
}

// As many rows as are thought to take what is left of the budget, by the speed measured so far.
// Nothing is known of a disk before it was read once: the first rows are few.
static int64_t rows_for(const struct weights *w, const struct placement *place, double ms)
{
    const double first_bytes = 256 << 10, most_bytes = 256 << 20;
    double wanted = w->bytes_per_ms > 0 ? w->bytes_per_ms * ms : first_bytes,
           row_bytes = (double)place->tensor->n_bytes / (double)place->n_rows,
           n = (wanted > most_bytes ? most_bytes : wanted) / row_bytes;
    int64_t left = place->n_rows - w->row;
    return n >= (double)left ? left : n < 1 ? 1 : (int64_t)n;
}

// Rows that are read together, by the number of an expert or of a group of heads: a device lays
// them into one buffer. 1: each by itself.
static int64_t whole_rows(const struct placement *place, const struct hyper *hyper)
{
    if (place->rule->rows == N_LORA_OUT)
        return hyper->n_lora_out;
    return place->tensor->dims[2] > 1 ? (int64_t)place->tensor->dims[1] : 1;
}

// Some rows of a matrix; its place is taken with the first. AGAIN: it has more.
static enum status load_matrix(struct weights *w, struct compute *compute,
                               const struct placement *place, const struct hyper *hyper,
                               const uint8_t *data, double ms, struct err *err)
{
    const uint64_t from_us = clock_us();
    enum status status = OK;
    if (w->row == 0)
        status =
            compute_weight_begin(compute, place->slot, (enum dtype)place->tensor->type,
                                 place->n_rows, place->n_cols, whole_rows(place, hyper), data, err);
    const int64_t n = rows_for(w, place, ms);
    if (status == OK)
        status = compute_weight_rows(compute, place->slot, w->row, n, data, err);
    if (status != OK)
        return status;
    const uint64_t took_us = clock_us() - from_us,
                   n_bytes = place->tensor->n_bytes / (uint64_t)place->n_rows * (uint64_t)n;
    const double speed = (double)n_bytes / ((double)(took_us ? took_us : 1) / 1e3);
    w->bytes_per_ms = w->bytes_per_ms > 0 ? (w->bytes_per_ms + speed) / 2 : speed;
    w->n_bytes_loaded += n_bytes;
    w->row += n;
    return w->row < place->n_rows ? AGAIN : OK;
}

static enum status load_small(struct compute *compute, const struct placement *place,
                              const uint8_t *data, struct err *err)
{
    if (place->rule->form == FACTORS)
        return check_factors(place, data, err);
    if (place->rule->form == VECTOR)
        return load_vector(compute, place, data, err);
    dtype_decode((enum dtype)place->tensor->type, (float *)(void *)place->slot, data, 1);
    return OK;
}

static enum status load(struct weights *w, struct compute *compute, const struct hyper *hyper,
                        const struct placement *place, const uint8_t *data, double ms,
                        struct err *err)
{
    if (place->rule->form == MATRIX)
        return load_matrix(w, compute, place, hyper, data, ms, err);
    enum status status = place->rule->form == EXPERTS
                             ? load_experts(compute, place, hyper, data, err)
                             : load_small(compute, place, data, err);
    if (status == OK)
        w->n_bytes_loaded += place->tensor->n_bytes;
    return status;
}

static const float *factors_in(const struct weights *w, const struct gguf *gguf,
                               const struct tensor *slot)
{
    for (size_t i = 0; i < w->n_placements; i++)
        if (w->placements[i].slot == slot)
            return (const float *)(const void *)gguf_bytes(gguf, w->placements[i].tensor);
    return NULL;
}

static const float *find_factors(const struct weights *w, const struct gguf *gguf,
                                 const struct hyper *hyper)
{
    const float *all = factors_in(w, gguf, &w->rope_freqs);
    if (all)
        return all;
    return factors_in(w, gguf, hyper->n_ctx > hyper->n_ctx_short ? &w->rope_long : &w->rope_short);
}

static enum status load_rope(struct compute *compute, struct rope_weights *out,
                             const struct rope_hyper *rope, const float *factors, struct err *err)
{
    if (rope->n_rot == 0)
        return OK;
    enum status status = compute_tensor(compute, &out->turns, DTYPE_I32, 1, rope->n_rot, err);
    if (status != OK)
        return status;
    struct rope_scaling scaling = rope->scaling;
    scaling.freq_factors = rope->factors ? factors : NULL;
    int32_t *turns = mem_array((size_t)rope->n_rot, sizeof(*turns));
    rope_turns(turns, &out->magnitude, rope->n_rot, &scaling);
    tensor_write(compute, &out->turns, turns, (size_t)rope->n_rot * sizeof(*turns));
    free(turns);
    return OK;
}

// Head h of n, a power of two: 2^(-bias (h + 1) / n). Of other numbers those of the power of two
// below, then every second of twice as many   (Press et al. 2022).
static enum status make_alibi(struct weights *w, struct compute *compute, const struct hyper *hyper,
                              struct err *err)
{
    const int32_t n_head = hyper->layers[0].n_head;
    int32_t n = 1;
    enum status status = compute_tensor(compute, &w->alibi, DTYPE_F32, 1, n_head, err);
    if (status != OK)
        return status;
    while (2 * n <= n_head)
        n *= 2;
    float *slopes = mem_array((size_t)n_head, sizeof(*slopes));
    for (int32_t h = 0; h < n_head; h++)
        slopes[h] = exp2f(h < n ? -hyper->alibi_bias * (float)(h + 1) / (float)n
                                : -hyper->alibi_bias * (float)(2 * (h - n) + 1) / (float)(2 * n));
    tensor_write(compute, &w->alibi, slopes, (size_t)n_head * sizeof(*slopes));
    free(slopes);
    return OK;
}

static enum status finish(struct weights *w, struct compute *compute, const struct gguf *gguf,
                          const struct hyper *hyper, struct err *err)
{
    enum status status = OK;
    const float *factors = find_factors(w, gguf, hyper);
    w->tied = !w->output.buffer;
    if (w->tied)
        w->output = w->token_embd;
    for (int k = 0; k < N_ROPES && status == OK; k++)
        status = load_rope(compute, &w->ropes[k], &hyper->ropes[k], factors, err);
    return status == OK && hyper->alibi_bias > 0 ? make_alibi(w, compute, hyper, err) : status;
}

enum status weights_load_some(struct weights *w, struct compute *compute, const struct gguf *gguf,
                              const struct hyper *hyper, uint32_t budget_ms, struct err *err)
{
    const uint64_t from_us = clock_us();
    char text[NAME_TEXT];
    while (w->n_loaded < w->n_placements) {
        double left_ms = (double)budget_ms - (double)(clock_us() - from_us) / 1e3;
        if (left_ms <= 0)
            return AGAIN;
        const struct placement *place = &w->placements[w->n_loaded];
        enum status status =
            load(w, compute, hyper, place, gguf_bytes(gguf, place->tensor), left_ms, err);
        if (status == AGAIN)
            continue;
        if (status != OK)
            return err ? err_prefix(err, "tensor '%s'", name_text(text, place->tensor->name))
                       : status;
        w->row = 0;
        w->n_loaded++;
    }
    return finish(w, compute, gguf, hyper, err);
}

static void release(struct compute *compute, struct tensor *tensor)
{
    if (tensor->buffer)
        tensor_free(compute, tensor);
}

void weights_close(struct weights *w, struct compute *compute)
{
    for (size_t i = 0; i < w->n_placements; i++)
        if (w->placements[i].rule->form != NUMBER)
            release(compute, w->placements[i].slot);
    for (int k = 0; k < N_ROPES; k++)
        release(compute, &w->ropes[k].turns);
    release(compute, &w->alibi);
    free(w->placements);
    free(w->layers);
    *w = (struct weights){0};
}
