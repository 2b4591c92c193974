// count.c - see count.h.
#include "count.h"

#include "watch.h"
#include "wave.h"

#include <stdlib.h>
#include <string.h>

enum { LINE = 128, SCALAR_LINE = 64, WAYS = 16, L0_WAYS = 4, WGPS_MOST = 64, BANKS = 32 };
enum { SEEN = 1 << 22 }; // lines of weights of one dispatch: 512 MB

bool count_on;
struct counts counts;

static struct count_chip chip;
static uint64_t wgp_clocks[WGPS_MOST];
static uint64_t n_waits, n_invalidations; // before the next dispatch

// ---- caches -------------------------------------------------------------------------------------

struct cache {
    uint32_t n_sets, n_ways;
    uint64_t *lines; // [n_sets][n_ways], the youngest first: number + 1; 0: none
    bool *dirty;     // likewise
};
static struct cache l0[2 * WGPS_MOST], scalar[WGPS_MOST], l1[WGPS_MOST], l2;

static void cache_open(struct cache *c, uint32_t n_bytes, uint32_t line, uint32_t n_ways)
{
    free(c->lines), free(c->dirty);
    c->n_ways = n_ways, c->n_sets = n_bytes / line / n_ways;
    if (c->n_sets == 0)
        c->n_sets = 1;
    c->lines = calloc((size_t)c->n_sets * n_ways, sizeof(*c->lines));
    c->dirty = calloc((size_t)c->n_sets * n_ways, sizeof(*c->dirty));
    if (!c->lines || !c->dirty)
        chip_stop(NULL, "there is no memory for the caches' lines");
}

static void cache_empty(struct cache *c)
{
    memset(c->lines, 0, (size_t)c->n_sets * c->n_ways * sizeof(*c->lines));
}

// true: it holds the line, which is its set's youngest now. Else the line takes the place of the
// oldest; *lost: that was dirty.
static bool cache_take(struct cache *c, uint64_t line, bool dirty, bool *lost)
{
    uint64_t *set = c->lines + line % c->n_sets * c->n_ways;
    bool *marks = c->dirty + line % c->n_sets * c->n_ways;
    uint32_t at = 0;
    while (at < c->n_ways - 1 && set[at] != line + 1)
        at++;
    const bool held = set[at] == line + 1;
    *lost = !held && set[at] && marks[at];
    dirty |= held && marks[at];
    memmove(set + 1, set, at * sizeof(*set));
    memmove(marks + 1, marks, at * sizeof(*marks));
    set[0] = line + 1, marks[0] = dirty;
    return held;
}

// The lines behind it move up, so that the last place is free.
static void cache_drop(struct cache *c, uint64_t line)
{
    uint64_t *set = c->lines + line % c->n_sets * c->n_ways;
    bool *marks = c->dirty + line % c->n_sets * c->n_ways;
    uint32_t at = 0;
    while (at < c->n_ways && set[at] != line + 1)
        at++;
    if (at == c->n_ways)
        return;
    const uint32_t behind = c->n_ways - 1 - at;
    memmove(set + at, set + at + 1, behind * sizeof(*set));
    memmove(marks + at, marks + at + 1, behind * sizeof(*marks));
    set[c->n_ways - 1] = 0, marks[c->n_ways - 1] = false;
}

// ---- a dispatch ---------------------------------------------------------------------------------

static struct seen {
    uint64_t line;
    uint32_t dispatch;
} *seen; // [SEEN], by hash
static uint32_t n_dispatches;

