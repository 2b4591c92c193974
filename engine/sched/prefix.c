// prefix.c - what stays in the model's memory of texts that were computed, and who gets it.
//
// A conversation's next request begins with everything said before, and several begin with the same
// system prompt: what the longest common beginning leaves in the memory need not be computed again.
// A sequence without a work holds an earlier text. A new prompt takes the one it continues whole,
// or becomes a fork of the one, free or not, that shares most with it; the other stays as it is,
// and what they have in common is there once. At least the prompt's last token is always computed,
// because its logits are needed. What one owner (a key of the API) has computed is not another's:
// how soon an answer begins would tell what others have asked. Only the setting share-prefixes lets
// all share.
//
// When memory is short, texts that nobody works on go first, then snapshots; the other way round
// where what is short are slots and windows' pages, of which snapshots hold most. Of the texts the
// one goes that costs least: tokens that only it has, times the time to have one again (computed,
// or read where a file has it: keep.h), for each page, less the longer nobody has used it.
// Snapshots are where a model with recurrent layers or windows can go back to. Those of a prompt
// are taken behind its first message (a system prompt that others share), behind the one before its
// last (which may be asked anew in other words), behind its last (the next turn may begin its
// answer in another way) and at even distances between; where a text ends it can be continued
// without one.
#include "inside.h"

#include <stdlib.h>
#include <string.h>

enum {
    MARK_LEAST = 512, // tokens between the snapshots of a long prompt, or more:
    MARKS_MOST = 12,  // so many of them
    SHARED_LEAST = 32 // tokens that a first message is worth a snapshot from
};

int32_t prefix_common(const int32_t *a, int32_t n_a, const int32_t *b, int32_t n_b)
{
    int32_t most = n_a < n_b ? n_a : n_b, n = 0;
    while (n < most && a[n] == b[n])
        n++;
    return n;
}

// ---- finding ------------------------------------------------------------------------------------

static bool may_share(const struct loaded *loaded, const struct seq *seq, const struct work *work)
{
    return seq->owner == work->owner->id || loaded->engine->sched->settings.share_prefixes;
}

int32_t prefix_most(const struct work *work)
{
    // the rows of a prompt whose tokens' chances are told are computed
    const bool echoes = work->echoes || (work->job->ask.echoes && !work->sampler);
    return !echoes ? work->n_prompt - 1 : work->n_chanced > 0 ? work->n_chanced - 1 : 0;
}

// The sequence from which most of a prompt can be taken; NULL: from none.
static struct seq *prefix_find(const struct loaded *loaded, const struct work *work,
                               int32_t *n_reused)
{
    struct seq *best = NULL;
    const int32_t most = prefix_most(work);
    *n_reused = 0;
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        struct seq *seq = &loaded->seqs[i];
        if (!may_share(loaded, seq, work))
            continue;
        int32_t n = prefix_common(seq->token, seq->n_cached, work->prompt, most);
        n = model_keeps(loaded->model, seq->index, n);
        const bool whole = n == seq->n_cached && seq->state == SEQ_FREE;
        if (n == 0 || n < *n_reused || (n == *n_reused && !whole))
            continue;
        best = seq;
        *n_reused = n;
    }
    return best;
}

int32_t prefix_held(const struct loaded *loaded, const struct work *work)
{
    int32_t n;
    (void)prefix_find(loaded, work, &n);
    return n;
}

// Tokens of a sequence's text that nothing else in the memory has.
static int32_t tokens_alone(const struct loaded *loaded, const struct seq *seq)
{
    int32_t most = 0;
    for (int32_t i = 0; i < loaded->n_seq && most < seq->n_cached; i++) {
        const struct seq *other = &loaded->seqs[i];
        if (other == seq || other->owner != seq->owner || other->n_cached <= most)
            continue;
        const int32_t n =
            model_keeps(loaded->model, other->index,
                        prefix_common(other->token, other->n_cached, seq->token, seq->n_cached));
        most = n > most ? n : most;
    }
    return seq->n_cached - most;
}

// What it costs to do without a sequence's text, for each page that this gives: the time to have
// its tokens again, less the longer it is unused.
static double cost(const struct loaded *loaded, const struct seq *seq)
{
    const int32_t n = tokens_alone(loaded, seq);
    const double unused = (double)(loaded->engine->n_steps - seq->used_at);
    return n * keep_again_us(loaded, seq) / (1 + n / PAGE_ROWS) / (1 + unused);
}

// Of the free sequences that hold something the cheapest; NULL: there is none.
static struct seq *cheapest(const struct loaded *loaded, const struct seq *but)
{
    struct seq *cheapest = NULL;
    double least = 0;
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        struct seq *seq = &loaded->seqs[i];
        if (seq->state != SEQ_FREE || seq->n_cached == 0 || seq == but)
            continue;
        const double one = cost(loaded, seq);
        if (!cheapest || one < least) {
            cheapest = seq;
            least = one;
        }
    }
    return cheapest;
}

struct seq *prefix_oldest(const struct loaded *loaded, const struct seq *but)
{
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        struct seq *seq = &loaded->seqs[i];
        if (seq->state == SEQ_FREE && seq->n_cached == 0 && seq != but)
            return seq;
    }
    return cheapest(loaded, but);
}

