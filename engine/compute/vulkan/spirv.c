// spirv.c - what a kernel's SPIR-V says of itself: its workgroup size, its push constants, its
// specialisation constants (SPIR-V 1.6, sections 2.3 and 3).
//
// A module is a header of 5 words (magic, version, generator, bound of the ids, 0) and instructions
// of [length << 16 | opcode] and length - 1 words. Only embedded modules come here; the bounds are
// checked all the same.
#include "core.h"

#include <stdlib.h>
#include <string.h>

enum { // numbers of the specification
    MAGIC = 0x07230203,
    OP_EXECUTION_MODE = 16,
    OP_TYPE_INT = 21,
    OP_TYPE_FLOAT = 22,
    OP_TYPE_VECTOR = 23,
    OP_TYPE_ARRAY = 28,
    OP_TYPE_STRUCT = 30,
    OP_TYPE_POINTER = 32,
    OP_CONSTANT = 43,
    OP_SPEC_CONSTANT = 50,
    OP_VARIABLE = 59,
    OP_DECORATE = 71,
    OP_MEMBER_DECORATE = 72,
    OP_EXECUTION_MODE_ID = 331,
    MODE_LOCAL_SIZE = 17,
    MODE_LOCAL_SIZE_ID = 38,
    SPEC_ID = 1,
    ARRAY_STRIDE = 6,
    DESCRIPTOR_SET = 34,
    OFFSET = 35,
    PUSH_CONSTANT = 9,
    IDS_MOST = 1 << 18,
};

struct module {
    const uint32_t *code;
    size_t n_words;
    const uint32_t **defined; // [bound]: the instruction that makes a type or constant
    uint32_t bound;
};

// The next instruction at or after *at, whole within the module; NULL at the end.
static const uint32_t *step(const struct module *m, size_t *at, uint32_t *opcode, uint32_t *n)
{
    if (*at >= m->n_words)
        return NULL;
    const uint32_t *word = m->code + *at;
    *opcode = word[0] & 0xffff;
    *n = word[0] >> 16;
    if (*n == 0 || *n > m->n_words - *at)
        return NULL;
    *at += *n;
    return word;
}

static const uint32_t *defined(const struct module *m, uint32_t id)
{
    return id < m->bound ? m->defined[id] : NULL;
}

static void collect(struct module *m)
{
    uint32_t opcode, n;
    size_t at = 5;
    for (const uint32_t *w; (w = step(m, &at, &opcode, &n));) {
        uint32_t id = m->bound;
        if (n >= 2 && opcode >= OP_TYPE_INT && opcode <= OP_TYPE_POINTER)
            id = w[1];
        else if (n >= 4 &&
                 (opcode == OP_CONSTANT || opcode == OP_SPEC_CONSTANT || opcode == OP_VARIABLE))
            id = w[2];
        if (id < m->bound)
            m->defined[id] = w;
    }
}

// The operand of a decoration of `id` (member -1: of the id itself).
static bool decoration(const struct module *m, uint32_t id, int64_t member, uint32_t which,
                       uint32_t *value)
{
    uint32_t opcode, n;
    size_t at = 5;
    for (const uint32_t *w; (w = step(m, &at, &opcode, &n));) {
        bool found = member < 0 ? opcode == OP_DECORATE && n >= 4 && w[1] == id && w[2] == which
                                : opcode == OP_MEMBER_DECORATE && n >= 5 && w[1] == id &&
                                      w[2] == (uint32_t)member && w[3] == which;
        if (found) {
            *value = member < 0 ? w[3] : w[4];
            return true;
        }
    }
    return false;
}

