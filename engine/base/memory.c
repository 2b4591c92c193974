// memory.c - allocation that cannot fail, checked arithmetic for sizes from outside, and the job's
// arena.
//
// Three lifetimes exist: boot (mem_alloc, freed at the end), job (an arena, freed as a whole when
// the job returns) and call (the stack). Running out of memory ends the process (PID 1 starts it
// again): no half-alive states. Only arena_take can say no, because what goes into an arena is
// measured by a client.
#include "base.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 16 * 1024 - 64 };

struct arena_block {
    struct arena_block *next;
    size_t n_bytes, used_bytes; // of data
    _Alignas(16) uint8_t data[];
};

void *mem_alloc(size_t n_bytes)
{
    void *p = calloc(1, n_bytes ? n_bytes : 1);
    if (!p)
        die("out of memory: %zu bytes were wanted", n_bytes);
    return p;
}

void *mem_array(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1); // calloc checks the product
    if (!p)
        die("out of memory: %zu elements of %zu bytes were wanted", n, size);
    return p;
}

void *mem_resize(void *old, size_t n_bytes)
{
    void *p = realloc(old, n_bytes ? n_bytes : 1);
    if (!p)
        die("out of memory: %zu bytes were wanted", n_bytes);
    return p;
}

bool mul_overflows(uint64_t a, uint64_t b, uint64_t *out)
{
    return __builtin_mul_overflow(a, b, out);
}

bool add_overflows(uint64_t a, uint64_t b, uint64_t *out)
{
    return __builtin_add_overflow(a, b, out);
}

void arena_init(struct arena *arena, size_t cap_bytes)
{
    *arena = (struct arena){.cap_bytes = cap_bytes};
}

void arena_free(struct arena *arena)
{
    struct arena_block *block = arena->blocks;
    while (block) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->blocks = NULL;
    arena->used_bytes = 0;
}

void *arena_take(struct arena *arena, size_t n_bytes)
{
    if (n_bytes > arena->cap_bytes || arena->cap_bytes - n_bytes < 15)
        return NULL;
    size_t n = (n_bytes + 15) & ~(size_t)15;
    if (n == 0)
        n = 16;
    if (arena->used_bytes > arena->cap_bytes || n > arena->cap_bytes - arena->used_bytes)
        return NULL;
    struct arena_block *block = arena->blocks;
    if (!block || block->n_bytes - block->used_bytes < n) {
        size_t n_data = n > BLOCK_BYTES ? n : BLOCK_BYTES;
        block = mem_alloc(sizeof(*block) + n_data);
        block->n_bytes = n_data;
        if (n > BLOCK_BYTES / 2 &&
            arena->blocks) { // a large one goes behind: the current block still has room
            block->next = arena->blocks->next;
            arena->blocks->next = block;
        } else {
            block->next = arena->blocks;
            arena->blocks = block;
        }
    }
    void *p = block->data + block->used_bytes;
    block->used_bytes += n;
    arena->used_bytes += n;
    return p;
}
