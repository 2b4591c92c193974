// memory.c - loads and stores (wave.h): scalar, global, buffer and LDS. Every address is looked up;
// one that no mapping holds ends the run and is named. A range that was found is kept, a thread its
// own, until the mappings may have changed.
#include "wave.h"

#include <stdatomic.h>
#include <string.h>

static _Thread_local struct {
    uint64_t from, until;
    uint8_t *at;
} found;

void memory_forget(void);
void memory_forget(void)
{
    found.from = found.until = 0;
}

static uint8_t *at(const struct wave *w, uint64_t va, uint64_t n)
{
    if (va >= found.from && va + n <= found.until)
        return found.at + (va - found.from);
    uint64_t until;
    uint8_t *p = vm_at(va, n, &until);
    if (!p) {
        char text[160];
        chip_stop(w, "%llu bytes at address %llx: %s", (unsigned long long)n,
                  (unsigned long long)va, vm_say(va, text));
    }
    found.from = va, found.until = until, found.at = p;
    return p;
}

// ---- scalar -------------------------------------------------------------------------------------

static void scalar_load(struct wave *w, const struct inst *i)
{
    uint64_t offset = (uint64_t)(int64_t)i->offset;
    if (i->src[1].reg != REG_NULL)
        offset += read_scalar(w, i, i->src[1].reg, 1);
    uint64_t va = read_scalar(w, i, i->src[0].reg, 2);
    if (i->src[0].n == 4) { // a buffer's descriptor: its address is 48 bits
        const uint32_t records = w->s[i->src[0].reg + 2];
        va &= 0xffffffffffffu;
        va = (uint64_t)((int64_t)(va << 16) >> 16);
        if (offset + 4u * i->dst.n > records)
            chip_stop(w, "%u bytes at %llu of a buffer of %u", 4 * i->dst.n,
                      (unsigned long long)offset, records);
    }
    va = (va + offset) & ~(uint64_t)3;
    uint32_t words[16];
    memcpy(words, at(w, va, 4u * i->dst.n), 4u * i->dst.n);
    if (i->dst.reg != REG_NULL)
        memcpy(&w->s[i->dst.reg], words, 4u * i->dst.n);
}

// ---- vectors: what is moved, and how wide -------------------------------------------------------

struct width {
    uint8_t bytes; // 1, 2: of one register; else whole registers
    bool is_signed, high, keep;
};

static struct width width_of(const struct inst *i)
{
    const char *name = op_info[i->op].name;
    const char *s = strrchr(name, '_');
    struct width out = {.bytes = (uint8_t)(4 * (i->dst.n ? i->dst.n : i->src[0].n))};
    if (strcmp(s, "_u8") == 0 || strcmp(s, "_i8") == 0 || strcmp(s, "_b8") == 0)
        out.bytes = 1;
    else if (strcmp(s, "_u16") == 0 || strcmp(s, "_i16") == 0 || strcmp(s, "_b16") == 0)
        out.bytes = 2;
    out.is_signed = s[1] == 'i';
    out.high = strstr(name, "d16_hi") != NULL;
    out.keep = strstr(name, "d16") != NULL;
    return out;
}

static void load_lane(struct wave *w, const struct inst *i, struct width k, unsigned lane,
                      const uint8_t *from)
{
    uint32_t *row = &w->v[i->dst.reg - SRC_VGPR][lane];
    if (k.bytes >= 4) {
        for (unsigned r = 0; r < k.bytes / 4u; r++)
            memcpy(row + (size_t)r * LANES_MOST, from + 4u * r, 4);
        return;
    }
    uint32_t x = from[0];
    if (k.bytes == 2)
        x |= (uint32_t)from[1] << 8;
    if (k.is_signed)
        x = k.bytes == 2 ? (uint32_t)(int16_t)x : (uint32_t)(int8_t)x;
    if (k.keep)
        x = k.high ? (*row & 0xffff) | x << 16 : (*row & 0xffff0000) | (x & 0xffff);
    *row = x;
}

static void store_lane(const struct wave *w, struct width k, unsigned reg, unsigned lane,
                       uint8_t *to)
{
    const uint32_t *row = &w->v[reg - SRC_VGPR][lane];
    if (k.bytes >= 4) {
        for (unsigned r = 0; r < k.bytes / 4u; r++)
            memcpy(to + 4u * r, row + (size_t)r * LANES_MOST, 4);
        return;
    }
    const uint32_t x = k.high ? *row >> 16 : *row;
    memcpy(to, &x, k.bytes);
}

