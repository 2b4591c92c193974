// memory.c - loads and stores (wave.h): scalar, global, buffer and LDS. Every address is looked up;
// one that no mapping holds ends the run and is named. A range that was found is kept, a thread its
// own, until the mappings may have changed.
#include "count.h"
#include "watch.h"
#include "wave.h"

#include <stdatomic.h>
#include <string.h>

// An address or an offset that was never written cannot be a right one.
static void check_address(const struct wave *w, uint64_t bad)
{
    if (bad)
        watch_found(w, "address", "lane %d: the address depends on what was never written",
                    __builtin_ctzll(bad));
}

static uint64_t lanes_bad(const struct wave *w, unsigned reg) // of a vector register
{
    return w->v_bad[reg - SRC_VGPR][0] | w->v_bad[reg - SRC_VGPR][1];
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
    check_address(w, w->s_bad[i->src[0].reg] | w->s_bad[i->src[0].reg + 1] |
                         (i->src[1].reg < REG_NULL ? w->s_bad[i->src[1].reg] : 0));
    if (count_on)
        count_scalar(w, va, 4u * i->dst.n);
    uint32_t words[16];
    memcpy(words, watch_memory(w, 0, va, 4u * i->dst.n, false), 4u * i->dst.n);
    if (i->dst.reg == REG_NULL)
        return;
    memcpy(&w->s[i->dst.reg], words, 4u * i->dst.n);
    for (unsigned r = 0; r < i->dst.n; r++)
        w->s_bad[i->dst.reg + r] = words[r] == NEVER_WRITTEN ? UINT32_MAX : 0;
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

// A lane of a register, or of the half that is written, is undefined or not.
static void mark_lane(struct wave *w, unsigned reg, unsigned lane, bool low, bool high, bool bad)
{
    uint64_t *of = w->v_bad[reg - SRC_VGPR], bit = (uint64_t)1 << lane;
    if (low)
        of[0] = bad ? of[0] | bit : of[0] & ~bit;
    if (high)
        of[1] = bad ? of[1] | bit : of[1] & ~bit;
}

// bad: a bit a word of what is loaded, where it is known; memory says so itself.
static void load_lane(struct wave *w, const struct inst *i, struct width k, unsigned lane,
                      const uint8_t *from, uint32_t bad)
{
    uint32_t *row = &w->v[i->dst.reg - SRC_VGPR][lane];
    if (k.bytes >= 4) {
        for (unsigned r = 0; r < k.bytes / 4u; r++) {
            uint32_t x;
            memcpy(&x, from + 4u * r, 4);
            row[(size_t)r * LANES_MOST] = x;
            mark_lane(w, i->dst.reg + r, lane, true, true, x == NEVER_WRITTEN || bad >> r & 1);
        }
        return;
    }
    mark_lane(w, i->dst.reg, lane, !k.keep || !k.high, !k.keep || k.high,
              bad || (i->family != DS && never_written(from, k.bytes)));
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

static bool lane_is_bad(const struct wave *w, struct width k, unsigned reg, unsigned r,
                        unsigned lane)
{
    const uint64_t *of = w->v_bad[reg - SRC_VGPR + r];
    return (k.bytes >= 4 ? of[0] | of[1] : of[k.high]) >> lane & 1;
}

static void check_stored(const struct wave *w, struct width k, unsigned reg, unsigned lane,
                         uint64_t va)
{
    for (unsigned r = 0; r < (k.bytes + 3) / 4u; r++)
        if (lane_is_bad(w, k, reg, r, lane))
            watch_found(w, "stored", "lane %u stores what was never written to address %llx", lane,
                        (unsigned long long)va + 4 * r);
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
    check_address(w,
                  exec & (lanes_bad(w, vaddr->reg) | (high ? lanes_bad(w, vaddr->reg + 1u) : 0)));
    if (saddr->reg != REG_NULL)
        check_address(w, w->s_bad[saddr->reg] | w->s_bad[saddr->reg + 1]);
    if (count_on)
        count_memory(w, i, va, exec, k.bytes);
    for (unsigned l = 0; l < w->lanes; l++) {
        if (!(exec >> l & 1))
            continue;
        if (va[l] % (k.bytes >= 4 ? 4 : k.bytes))
            chip_stop(w, "lane %u: address %llx of %u bytes is not aligned", l,
                      (unsigned long long)va[l], k.bytes);
        uint8_t *p = watch_memory(w, l, va[l], k.bytes, !i->dst.n);
        if (i->dst.n)
            load_lane(w, i, k, l, p, 0);
        else {
            check_stored(w, k, i->src[0].reg, l, va[l]);
            store_lane(w, k, i->src[0].reg, l, p);
        }
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
    uint64_t all[LANES_MOST];
    check_address(w, i->offen ? exec & lanes_bad(w, i->src[2].reg) : 0);
    for (unsigned l = 0; l < w->lanes; l++) {
        offset[l] = (i->offen ? w->v[i->src[2].reg - SRC_VGPR][l] : 0) + (uint32_t)i->offset;
        all[l] = base + soffset + offset[l];
    }
    if (count_on)
        count_memory(w, i, all, exec, k.bytes);
    for (unsigned l = 0; l < w->lanes; l++) {
        if (!(exec >> l & 1))
            continue;
        if ((uint64_t)offset[l] + k.bytes > d[2])
            chip_stop(w, "lane %u: %u bytes at %u of a buffer of %u", l, k.bytes, offset[l], d[2]);
        const uint64_t va = all[l];
        uint8_t *p = watch_memory(w, l, va, k.bytes, !i->dst.n);
        if (i->dst.n)
            load_lane(w, i, k, l, p, 0);
        else {
            check_stored(w, k, i->src[0].reg, l, va);
            store_lane(w, k, i->src[0].reg, l, p);
        }
    }
}

// ---- LDS ----------------------------------------------------------------------------------------

static atomic_ullong n_unwritten;

uint64_t lds_unwritten(void)
{
    return atomic_load(&n_unwritten);
}

// Two waves may touch the same bytes between the same barriers only if both read. What nobody of
// the workgroup has written is undefined where it is read.
static void note_lds(const struct wave *w, unsigned lane, uint32_t address, unsigned n, bool write)
{
    const struct group *g = w->group;
    for (uint32_t at = address / 2; at < (address + n + 1) / 2; at++) {
        struct mark *m = &g->marks[at];
        const bool written_now = m->write_epoch == g->epoch && m->writer != w->id,
                   read_now = m->read_epoch == g->epoch && (m->many || m->reader != w->id),
                   shared = written_now || (write && read_now),
                   unwritten = !write && m->write_epoch < g->first_epoch;
        if (watch_stops && unwritten)
            chip_stop(w, "lane %u reads LDS byte %u, which was never written", lane, at * 2);
        if (shared)
            watch_found(w, "lds",
                        "lane %u %s LDS byte %u, which wave %u %s without a barrier between", lane,
                        write ? "writes" : "reads", at * 2, written_now ? m->writer : m->reader,
                        written_now ? "wrote" : "read");
        if (unwritten)
            atomic_fetch_add(&n_unwritten, 1);
        if (write)
            m->write_epoch = g->epoch, m->writer = (uint8_t)w->id, m->bad = false;
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

// Words of [address, address + n) that are undefined, a bit each.
static uint32_t lds_bad(const struct wave *w, uint32_t address, unsigned n)
{
    const struct group *g = w->group;
    uint32_t bad = 0;
    for (uint32_t k = 0; k < n; k += 2) {
        const struct mark *m = &g->marks[(address + k) / 2];
        bad |= (uint32_t)(m->write_epoch < g->first_epoch || m->bad) << k / 4;
    }
    return bad;
}

static void lds_move(struct wave *w, const struct inst *i, struct width k, unsigned lane,
                     unsigned reg, uint32_t address)
{
    uint8_t *p = in_lds(w, lane, address, k.bytes, i->dst.n ? READ : WRITE);
    if (i->dst.n) {
        load_lane(w, i, k, lane, p, lds_bad(w, address, k.bytes));
        return;
    }
    store_lane(w, k, reg, lane, p);
    for (unsigned r = 0; r < (k.bytes + 3) / 4u; r++)
        if (lane_is_bad(w, k, reg, r, lane))
            for (unsigned h = 0; h < 4 && 4 * r + h < k.bytes; h += 2)
                w->group->marks[(address + 4 * r + h) / 2].bad = true;
}

static void lds(struct wave *w, const struct inst *i)
{
    const uint32_t *row = w->v[i->src[2].reg - SRC_VGPR];
    const struct width k = width_of(i);
    const uint64_t exec = exec_mask(w);
    uint32_t address[LANES_MOST];
    check_address(w, exec & lanes_bad(w, i->src[2].reg));
    for (unsigned l = 0; l < w->lanes; l++)
        address[l] = row[l] + (uint32_t)i->offset;
    if (count_on)
        count_lds(address, exec, w->lanes, k.bytes);
    for (unsigned l = 0; l < w->lanes; l++)
        if (exec >> l & 1)
            lds_move(w, i, k, l, i->src[0].reg, address[l]);
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
    uint32_t address[2][LANES_MOST];
    for (unsigned h = 0; h < 2; h++) {
        for (unsigned l = 0; l < w->lanes; l++)
            address[h][l] = row[l] + (uint32_t)offsets[h] * unit;
        if (count_on)
            count_lds(address[h], exec, w->lanes, k.bytes);
    }
    for (unsigned l = 0; l < w->lanes; l++)
        for (unsigned h = 0; h < 2 && exec >> l & 1; h++) {
            struct inst half = *i;
            half.dst.reg = (uint16_t)(i->dst.reg + h * regs);
            lds_move(w, &half, k, l, i->src[h].reg, address[h][l]);
        }
}

// A word of LDS and a register, a lane after another; nothing is returned.
static void lds_atomic(struct wave *w, const struct inst *i)
{
    const uint32_t *address = w->v[i->src[2].reg - SRC_VGPR],
                   *data = w->v[i->src[0].reg - SRC_VGPR];
    const uint64_t exec = exec_mask(w);
    uint32_t places[LANES_MOST];
    for (unsigned l = 0; l < w->lanes; l++)
        places[l] = address[l] + (uint32_t)i->offset;
    if (count_on)
        count_lds(places, exec, w->lanes, 4);
    for (unsigned l = 0; l < w->lanes; l++) {
        if (!(exec >> l & 1))
            continue;
        const uint32_t place = places[l];
        uint8_t *p = in_lds(w, l, place, 4, ATOMIC);
        if (lds_bad(w, place, 4) || lane_is_bad(w, (struct width){.bytes = 4}, i->src[0].reg, 0, l))
            w->group->marks[place / 2].bad = w->group->marks[place / 2 + 1].bad = true;
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
