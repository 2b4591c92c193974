// gemma4.c - Gemma 4 (Google 2026): windowed and full layers differ in the number and width of
// heads and in rotation; values are normed too, and are the keys' projection where there is no
// attn_v; the last layers read the cache of earlier ones. Layers of experts have a dense network
// beside them, each with norms of its own; small models add an embedding of the token for each
// layer alone.
#include "rules.h"

#include <math.h>
#include <stdlib.h>

// clang-format off
static const struct rule rules[] = {
    EMBEDDING_RULES,
    {"rope_freqs.weight", MODEL(rope_freqs), FACTORS, N_FREQS, .parts = OPTIONAL},
    {"per_layer_token_embd.weight", MODEL(per_layer_token_embd),
     MATRIX, N_EMBD_LAYERS, N_VOCAB, .parts = PART_PER_LAYER},
    {"per_layer_model_proj.weight", MODEL(per_layer_model_proj),
     MATRIX, N_EMBD, N_EMBD_LAYERS, .parts = PART_PER_LAYER},
    {"per_layer_proj_norm.weight", MODEL(per_layer_proj_norm),
     VECTOR, N_EMBD_LAYER, .parts = PART_PER_LAYER},
    {"attn_norm.weight", LAYER(attn_norm), VECTOR, N_EMBD},
    {"attn_q.weight", LAYER(attn_q), MATRIX, N_EMBD, N_Q},
    {"attn_k.weight", LAYER(attn_k), MATRIX, N_EMBD, N_K, .parts = PART_KEYS | UNREAD},
    {"attn_v.weight", LAYER(attn_v),
     MATRIX, N_EMBD, N_V, .parts = PART_KEYS | OPTIONAL | UNREAD},
    {"attn_output.weight", LAYER(attn_output), MATRIX, N_ATT, N_EMBD},
    {"attn_q_norm.weight", LAYER(attn_q_norm), VECTOR, HEAD_DIM},
    {"attn_k_norm.weight", LAYER(attn_k_norm), VECTOR, HEAD_DIM, .parts = PART_KEYS | UNREAD},
    {"post_attention_norm.weight", LAYER(attn_post_norm), VECTOR, N_EMBD},
    FFN_NORM_RULE,
    {"ffn_gate.weight", LAYER(ffn_gate), MATRIX, N_EMBD, N_FF},
    {"ffn_up.weight", LAYER(ffn_up), MATRIX, N_EMBD, N_FF},
    {"ffn_down.weight", LAYER(ffn_down), MATRIX, N_FF, N_EMBD},
    {"post_ffw_norm.weight", LAYER(ffn_post_norm), VECTOR, N_EMBD},
    {"ffn_gate_inp.weight", LAYER(ffn_gate_inp), MATRIX, N_EMBD, N_EXPERT, .parts = PART_EXPERTS},
    {"ffn_gate_inp.scale", LAYER(ffn_gate_inp_scale), VECTOR, N_EMBD, .parts = PART_EXPERTS},
    {"post_ffw_norm_1.weight", LAYER(ffn_post_norm_1), VECTOR, N_EMBD, .parts = PART_EXPERTS},
    {"pre_ffw_norm_2.weight", LAYER(ffn_pre_norm_2), VECTOR, N_EMBD, .parts = PART_EXPERTS},
    {"post_ffw_norm_2.weight", LAYER(ffn_post_norm_2), VECTOR, N_EMBD, .parts = PART_EXPERTS},
    {"ffn_gate_up_exps.weight", LAYER(ffn_gate_up_exps),
     MATRIX, N_EMBD, N_FF_EXP_2, N_EXPERT, PART_EXPERTS | OPTIONAL},
    {"ffn_gate_exps.weight", LAYER(ffn_gate_exps),
     MATRIX, N_EMBD, N_FF_EXP, N_EXPERT, PART_EXPERTS | OPTIONAL},
    {"ffn_up_exps.weight", LAYER(ffn_up_exps),
     MATRIX, N_EMBD, N_FF_EXP, N_EXPERT, PART_EXPERTS | OPTIONAL},
    {"ffn_down_exps.weight", LAYER(ffn_down_exps),
     MATRIX, N_FF_EXP, N_EMBD, N_EXPERT, PART_EXPERTS},
    {"ffn_down_exps.scale", LAYER(ffn_down_exps_scale),
     VECTOR, N_EXPERT, .parts = PART_EXPERTS | OPTIONAL,
     .also = "ffn_gate_inp.per_expert_scale"}, // Ollama's files
    {"inp_gate.weight", LAYER(inp_gate), MATRIX, N_EMBD, N_EMBD_LAYER, .parts = PART_PER_LAYER},
    {"proj.weight", LAYER(proj), MATRIX, N_EMBD_LAYER, N_EMBD, .parts = PART_PER_LAYER},
    {"post_norm.weight", LAYER(post_norm), VECTOR, N_EMBD, .parts = PART_PER_LAYER},
    {"layer_output_scale.weight", LAYER(layer_output_scale), NUMBER, ONE, .parts = OPTIONAL},
};
// clang-format on

// per_layer = (rms(per_layer_model_proj x / sqrt(n_embd)) + the token's row * sqrt(n_embd_layer)) /
// sqrt(2), n_embd_layer numbers for each layer
static void layer_inputs(const struct pass *p)
{
    const struct hyper *h = p->h;
    const int64_t n = (int64_t)h->n_embd_layer * h->n_layer;
    struct tensor rows = pass_view(p, &p->act->per_layer, n),
                  proj = pass_view(p, &p->act->per_layer_x, n),
                  pieces = pieces_view(&proj, h->n_embd_layer);
    const float half = sqrtf(0.5f);
    op_embed(p->compute, &rows, &p->w->per_layer_token_embd, &p->token,
             sqrtf((float)h->n_embd_layer));
    op_matmul(p->compute,
              &(struct matmul){.out = &proj,
                               .w = &p->w->per_layer_model_proj,
                               .scale = 1 / sqrtf((float)h->n_embd)},
              1, &(struct matmul_x){.x = &p->x});
    op_rms_norm(p->compute, &pieces, &pieces, &p->w->per_layer_proj_norm, h->eps);
    op_add(p->compute, &rows, half, &rows, half, &proj);
}

