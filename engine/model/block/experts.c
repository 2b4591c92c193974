// experts.c - a mixture of experts (Shazeer et al. 2017): the router's scores choose a few experts
// for each token, whose results are weighted and added to the residual stream; beside them, in some
// models, one expert that every token takes, in some of these times a gate of its own.
#include "../arch.h"

struct chosen { // views
    struct tensor id, weight, shared_gate;
};

// What the router reads, scaled; what the experts read.
struct inputs {
    struct matmul_x router;
    float router_scale;
    struct matmul_x experts;
};

static struct chosen choose(const struct pass *p, const struct layer *w, const struct inputs *in)
{
    const struct hyper *h = p->h;
    struct tensor logits = pass_view(p, &p->act->router, h->n_expert);
    struct chosen c = {pass_view(p, &p->act->expert_id, h->n_expert_used),
                       pass_view(p, &p->act->expert_weight, h->n_expert_used),
                       pass_view(p, &p->act->shared_gate, 1)};
    const struct matmul products[] = {
        {.out = &logits,
         .w = &w->ffn_gate_inp,
         .bias = present(&w->ffn_gate_inp_bias),
         .scale = in->router_scale},
        {.out = &c.shared_gate, .w = &w->ffn_gate_inp_shexp},
    };
    struct route route = h->route;
    route.scale *= h->residual_scale;
    route.bias = present(&w->exp_probs_b);
    route.hashed = present(&w->ffn_gate_tid2eid);
    route.token = &p->token;
    op_matmul(p->compute, products, w->ffn_gate_inp_shexp.buffer ? 2 : 1, &in->router);
    op_route(p->compute, &c.id, &c.weight, &logits, &route);
    return c;
}

// The chosen experts' gated networks: [n_tokens * n_used][n_ff_exp]
static struct tensor inner(const struct pass *p, const struct layer *w, const struct chosen *chosen,
                           const struct matmul_x *x)
{
    const int64_t n_ff = p->h->n_ff_exp, n_used = p->h->n_expert_used;
    struct tensor gate = pass_view(p, &p->act->expert_gate, n_used * n_ff),
                  up = pass_view(p, &p->act->expert_up, n_used * n_ff);
    gate = pieces_view(&gate, n_ff);
    up = pieces_view(&up, n_ff);
    op_experts_glu(p->compute,
                   &(struct experts_glu){.out = &gate,
                                         .w_gate = present(&w->ffn_gate_exps),
                                         .w_up = present(&w->ffn_up_exps),
                                         .w_gate_up = present(&w->ffn_gate_up_exps),
                                         .bias_gate = present(&w->ffn_gate_exps_bias),
                                         .bias_up = present(&w->ffn_up_exps_bias),
                                         .id = &chosen->id,
                                         .scratch = &up,
                                         .activation = p->h->activation},
                   x);
    return gate;
}

static void down(const struct pass *p, const struct layer *w, const struct chosen *chosen,
                 const struct tensor *y, const struct tensor *to, const struct tensor *residual)
{
    struct tensor out = pass_view(p, &p->act->expert_out, p->h->n_expert_used * p->h->n_embd);
    out = pieces_view(&out, p->h->n_embd);
    op_experts_down(p->compute, &(struct experts_down){.out = to,
                                                       .residual = residual,
                                                       .w = &w->ffn_down_exps,
                                                       .bias = present(&w->ffn_down_exps_bias),
                                                       .y = y,
                                                       .id = &chosen->id,
                                                       .weight = &chosen->weight,
                                                       .scratch = &out});
}

static void shared_expert(const struct pass *p, const struct layer *w, const struct matmul_x *x,
                          const struct tensor *gate_of_it)
{
    const struct hyper *h = p->h;
    struct tensor gate = pass_view(p, &p->act->gate, h->n_ff_shared),
                  up = pass_view(p, &p->act->up, h->n_ff_shared),
                  added = pass_view(p, &p->act->added, h->n_embd);
    op_matmul_glu(p->compute,
                  &(struct matmul_glu){.out = &gate,
                                       .w_gate = present(&w->ffn_gate_shexp),
                                       .w_up = &w->ffn_up_shexp,
                                       .scratch = w->ffn_gate_shexp.buffer ? &up : NULL,
                                       .activation = h->activation},
                  x);
    const bool gated = w->ffn_gate_inp_shexp.buffer;
    op_matmul(p->compute,
              &(struct matmul){.out = &added,
                               .w = &w->ffn_down_shexp,
                               .residual = gated || h->n_stream > 0 ? NULL : &p->x,
                               .scale = h->residual_scale},
              1, &(struct matmul_x){.x = &gate});
    if (gated)
        op_gate_add(p->compute, &added, h->n_stream > 0 ? NULL : &p->x, &added, gate_of_it);
}

void experts_block(const struct pass *p, int32_t i)
{
    const struct layer *w = &p->w->layers[i];
    const bool shared = p->h->layers[i].parts & PART_SHARED, apart = p->h->n_stream > 0;
    const struct matmul_x x = {&p->x, present(&w->ffn_norm), p->h->eps};
    struct tensor added = pass_view(p, &p->act->added, p->h->n_embd);

    struct chosen chosen = choose(p, w, &(struct inputs){x, 0, x});
    struct tensor y = inner(p, w, &chosen, &x);
    if (shared) // before x changes: it reads x as the experts do
        shared_expert(p, w, &x, &chosen.shared_gate);
    down(p, w, &chosen, &y, apart ? &added : &p->x, shared ? &added : apart ? NULL : &p->x);
}

// One number an expert, multiplied into the weights of the chosen.
static void scale_weights(const struct pass *p, const struct chosen *chosen,
                          const struct tensor *scale)
{
    struct tensor of_expert = pieces_view(scale, 1), id = chosen->id,
                  weights = pieces_view(&chosen->weight, 1),
                  scales = pass_view(p, &p->act->router, p->h->n_expert_used);
    scales = pieces_view(&scales, 1);
    id.n_cols *= id.n_rows;
    id.n_rows = 1;
    op_rows(p->compute, &scales, &of_expert, &id);
    op_multiply(p->compute, &weights, &weights, &scales);
}

void experts_into(const struct pass *p, int32_t i, const struct tensor *to,
                  const struct tensor *router_norm, float router_scale, const struct tensor *norm)
{
    const struct layer *w = &p->w->layers[i];
    const struct inputs in = {
        {&p->x, router_norm, p->h->eps}, router_scale, {&p->x, norm, p->h->eps}};
    struct chosen chosen = choose(p, w, &in);
    if (w->ffn_down_exps_scale.buffer)
        scale_weights(p, &chosen, &w->ffn_down_exps_scale);
    struct tensor y = inner(p, w, &chosen, &in.experts);
    down(p, w, &chosen, &y, to, NULL);
}
