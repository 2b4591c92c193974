// pm4.c - see pm4.h. Packet numbers and fields as in Mesa's src/amd/common/sid.h, registers as in
// its src/amd/registers/gfx11.json. Everything is in order and done at once, so events, cache
// operations and waits for what is already done have no effect; a wait for anything else would
// never end and is told.
#include "pm4.h"

#include "count.h"
#include "kernel.h"
#include "pace.h"
#include "watch.h"
#include "wave.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct pm4_counts pm4_counts;

enum packet {
    NOP = 0x10,
    SET_BASE = 0x11,
    CLEAR_STATE = 0x12,
    DISPATCH_DIRECT = 0x15,
    DISPATCH_INDIRECT = 0x16,
    CONTEXT_CONTROL = 0x28,
    WRITE_DATA = 0x37,
    WAIT_REG_MEM = 0x3c,
    INDIRECT_BUFFER = 0x3f,
    COPY_DATA = 0x40,
    PFP_SYNC_ME = 0x42,
    EVENT_WRITE = 0x46,
    RELEASE_MEM = 0x49,
    DMA_DATA = 0x50,
    ACQUIRE_MEM = 0x58,
    SET_CONTEXT_REG = 0x69,
    SET_SH_REG = 0x76,
    SET_UCONFIG_REG = 0x79,
    SET_UCONFIG_REG_INDEX = 0x7a,
    SET_SH_REG_INDEX = 0x9b,
    SET_CONTEXT_REG_PAIRS_PACKED = 0xb9, // these three on cards
    SET_SH_REG_PAIRS_PACKED = 0xbb,
    SET_SH_REG_PAIRS_PACKED_N = 0xbd,
};

enum { PIXEL_PIPE_STAT_CONTROL = 0x38 }; // an event with words that are no address
enum { CS_PARTIAL_FLUSH = 7 };
enum { GLK_INV = 1 << 7, GLV_INV = 1 << 8, GL1_INV = 1 << 9 }; // of ACQUIRE_MEM's GCR_CNTL
static const struct task *next_task;

// The compute registers from 0xb800 on, a word each.
enum { FIRST_REG = 0xb800, N_REGS = 0x200 / 4 };
static uint32_t regs[N_REGS];
static uint64_t base; // SET_BASE: what DISPATCH_INDIRECT's offset is from
#define REG(address) regs[((address) - FIRST_REG) / 4]

static uint32_t *memory(uint64_t va, uint64_t n_bytes, const char *whose)
{
    uint64_t until;
    char text[160];
    uint32_t *p = vm_at(va, n_bytes, &until);
    if (!p)
        chip_stop(NULL, "%s: %llu bytes at %llx: %s", whose, (unsigned long long)n_bytes,
                  (unsigned long long)va, vm_say(va, text));
    return p;
}

static uint64_t address(const uint32_t *two)
{
    return two[0] | (uint64_t)two[1] << 32;
}

// ---- registers ----------------------------------------------------------------------------------

// Of the compute unit, in ranges: those that a dispatch reads or that change no result here (which
// units are used, resource limits, counters, tracing, priorities, scratch, which no program uses).
static bool known_register(uint32_t address)
{
    static const uint32_t ranges[][2] = {
        {0xb810, 0xb828}, // START, NUM_THREAD, PIPELINESTAT_ENABLE
        {0xb82c, 0xb83c}, // PERFCOUNT_ENABLE, PGM, DISPATCH_PKT_ADDR
        {0xb840, 0xb844}, // DISPATCH_SCRATCH_BASE
        {0xb848, 0xb84c}, // PGM_RSRC1, PGM_RSRC2
        {0xb854, 0xb868}, // RESOURCE_LIMITS, STATIC_THREAD_MGMT_SE0..3, TMPRING_SIZE
        {0xb878, 0xb878}, // THREAD_TRACE_ENABLE
        {0xb88c, 0xb8b8}, // STATIC_THREAD_MGMT_SE8, USER_ACCUM, PGM_RSRC3, SHADER_CHKSUM, SE4..7
        {0xb8bc, 0xb8bc}, // DISPATCH_INTERLEAVE
        {0xb900, 0xb93c}, // USER_DATA
        {0xb9f4, 0xb9f4}, // DISPATCH_TUNNEL
    };
    for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++)
        if (address >= ranges[i][0] && address <= ranges[i][1])
            return true;
    return false;
}