static void own_embedding(const struct pass *p, int32_t i)
{
    const struct hyper *h = p->h;
    const struct layer *w = &p->w->layers[i];
    const int64_t n = h->n_embd_layer;
    struct tensor all = pass_view(p, &p->act->per_layer, n * h->n_layer),
                  mine = tensor_columns(&all, n * i, n), x = pass_view(p, &p->act->layer_x, n);
    op_matmul_glu(
        p->compute,
        &(struct matmul_glu){.out = &x, .w_up = &w->inp_gate, .activation = ACTIVATION_GELU},
        &(struct matmul_x){.x = &p->x});
    op_multiply(p->compute, &x, &x, &mine);
    add_product(p, &x, &w->proj, NULL, &w->post_norm);
}

static void two_networks(const struct pass *p, int32_t i)
{
    const struct hyper *h = p->h;
    const struct layer *w = &p->w->layers[i];
    struct tensor sum = pass_view(p, &p->act->added, h->n_embd),
                  experts = pass_view(p, &p->act->added2, h->n_embd);
    ffn_into(p, i, &sum);
    op_rms_norm(p->compute, &sum, &sum, &w->ffn_post_norm_1, h->eps);
    experts_into(p, i, &experts, &w->ffn_gate_inp_scale, 1 / sqrtf((float)h->n_embd),
                 &w->ffn_pre_norm_2);
    op_norm_add(p->compute,
                &(struct norm_add){&sum, &experts, &w->ffn_post_norm_2, &sum, h->eps, 1});
    op_norm_add(p->compute, &(struct norm_add){&p->x, &sum, &w->ffn_post_norm, &p->x, h->eps, 1});
}

static void forward(const struct pass *p)
{
    embed_block(p);
    if (p->h->n_embd_layer > 0)
        layer_inputs(p);
    for (int32_t i = 0; i < p->h->n_layer; i++) {
        const struct layer *w = &p->w->layers[i];
        attention_block(p, i);
        if (p->h->layers[i].parts & PART_EXPERTS)
            two_networks(p, i);
        else
            ffn_block(p, i);
        if (p->h->n_embd_layer > 0)
            own_embedding(p, i);
        if (w->layer_output_scale != 0)
            op_add(p->compute, &p->x, w->layer_output_scale, &p->x, 0, NULL);
    }
}

// Windowed layers have other heads; the last `shared` layers read what the last windowed or the
// last full layer before them keeps.
static void read_layers(struct reader *r, struct hyper *h)
{
    const int32_t head_dim = reader_int(r, "attention.key_length_swa", 2, MAX_HEAD_DIM, REQUIRED),
                  shared = reader_int(r, "attention.shared_kv_layers", 0, MAX_LAYER, 0),
                  n_own = h->n_layer - shared;
    int32_t last[2] = {-1, -1};
    reader_int(r, "attention.value_length_swa", (uint64_t)head_dim, (uint64_t)head_dim, head_dim);
    for (int32_t i = 0; i < h->n_layer; i++) {
        struct layer_hyper *layer = &h->layers[i];
        const bool windowed = layer->window > 0;
        if (windowed)
            layer->head_dim = layer->head_dim_v = head_dim;
        layer->parts |= h->n_embd_layer > 0 ? PART_PER_LAYER : 0;
        if (i < n_own) {
            last[windowed] = i;
            continue;
        }
        layer->parts &= ~(uint32_t)PART_KEYS;
        layer->kv_layer = last[windowed];
        if (layer->kv_layer < 0)
            reader_refuse(r, BAD_INPUT,
                          "key '%s.attention.shared_kv_layers': layer %d reads an earlier layer's "
                          "keys, but there is none",
                          r->arch->name, i);
    }
}

static void read(struct reader *r, struct hyper *h)
{
    struct rope_hyper *rope = h->ropes;
    rope[ROPE_MAIN].pairs = ROPE_NEOX;
    rope[ROPE_WINDOW] = rope[ROPE_MAIN];
    rope[ROPE_MAIN].factors = true;
    rope[ROPE_WINDOW].n_rot =
        reader_int(r, "rope.dimension_count_swa", 2, MAX_HEAD_DIM,
                   reader_int(r, "attention.key_length_swa", 2, MAX_HEAD_DIM, REQUIRED));
    rope[ROPE_WINDOW].scaling = (struct rope_scaling){
        .freq_base = reader_float(r, "rope.freq_base_swa", 1, 1e12, 10000), .freq_scale = 1};
    h->activation = ACTIVATION_GELU;
    h->embed_scale = sqrtf((float)h->n_embd);
    h->attention_scale = 1;
    h->norm_values = true;
    h->final_softcap = reader_float(r, "final_logit_softcapping", 0, 1e6, 0);
    h->n_embd_layer = reader_int(r, "embedding_length_per_layer_input", 0, MAX_EMBD, 0);
    h->route = (struct route){.score = ROUTE_SOFTMAX, .normalise = true};
    reader_experts(r, h, false);
    h->two_networks = h->n_expert > 0;
    reader_window(r, h, 6);
    read_layers(r, h);
}

const struct arch arch_gemma4 = {"gemma4", RULES(rules), read, forward};
