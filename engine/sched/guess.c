// guess.c - speculation: tokens that are likely to come go into the pass as further rows of their
// sequence, and those that turn out as guessed have cost no pass of their own.
//
// What is said does not change: every row is picked from in turn, by the sampler that would have
// picked from it, and a guess is kept only while it is the token that counts; the rows behind the
// first that is not are cut from the sequence's memory (step.c). How likely a guess is follows from
// how much of the text before it was found again (lookup.c); it is learnt, of the model and of each
// work, also from guesses that no row was spent on: so nothing must be tried to find out that it
// would be worth trying.
//
// What rows cost is measured: passes of 1, 2, 3 to 4 and 5 to 8 rows, which is how products of few
// rows are cut on every device. Of each the median of the last few times counts: what leans to the
// least of them would be the lower the more often it was measured, and passes of one row are most.
// Rows are added where more tokens a second are to be expected of the longer pass, so a device that
// has no time to spare, or streams enough to fill it, gets none. A pass with rows of prompts has
// none either: it is long already. More than GUESS_ROWS rows are never computed together: other
// kernels would take them, whose sums differ in the last bits.
#include "inside.h"

#include <stdlib.h>
#include <string.h>

enum {
    STALE_PASSES = 1024, // passes after which a measured time is forgotten
    WARM = 6,          // passes of a size until it is known; the first compiles: it does not count
    WORK_WEIGHT = 8,   // of the past against one guess more, of a work
    MODEL_WEIGHT = 64, // and of the model
};
static const double WORTH = 1.03;   // so much faster it must be
static const double TRY_FROM = 0.5; // a guess this likely is good enough to measure a pass with
static const float FIRST_RATES[GUESS_KINDS] = {0.3f, 0.45f, 0.6f, 0.75f, 0.85f, 0.9f, 0.6f, 1};
_Static_assert(1 << (GUESS_PACES - 1) == GUESS_ROWS, "a pace for each number of rows");

bool guess_boldly;

// ---- learning -----------------------------------------------------------------------------------

static int32_t kind_of(int32_t n_matched)
{
    static const int32_t from[] = {3, 4, 6, 9, 17};
    int32_t kind = 0;
    while (kind < (int32_t)COUNT_OF(from) && n_matched >= from[kind])
        kind++;
    return kind;
}

void guess_open(struct loaded *loaded)
{
    struct guessing *g = &loaded->guessing;
    *g = (struct guessing){.on = loaded->engine->sched->settings.speculation &&
                                 model_info(loaded->model)->takes_back};
    memcpy(g->rate, FIRST_RATES, sizeof(g->rate));
}

void guess_begin(struct loaded *loaded, struct work *work)
{
    struct guess *guess = &work->guess;
    const int32_t n_before =
        work->n_prompt < LOOKUP_MATCH_MOST ? work->n_prompt : LOOKUP_MATCH_MOST;
    if (!loaded->guessing.on)
        return;
    memcpy(guess->rate, loaded->guessing.rate, sizeof(guess->rate));
    lookup_open(&guess->lookup, work->n_prompt + work->n_predicted);
    // What is predicted stands where the answer will: behind the end of the prompt.
    for (int32_t i = 0; i < n_before && work->n_predicted > 0; i++)
        lookup_add(guess->lookup, work->prompt[work->n_prompt - n_before + i]);
    for (int32_t i = 0; i < work->n_predicted; i++)
        lookup_add(guess->lookup, work->predicted[i]);
    if (work->n_predicted > 0)
        lookup_add(guess->lookup, LOOKUP_BREAK);
    for (int32_t i = 0; i < work->n_prompt; i++)
        lookup_add(guess->lookup, work->prompt[i]);
}

static void learn(float *rate, bool right, int weight)
{
    *rate += ((right ? 1.0f : 0.0f) - *rate) / (float)weight;
}

void guess_saw(struct loaded *loaded, struct work *work, int32_t id)
{
    struct guess *guess = &work->guess;
    if (!guess->lookup)
        return;
    if (guess->at < guess->n) {
        const bool right = guess->token[guess->at] == id;
        if (guess->kind != KIND_SURE) {
            learn(&guess->rate[guess->kind], right, WORK_WEIGHT);
            learn(&loaded->guessing.rate[guess->kind], right, MODEL_WEIGHT);
        }
        guess->at = right ? guess->at + 1 : guess->n;
    }
    lookup_add(guess->lookup, id);
}