static void set_one(uint32_t place, uint32_t value)
{
    const uint32_t reg = 0xb000 + 4 * (place & 0xffff);
    if (reg < FIRST_REG) // graphics'
        return;
    if (reg >= FIRST_REG + 4 * N_REGS || !known_register(reg))
        chip_stop(NULL, "register %x of the compute unit is not known (value %x)", reg, value);
    REG(reg) = value;
}

static void set_sh(const uint32_t *body, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++)
        set_one((body[0] & 0xffff) + i - 1, body[i]);
}

// How many there are, then two places in a word and two values, again and again.
static void set_sh_pairs(const uint32_t *body, uint32_t n)
{
    if (body[0] % 2 || n != 1 + body[0] / 2 * 3)
        chip_stop(NULL, "%u registers in pairs in a packet of %u words", body[0], n);
    for (uint32_t i = 1; i + 2 < n; i += 3) {
        set_one(body[i], body[i + 1]);
        set_one(body[i] >> 16, body[i + 2]);
    }
}

// ---- dispatches ---------------------------------------------------------------------------------

enum {
    INITIATOR_PARTIAL = 1 << 1,
    INITIATOR_START_AT_0 = 1 << 2,
    INITIATOR_THREADS = 1 << 5,
    INITIATOR_WAVE32 = 1 << 15
};

// CHIP_COUNT: count.h.
static void run_counted(const struct dispatch *d)
{
    static FILE *to;
    const char *path = to ? NULL : getenv("CHIP_COUNT");
    if (path) {
        to = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
        if (!to)
            chip_stop(NULL, "%s cannot be written", path);
        struct count_chip chip;
        kernel_caches(&chip);
        count_open(&chip);
    }
    if (!to) {
        dispatch_run(d);
        return;
    }
    count_begin();
    if (!getenv("CHIP_SKIP"))
        dispatch_run(d);
    count_end();
    count_tell(to, d);
}

static void dispatch(const uint32_t *groups, uint32_t initiator)
{
    struct dispatch d = {.rsrc1 = REG(0xb848), .rsrc2 = REG(0xb84c), .rsrc3 = REG(0xb8a0)};
    for (int k = 0; k < 3; k++) {
        const uint32_t threads = REG(0xb81cu + 4u * (unsigned)k);
        d.groups[k] = groups[k];
        d.start[k] = initiator & INITIATOR_START_AT_0 ? 0 : REG(0xb810u + 4u * (unsigned)k);
        d.threads[k] = d.last_threads[k] = threads & 0xffff;
        if (initiator & INITIATOR_PARTIAL && threads >> 16)
            d.last_threads[k] = threads >> 16;
        if (initiator & INITIATOR_THREADS)
            chip_stop(NULL, "a dispatch counted in threads (initiator %x)", initiator);
    }
    if (groups[2] == 0 && groups[1] == TASK_MARK) {
        next_task = task_of(groups[0]);
        return;
    }
    d.task = next_task, next_task = NULL;
    memcpy(d.user, &REG(0xb900), sizeof(d.user));
    d.lanes = initiator & INITIATOR_WAVE32 ? 32 : 64;
    if (!(initiator & 1) || groups[0] == 0 || groups[1] == 0 || groups[2] == 0)
        return;
    const uint64_t at = (REG(0xb830) | (uint64_t)REG(0xb834) << 32) << 8; // of 48 bits, with a sign
    d.program = program_at((uint64_t)((int64_t)(at << 16) >> 16));
    pm4_counts.n_dispatches++;
    pm4_counts.n_dispatches_of[d.lanes == 64]++;
    pm4_counts.n_groups += (uint64_t)groups[0] * groups[1] * groups[2];
    d.first_actor = watch_dispatch(d.task, (uint64_t)groups[0] * groups[1] * groups[2]);
    const uint64_t before = dispatch_steps();
    run_counted(&d);
    pace_dispatch(d.task, dispatch_steps() - before);
}

// ---- memory -------------------------------------------------------------------------------------

