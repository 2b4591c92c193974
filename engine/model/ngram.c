// ngram.c - the table of embeddings that is read by the last few tokens: its keys, and on the host
// the rows that the tokens of a pass read. It is far larger than what is read of it and stays in
// the file; the kernel keeps the pages that are read often.
//
// A head of m tokens (from 2 to n) reads row first + x mod count with x = t0 * times[0] ^ t1 *
// times[1] ^ ... of m tokens, t0 being the token itself and t1 the one before it, in 64 bits. A
// token before the text's beginning, or at or before the last end mark, is the end mark.
#include "arch.h"

#include <string.h>

// ---- keys ---------------------------------------------------------------------------------------

// n whole numbers, each at most `most`.
static void read_list(struct reader *r, const char *name, int32_t n, uint64_t most, uint64_t *out)
{
    if (r->status != OK)
        return;
    const struct gguf_value *value = gguf_find(r->gguf, reader_key(r, name));
    const size_t size = value ? gguf_scalar_bytes(value->item_type) : 0;
    const bool whole = value && value->type == GGUF_ARRAY && value->item_type != GGUF_F32 &&
                       value->item_type != GGUF_F64 && value->item_type != GGUF_BOOL &&
                       (size == 4 || size == 8);
    if (!whole || value->n_items < (uint64_t)n) {
        reader_refuse(r, BAD_INPUT, "key '%s' is %s; expected %d whole numbers at least", r->key,
                      value ? "something else, or shorter" : "missing", n);
        return;
    }
    for (int32_t i = 0; i < n; i++) {
        out[i] = 0;
        memcpy(&out[i], value->p + (size_t)i * size, size);
        if (out[i] > most)
            reader_refuse(r, BAD_INPUT, "key '%s' has %llu; allowed are up to %llu", r->key,
                          (unsigned long long)out[i], (unsigned long long)most);
    }
}

// The rows that the heads name, or as many as the table has.
static void read_rows(struct reader *r, struct ngram_hyper *g)
{
    const struct gguf_tensor *table = gguf_find_tensor(r->gguf, "per_layer_token_embd.weight");
    for (int32_t i = 0; i < g->n_head && r->status == OK; i++) {
        const uint64_t end = g->first[i] + g->count[i];
        if (g->count[i] == 0 || end > INT32_MAX)
            reader_refuse(r, BAD_INPUT,
                          "key '%s.ple.head_vocab_sizes': head %d has %llu rows from %llu on; "
                          "expected some, below %d",
                          r->arch->name, i, (unsigned long long)g->count[i],
                          (unsigned long long)g->first[i], INT32_MAX);
        else if ((int32_t)end > g->n_rows)
            g->n_rows = (int32_t)end;
    }
    if (r->status != OK || (!table && r->gguf->n_missing > 0))
        return;
    if (!table || table->dims[1] < (uint64_t)g->n_rows || table->dims[1] > INT32_MAX)
        reader_refuse(r, BAD_INPUT,
                      "tensor 'per_layer_token_embd.weight' %s; the keys '%s.ple.*' want %d rows",
                      table ? "has another number of rows" : "is missing", r->arch->name,
                      g->n_rows);
    else
        g->n_rows = (int32_t)table->dims[1]; // a converter may add some
}

void ngram_read(struct reader *r, struct hyper *h)
{
    struct ngram_hyper *g = &h->ngram;
    uint64_t layer = 0;
    if (!reader_has(r, "ple.layers"))
        return;
    read_list(r, "ple.layers", 1, (uint64_t)h->n_layer - 1, &layer);
    g->n = reader_int(r, "ple.ngram_size", 2, NGRAM_MOST, REQUIRED);
    g->per_n = reader_int(r, "ple.heads_per_ngram", 1, NGRAM_HEADS_MOST, REQUIRED);
    g->n_conv = reader_int(r, "ple.conv_kernel", 2, CONV_MOST, REQUIRED);
    g->end = reader_int(r, "ple.eos_token_id", 0, INT32_MAX, REQUIRED);
    reader_key(r, "ple.image_token_id"); // there are no images
    g->dim = reader_int(r, "embedding_length_per_layer_input", 1, MAX_EMBD, REQUIRED);
    g->n_head = (g->n - 1) * g->per_n;
    if (r->status == OK && (g->n_head > NGRAM_HEADS_MOST || g->n_head * g->dim != h->n_embd ||
                            (g->n_conv - 1) * g->n >= CONV_ROWS_MOST))
        reader_refuse(r, UNSUPPORTED,
                      "keys '%s.ple.*': %d rows of %d numbers, %d taps %d apart; this build knows "
                      "rows that together are one of %d, and taps less than %d apart in all",
                      r->arch->name, g->n_head, g->dim, g->n_conv, g->n, h->n_embd, CONV_ROWS_MOST);
    read_list(r, "ple.layer_multipliers", g->n, UINT64_MAX, g->times);
    read_list(r, "ple.head_offsets", g->n_head, INT32_MAX, g->first);
    read_list(r, "ple.head_vocab_sizes", g->n_head, INT32_MAX, g->count);
    if (r->status != OK)
        return;
    read_rows(r, g);
    if (!(h->layers[layer].parts & PART_DELTA))
        reader_refuse(r, UNSUPPORTED, "key '%s.ple.layers': layer %llu is no recurrent one",
                      r->arch->name, (unsigned long long)layer);
    h->layers[layer].parts |= PART_NGRAM;
}

// ---- rows ---------------------------------------------------------------------------------------

// The tokens that are looked at, from the one at pos back.
static void last_tokens(const struct ngram_hyper *g, const int32_t *token, int32_t pos,
                        uint64_t out[NGRAM_MOST])
{
    bool ended = false;
    out[0] = (uint64_t)token[pos];
    for (int32_t j = 1; j < g->n; j++) {
        const int32_t t = ended || j > pos ? g->end : token[pos - j];
        ended |= t == g->end || t < 0;
        out[j] = (uint64_t)(ended ? g->end : t);
    }
}

static void read_row(const struct model *m, const int32_t *token, int32_t pos, float *out)
{
    const struct ngram_hyper *g = &m->hyper.ngram;
    const struct gguf_tensor *table = m->weights.ngram_table;
    const enum dtype type = (enum dtype)table->type;
    const size_t row_bytes = dtype_row_bytes(type, g->dim);
    const uint8_t *rows = gguf_bytes(m->gguf, table);
    uint64_t last[NGRAM_MOST];
    last_tokens(g, token, pos, last);
    uint64_t mixed = last[0] * g->times[0];
    for (int32_t n = 2; n <= g->n; n++) {
        mixed ^= last[n - 1] * g->times[n - 1];
        for (int32_t i = (n - 2) * g->per_n; i < (n - 1) * g->per_n; i++)
            dtype_decode(type, out + (size_t)i * (size_t)g->dim,
                         rows + (g->first[i] + mixed % g->count[i]) * row_bytes, g->dim);
    }
}

void ngram_inputs(struct model *m, const struct batch *b, int32_t start, int32_t n)
{
    const size_t n_embd = (size_t)m->hyper.n_embd;
    const struct tensor to = tensor_rows(&m->act.ngram, 0, n);
    for (int32_t t = 0; t < n; t++)
        read_row(m, m->kv.token + (size_t)b->seq[start + t] * (size_t)m->kv.shape.n_ctx,
                 b->pos[start + t], m->ngram + (size_t)t * n_embd);
    tensor_write(m->compute, &to, m->ngram, (size_t)n * n_embd * sizeof(float));
}