// Bytes of a type in memory, and the alignment of its largest scalar. 0: a type we do not pass.
static uint32_t size_of(const struct module *m, uint32_t id, uint32_t *align, int depth)
{
    const uint32_t *w = defined(m, id);
    uint32_t opcode = w ? w[0] & 0xffff : 0, n = w ? w[0] >> 16 : 0, value = 0, size = 0;
    if (!w || depth > 8 || n < 2)
        return 0;
    if (opcode == OP_TYPE_POINTER || (n >= 3 && (opcode == OP_TYPE_INT || opcode == OP_TYPE_FLOAT)))
        size = opcode == OP_TYPE_POINTER ? 8 : w[2] / 8;
    if (size > 0) {
        *align = size > *align ? size : *align;
        return size;
    }
    if (opcode == OP_TYPE_VECTOR && n >= 4)
        return size_of(m, w[2], align, depth + 1) * w[3];
    if (opcode == OP_TYPE_ARRAY && n >= 4) {
        const uint32_t *length = defined(m, w[3]);
        (void)size_of(m, w[2], align, depth + 1);
        return length && decoration(m, id, -1, ARRAY_STRIDE, &value) ? value * length[3] : 0;
    }
    if (opcode != OP_TYPE_STRUCT)
        return 0;
    for (uint32_t i = 0; i + 2 < n; i++)
        if (decoration(m, id, i, OFFSET, &value)) {
            uint32_t end = value + size_of(m, w[i + 2], align, depth + 1);
            size = end > size ? end : size;
        }
    return size;
}

static void read_push(const struct module *m, struct spirv *out)
{
    for (uint32_t id = 0; id < m->bound; id++) {
        const uint32_t *w = m->defined[id], *pointer;
        if (!w || (w[0] & 0xffff) != OP_VARIABLE || w[3] != PUSH_CONSTANT)
            continue;
        pointer = defined(m, w[1]);
        uint32_t align = 1,
                 size = pointer && pointer[0] >> 16 >= 4 ? size_of(m, pointer[3], &align, 0) : 0;
        out->push_bytes = (size + align - 1) / align * align;
    }
}

static void read_local_ids(const struct module *m, const uint32_t *ids, struct spirv *out)
{
    for (int i = 0; i < 3; i++) {
        const uint32_t *w = defined(m, ids[i]);
        uint32_t spec;
        out->local[i] = w ? w[3] : 0;
        out->local_spec[i] = decoration(m, ids[i], -1, SPEC_ID, &spec) ? (int32_t)spec : -1;
    }
}

bool spirv_read(struct spirv *out, const uint32_t *code, size_t n_bytes, const char **wrong)
{
    struct module m = {.code = code, .n_words = n_bytes / 4};
    uint32_t opcode, n;
    size_t at = 5;
    *out = (struct spirv){.local_spec = {-1, -1, -1}};
    if (n_bytes % 4 != 0 || m.n_words < 5 || code[0] != MAGIC || code[3] > IDS_MOST) {
        *wrong = "it is not a SPIR-V module";
        return false;
    }
    m.bound = code[3];
    m.defined = mem_array(m.bound + 1, sizeof(uint32_t *));
    collect(&m);
    for (const uint32_t *w; (w = step(&m, &at, &opcode, &n));) {
        if (opcode == OP_EXECUTION_MODE && n >= 6 && w[2] == MODE_LOCAL_SIZE)
            memcpy(out->local, w + 3, sizeof(out->local));
        if (opcode == OP_EXECUTION_MODE_ID && n >= 6 && w[2] == MODE_LOCAL_SIZE_ID)
            read_local_ids(&m, w + 3, out);
        if (opcode == OP_DECORATE && n >= 4 && w[2] == SPEC_ID && w[3] >= out->n_spec)
            out->n_spec = w[3] + 1;
        if (opcode == OP_DECORATE && n >= 4 && w[2] == DESCRIPTOR_SET)
            out->bindings = true;
    }
    read_push(&m, out);
    free(m.defined);
    *wrong = at != m.n_words ? "an instruction reaches past its end"
             : out->local[0] == 0 || out->local[1] == 0 || out->local[2] == 0
                 ? "it has no workgroup size"
                 : NULL;
    return !*wrong;
}