static void write_data(const uint32_t *body, uint32_t n)
{
    const uint32_t to = body[0] >> 8 & 15;
    if (to != 5 && to != 2)
        chip_stop(NULL, "WRITE_DATA to destination %u", to);
    if (body[0] >> 16 & 1)
        chip_stop(NULL, "WRITE_DATA of many words to one address");
    memcpy(memory(address(body + 1), 4u * (n - 3), "WRITE_DATA"), body + 3, 4u * (n - 3));
}

static uint64_t nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// The counter of the device information: 100 MHz.
static uint64_t clock_now(void)
{
    return nanoseconds() / 10;
}

static void copy_data(const uint32_t *body)
{
    const uint32_t from = body[0] & 15, to = body[0] >> 8 & 15, n = body[0] >> 16 & 1 ? 8 : 4;
    uint64_t x = 0;
    if (from == 1 || from == 2)
        memcpy(&x, memory(address(body + 1), n, "COPY_DATA"), n);
    else if (from == 5)
        x = address(body + 1);
    else if (from == 9)
        x = clock_now();
    else
        chip_stop(NULL, "COPY_DATA from source %u", from);
    if (to == 1 || to == 2 || to == 5)
        memcpy(memory(address(body + 3), n, "COPY_DATA"), &x, n);
    else if (to == 0) // a register: of the compute unit, or none of ours
        set_sh((const uint32_t[]){body[3] - 0xb000 / 4, (uint32_t)x}, 2);
    else
        chip_stop(NULL, "COPY_DATA to destination %u", to);
}

static void release_mem(const uint32_t *body, uint32_t n)
{
    const uint32_t what = body[1] >> 29;
    if (n < 6 || what == 0)
        return;
    uint64_t x = what == 3 ? clock_now() : address(body + 4);
    if (what > 3)
        chip_stop(NULL, "RELEASE_MEM of data %u", what);
    memcpy(memory(address(body + 2), what == 1 ? 4 : 8, "RELEASE_MEM"), &x, what == 1 ? 4 : 8);
}

static void wait_reg_mem(const uint32_t *body)
{
    static const char *const how[] = {"always", "<", "<=", "==", "!=", ">=", ">", "?"};
    const uint32_t function = body[0] & 7, wanted = body[3];
    if ((body[0] >> 4 & 3) != 1)
        chip_stop(NULL, "WAIT_REG_MEM for a register");
    const uint32_t x = *memory(address(body + 1), 4, "WAIT_REG_MEM") & body[4];
    const bool now[] = {true,        x < wanted,  x <= wanted, x == wanted,
                        x != wanted, x >= wanted, x > wanted,  false};
    if (!now[function])
        chip_stop(NULL, "WAIT_REG_MEM for %x %s %x at %llx would never end", x, how[function],
                  wanted, (unsigned long long)address(body + 1));
}

static void dma_data(const uint32_t *body)
{
    const uint32_t from = body[0] >> 29 & 3, to = body[0] >> 20 & 3, n = body[5] & 0x3ffffff;
    if (to == 2) // nowhere: into the cache
        return;
    if ((from != 0 && from != 2 && from != 3) || (to != 0 && to != 3) || body[5] >> 26 & 15)
        chip_stop(NULL, "DMA_DATA %x, command %x", body[0], body[5]);
    uint32_t *out = memory(address(body + 3), n, "DMA_DATA");
    if (from == 2)
        for (uint32_t i = 0; i < n / 4; i++)
            out[i] = body[1];
    else
        memmove(out, memory(address(body + 1), n, "DMA_DATA"), n);
}

// ---- packets ------------------------------------------------------------------------------------