void count_open(const struct count_chip *of)
{
    chip = *of;
    if (chip.n_arrays == 0 || chip.n_wgps == 0 || chip.n_arrays * chip.n_wgps > WGPS_MOST)
        chip_stop(NULL, "%u arrays of %u workgroup processors cannot be counted", chip.n_arrays,
                  chip.n_wgps);
    for (uint32_t i = 0; i < chip.n_arrays * chip.n_wgps; i++) {
        cache_open(&l0[2 * i], chip.l0_bytes, LINE, L0_WAYS);
        cache_open(&l0[2 * i + 1], chip.l0_bytes, LINE, L0_WAYS);
        cache_open(&scalar[i], chip.scalar_bytes, SCALAR_LINE, L0_WAYS);
    }
    for (uint32_t i = 0; i < chip.n_arrays; i++)
        cache_open(&l1[i], chip.l1_bytes, LINE, WAYS);
    cache_open(&l2, chip.l2_bytes, LINE, WAYS);
    if (!seen)
        seen = calloc(SEEN, sizeof(*seen));
    if (!seen)
        chip_stop(NULL, "there is no memory to count lines of weights");
    count_on = true;
}

void count_begin(void)
{
    counts = (struct counts){.n_waits = n_waits, .n_invalidations = n_invalidations};
    n_waits = n_invalidations = 0;
    memset(wgp_clocks, 0, sizeof(wgp_clocks));
    n_dispatches++;
}

void count_end(void)
{
    for (uint32_t i = 0; i < WGPS_MOST; i++)
        if (wgp_clocks[i] > counts.valu_clocks_most)
            counts.valu_clocks_most = wgp_clocks[i];
}

void count_wait(void)
{
    n_waits++;
}

void count_invalidate(bool of_l0, bool of_scalar, bool of_l1)
{
    n_invalidations += of_l0 || of_scalar || of_l1;
    for (uint32_t i = 0; count_on && i < chip.n_arrays * chip.n_wgps; i++) {
        if (of_l0)
            cache_empty(&l0[2 * i]), cache_empty(&l0[2 * i + 1]);
        if (of_scalar)
            cache_empty(&scalar[i]);
        if (of_l1 && i < chip.n_arrays)
            cache_empty(&l1[i]);
    }
}

static bool first_touch(uint64_t line)
{
    for (uint64_t at = line * 0x9e3779b97f4a7c15u >> 42, n = 0; n < SEEN; n++, at = (at + 1) % SEEN)
        if (seen[at].dispatch != n_dispatches) {
            seen[at] = (struct seen){line, n_dispatches};
            return true;
        } else if (seen[at].line == line)
            return false;
    chip_stop(NULL, "a dispatch reads more than %d lines of weights", SEEN);
}

// ---- instructions -------------------------------------------------------------------------------

static bool begins(const char *name, const char *with)
{
    return strncmp(name, with, strlen(with)) == 0;
}

static enum unit vector_unit(const char *name)
{
    static const char *const trans[] = {"v_exp_", "v_log_", "v_rcp_", "v_rsq_",
                                        "v_sqrt", "v_sin_", "v_cos_"};
    for (size_t t = 0; t < sizeof(trans) / sizeof(*trans); t++)
        if (begins(name, trans[t]))
            return UNIT_TRANS;
    return begins(name, "v_wmma") ? UNIT_WMMA : UNIT_VALU;
}

static enum unit unit_of(enum op op)
{
    const char *name = op_info[op].name;
    switch (op_info[op].family) {
    case SOP2:
    case SOP1:
    case SOPC:
    case SOPK:
        return begins(name, "s_setpc") ? UNIT_BRANCH : UNIT_SALU;
    case SOPP:
        return begins(name, "s_branch") || begins(name, "s_cbranch") ? UNIT_BRANCH : UNIT_REST;
    case SMEM:
        return UNIT_SMEM;
    case DS:
        return UNIT_LDS;
    case GLOBAL:
    case MUBUF:
        return UNIT_VMEM;
    default:
        return vector_unit(name);
    }
}

static bool is_slow(enum op op)
{
    const char *name = op_info[op].name;
    return begins(name, "v_mul_lo_u32") || begins(name, "v_mul_hi_") ||
           begins(name, "v_mad_u64_u32");
}

static struct {
    uint8_t unit;
    bool slow;
} kinds[N_OPS];

static void learn(void)
{
    for (int op = 0; op < N_OPS; op++)
        kinds[op].unit = (uint8_t)unit_of((enum op)op), kinds[op].slow = is_slow((enum op)op);
}