static void global(struct wave *w, const struct inst *i)
{
    const struct operand *vaddr = &i->src[2], *saddr = &i->src[3];
    const uint32_t *low = w->v[vaddr->reg - SRC_VGPR];
    const uint32_t *high = vaddr->n == 2 ? w->v[vaddr->reg - SRC_VGPR + 1] : NULL;
    const uint64_t base = saddr->reg == REG_NULL ? 0 : read_scalar(w, i, saddr->reg, 2);
    const struct width k = width_of(i);
    const uint64_t exec = exec_mask(w);
    uint64_t va[LANES_MOST]; // first all: the address's registers may be loaded into
    for (unsigned l = 0; l < w->lanes; l++)
        va[l] =
            base + (low[l] | (high ? (uint64_t)high[l] << 32 : 0)) + (uint64_t)(int64_t)i->offset;
    for (unsigned l = 0; l < w->lanes; l++) {
        if (!(exec >> l & 1))
            continue;
        if (va[l] % (k.bytes >= 4 ? 4 : k.bytes))
            chip_stop(w, "lane %u: address %llx of %u bytes is not aligned", l,
                      (unsigned long long)va[l], k.bytes);
        if (i->dst.n)
            load_lane(w, i, k, l, at(w, va[l], k.bytes));
        else
            store_lane(w, k, i->src[0].reg, l, at(w, va[l], k.bytes));
    }
}

// A raw buffer: bytes outside of it read 0 and are not written. That is no error there, but what
// nobody here asks for; a descriptor with a stride or a swizzle is not known.
static void buffer(struct wave *w, const struct inst *i)
{
    const uint32_t *d = &w->s[i->src[3].reg];
    const uint64_t base = (uint64_t)((int64_t)((d[0] | (uint64_t)d[1] << 32) << 16) >> 16);
    const struct width k = width_of(i);
    const uint64_t exec = exec_mask(w);
    if (d[1] >> 16 || i->idxen)
        chip_stop(w, "a buffer with a stride is decoded and not executed");
    const uint32_t soffset = (uint32_t)read_scalar(w, i, i->sdst, 1);
    uint32_t offset[LANES_MOST];
    for (unsigned l = 0; l < w->lanes; l++)
        offset[l] = (i->offen ? w->v[i->src[2].reg - SRC_VGPR][l] : 0) + (uint32_t)i->offset;
    for (unsigned l = 0; l < w->lanes; l++) {
        if (!(exec >> l & 1))
            continue;
        if ((uint64_t)offset[l] + k.bytes > d[2])
            chip_stop(w, "lane %u: %u bytes at %u of a buffer of %u", l, k.bytes, offset[l], d[2]);
        uint8_t *p = at(w, base + soffset + offset[l], k.bytes);
        if (i->dst.n)
            load_lane(w, i, k, l, p);
        else
            store_lane(w, k, i->src[0].reg, l, p);
    }
}

// ---- LDS ----------------------------------------------------------------------------------------

bool lds_faults_stop;
static atomic_ullong n_unwritten, n_shared;

uint64_t lds_unwritten(void)
{
    return atomic_load(&n_unwritten);
}

uint64_t lds_shared(void)
{
    return atomic_load(&n_shared);
}

// Two waves may touch the same bytes between the same barriers only if both read; what is read was
// written by this workgroup. Neither alone changes a result: kernels of matrices read whole tiles
// and throw away what rows beyond the matrix gave, and two waves may write the same number.
static void note_lds(const struct wave *w, unsigned lane, uint32_t address, unsigned n, bool write)
{
    const struct group *g = w->group;
    for (uint32_t at = address / 2; at < (address + n + 1) / 2; at++) {
        struct mark *m = &g->marks[at];
        const bool written_now = m->write_epoch == g->epoch && m->writer != w->id,
                   read_now = m->read_epoch == g->epoch && (m->many || m->reader != w->id),
                   shared = written_now || (write && read_now),
                   unwritten = !write && m->write_epoch < g->first_epoch;
        if (lds_faults_stop && unwritten)
            chip_stop(w, "lane %u reads LDS byte %u, which was never written", lane, at * 2);
        if (lds_faults_stop && shared)
            chip_stop(w, "lane %u %s LDS byte %u, which wave %u %s without a barrier between", lane,
                      write ? "writes" : "reads", at * 2, written_now ? m->writer : m->reader,
                      written_now ? "wrote" : "read");
        if (unwritten)
            atomic_fetch_add(&n_unwritten, 1);
        if (shared)
            atomic_fetch_add(&n_shared, 1);
        if (write)
            m->write_epoch = g->epoch, m->writer = (uint8_t)w->id;
        else {
            m->many = read_now;
            m->read_epoch = g->epoch, m->reader = (uint8_t)w->id;
        }
    }
}