static void packet(enum packet op, const uint32_t *body, uint32_t n)
{
    switch (op) {
    case NOP:
    case CLEAR_STATE:
    case CONTEXT_CONTROL:
    case PFP_SYNC_ME:
    case SET_CONTEXT_REG: // graphics'
    case SET_CONTEXT_REG_PAIRS_PACKED:
    case SET_UCONFIG_REG:
    case SET_UCONFIG_REG_INDEX:
        return;
    case ACQUIRE_MEM:
        pm4_counts.n_acquires++;
        if (n >= 7)
            count_invalidate(body[6] & GLV_INV, body[6] & GLK_INV, body[6] & GL1_INV);
        if (n >= 7 && (body[6] & (GLV_INV | GL1_INV)) == (GLV_INV | GL1_INV))
            watch_visible();
        return;
    case EVENT_WRITE:
        if (n > 1 && (body[0] & 63) != PIXEL_PIPE_STAT_CONTROL)
            chip_stop(NULL, "EVENT_WRITE %x with an address", body[0]);
        if ((body[0] & 63) == CS_PARTIAL_FLUSH)
            watch_order(), count_wait();
        return;
    case SET_BASE:
        base = address(body + 1);
        return;
    case SET_SH_REG:
    case SET_SH_REG_INDEX:
        set_sh(body, n);
        return;
    case SET_SH_REG_PAIRS_PACKED:
    case SET_SH_REG_PAIRS_PACKED_N:
        set_sh_pairs(body, n);
        return;
    case DISPATCH_DIRECT:
        dispatch(body, body[3]);
        return;
    case DISPATCH_INDIRECT:
        if (n == 2) // from the base; else an address of its own
            dispatch(memory(base + body[0], 12, "DISPATCH_INDIRECT"), body[1]);
        else
            dispatch(memory(address(body), 12, "DISPATCH_INDIRECT"), body[2]);
        return;
    case WRITE_DATA:
        write_data(body, n);
        return;
    case COPY_DATA:
        copy_data(body);
        return;
    case RELEASE_MEM:
        release_mem(body, n);
        return;
    case WAIT_REG_MEM:
        wait_reg_mem(body);
        return;
    case DMA_DATA:
        dma_data(body);
        return;
    case INDIRECT_BUFFER: // taken by pm4_run
        break;
    }
    chip_stop(NULL, "packet %x of %u words is not known", op, n);
}

static void run(uint64_t va, uint32_t n_words, int depth)
{
    const uint32_t *words = memory(va, 4u * (uint64_t)n_words, "a command buffer");
    if (depth > 8)
        chip_stop(NULL, "command buffers call each other too deeply");
    pm4_counts.n_buffers++;
    for (uint32_t at = 0; at < n_words;) {
        const uint32_t head = words[at], n = (head >> 16 & 0x3fff) + 1;
        const enum packet op = (enum packet)(head >> 8 & 255);
        if (head >> 30 == 2 || (head >> 30 == 3 && op == NOP && n == 0x4000)) { // one word
            at++;
            continue;
        }
        if (head >> 30 != 3 || n > n_words - at - 1)
            chip_stop(NULL, "word %u of the command buffer at %llx is no packet: %x", at,
                      (unsigned long long)va, head);
        const uint32_t *body = words + at + 1;
        pm4_counts.n_packets++;
        at += 1 + n;
        if (op != INDIRECT_BUFFER) {
            packet(op, body, n);
            continue;
        }
        const uint64_t next = address(body);
        const uint32_t n_next = body[2] & 0xfffff;
        if (body[2] >> 20 & 1) { // a chain: what follows here is not run
            va = next, n_words = n_next, at = 0;
            words = memory(va, 4u * (uint64_t)n_words, "a chained command buffer");
        } else
            run(next, n_next, depth + 1);
    }
}

void pm4_run(uint64_t va, uint32_t n_bytes)
{
    run(va, n_bytes / 4, 0);
}

__attribute__((destructor)) static void tell(void)
{
    const struct pm4_counts *c = &pm4_counts;
    if (c->n_dispatches)
        fprintf(stderr,
                "chip: %llu command buffers, %llu packets, %llu dispatches of waves of 32 and "
                "%llu of 64, %llu workgroups, %llu instructions; LDS: %llu reads of what was never "
                "written; %llu faults found\n",
                (unsigned long long)c->n_buffers, (unsigned long long)c->n_packets,
                (unsigned long long)c->n_dispatches_of[0],
                (unsigned long long)c->n_dispatches_of[1], (unsigned long long)c->n_groups,
                (unsigned long long)dispatch_steps(), (unsigned long long)lds_unwritten(),
                (unsigned long long)watch_n_found());
}