struct seq *prefix_take(struct loaded *loaded, const struct work *work)
{
    int32_t n_reused;
    struct seq *best = prefix_find(loaded, work, &n_reused);
    if (best && best->state == SEQ_FREE && best->n_cached == n_reused) {
        ahead_cut(loaded, best, n_reused);
        return best;
    }
    struct seq *seq = prefix_oldest(loaded, best);
    seq->n_cached = 0;
    if (!best) {
        (void)model_cut(loaded->model, seq->index, 0);
        ahead_cut(loaded, seq, 0);
        return seq;
    }
    seq->n_cached = model_fork(loaded->model, best->index, seq->index, n_reused);
    ahead_fork(loaded, best, seq, seq->n_cached);
    memcpy(seq->token, best->token, (size_t)seq->n_cached * sizeof(*seq->token));
    best->used_at = seq->used_at = loaded->engine->n_steps;
    return seq;
}

// ---- giving back --------------------------------------------------------------------------------

void prefix_forget(struct loaded *loaded, struct seq *seq)
{
    (void)model_cut(loaded->model, seq->index, 0);
    ahead_cut(loaded, seq, 0);
    seq->n_cached = 0;
}

bool prefix_evict(struct loaded *loaded, const struct seq *but)
{
    struct seq *seq = cheapest(loaded, but);
    if (seq)
        prefix_forget(loaded, seq);
    return seq != NULL;
}

// Drops the snapshot of a sequence that is closest behind another.
static bool drop_snapshot(struct loaded *loaded, const struct seq *seq)
{
    int32_t at[MODEL_SNAPSHOTS_MOST], least = INT32_MAX, drop = -1;
    const int32_t n = model_snapshots(loaded->model, seq->index, at);
    for (int32_t i = 0; i < n; i++) {
        const int32_t before = i > 0 ? at[i - 1] : 0;
        if (at[i] - before < least) {
            least = at[i] - before;
            drop = at[i];
        }
    }
    if (n > 0)
        model_drop(loaded->model, seq->index, drop);
    return n > 0;
}

// Of texts that nobody works on first, those unused for longest; then of others.
static bool drop_any_snapshot(struct loaded *loaded)
{
    int32_t at[MODEL_SNAPSHOTS_MOST];
    struct seq *oldest = NULL;
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        struct seq *seq = &loaded->seqs[i];
        if (model_snapshots(loaded->model, seq->index, at) == 0)
            continue;
        const bool is_free = seq->state == SEQ_FREE;
        if (!oldest || is_free > (oldest->state == SEQ_FREE) ||
            (is_free == (oldest->state == SEQ_FREE) && seq->used_at < oldest->used_at))
            oldest = seq;
    }
    return oldest && drop_snapshot(loaded, oldest);
}

bool prefix_reserve(struct loaded *loaded, const struct seq *seq, int32_t n)
{
    while (model_reserve(loaded->model, seq->index, n) != OK) {
        // a page more than n fill: the last one may have to be copied
        const bool short_of_pages = model_room(loaded->model) < n + 2 * PAGE_ROWS;
        if (!(short_of_pages ? prefix_evict(loaded, seq) || drop_any_snapshot(loaded)
                             : drop_any_snapshot(loaded) || prefix_evict(loaded, seq)) &&
            !keep_give_up(loaded))
            return false;
    }
    return true;
}

bool prefix_place(struct loaded *loaded, int32_t index, int32_t n)
{
    while (model_place(loaded->model, index, n) != OK) {
        const bool short_of_pages = model_room(loaded->model) < n + PAGE_ROWS;
        if (!(short_of_pages ? prefix_evict(loaded, NULL) || drop_any_snapshot(loaded)
                             : drop_any_snapshot(loaded) || prefix_evict(loaded, NULL)))
            return false;
    }
    return true;
}

bool prefix_states(struct loaded *loaded, int32_t n)
{
    while (model_states_free(loaded->model) < n)
        if (!drop_any_snapshot(loaded) && !prefix_evict(loaded, NULL))
            return false;
    return true;
}

// ---- snapshots ----------------------------------------------------------------------------------

void prefix_marks(const struct loaded *loaded, struct work *work)
{
    int32_t first = 0, before_last = 0, last = 0;
    for (int32_t i = 0; i + 1 < work->n_prompt; i++)
        if (tokenizer_is_end(loaded->tokenizer, work->prompt[i])) {
            first = first ? first : i + 1;
            before_last = last;
            last = i + 1;
        }
    work->marks[0] = first >= SHARED_LEAST ? first : 0;
    work->marks[1] = before_last;
    work->marks[2] = last ? last : work->n_prompt - 1;
    work->mark_every = MARK_LEAST;
    while (work->n_prompt / work->mark_every > MARKS_MOST)
        work->mark_every *= 2;
}

int32_t prefix_next_mark(const struct loaded *loaded, const struct work *work, int32_t n)
{
    int32_t next = work->n_prompt;
    if (!loaded->needs_snapshots)
        return next;
    const int32_t even = (n / work->mark_every + 1) * work->mark_every;
    next = even < next ? even : next;
    for (size_t i = 0; i < WORK_MARKS; i++)
        if (work->marks[i] > n && work->marks[i] < next)
            next = work->marks[i];
    return next;
}

void prefix_snapshot(struct loaded *loaded, const struct seq *seq)
{
    const struct work *work = seq->work;
    bool is_mark = seq->n_cached % work->mark_every == 0;
    for (size_t i = 0; i < WORK_MARKS; i++)
        is_mark |= work->marks[i] == seq->n_cached;
    if (!loaded->needs_snapshots || !is_mark)
        return;
    while (model_snapshot(loaded->model, seq->index) != OK)
        if (!drop_any_snapshot(loaded) && !prefix_evict(loaded, seq))
            return;
}