enum touch { READ, WRITE, ATOMIC }; // atomic ones of several waves need no barrier between

static uint8_t *in_lds(const struct wave *w, unsigned lane, uint32_t address, unsigned n,
                       enum touch touch)
{
    if ((uint64_t)address + n > w->group->lds_bytes)
        chip_stop(w, "lane %u: %u bytes at %u of the workgroup's %u bytes of LDS", lane, n, address,
                  w->group->lds_bytes);
    if (address % (n >= 4 ? 4 : n))
        chip_stop(w, "lane %u: LDS address %u of %u bytes is not aligned", lane, address, n);
    if (touch != ATOMIC)
        note_lds(w, lane, address, n, touch == WRITE);
    return w->group->lds + address;
}

static void lds(struct wave *w, const struct inst *i)
{
    const uint32_t *row = w->v[i->src[2].reg - SRC_VGPR];
    const struct width k = width_of(i);
    const uint64_t exec = exec_mask(w);
    uint32_t address[LANES_MOST];
    memcpy(address, row, sizeof(address));
    for (unsigned l = 0; l < w->lanes; l++) {
        if (!(exec >> l & 1))
            continue;
        uint8_t *p =
            in_lds(w, l, address[l] + (uint32_t)i->offset, k.bytes, i->dst.n ? READ : WRITE);
        if (i->dst.n)
            load_lane(w, i, k, l, p);
        else
            store_lane(w, k, i->src[0].reg, l, p);
    }
}

// Two places, each of half of the registers; offsets in units of that, or of 64 of them.
static void lds_pair(struct wave *w, const struct inst *i)
{
    const uint32_t *row = w->v[i->src[2].reg - SRC_VGPR];
    const unsigned regs = i->dst.n ? i->dst.n / 2u : i->src[0].n;
    const struct width k = {.bytes = (uint8_t)(4 * regs)};
    const unsigned unit = k.bytes * (strstr(op_info[i->op].name, "stride64") ? 64u : 1);
    const int32_t offsets[2] = {i->offset, i->offset1};
    const uint64_t exec = exec_mask(w);
    uint32_t address[LANES_MOST];
    memcpy(address, row, sizeof(address));
    for (unsigned l = 0; l < w->lanes; l++)
        for (unsigned h = 0; h < 2 && exec >> l & 1; h++) {
            uint8_t *p = in_lds(w, l, address[l] + (uint32_t)offsets[h] * unit, k.bytes,
                                i->dst.n ? READ : WRITE);
            struct inst half = *i;
            half.dst.reg = (uint16_t)(i->dst.reg + h * regs);
            if (i->dst.n)
                load_lane(w, &half, k, l, p);
            else
                store_lane(w, k, i->src[h].reg, l, p);
        }
}

// A word of LDS and a register, a lane after another; nothing is returned.
static void lds_atomic(struct wave *w, const struct inst *i)
{
    const uint32_t *address = w->v[i->src[2].reg - SRC_VGPR],
                   *data = w->v[i->src[0].reg - SRC_VGPR];
    const uint64_t exec = exec_mask(w);
    for (unsigned l = 0; l < w->lanes; l++) {
        if (!(exec >> l & 1))
            continue;
        uint8_t *p = in_lds(w, l, address[l] + (uint32_t)i->offset, 4, ATOMIC);
        uint32_t x;
        memcpy(&x, p, 4);
        x = i->op == OP_ds_add_u32                      ? x + data[l]
            : i->op == OP_ds_and_b32                    ? x & data[l]
            : i->op == OP_ds_or_b32                     ? x | data[l]
            : i->op == OP_ds_xor_b32                    ? x ^ data[l]
            : (i->op == OP_ds_min_u32) == (x < data[l]) ? x
                                                        : data[l];
        memcpy(p, &x, 4);
    }
}

run_inst *memory_step(const struct inst *i)
{
    switch (i->family) {
    case SMEM:
        return scalar_load;
    case GLOBAL:
        return global;
    case MUBUF:
        return buffer;
    case DS:
        if (i->op <= OP_ds_xor_b32)
            return lds_atomic;
        return strstr(op_info[i->op].name, "2addr") ? lds_pair : lds;
    default:
        return NULL;
    }
}
