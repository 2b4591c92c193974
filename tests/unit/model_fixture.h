// model_fixture.h - builds small GGUF files in memory for the tests of engine/model/.
#pragma once

#include "base/base.h"
#include "compute/compute.h"
#include "model/parts.h"

#include <stdlib.h>
#include <string.h>

struct file { // a GGUF under construction: head, then whatever is added
    struct buf buf;
    uint64_t n_values, n_tensors;
};

static inline void put(struct file *f, const void *p, size_t n)
{
    if (buf_add(&f->buf, p, n) != OK)
        die("fixture too large");
}
static inline void put_u32(struct file *f, uint32_t v)
{
    put(f, &v, 4);
}
static inline void put_u64(struct file *f, uint64_t v)
{
    put(f, &v, 8);
}
static inline void put_text(struct file *f, const char *text)
{
    put_u64(f, strlen(text));
    put(f, text, strlen(text));
}

static inline void file_begin(struct file *f)
{
    buf_init(&f->buf, 64 << 20);
    f->n_values = f->n_tensors = 0;
    put(f, "GGUF", 4);
    put_u32(f, 3);
    put_u64(f, 0); // n_tensors and n_values: file_counts()
    put_u64(f, 0);
}
static inline void file_counts(struct file *f)
{
    memcpy(f->buf.p + 8, &f->n_tensors, 8);
    memcpy(f->buf.p + 16, &f->n_values, 8);
}
static inline void file_pad(struct file *f, size_t alignment)
{
    while (f->buf.n % alignment != 0)
        put(f, "", 1);
}
static inline void key_begin(struct file *f, const char *key, uint32_t type)
{
    f->n_values++;
    put_text(f, key);
    put_u32(f, type);
}
static inline void key_u32(struct file *f, const char *key, uint32_t v)
{
    key_begin(f, key, GGUF_U32);
    put_u32(f, v);
}
static inline void key_f32(struct file *f, const char *key, float v)
{
    key_begin(f, key, GGUF_F32);
    put(f, &v, 4);
}
static inline void key_text(struct file *f, const char *key, const char *text)
{
    key_begin(f, key, GGUF_STRING);
    put_text(f, text);
}
static inline void array_begin(struct file *f, const char *key, uint32_t type, uint64_t n)
{
    key_begin(f, key, GGUF_ARRAY);
    put_u32(f, type);
    put_u64(f, n);
}
static inline void add_planes(struct file *f, const char *name, uint32_t type,
                              const uint64_t dims[3], uint64_t offset)
{
    const uint32_t n_dims = dims[2] > 1 ? 3 : dims[1] > 1 ? 2 : 1;
    f->n_tensors++;
    put_text(f, name);
    put_u32(f, n_dims);
    for (uint32_t d = 0; d < n_dims; d++)
        put_u64(f, dims[d]);
    put_u32(f, type);
    put_u64(f, offset);
}
static inline void add_tensor(struct file *f, const char *name, uint32_t type, uint64_t cols,
                              uint64_t rows, uint64_t offset)
{
    add_planes(f, name, type, (uint64_t[3]){cols, rows, 1}, offset);
}

// ---- a vocabulary -------------------------------------------------------------------------------

