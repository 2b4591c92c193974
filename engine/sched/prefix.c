// prefix.c - which sequence a prompt gets, and how much of what that sequence holds can stay.
//
// A conversation's next request begins with everything said before, so the KV of the longest common
// beginning need not be computed again. The sequence that shares most is chosen, but not when that
// would throw away a long conversation for the sake of a short shared beginning (a system prompt):
// then the one unused for longest is. At least the prompt's last token is always computed, because
// its logits are needed.
#include "inside.h"

int32_t prefix_common(const int32_t *a, int32_t n_a, const int32_t *b, int32_t n_b)
{
    int32_t most = n_a < n_b ? n_a : n_b, n = 0;
    while (n < most && a[n] == b[n])
        n++;
    return n;
}

// True when `a` is the better one to overwrite: an empty one, else the one unused for longer.
static bool older(const struct seq *a, const struct seq *b)
{
    if ((a->n_cached == 0) != (b->n_cached == 0))
        return a->n_cached == 0;
    return a->used_at < b->used_at;
}

struct seq *prefix_choose(struct seq *seqs, int32_t n_seq, const int32_t *prompt, int32_t n_prompt,
                          int32_t *n_reused)
{
    struct seq *oldest = NULL, *best = NULL;
    int32_t n_best = 0, n_oldest = 0;
    for (int32_t i = 0; i < n_seq; i++) {
        struct seq *seq = &seqs[i];
        if (seq->state != SEQ_FREE)
            continue;
        int32_t n = prefix_common(seq->token, seq->n_cached, prompt, n_prompt);
        if (!oldest || older(seq, oldest)) {
            oldest = seq;
            n_oldest = n;
        }
        // more than half of what it holds stays of use
        if (n > n_best && n > seq->n_cached / 2) {
            best = seq;
            n_best = n;
        }
    }
    if (!oldest)
        return NULL;
    if (!best) {
        best = oldest;
        n_best = n_oldest;
    }
    *n_reused = n_best < n_prompt ? n_best : n_prompt - 1;
    return best;
}
