// watch.c - see watch.h. Beside each two bytes of the chip's memory there are two numbers: the
// workgroup that wrote them last and the one that read them last, counted over all dispatches. A
// number from before the last wait for waves cannot collide; one from before the last invalidation
// of the caches is seen. Buffers that no dispatch writes need no such numbers.
#include "watch.h"

#include "wave.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { FOUND_MOST = 256, KEPT = 8, BASES_MOST = 1 << 14 };
static const uint32_t many = 1u << 31; // in `reader`: several workgroups did

bool watch_stops;

// ---- findings -----------------------------------------------------------------------------------

static struct {
    const struct program *program;
    size_t pc;
    const char *kind;
} found[FOUND_MOST];
static size_t n_found;
static atomic_flag found_lock = ATOMIC_FLAG_INIT;

uint64_t watch_n_found(void)
{
    return n_found;
}

static bool is_new(const struct wave *w, const char *kind)
{
    while (atomic_flag_test_and_set(&found_lock))
        ;
    bool known = n_found == FOUND_MOST;
    for (size_t i = 0; i < n_found && !known; i++)
        known = found[i].program == w->program && found[i].pc == w->pc && found[i].kind == kind;
    if (!known) {
        found[n_found].program = w->program, found[n_found].pc = w->pc;
        found[n_found++].kind = kind;
    }
    atomic_flag_clear(&found_lock);
    return !known;
}

void watch_found(const struct wave *w, const char *kind, const char *format, ...)
{
    va_list args;
    char why[400];
    if (!watch_stops && !is_new(w, kind))
        return;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    if (watch_stops)
        chip_stop(w, "%s", why);
    char where[512];
    fprintf(stderr, "chip: found: %s: %s\n", wave_says(w, where), why);
}

// ---- order --------------------------------------------------------------------------------------

static uint32_t next_actor = 1, order_start = 1, visible_start = 1;
static struct {
    uint32_t first;
    char kernel[48];
} bases[BASES_MOST]; // of the youngest dispatches, in a circle
static uint32_t n_bases;

uint32_t watch_dispatch(const struct task *task, uint64_t n_groups)
{
    if (n_groups >= many || next_actor >= many - n_groups) {
        vm_forget_marks();
        next_actor = order_start = visible_start = 1;
    }
    const uint32_t first = next_actor;
    next_actor += (uint32_t)n_groups;
    bases[n_bases % BASES_MOST].first = first;
    snprintf(bases[n_bases++ % BASES_MOST].kernel, sizeof(bases->kernel), "%s",
             task ? task->kernel : "one of the driver's");
    return first;
}

void watch_order(void)
{
    order_start = next_actor;
}

void watch_visible(void)
{
    visible_start = order_start;
}

static const char *actor_says(uint32_t actor, char out[100])
{
    for (uint32_t i = n_bases; i > 0 && i + BASES_MOST > n_bases; i--)
        if (bases[(i - 1) % BASES_MOST].first <= actor) {
            const uint32_t back = n_bases - i;
            snprintf(out, 100, "workgroup %u of %s, %u dispatches ago",
                     actor - bases[(i - 1) % BASES_MOST].first, bases[(i - 1) % BASES_MOST].kernel,
                     back);
            return out;
        }
    return "another workgroup";
}

// ---- places -------------------------------------------------------------------------------------

static const struct known_buffer *buffers;
static const struct span *blocks;
static size_t n_buffers, n_blocks;

void watch_buffers(const struct known_buffer *all, size_t n, const struct span *in, size_t n_in)
{
    buffers = all, n_buffers = n, blocks = in, n_blocks = n_in;
}

struct place {
    uint64_t from, until;
    uint8_t *at;
    struct memory_mark *marks; // NULL: nobody writes here
    bool engine;               // a buffer of the engine's
};
static _Thread_local struct place kept[KEPT];
static _Thread_local unsigned n_kept;

void watch_forget(void)
{
    memset(kept, 0, sizeof(kept));
    n_kept = 0;
}

static bool holds(const struct span *s, uint64_t va, uint64_t n)
{
    return va >= s->address && va - s->address < s->n_bytes && s->n_bytes - (va - s->address) >= n;
}

// The last buffer that begins at or below va; NULL: there is none.
static const struct known_buffer *below(uint64_t va)
{
    size_t low = 0, high = n_buffers;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (buffers[middle].span.address <= va)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &buffers[low - 1] : NULL;
}

static bool in_block(uint64_t va)
{
    for (size_t i = 0; i < n_blocks; i++)
        if (holds(&blocks[i], va, 1))
            return true;
    return false;
}

