// ngram.c - embeddings of the last few tokens together, into every residual stream (Engram, Cheng
// et al. 2026): what the table's rows say, times how well it goes with what the stream holds; and
// the same once more behind a short causal convolution, whose taps are as far apart as tokens are
// looked at together.
#include "../arch.h"

static struct tensor all(const struct pass *p, const struct tensor *activation)
{
    return pass_view(p, activation, (int64_t)p->h->n_stream * p->h->n_embd);
}

void ngram_block(const struct pass *p, int32_t i)
{
    const struct hyper *h = p->h;
    const struct layer *w = &p->w->layers[i];
    const struct tensor rows = pass_view(p, &p->act->ngram, h->n_embd),
                        value = pass_view(p, &p->act->added, h->n_embd),
                        streams = all(p, &p->act->streams), key = all(p, &p->act->streams_gate),
                        query = all(p, &p->act->streams_normed),
                        gated = all(p, &p->act->streams_added);
    const struct matmul products[] = {{.out = &key, .w = &w->ngram_key},
                                      {.out = &value, .w = &w->ngram_value}};

    op_matmul(p->compute, products, 2, &(struct matmul_x){.x = &rows});
    op_group_norm(p->compute, &key, &key, &w->ngram_key_norm, h->n_stream, h->eps);
    op_group_norm(p->compute, &query, &streams, &w->ngram_query_norm, h->n_stream, h->eps);
    op_streams_gate(p->compute, &gated, &value, &key, &query);
    op_group_norm(p->compute, &query, &gated, &w->ngram_conv_norm, h->n_stream, h->eps);
    op_conv(p->compute, &(struct conv){.out = &key,
                                       .x = &query,
                                       .weight = &w->ngram_conv1d,
                                       .state = &p->kv->ngram[i],
                                       .slots = {&p->slot_in, &p->slot_out},
                                       .silu = true,
                                       .dilation = h->ngram.n});
    op_add(p->compute, &gated, 1, &gated, 1, &key);
    op_add(p->compute, &streams, 1, &streams, 1, &gated);
}
