// run.c - programs and dispatches (wave.h). A workgroup's waves run one after the other, each until
// its end or a barrier; workgroups are taken from one counter by as many threads as there are
// processors. A wave that does not end within STEPS_MOST is told as one.
#include "count.h"
#include "watch.h"
#include "wave.h"

#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xmmintrin.h>

enum { PROGRAMS_MOST = 4096, THREADS_MOST = 64, WORDS_MOST = 1 << 20, WAVES_MOST = 32 };
static const uint64_t steps_most = (uint64_t)1 << 32;
static struct program *programs[PROGRAMS_MOST];
static size_t n_programs;

static void *need(void *p)
{
    if (!p) {
        fprintf(stderr, "chip: there is no memory left\n");
        exit(1);
    }
    return p;
}

const char *wave_says(const struct wave *w, char out[512])
{
    char text[256] = "?";
    size_t at = w->pc;
    while (at > 0 && at + 3 >= w->pc && !w->program->insts[at - 1].n_words)
        at--;
    if (at > 0)
        inst_text(text, &w->program->insts[at - 1]);
    const struct task *task = w->group->dispatch->task;
    snprintf(
        out, 512, "%s (program at %llx), workgroup %u %u %u, wave %u of %u lanes, word %zu, \"%s\"",
        task ? task->kernel : "no kernel of the engine's", (unsigned long long)w->program->address,
        w->group->id[0], w->group->id[1], w->group->id[2], w->id, w->lanes, at - 1, text);
    return out;
}

_Noreturn void chip_stop(const struct wave *w, const char *format, ...)
{
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    va_list args;
    char why[500], text[512];
    pthread_mutex_lock(&one); // the first one ends it
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    fflush(stdout);
    if (w)
        fprintf(stderr, "chip: %s: %s\n", wave_says(w, text), why);
    else
        fprintf(stderr, "chip: %s\n", why);
    _Exit(3);
}

// ---- programs -----------------------------------------------------------------------------------

static void unknown(struct wave *w, const struct inst *i)
{
    char what[80];
    struct inst again;
    (void)i;
    if (decode(&again, w->program->words + w->pc - 1, w->program->n_words - w->pc + 1, what))
        snprintf(what, sizeof(what), "%s", op_info[again.op].name);
    chip_stop(w, "an instruction that is not known: %s", what);
}

static run_inst *step_of(const struct inst *i)
{
    run_inst *run = i->family <= SOPP                                              ? scalar_step(i)
                    : i->family == SMEM || (i->family >= DS && i->family <= MUBUF) ? memory_step(i)
                                                                                   : NULL;
    if (!run)
        run = lane_step(i);
    return run ? run : vector_step(i);
}

// From the first word to the s_endpgm that the compiler's padding follows.
static void take_apart(struct program *p)
{
    char what[80];
    for (size_t at = 0; at < p->n_words;) {
        struct inst *i = &p->insts[at];
        if (!decode(i, p->words + at, p->n_words - at, what)) {
            i->n_words = 1;
            p->steps[at++].run = unknown;
            continue;
        }
        run_inst *run = step_of(i);
        p->steps[at].run = run ? run : unknown;
        at += i->n_words;
    }
}

struct program *program_make(uint64_t address, const uint32_t *words, size_t n)
{
    struct program *p = need(calloc(1, sizeof(*p)));
    *p = (struct program){address, need(malloc(n * 4)), n, need(calloc(n, sizeof(*p->insts))),
                          need(calloc(n, sizeof(*p->steps)))};
    memcpy(p->words, words, n * 4);
    take_apart(p);
    return p;
}

void program_free(struct program *p)
{
    free(p->words), free(p->insts), free(p->steps), free(p);
}

static size_t words_until_end(const uint32_t *words, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++)
        if (words[i] == 0xbfb00000 && words[i + 1] == 0xbf9f0000)
            return i + 1;
    return 0;
}

const struct program *program_at(uint64_t address)
{
    uint64_t until;
    const uint32_t *words = vm_at(address, 8, &until);
    size_t n = words ? (until - address) / 4 : 0;
    n = words ? words_until_end(words, n < WORDS_MOST ? n : WORDS_MOST) : 0;
    if (n == 0)
        chip_stop(NULL, "there is no program at %llx", (unsigned long long)address);
    for (size_t i = 0; i < n_programs; i++)
        if (programs[i]->address == address && programs[i]->n_words == n &&
            memcmp(programs[i]->words, words, n * 4) == 0)
            return programs[i];
    if (n_programs == PROGRAMS_MOST)
        program_forget();
    return programs[n_programs++] = program_make(address, words, n);
}

void program_forget(void)
{
    while (n_programs > 0)
        program_free(programs[--n_programs]);
}

// ---- floats -------------------------------------------------------------------------------------

unsigned float_mode_set(uint32_t mode)
{
    static const unsigned rounding[] = {0, 2, 1, 3}; // to even, up, down, to zero
    const unsigned old = _mm_getcsr(), flush = 0x8040;
    unsigned now = (old & ~(0x6000u | flush)) | rounding[mode & 3] << 13 | 0x1f80;
    if (!(mode >> 4 & 3))
        now |= flush;
    _mm_setcsr(now & ~0x3fu);
    return old;
}

void float_mode_restore(unsigned old)
{
    _mm_setcsr(old);
}

// ---- waves --------------------------------------------------------------------------------------

void wave_run(struct wave *w)
{
    const struct program *p = w->program;
    w->at_barrier = false;
    float_mode_set(w->mode);
    while (!w->done && !w->at_barrier) {
        if (w->pc >= p->n_words || !p->steps[w->pc].run)
            chip_stop(w, "no instruction begins at word %zu", w->pc);
        const size_t at = w->pc;
        const struct inst *i = &p->insts[at];
        w->pc += i->n_words;
        defined_step(w, i);
        if (count_on)
            count_step(w, i);
        p->steps[at].run(w, i);
        if (++w->n_steps == steps_most)
            chip_stop(w, "the wave does not end");
    }
}