// Rows of a pass as kernels count them: 1, 2, 4, 8.
static int32_t pace_of(int32_t n_rows)
{
    int32_t pace = 0;
    while (1 << pace < n_rows)
        pace++;
    return pace;
}

// Of the n times of the last passes.
static double median(const float *times, int32_t n)
{
    float sorted[PACE_TIMES];
    for (int32_t i = 0; i < n; i++) {
        int32_t at = i;
        for (; at > 0 && sorted[at - 1] > times[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = times[i];
    }
    return (double)(sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

static bool is_stale(const struct guessing *g, const struct pace *pace)
{
    return g->n_passes - pace->at >= STALE_PASSES;
}

void pace_add(struct pace *pace, uint64_t took_us)
{
    if (pace->n++ == 0)
        return;
    const int32_t n_before = pace->n - 2, n = n_before < PACE_TIMES ? n_before + 1 : PACE_TIMES;
    pace->times[n_before % PACE_TIMES] = (float)(took_us ? took_us : 1);
    pace->us = median(pace->times, n);
}

void guess_learn(struct loaded *loaded, int32_t n_rows, uint64_t took_us)
{
    struct guessing *g = &loaded->guessing;
    if (!g->on || n_rows > GUESS_ROWS)
        return;
    struct pace *pace = &g->paces[pace_of(n_rows)];
    if (is_stale(g, pace))
        pace->n = 0;
    pace->at = ++g->n_passes;
    pace_add(pace, took_us);
}

// ---- guessing -----------------------------------------------------------------------------------

// Tokens that may be guessed behind the one that was picked last.
static int32_t room_for(const struct loaded *loaded, const struct seq *seq)
{
    const struct work *work = seq->work;
    const int32_t max = work->job->ask.max_tokens;
    int32_t n_most = GUESS_MOST;
    if (n_most > loaded->n_ctx - 2 - seq->n_cached) // of the last position none is computed
        n_most = loaded->n_ctx - 2 - seq->n_cached;
    if (max > 0 && n_most > max - work->n_generated - 1) // the pass gives one token anyway
        n_most = max - work->n_generated - 1;
    return work->guess.lookup && n_most > 0 ? n_most : 0;
}

static void set_guess(struct guess *guess, const int32_t *token, int32_t n, int32_t kind)
{
    guess->n = n < GUESS_MOST ? n : GUESS_MOST;
    guess->kind = kind;
    memcpy(guess->token, token, (size_t)guess->n * sizeof(*token));
}

static void look_ahead(const struct loaded *loaded, const struct seq *seq)
{
    struct work *work = seq->work;
    struct guess *guess = &work->guess;
    const int32_t n_most = room_for(loaded, seq), n_forced = work->n_forced - work->at_forced;
    const int32_t n_ahead = guess->n_ahead;
    int32_t n_matched = 0;
    guess->n = guess->at = guess->n_rows = guess->n_ahead = 0;
    if (n_most == 0)
        return;
    if (n_forced > 0) {
        set_guess(guess, work->forced + work->at_forced, n_forced < n_most ? n_forced : n_most,
                  KIND_SURE);
    } else if (n_ahead > 0) {
        set_guess(guess, guess->ahead, n_ahead < n_most ? n_ahead : n_most, KIND_AHEAD);
    } else {
        guess->n = lookup_guess(guess->lookup, guess->token, n_most, &n_matched);
        guess->kind = kind_of(n_matched);
    }
}

// The likeliest row that none is spent on yet; *chance: that its token comes, and its row counts.
static struct guess *likeliest(const struct loaded *loaded, double *chance)
{
    struct guess *best = NULL;
    *chance = 0;
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        struct guess *guess = loaded->seqs[i].work ? &loaded->seqs[i].work->guess : NULL;
        if (!guess || guess->n_rows >= guess->n)
            continue;
        double rate = (double)guess->rate[guess->kind], all = rate;
        for (int32_t k = 0; k < guess->n_rows; k++)
            all *= rate;
        if (all > *chance) {
            best = guess;
            *chance = all;
        }
    }
    return best;
}

static bool is_known(const struct guessing *g, const struct pace *pace)
{
    return pace->n >= WARM && !is_stale(g, pace);
}

// How many rows to add to a pass of n_rows: expected[i]: tokens that the first i of them give.
static int32_t rows_worth(const struct guessing *g, int32_t n_rows, const double *expected,
                          int32_t n_most)
{
    const struct pace *alone = &g->paces[pace_of(n_rows)];
    int32_t best = 0;
    if (guess_boldly)
        return n_most;
    if (!is_known(g, alone))
        return 0;
    double most = WORTH * n_rows / alone->us;
    for (int32_t pace = pace_of(n_rows + 1); pace < GUESS_PACES; pace++) {
        const int32_t room = (1 << pace) - n_rows, n = room < n_most ? room : n_most;
        if (n <= best)
            break;
        if (!is_known(g, &g->paces[pace])) {
            if (expected[1] >= TRY_FROM && pace_of(n_rows + n) == pace)
                return n;
            continue;
        }
        const double tokens = (n_rows + expected[n]) / g->paces[pace].us;
        if (tokens > most) {
            most = tokens;
            best = n;
        }
    }
    return best;
}

bool guess_wants(const struct loaded *loaded, const struct seq *seq)
{
    const struct work *work = seq->work;
    int32_t found[GUESS_MOST], n_matched;
    if (room_for(loaded, seq) == 0 || work->at_forced < work->n_forced)
        return false;
    return guess_boldly || lookup_guess(work->guess.lookup, found, 1, &n_matched) == 0 ||
           work->guess.rate[kind_of(n_matched)] < work->guess.rate[KIND_AHEAD];
}

// How often a guess that is computed comes, of those that want some now.
static double rate_ahead(const struct loaded *loaded, int32_t n_wants)
{
    double sum = 0;
    for (int32_t i = 0; i < loaded->n_seq; i++)
        if (loaded->ahead.seqs[i].wants)
            sum += (double)loaded->seqs[i].work->guess.rate[KIND_AHEAD];
    return sum / n_wants;
}

int32_t guess_depth(const struct loaded *loaded, int32_t n_wants)
{
    const struct guessing *g = &loaded->guessing;
    const struct ahead *a = &loaded->ahead;
    int32_t n_rows = 0, best = -1;
    double come = 0, chance = 1;
    const double rate = rate_ahead(loaded, n_wants);
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        n_rows += loaded->seqs[i].state == SEQ_DECODE;
        if (loaded->seqs[i].state == SEQ_PREFILL) // no pass beside a prompt has guesses
            return 0;
    }
    if (guess_boldly)
        return (GUESS_ROWS - n_rows) / n_wants;
    if (n_rows + n_wants > GUESS_ROWS || !is_known(g, &g->paces[pace_of(n_rows)]))
        return 0;
    double most = WORTH * n_rows / g->paces[pace_of(n_rows)].us;
    for (int32_t depth = 1; n_rows + depth * n_wants <= GUESS_ROWS && depth <= GUESS_MOST;
         depth++) {
        const struct pace *pace = &g->paces[pace_of(n_rows + depth * n_wants)];
        come += (chance *= rate);
        if (!is_known(g, pace) || a->follow.n < WARM || (depth > 1 && a->step.n < WARM)) {
            if (rate >= TRY_FROM)
                return depth;
            continue;
        }
        const double us = pace->us + a->follow.us + (depth - 1) * a->step.us,
                     tokens = (n_rows + n_wants * come) / us;
        if (tokens > most) {
            most = tokens;
            best = depth;
        }
    }
    return best;
}

void guess_plan(struct loaded *loaded)
{
    struct guess *order[GUESS_ROWS];
    double expected[GUESS_ROWS + 1] = {0}, chance;
    int32_t n_rows = 0, n = 0;
    bool reads = false;
    if (!loaded->guessing.on)
        return;
    for (int32_t i = 0; i < loaded->n_seq; i++) {
        const struct seq *seq = &loaded->seqs[i];
        if (seq->work)
            look_ahead(loaded, seq);
        n_rows += seq->state == SEQ_DECODE;
        reads |= seq->state == SEQ_PREFILL;
    }
    if (reads || n_rows == 0)
        return;
    for (struct guess *next; n_rows + n < GUESS_ROWS && (next = likeliest(loaded, &chance)); n++) {
        order[n] = next;
        next->n_rows++;
        expected[n + 1] = expected[n] + chance;
    }
    for (int32_t worth = n > 0 ? rows_worth(&loaded->guessing, n_rows, expected, n) : 0; n > worth;)
        order[--n]->n_rows--;
}

void guess_close(struct work *work)
{
    lookup_close(work->guess.lookup);
    free(work->predicted);
}