static uint32_t workgroup(const struct wave *w)
{
    return w->group->actor - w->group->dispatch->first_actor;
}

static uint32_t wgp_of(const struct wave *w)
{
    return workgroup(w) % (chip.n_arrays * chip.n_wgps);
}

void count_step(const struct wave *w, const struct inst *i)
{
    if (!kinds[OP_v_nop].unit)
        learn();
    const enum unit unit = (enum unit)kinds[i->op].unit;
    counts.instructions[unit]++;
    if (i->op == OP_s_barrier)
        counts.n_barriers++;
    if (unit != UNIT_VALU)
        return;
    const unsigned halves = w->lanes / 32, clocks = halves * (kinds[i->op].slow ? 4 : 1);
    counts.n_pairs += i->family == VOPD;
    counts.n_slow += kinds[i->op].slow;
    counts.lanes += (unsigned)__builtin_popcountll(exec_mask(w));
    counts.lanes_most += w->lanes;
    counts.valu_clocks += clocks;
    wgp_clocks[wgp_of(w)] += clocks;
}

// ---- memory -------------------------------------------------------------------------------------

// A line that L0 or the scalar cache has not, or that is stored.
static void ask_l1(uint32_t array, uint64_t line, bool store, bool weight, bool pass)
{
    bool lost;
    counts.asked[LEVEL_L1]++;
    counts.weights[LEVEL_L1] += weight;
    if (store || pass)
        cache_drop(&l1[array], line);
    else if (cache_take(&l1[array], line, false, &lost))
        return;
    counts.asked[LEVEL_L2]++;
    counts.weights[LEVEL_L2] += weight;
    const bool held = cache_take(&l2, line, store, &lost);
    counts.asked[LEVEL_MEMORY] += (uint64_t)lost + (!held && !store);
    counts.written += lost;
    counts.weights[LEVEL_MEMORY] += weight && !held && !store;
}

static uint32_t array_of(uint32_t wgp)
{
    return wgp % chip.n_arrays;
}

static bool is_weight(const struct wave *w, uint64_t line)
{
    const bool weight = watch_read_only(w, line * LINE) >= WEIGHTS_LEAST;
    if (weight)
        counts.weight_lines += first_touch(line);
    return weight;
}

// Different lines of all lanes; lanes that are neighbours mostly share one.
static unsigned lines_of(uint64_t lines[2 * LANES_MOST], const uint64_t *va, uint64_t exec,
                         uint32_t n)
{
    unsigned n_lines = 0;
    for (; exec; exec &= exec - 1) {
        const uint64_t at = va[__builtin_ctzll(exec)];
        for (uint64_t line = at / LINE; line <= (at + n - 1) / LINE; line++) {
            unsigned k = n_lines;
            while (k > 0 && lines[k - 1] != line)
                k--;
            if (k == 0)
                lines[n_lines++] = line;
        }
    }
    return n_lines;
}

void count_memory(const struct wave *w, const struct inst *i, const uint64_t *va, uint64_t exec,
                  uint32_t n)
{
    const bool store = i->dst.n == 0, both = w->group->dispatch->rsrc1 >> 29 & 1;
    const uint32_t n_wgps = chip.n_arrays * chip.n_wgps, wgp = wgp_of(w);
    const uint32_t unit = both ? w->id & 1 : workgroup(w) / n_wgps & 1;
    struct cache *own = &l0[2 * wgp + unit];
    uint64_t lines[2 * LANES_MOST];
    const unsigned n_lines = lines_of(lines, va, exec, n);
    *(store ? &counts.stored : &counts.loaded) += n * (unsigned)__builtin_popcountll(exec);
    for (unsigned k = 0; k < n_lines; k++) {
        bool lost;
        const bool weight = is_weight(w, lines[k]);
        counts.asked[LEVEL_L0]++;
        counts.weights[LEVEL_L0] += weight;
        if (store || i->glc)
            cache_drop(own, lines[k]);
        else if (cache_take(own, lines[k], false, &lost))
            continue;
        ask_l1(array_of(wgp), lines[k], store, weight, i->dlc);
    }
}