// Scalar registers: what the user gave, then the workgroup's number and place; v0: the invocation's
// place in the workgroup, ten bits a dimension.
static void wave_init(struct wave *w, struct group *g, uint32_t id)
{
    const struct dispatch *d = g->dispatch;
    const uint32_t *threads = g->threads;
    const uint32_t n = threads[0] * threads[1] * threads[2], n_user = d->rsrc2 >> 1 & 31;
    uint32_t s = n_user < 16 ? n_user : 16;
    w->group = g, w->program = d->program, w->id = id, w->lanes = d->lanes;
    w->pc = 0, w->done = w->at_barrier = false, w->scc = 0, w->n_steps = 0;
    w->mode = d->rsrc1 >> 12 & 255;
    memset(w->s, 0xcc, sizeof(w->s));
    memcpy(w->s, d->user, s * 4);
    for (int k = 0; k < 3; k++)
        if (d->rsrc2 >> (7 + k) & 1)
            w->s[s++] = g->id[k];
    if (d->rsrc2 >> 10 & 1)
        w->s[s++] = id << 20 | g->n_waves | (id == 0 ? 1u << 31 : 0);
    uint64_t exec = 0;
    for (uint32_t l = 0; l < d->lanes; l++) {
        const uint32_t t = id * d->lanes + l, x = t % threads[0], rest = t / threads[0];
        w->v[0][l] = x | rest % threads[1] << 10 | rest / threads[1] << 20;
        exec |= (uint64_t)(t < n) << l;
    }
    memset(&w->v[1], 0xcc, sizeof(w->v) - sizeof(w->v[0]));
    defined_begin(w, s);
    w->s[REG_EXEC] = (uint32_t)exec, w->s[REG_EXEC + 1] = (uint32_t)(exec >> 32);
}

static atomic_ullong n_steps;

uint64_t dispatch_steps(void)
{
    return atomic_load(&n_steps);
}

static void group_run(struct group *g, struct wave *waves)
{
    memset(g->lds, 0xcc, g->lds_bytes);
    g->first_epoch = ++g->epoch;
    for (uint32_t i = 0; i < g->n_waves; i++)
        wave_init(&waves[i], g, i);
    for (uint32_t left = g->n_waves; left > 0; g->epoch++) {
        left = 0;
        for (uint32_t i = 0; i < g->n_waves; i++)
            if (!waves[i].done) {
                wave_run(&waves[i]);
                left += !waves[i].done;
            }
    }
    for (uint32_t i = 0; i < g->n_waves; i++)
        atomic_fetch_add(&n_steps, waves[i].n_steps);
}

// ---- dispatches ---------------------------------------------------------------------------------

struct work {
    const struct dispatch *dispatch;
    atomic_ullong next;
    uint64_t n_groups;
};

static void *work_run(void *of)
{
    struct work *work = of;
    const struct dispatch *d = work->dispatch;
    const uint32_t n = d->threads[0] * d->threads[1] * d->threads[2];
    struct group g = {.dispatch = d, .lds_bytes = (d->rsrc2 >> 15 & 511) * 512};
    g.lds = need(malloc(g.lds_bytes + 1));
    g.marks = need(calloc(g.lds_bytes / 2 + 1, sizeof(*g.marks)));
    struct wave *waves = need(malloc((n + d->lanes - 1) / d->lanes * sizeof(*waves)));
    const unsigned old = _mm_getcsr();
    watch_forget();
    for (uint64_t i; (i = atomic_fetch_add(&work->next, 1)) < work->n_groups;) {
        const uint64_t rest = i / d->groups[0];
        const uint32_t place[3] = {(uint32_t)(i % d->groups[0]), (uint32_t)(rest % d->groups[1]),
                                   (uint32_t)(rest / d->groups[1])};
        for (int k = 0; k < 3; k++) {
            const bool last = place[k] == d->groups[k] - 1;
            g.id[k] = place[k] + d->start[k];
            g.threads[k] = last ? d->last_threads[k] : d->threads[k];
        }
        g.actor = d->first_actor + (uint32_t)i;
        g.n_waves = (g.threads[0] * g.threads[1] * g.threads[2] + d->lanes - 1) / d->lanes;
        group_run(&g, waves);
    }
    float_mode_restore(old);
    free(waves), free(g.lds), free(g.marks);
    return NULL;
}

void dispatch_run(const struct dispatch *d)
{
    const uint32_t n = d->threads[0] * d->threads[1] * d->threads[2];
    struct work work = {.dispatch = d,
                        .n_groups = (uint64_t)d->groups[0] * d->groups[1] * d->groups[2]};
    pthread_t threads[THREADS_MOST];
    cpu_set_t set;
    int n_threads = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    if (n == 0 || n > 1024 || (n + d->lanes - 1) / d->lanes > WAVES_MOST)
        chip_stop(NULL, "a workgroup of %u invocations", n);
    if (d->rsrc2 & 1)
        chip_stop(NULL, "a program at %llx with scratch memory, which none here has",
                  (unsigned long long)d->program->address);
    if (n_threads > THREADS_MOST)
        n_threads = THREADS_MOST;
    if (count_on)
        n_threads = 1;
    if ((uint64_t)n_threads > work.n_groups)
        n_threads = (int)work.n_groups;
    int started = 0;
    for (; started < n_threads - 1; started++)
        if (pthread_create(&threads[started], NULL, work_run, &work) != 0)
            break;
    work_run(&work);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
}
