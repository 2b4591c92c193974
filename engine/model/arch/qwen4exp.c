// qwen4exp.c - Qwen3.8-Flash-Next (Qwen 2026): the layers of qwen35.c, whose delta nets have a
// sigmoid as their gate, on several residual streams without norms between them. Attention sees a
// bounded number of blocks of positions; one layer first reads a table of embeddings by the last
// tokens, which stays in the file.
#include "rules.h"

#include <stdlib.h>

// clang-format off
#define MIX_RULES(name, PLACE, field) \
    {name "_norm.weight", PLACE(field.norm), VECTOR, N_STREAMS}, \
    {name "_down.weight", PLACE(field.down), MATRIX, N_STREAMS, STREAM_LOW}, \
    {name "_up.weight", PLACE(field.up), MATRIX, STREAM_LOW, N_STREAMS}

static const struct rule rules[] = {
    {"token_embd.weight", MODEL(token_embd), MATRIX, N_EMBD, N_VOCAB},
    {"output.weight", MODEL(output), MATRIX, N_EMBD, N_VOCAB, .parts = OPTIONAL}, // else tied
    {"per_layer_token_embd.weight", MODEL(ngram_table),
     FILED, NGRAM_DIM, N_NGRAM_ROWS, .parts = OPTIONAL},
    MIX_RULES("output_hc", MODEL, output_mix),
    MIX_RULES("hc_attn", LAYER, mix),
    {"hc_attn_inject.weight", LAYER(mix.inject), MATRIX, N_STREAMS, N_STREAM},
    HYBRID_RULES,
    {"ssm_beta.weight", LAYER(ssm_beta), MATRIX, N_EMBD, N_STATE_HEAD, .parts = PART_DELTA},
    {"ssm_alpha.weight", LAYER(ssm_alpha), MATRIX, N_EMBD, N_STATE_HEAD, .parts = PART_DELTA},
    {"indexer.q_proj.weight", LAYER(index_q), MATRIX, N_EMBD, N_INDEX_Q, .parts = PART_ATTENTION},
    {"indexer.k_proj.weight", LAYER(index_k), MATRIX, N_EMBD, INDEX_DIM, .parts = PART_ATTENTION},
    {"indexer.q_norm.weight", LAYER(index_q_norm), VECTOR, INDEX_DIM, .parts = PART_ATTENTION},
    {"indexer.k_norm.weight", LAYER(index_k_norm), VECTOR, INDEX_DIM, .parts = PART_ATTENTION},
    {"ple_key.weight", LAYER(ngram_key), MATRIX, N_EMBD, N_STREAMS, .parts = PART_NGRAM},
    {"ple_value.weight", LAYER(ngram_value), MATRIX, N_EMBD, N_EMBD, .parts = PART_NGRAM},
    {"ple_norm_key.weight", LAYER(ngram_key_norm), VECTOR, N_STREAMS, .parts = PART_NGRAM},
    {"ple_norm_query.weight", LAYER(ngram_query_norm), VECTOR, N_STREAMS, .parts = PART_NGRAM},
    {"ple_norm_conv.weight", LAYER(ngram_conv_norm), VECTOR, N_STREAMS, .parts = PART_NGRAM},
    {"ple_conv1d.weight", LAYER(ngram_conv1d),
     VECTOR, N_NGRAM_CONV, N_STREAMS, .parts = PART_NGRAM},
    MIX_RULES("hc_ffn", LAYER, ffn_mix),
    {"hc_ffn_inject.weight", LAYER(ffn_mix.inject), MATRIX, N_STREAMS, N_STREAM},
    EXPERT_RULES, SHARED_RULES,
    {"ffn_gate_inp_shexp.weight", LAYER(ffn_gate_inp_shexp), MATRIX, N_EMBD, .parts = PART_SHARED},
};
// clang-format on

