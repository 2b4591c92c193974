// streams.c - several residual streams in the place of one (hyper-connections, Zhu et al. 2024): a
// block reads a mixture of them that says which columns of which it wants, and what it gives is
// added to each with a weight of its own. Norms are in the mixture.
//
// Of another kind (hyper-connections on a manifold, Xie et al. 2025) the streams, normed all
// together, give the few numbers by which they are read, added to and mixed with each other; a
// block has a norm of its own then.
//
//   xn = rms of each stream * norm;  x = mean over streams of xn * sigmoid(up silu(down xn / n))
//   stream s += given * 2 sigmoid(inject xn / n)[s]
#include "../arch.h"

static struct tensor all(const struct pass *p, const struct tensor *activation)
{
    return pass_view(p, activation, (int64_t)p->h->n_stream * p->h->n_embd);
}

void streams_embed(const struct pass *p)
{
    const struct tensor streams = all(p, &p->act->streams);
    const int64_t n = p->h->n_embd;
    for (int64_t s = 0; s < p->h->n_stream; s++) {
        const struct tensor stream = tensor_columns(&streams, s * n, n);
        op_embed(p->compute, &stream, &p->w->token_embd, &p->token, p->h->embed_scale);
    }
}

void streams_mix(const struct pass *p, const struct mix_weights *w)
{
    const struct hyper *h = p->h;
    const struct tensor streams = all(p, &p->act->streams), xn = all(p, &p->act->streams_normed),
                        gate = all(p, &p->act->streams_gate),
                        low = pass_view(p, &p->act->stream_low, h->n_stream_low),
                        weight = pass_view(p, &p->act->stream_weight, h->n_stream);
    const float part = 1 / (float)h->n_stream;
    const struct matmul products[] = {
        {.out = &low, .w = &w->down, .scale = part},
        {.out = &weight, .w = &w->inject, .scale = part},
    };
    op_group_norm(p->compute, &xn, &streams, &w->norm, h->n_stream, h->eps);
    op_matmul(p->compute, products, w->inject.buffer ? 2 : 1, &(struct matmul_x){.x = &xn});
    op_glu(p->compute, &low, &low, NULL, ACTIVATION_SILU);
    op_matmul(p->compute, &(struct matmul){.out = &gate, .w = &w->up}, 1,
              &(struct matmul_x){.x = &low});
    op_streams_mix(p->compute, &p->x, &xn, &gate, h->n_stream);
}

void streams_add(const struct pass *p)
{
    const struct tensor streams = all(p, &p->act->streams),
                        added = pass_view(p, &p->act->added, p->h->n_embd),
                        weight = pass_view(p, &p->act->stream_weight, p->h->n_stream);
    op_streams_add(p->compute, &streams, &streams, &added, &weight);
}

void streams_read(const struct pass *p, const struct hyper_weights *w)
{
    const struct hyper *h = p->h;
    const bool last = w->scale.n_cols == 1; // nothing is added after it
    const struct tensor streams = all(p, &p->act->streams),
                        normed = all(p, &p->act->streams_normed),
                        mix = pass_view(p, &p->act->streams_mix, w->fn.n_rows),
                        weight =
                            pass_view(p, &p->act->streams_weight, h->n_stream * (1 + h->n_stream));
    op_rms_norm(p->compute, &normed, &streams, NULL, h->eps);
    op_matmul(p->compute, &(struct matmul){.out = &mix, .w = &w->fn}, 1,
              &(struct matmul_x){.x = &normed});
    op_streams_read(p->compute, &(struct streams_read){.out = &p->x,
                                                       .x = &streams,
                                                       .mix = &mix,
                                                       .scale = &w->scale,
                                                       .base = &w->base,
                                                       .weight = last ? NULL : &weight,
                                                       .n_stream = h->n_stream,
                                                       .n_round = h->n_round,
                                                       .eps = h->stream_eps});
}

void streams_blend(const struct pass *p)
{
    const struct tensor streams = all(p, &p->act->streams),
                        added = pass_view(p, &p->act->added, p->h->n_embd),
                        weight = pass_view(p, &p->act->streams_weight,
                                           p->h->n_stream * (1 + p->h->n_stream));
    op_streams_blend(p->compute, &streams, &added, &weight, p->h->n_stream);
}