// One byte as the vocabulary spells it: 1 or 2 bytes of UTF-8.
static inline size_t spell_byte(char *out, unsigned byte)
{
    unsigned point = byte, n = 0;
    if (!((byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174)) {
        for (unsigned b = 0; b < byte; b++)
            n += !((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174);
        point = 256 + n;
    }
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    out[0] = (char)(0xc0 | point >> 6);
    out[1] = (char)(0x80 | (point & 0x3f));
    return 2;
}

// 256 bytes, then `texts` (spelled as in a file), merges, and <|im_start|>, <|im_end|> as control
// tokens at the end.
static inline void add_vocabulary(struct file *f, const char *pre, const char *const *texts,
                                  size_t n_texts, const char *const *merges, size_t n_merges)
{
    size_t n = 256 + n_texts + 2;
    key_text(f, "tokenizer.ggml.model", "gpt2");
    if (pre)
        key_text(f, "tokenizer.ggml.pre", pre);
    array_begin(f, "tokenizer.ggml.tokens", GGUF_STRING, n);
    for (unsigned b = 0; b < 256; b++) {
        char text[3] = {0};
        spell_byte(text, b);
        put_text(f, text);
    }
    for (size_t i = 0; i < n_texts; i++)
        put_text(f, texts[i]);
    put_text(f, "<|im_start|>");
    put_text(f, "<|im_end|>");
    array_begin(f, "tokenizer.ggml.token_type", GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        put_u32(f, i + 2 < n ? 1 : 3);
    array_begin(f, "tokenizer.ggml.merges", GGUF_STRING, n_merges);
    for (size_t i = 0; i < n_merges; i++)
        put_text(f, merges[i]);
    key_u32(f, "tokenizer.ggml.eos_token_id", (uint32_t)n - 1);
}

// ---- a whole model ------------------------------------------------------------------------------

enum { TINY_EMBD = 32, TINY_FF = 64, TINY_HEAD = 4, TINY_KV = 2, TINY_LAYER = 2, TINY_VOCAB = 258 };

static inline void add_other_hyper(struct file *f)
{
    key_text(f, "general.architecture", "llama");
    key_u32(f, "llama.block_count", TINY_LAYER);
    key_u32(f, "llama.context_length", 64);
    key_u32(f, "llama.embedding_length", TINY_EMBD);
    key_u32(f, "llama.attention.head_count", TINY_HEAD);
    key_f32(f, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
}

static inline void add_hyper(struct file *f)
{
    add_other_hyper(f);
    key_u32(f, "llama.feed_forward_length", TINY_FF);
    key_u32(f, "llama.attention.head_count_kv", TINY_KV);
}

struct shape {
    const char *name;
    uint64_t cols, rows;
    uint64_t planes; // 0: one
    uint64_t ids;    // > 0: I32, numbers below it, in turn
};

static const struct shape tiny_shapes[] = {
    {"token_embd.weight", TINY_EMBD, TINY_VOCAB},
    {"output_norm.weight", TINY_EMBD, 1},
    {"blk.%d.attn_norm.weight", TINY_EMBD, 1},
    {"blk.%d.ffn_norm.weight", TINY_EMBD, 1},
    {"blk.%d.attn_q.weight", TINY_EMBD, TINY_EMBD},
    {"blk.%d.attn_k.weight", TINY_EMBD, TINY_EMBD / 2},
    {"blk.%d.attn_v.weight", TINY_EMBD, TINY_EMBD / 2},
    {"blk.%d.attn_output.weight", TINY_EMBD, TINY_EMBD},
    {"blk.%d.ffn_gate.weight", TINY_EMBD, TINY_FF},
    {"blk.%d.ffn_up.weight", TINY_EMBD, TINY_FF},
    {"blk.%d.ffn_down.weight", TINY_FF, TINY_EMBD},
};

// LFM2's: a recurrent layer, then one of attention.
static const struct shape lfm2_shapes[] = {
    {"token_embd.weight", TINY_EMBD, TINY_VOCAB},
    {"token_embd_norm.weight", TINY_EMBD, 1},
    {"blk.%d.attn_norm.weight", TINY_EMBD, 1},
    {"blk.%d.ffn_norm.weight", TINY_EMBD, 1},
    {"blk.0.shortconv.conv.weight", 3, TINY_EMBD},
    {"blk.0.shortconv.in_proj.weight", TINY_EMBD, 3 * TINY_EMBD},
    {"blk.0.shortconv.out_proj.weight", TINY_EMBD, TINY_EMBD},
    {"blk.1.attn_q.weight", TINY_EMBD, TINY_EMBD},
    {"blk.1.attn_k.weight", TINY_EMBD, TINY_EMBD / 2},
    {"blk.1.attn_v.weight", TINY_EMBD, TINY_EMBD / 2},
    {"blk.1.attn_output.weight", TINY_EMBD, TINY_EMBD},
    {"blk.1.attn_q_norm.weight", TINY_EMBD / TINY_HEAD, 1},
    {"blk.1.attn_k_norm.weight", TINY_EMBD / TINY_HEAD, 1},
    {"blk.%d.ffn_gate.weight", TINY_EMBD, TINY_FF},
    {"blk.%d.ffn_up.weight", TINY_EMBD, TINY_FF},
    {"blk.%d.ffn_down.weight", TINY_FF, TINY_EMBD},
};

// A whole F32 model with a tied output; weights from a fixed small generator. hyper: adds the keys;
// shapes: a name with %d is one tensor a layer; extra: one more tensor, or NULL.
static inline void make_shaped_model(struct file *f, void (*hyper)(struct file *f),
                                     const struct shape *shapes, size_t n_shapes, const char *extra)
{
    uint64_t offset = 0, n_floats = 0, ids_at = 0;
    const struct shape *ids = NULL; // one tensor of numbers at most
    file_begin(f);
    hyper(f);
    add_vocabulary(f, "gpt-2", NULL, 0, NULL, 0);
    if (extra) {
        add_tensor(f, extra, DTYPE_F32, TINY_EMBD, 1, offset);
        offset += TINY_EMBD * 4;
    }
    for (size_t i = 0; i < n_shapes; i++) {
        const struct shape *shape = &shapes[i];
        int n = strstr(shape->name, "%d") ? TINY_LAYER : 1;
        for (int layer = 0; layer < n; layer++) {
            char name[64];
            const char *digit = strstr(shape->name, "%d");
            size_t before = digit ? (size_t)(digit - shape->name) : strlen(shape->name);
            memcpy(name, shape->name, before);
            name[before] = 0;
            if (digit) {
                name[before] = (char)('0' + layer);
                memcpy(name + before + 1, digit + 2, strlen(digit + 2) + 1);
            }
            const uint64_t planes = shape->planes ? shape->planes : 1;
            add_planes(f, name, shape->ids ? DTYPE_I32 : DTYPE_F32,
                       (uint64_t[3]){shape->cols, shape->rows, planes}, offset);
            ids_at = shape->ids ? offset : ids_at;
            ids = shape->ids ? shape : ids;
            offset += (shape->cols * shape->rows * planes * 4 + 31) / 32 * 32;
        }
    }
    file_counts(f);
    file_pad(f, 32);
    n_floats = offset / 4;
    uint32_t state = 1;
    for (uint64_t i = 0; i < n_floats; i++) {
        state = state * 1664525u + 1013904223u;
        float v = (float)(state >> 8) / (float)(1 << 24) - 0.5f;
        put(f, &v, 4);
    }
    uint8_t *data = f->buf.p + f->buf.n - offset;
    for (uint32_t k = 0; ids && k < ids->cols * ids->rows; k++) {
        const uint32_t id = k % (uint32_t)ids->ids;
        memcpy(data + ids_at + 4 * k, &id, sizeof(id));
    }
}

static inline void make_model_with(struct file *f, void (*hyper)(struct file *f), const char *extra)
{
    make_shaped_model(f, hyper, tiny_shapes, COUNT_OF(tiny_shapes), extra);
}

static inline void make_tiny_model(struct file *f)
{
    make_model_with(f, add_hyper, NULL);
}