// Which blocks attention sees. All positions are in one of at most so many words of bits.
static void read_index(struct reader *r, struct hyper *h)
{
    const int32_t top = reader_int(r, "attention.indexer.top_k", 1, MAX_CTX, REQUIRED);
    int32_t *ratios = mem_array((size_t)h->n_layer, sizeof(*ratios));
    h->n_index_head = reader_int(r, "attention.indexer.head_count", 1, INDEX_HEADS_MOST, REQUIRED);
    h->index_dim = reader_int(r, "attention.indexer.key_length", 8, INDEX_DIM_MOST, REQUIRED);
    reader_ints(r, "attention.compress_ratios", 0, 128, 0, ratios);
    for (int32_t i = 0; i < h->n_layer && r->status == OK; i++) {
        if (!(h->layers[i].parts & PART_ATTENTION) || ratios[i] == 0)
            continue;
        if (h->index_block != 0 && ratios[i] != h->index_block)
            reader_refuse(r, UNSUPPORTED,
                          "key '%s.attention.compress_ratios': blocks of %d and of "
                          "%d positions; this build knows one size",
                          r->arch->name, h->index_block, ratios[i]);
        h->index_block = ratios[i];
        h->layers[i].parts |= PART_INDEX;
    }
    free(ratios);
    const int32_t block = h->index_block;
    if (r->status != OK || block == 0)
        return;
    if ((block != 2 && block != 4 && block != 8) || top % block != 0 || h->index_dim % 8 != 0 ||
        h->ropes[ROPE_MAIN].n_rot > h->index_dim)
        reader_refuse(r, UNSUPPORTED,
                      "keys '%s.attention.indexer.*': %d positions in blocks of %d by keys of %d "
                      "numbers, of which %d turn; blocks must be of 2, 4 or 8, and the keys a "
                      "multiple of 8 wide",
                      r->arch->name, top, block, h->index_dim, h->ropes[ROPE_MAIN].n_rot);
    h->index_most = top / block;
    if (h->n_ctx_train > INDEX_WORDS_MOST * 32 * block)
        h->n_ctx_train = INDEX_WORDS_MOST * 32 * block;
}

static void read(struct reader *r, struct hyper *h)
{
    enum { STREAMS_MOST = 16 };
    qwen35_read(r, h);
    h->delta_sigmoid = true;
    h->route = (struct route){.score = ROUTE_SOFTMAX, .normalise = true};
    reader_experts(r, h, true);
    for (int32_t i = 0; r->status == OK && i < h->n_layer; i++)
        if (!(h->layers[i].parts & PART_EXPERTS))
            reader_refuse(r, UNSUPPORTED,
                          "key '%s.leading_dense_block_count': layer %d has no experts; all layers "
                          "of this architecture have them",
                          r->arch->name, i);
    h->n_stream = reader_int(r, "hyper_connection.count", 2, STREAMS_MOST, REQUIRED);
    h->n_stream_low = reader_int(r, "hyper_connection.low_rank", 1, MAX_EMBD, REQUIRED);
    if (r->status == OK && (int64_t)h->n_stream * h->n_embd > MAX_EMBD)
        reader_refuse(r, UNSUPPORTED, "key '%s': %d streams of %d numbers; at most %d together",
                      r->key, h->n_stream, h->n_embd, MAX_EMBD);
    read_index(r, h);
    ngram_read(r, h);
}

static void forward(const struct pass *p)
{
    streams_embed(p);
    for (int32_t i = 0; i < p->h->n_layer; i++) {
        const struct layer *w = &p->w->layers[i];
        const uint32_t parts = p->h->layers[i].parts;
        if (parts & PART_NGRAM)
            ngram_block(p, i);
        streams_mix(p, &w->mix);
        if (parts & PART_DELTA)
            delta_block(p, i);
        else
            attention_block(p, i);
        streams_add(p);
        streams_mix(p, &w->ffn_mix);
        experts_block(p, i);
        streams_add(p);
    }
    streams_mix(p, &p->w->output_mix);
}

const struct arch arch_qwen4exp = {"qwen4exp", RULES(rules), read, forward};
