// bert.c - encoders: BERT (Devlin et al. 2018), nomic-bert (Nussbaum et al. 2024), jina-bert-v2
// (Guenther et al. 2023): every token sees all of its text, and norms (Ba et al. 2016) stand behind
// what a block has added. BERT adds an embedding of the position and has biases everywhere;
// nomic-bert rotates and gates its network, or has experts in every second layer; jina-bert-v2 lets
// scores fall with the distance. ModernBERT (Warner et al. 2024) is a decoder but for its norms and
// for what it sees: two of three layers have a window, to both sides.
//
// Every token is of type 0, as in llama.cpp.
#include "rules.h"

// clang-format off
#define NORM_RULES(name, slot) \
    {name ".weight", LAYER(slot), VECTOR, N_EMBD}, \
    {name ".bias", LAYER(slot##_bias), VECTOR, N_EMBD}
#define Q_K_V_RULES \
    {"attn_q.weight", LAYER(attn_q), MATRIX, N_EMBD, N_Q}, \
    {"attn_k.weight", LAYER(attn_k), MATRIX, N_EMBD, N_K}, \
    {"attn_v.weight", LAYER(attn_v), MATRIX, N_EMBD, N_V}, \
    QKV_BIAS_RULES(OPTIONAL)
#define ENCODER_RULES \
    {"token_embd.weight", MODEL(token_embd), MATRIX, N_EMBD, N_VOCAB}, \
    {"token_types.weight", MODEL(token_types), MATRIX, N_EMBD, N_TOKEN_TYPES, .parts = OPTIONAL}, \
    {"token_embd_norm.weight", MODEL(token_embd_norm), VECTOR, N_EMBD}, \
    {"token_embd_norm.bias", MODEL(token_embd_norm_bias), VECTOR, N_EMBD}, \
    {"cls.weight", MODEL(cls), MATRIX, N_EMBD, N_CLS, .parts = OPTIONAL}, \
    {"cls.bias", MODEL(cls_bias), VECTOR, N_CLS, .parts = OPTIONAL}, \
    {"cls.output.weight", MODEL(cls_output), MATRIX, N_EMBD, N_CLS_OUT, .parts = OPTIONAL}, \
    {"cls.output.bias", MODEL(cls_output_bias), VECTOR, N_CLS_OUT, .parts = OPTIONAL}, \
    {"attn_output.weight", LAYER(attn_output), MATRIX, N_ATT, N_EMBD}, \
    OUTPUT_BIAS_RULE, \
    NORM_RULES("attn_output_norm", attn_output_norm), \
    NORM_RULES("layer_output_norm", layer_output_norm), \
    {"ffn_up.weight", LAYER(ffn_up), MATRIX, N_EMBD, N_UP, .parts = PART_DENSE}, \
    {"ffn_up.bias", LAYER(ffn_up_bias), VECTOR, N_FF, .parts = PART_DENSE | OPTIONAL}, \
    {"ffn_down.weight", LAYER(ffn_down), MATRIX, N_FF, N_EMBD, .parts = PART_DENSE}, \
    {"ffn_down.bias", LAYER(ffn_down_bias), VECTOR, N_EMBD, .parts = PART_DENSE | OPTIONAL}

static const struct rule bert_rules[] = {
    ENCODER_RULES,
    {"position_embd.weight", MODEL(position_embd), MATRIX, N_EMBD, N_CTX_TRAIN},
    Q_K_V_RULES,
};
static const struct rule nomic_rules[] = {
    ENCODER_RULES,
    {"attn_qkv.weight", LAYER(attn_qkv), MATRIX, N_EMBD, N_QKV},
    {"attn_qkv.bias", LAYER(attn_qkv_bias), VECTOR, N_QKV, .parts = OPTIONAL},
    {"ffn_gate.weight", LAYER(ffn_gate), MATRIX, N_EMBD, N_FF},
};
static const struct rule nomic_moe_rules[] = {
    ENCODER_RULES,
    {"attn_qkv.weight", LAYER(attn_qkv), MATRIX, N_EMBD, N_QKV},
    {"attn_qkv.bias", LAYER(attn_qkv_bias), VECTOR, N_QKV, .parts = OPTIONAL},
    {"ffn_gate_inp.weight", LAYER(ffn_gate_inp), MATRIX, N_EMBD, N_EXPERT, .parts = PART_EXPERTS},
    {"ffn_up_exps.weight", LAYER(ffn_up_exps), MATRIX, N_EMBD, N_FF_EXP, N_EXPERT, PART_EXPERTS},
    {"ffn_down_exps.weight", LAYER(ffn_down_exps),
     MATRIX, N_FF_EXP, N_EMBD, N_EXPERT, PART_EXPERTS},
};
static const struct rule modern_rules[] = {
    {"token_embd.weight", MODEL(token_embd), MATRIX, N_EMBD, N_VOCAB},
    {"token_embd_norm.weight", MODEL(token_embd_norm), VECTOR, N_EMBD},
    {"output_norm.weight", MODEL(output_norm), VECTOR, N_EMBD},
    {"cls.weight", MODEL(cls), MATRIX, N_EMBD, N_CLS, .parts = OPTIONAL},
    {"cls.bias", MODEL(cls_bias), VECTOR, N_CLS, .parts = OPTIONAL},
    {"cls.norm.weight", MODEL(cls_norm), VECTOR, N_CLS, .parts = OPTIONAL},
    {"cls.output.weight", MODEL(cls_output), MATRIX, N_EMBD, N_CLS_OUT, .parts = OPTIONAL},
    {"cls.output.bias", MODEL(cls_output_bias), VECTOR, N_CLS_OUT, .parts = OPTIONAL},
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, N_EMBD, .parts = OPTIONAL}, // not in the first
    {"attn_qkv.weight", LAYER(attn_qkv), MATRIX, N_EMBD, N_QKV},
    {"attn_output.weight", LAYER(attn_output), MATRIX, N_ATT, N_EMBD},
    FFN_NORM_RULE,
    {"ffn_up.weight", LAYER(ffn_up), MATRIX, N_EMBD, N_UP},
    {"ffn_down.weight", LAYER(ffn_down), MATRIX, N_FF, N_EMBD},
};
#define OPTIONAL_NORM_RULES(name, slot, n) \
    {name ".weight", LAYER(slot), VECTOR, n, .parts = OPTIONAL}, \
    {name ".bias", LAYER(slot##_bias), VECTOR, n, .parts = OPTIONAL}
static const struct rule jina_rules[] = {
    ENCODER_RULES,
    Q_K_V_RULES,
    OPTIONAL_NORM_RULES("attn_q_norm", attn_q_norm, N_Q),
    OPTIONAL_NORM_RULES("attn_k_norm", attn_k_norm, N_K),
    OPTIONAL_NORM_RULES("attn_norm_2", attn_norm_2, N_EMBD),
    {"ffn_gate.weight", LAYER(ffn_gate), MATRIX, N_EMBD, N_FF, .parts = OPTIONAL},
};
// clang-format on

static void read_encoder(struct reader *r, struct hyper *h)
{
    uint64_t n_types = 0;
    if (r->status == OK && gguf_find_tensor(r->gguf, "token_types.weight")) {
        enum status status =
            gguf_get_uint(r->gguf, "tokenizer.ggml.token_type_count", 1, 1 << 16, &n_types, r->err);
        if (status == NOT_FOUND)
            reader_refuse(r, BAD_INPUT, "key 'tokenizer.ggml.token_type_count' is missing");
        else if (status != OK)
            r->status = status;
    }
    h->n_token_types = (int32_t)n_types;
    if (!h->sees_all)
        reader_refuse(r, UNSUPPORTED, "key '%s.attention.causal' must be false", r->arch->name);
}

static void read_bert(struct reader *r, struct hyper *h)
{
    read_encoder(r, h);
    h->activation = ACTIVATION_GELU;
    h->ropes[ROPE_MAIN].n_rot = 0;
    for (int32_t i = 0; i < h->n_layer; i++)
        h->layers[i].rope = NO_ROPE;
}

// Its network's gate is a tensor of its own, or the first half of ffn_up; its head is one row.
static void read_jina(struct reader *r, struct hyper *h)
{
    const struct gguf_tensor *up = gguf_find_tensor(r->gguf, "blk.0.ffn_up.weight");
    read_bert(r, h);
    h->alibi_bias = reader_float(r, "attention.max_alibi_bias", 0, 64, 8);
    h->fused_ffn = up && up->dims[1] == 2 * (uint64_t)h->layers[0].n_ff &&
                   !gguf_find_tensor(r->gguf, "blk.0.ffn_gate.weight");
    h->n_cls = 1;
}

static void read_nomic(struct reader *r, struct hyper *h)
{
    read_encoder(r, h);
    h->ropes[ROPE_MAIN].pairs = ROPE_NEOX;
    h->fused_qkv = true;
}

static void read_nomic_moe(struct reader *r, struct hyper *h)
{
    read_nomic(r, h);
    h->activation = ACTIVATION_GELU;
    h->route = (struct route){.score = ROUTE_SOFTMAX};
    reader_experts(r, h, true);
    const int32_t every = reader_int(r, "moe_every_n_layers", 1, MAX_LAYER, REQUIRED);
    for (int32_t i = 0; i < h->n_layer && every > 1; i++)
        if (i % every != 1)
            h->layers[i].parts = PART_ATTENTION | PART_KEYS | PART_DENSE;
}

static void read_modern(struct reader *r, struct hyper *h)
{
    const int32_t window = reader_int(r, "attention.sliding_window", 1, MAX_CTX, REQUIRED),
                  period = reader_int(r, "attention.sliding_window_pattern", 1, MAX_LAYER, 3);
    read_encoder(r, h);
    h->activation = h->cls_activation = ACTIVATION_GELU;
    h->fused_qkv = h->fused_ffn = h->scores_of_mean = true;
    h->ropes[ROPE_MAIN].pairs = ROPE_NEOX;
    h->ropes[ROPE_WINDOW] = h->ropes[ROPE_MAIN];
    h->ropes[ROPE_WINDOW].scaling.freq_base = reader_float(r, "rope.freq_base_swa", 1, 1e12, 10000);
    for (int32_t i = 0; i < h->n_layer; i++)
        if (i % period != 0) {
            h->layers[i].window = window;
            h->layers[i].rope = ROPE_WINDOW;
        }
}

static void norm(const struct pass *p, const struct tensor *weight, const struct tensor *bias)
{
    op_layer_norm(p->compute, &p->x, &p->x, weight, bias, p->h->eps);
}

// x += rows of a table
static void add_rows(const struct pass *p, const struct tensor *table, const struct tensor *id)
{
    struct tensor row = pass_view(p, &p->act->added, p->h->n_embd);
    if (!table->buffer)
        return;
    op_embed(p->compute, &row, table, id, 1);
    op_add(p->compute, &p->x, 1, &p->x, 1, &row);
}

static void forward(const struct pass *p)
{
    const struct weights *w = p->w;
    embed_block(p);
    add_rows(p, &w->token_types, &p->type);
    add_rows(p, &w->position_embd, &p->pos);
    norm(p, &w->token_embd_norm, &w->token_embd_norm_bias);
    for (int32_t i = 0; i < p->h->n_layer; i++) {
        const struct layer *l = &w->layers[i];
        const struct tensor before = pass_view(p, &p->act->added, p->h->n_embd);
        if (l->attn_norm_2.buffer)
            op_add(p->compute, &before, 1, &p->x, 0, NULL);
        attention_block(p, i);
        norm(p, &l->attn_output_norm, &l->attn_output_norm_bias);
        if (l->attn_norm_2.buffer) {
            op_add(p->compute, &p->x, 1, &p->x, 1, &before);
            norm(p, &l->attn_norm_2, present(&l->attn_norm_2_bias));
        }
        if (p->h->layers[i].parts & PART_EXPERTS)
            experts_block(p, i);
        else
            ffn_block(p, i);
        norm(p, &l->layer_output_norm, &l->layer_output_norm_bias);
    }
}

static void modern_forward(const struct pass *p)
{
    embed_block(p);
    norm(p, &p->w->token_embd_norm, NULL);
    for (int32_t i = 0; i < p->h->n_layer; i++) {
        attention_block(p, i);
        ffn_block(p, i);
    }
}

const struct arch arch_nomic_bert_moe = {"nomic-bert-moe", RULES(nomic_moe_rules), read_nomic_moe,
                                         forward, .layer_norm = true};
const struct arch arch_modern_bert = {"modern-bert", RULES(modern_rules), read_modern,
                                      modern_forward, .layer_norm = true};
const struct arch arch_bert = {"bert", RULES(bert_rules), read_bert, forward, .layer_norm = true};
const struct arch arch_jina_bert_v2 = {"jina-bert-v2", RULES(jina_rules), read_jina, forward,
                                       .layer_norm = true};
const struct arch arch_nomic_bert = {"nomic-bert", RULES(nomic_rules), read_nomic, forward,
                                     .layer_norm = true};