static struct place find(const struct wave *w, unsigned lane, uint64_t va, uint32_t n)
{
    struct place p = {0};
    uint64_t until;
    p.at = vm_at(va, n, &until);
    if (!p.at) {
        char text[160];
        chip_stop(w, "lane %u: %u bytes at address %llx: %s", lane, n, (unsigned long long)va,
                  vm_say(va, text));
    }
    const struct known_buffer *b = below(va);
    if (b && holds(&b->span, va, n)) {
        p.from = b->span.address, p.until = p.from + b->span.n_bytes, p.engine = true;
        p.at -= va - p.from;
        p.marks = b->written ? vm_marks(p.from) : NULL;
        return p;
    }
    if (in_block(va)) {
        const uint64_t in = b ? va - b->span.address : 0;
        watch_found(w, "bounds", "lane %u: %u bytes at address %llx, byte %llu of a buffer of %llu",
                    lane, n, (unsigned long long)va, (unsigned long long)in,
                    (unsigned long long)(b ? b->span.n_bytes : 0));
        p.from = va, p.until = va + n;
        return p;
    }
    p.from = va, p.until = until;
    return p;
}

static const struct place *place_of(const struct wave *w, unsigned lane, uint64_t va, uint32_t n)
{
    for (unsigned i = 0; i < KEPT; i++)
        if (va >= kept[i].from && va + n <= kept[i].until)
            return &kept[i];
    struct place *p = &kept[n_kept++ % KEPT];
    *p = find(w, lane, va, n);
    return p;
}

// ---- touches ------------------------------------------------------------------------------------

static bool within(const struct span *spans, uint64_t va, uint32_t n)
{
    for (int i = 0; i < SPANS_MOST; i++)
        if (holds(&spans[i], va, n))
            return true;
    return false;
}

static void check_declared(const struct wave *w, unsigned lane, uint64_t va, uint32_t n, bool write)
{
    const struct task *t = w->group->dispatch->task;
    if (!t || within(t->write, va, n) || (!write && within(t->read, va, n)))
        return;
    watch_found(w, "declared",
                "lane %u %s %u bytes at address %llx, which the engine did not declare", lane,
                write ? "writes" : "reads", n, (unsigned long long)va);
}

static void race(const struct wave *w, unsigned lane, uint64_t va, bool write, uint32_t other,
                 bool wrote)
{
    char who[100];
    if (wrote && other < order_start)
        watch_found(
            w, "stale",
            "lane %u reads address %llx, which %s wrote, and no cache was invalidated since", lane,
            (unsigned long long)va, actor_says(other, who));
    else
        watch_found(w, "race", "lane %u %s address %llx, which %s %s, without a barrier between",
                    lane, write ? "writes" : "reads", (unsigned long long)va,
                    actor_says(other, who), wrote ? "wrote" : "read");
}

static void note(const struct wave *w, unsigned lane, uint64_t va, uint32_t n, bool write,
                 struct memory_mark *m)
{
    const uint32_t me = w->group->actor;
    for (uint32_t k = 0; k < (n + 1) / 2; k++, m++) {
        const uint32_t writer = m->writer, reader = m->reader & ~many;
        if (!write) {
            if (writer >= visible_start && writer != me)
                race(w, lane, va + 2 * k, false, writer, true);
            if (reader != me)
                m->reader = reader >= order_start ? me | many : me;
            continue;
        }
        if (writer >= order_start && writer != me)
            race(w, lane, va + 2 * k, true, writer, true);
        if (reader >= order_start && m->reader != me)
            race(w, lane, va + 2 * k, true, reader, false);
        m->writer = me;
    }
}

uint8_t *watch_memory(const struct wave *w, unsigned lane, uint64_t va, uint32_t n, bool write)
{
    const struct place *p = place_of(w, lane, va, n);
    if (p->engine && (write || p->marks))
        check_declared(w, lane, va, n, write);
    if (p->marks)
        note(w, lane, va, n, write, p->marks + (va - p->from) / 2);
    return p->at + (va - p->from);
}

uint64_t watch_read_only(const struct wave *w, uint64_t va)
{
    const struct place *p = place_of(w, 0, va, 1);
    return p->engine && !p->marks ? p->until - p->from : 0;
}

bool never_written(const uint8_t *at, uint32_t n)
{
    uint32_t word;
    for (uint32_t back = (uintptr_t)at & 3, k = 0; k < back + n; k += 4) {
        memcpy(&word, at - back + k, 4);
        if (word == NEVER_WRITTEN)
            return true;
    }
    return false;
}