void count_scalar(const struct wave *w, uint64_t va, uint32_t n)
{
    for (uint64_t line = va / SCALAR_LINE; line <= (va + n - 1) / SCALAR_LINE; line++) {
        bool lost;
        const uint64_t whole = line * SCALAR_LINE / LINE;
        const bool weight = is_weight(w, whole);
        counts.asked[LEVEL_SCALAR]++;
        counts.weights[LEVEL_SCALAR] += weight;
        if (!cache_take(&scalar[wgp_of(w)], line, false, &lost))
            ask_l1(array_of(wgp_of(w)), whole, false, weight, false);
    }
}

// ---- LDS ----------------------------------------------------------------------------------------

// Clocks for the words of a few lanes.
static unsigned bank_clocks(const uint32_t *address, uint64_t exec, uint32_t n)
{
    uint32_t words[BANKS][BANKS], most = 0;
    uint8_t n_words[BANKS] = {0};
    for (; exec; exec &= exec - 1)
        for (uint32_t at = address[__builtin_ctzll(exec)], word = at / 4; word <= (at + n - 1) / 4;
             word++) {
            const uint32_t bank = word % BANKS;
            unsigned k = n_words[bank];
            while (k > 0 && words[bank][k - 1] != word)
                k--;
            if (k == 0)
                words[bank][n_words[bank]++] = word;
            most = n_words[bank] > most ? n_words[bank] : most;
        }
    return most;
}

void count_lds(const uint32_t *address, uint64_t exec, unsigned lanes, uint32_t n)
{
    const unsigned together = n <= 4 ? 32 : n <= 8 ? 16 : 8;
    for (unsigned l = 0; l < lanes; l += together) {
        const uint64_t mine = exec >> l & ((1ull << together) - 1);
        const unsigned clocks = bank_clocks(address + l, mine, n);
        counts.lds_clocks += clocks;
        counts.n_conflicts += clocks > 1 ? clocks - 1 : 0;
    }
}

// ---- the line -----------------------------------------------------------------------------------

void count_tell(FILE *f, const struct dispatch *d)
{
    static const char *const units[N_UNITS] = {"salu", "valu", "trans",  "wmma", "vmem",
                                               "lds",  "smem", "branch", "rest"};
    static const char *const levels[N_LEVELS] = {"l0", "scalar", "l1", "l2", "memory"};
    const struct counts *c = &counts;
    const struct {
        const char *name;
        uint64_t value;
    } rest[] = {{"pairs", c->n_pairs},
                {"slow", c->n_slow},
                {"lanes", c->lanes},
                {"lanes_most", c->lanes_most},
                {"valu_clocks", c->valu_clocks},
                {"valu_clocks_most", c->valu_clocks_most},
                {"written", c->written},
                {"loaded", c->loaded},
                {"stored", c->stored},
                {"lds_clocks", c->lds_clocks},
                {"conflicts", c->n_conflicts},
                {"weight_lines", c->weight_lines},
                {"barriers", c->n_barriers},
                {"waits", c->n_waits},
                {"invalidations", c->n_invalidations}};
    fprintf(f, "dispatch %s/%u/%s groups=%llu threads=%u", d->task ? d->task->kernel : "driver",
            d->lanes, d->task ? d->task->spec : "",
            (unsigned long long)d->groups[0] * d->groups[1] * d->groups[2],
            d->threads[0] * d->threads[1] * d->threads[2]);
    for (int u = 0; u < N_UNITS; u++)
        fprintf(f, " %s=%llu", units[u], (unsigned long long)c->instructions[u]);
    for (int l = 0; l < N_LEVELS; l++)
        fprintf(f, " %s=%llu weights_%s=%llu", levels[l], (unsigned long long)c->asked[l],
                levels[l], (unsigned long long)c->weights[l]);
    for (size_t r = 0; r < sizeof(rest) / sizeof(*rest); r++)
        fprintf(f, " %s=%llu", rest[r].name, (unsigned long long)rest[r].value);
    fputc('\n', f);
}
