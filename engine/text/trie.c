// trie.c - texts as a tree of bytes: which texts begin here, found by walking.
//
// Node 0 is the root. The edges of all nodes lie in one hash table keyed by (node, byte), those of
// the root in a plain table beside it: most bytes of ordinary text end there.

#include "inside.h"

#include <stdlib.h>
#include <string.h>

static size_t edge_slot(const struct trie *trie, uint64_t key)
{
    size_t slot = (size_t)((key * 0x9e3779b97f4a7c15ull) >> 20) & trie->edge_mask;
    while (trie->edge_to[slot] > 0 && trie->edge_key[slot] != key)
        slot = (slot + 1) & trie->edge_mask;
    return slot;
}

static void make_edges(struct trie *trie, size_t n_slots)
{
    uint64_t *old_key = trie->edge_key;
    int32_t *old_to = trie->edge_to;
    size_t n_old = old_key ? trie->edge_mask + 1 : 0;
    trie->edge_mask = n_slots - 1;
    trie->edge_key = mem_array(n_slots, sizeof(*trie->edge_key));
    trie->edge_to = mem_array(n_slots, sizeof(*trie->edge_to));
    for (size_t i = 0; i < n_old; i++) {
        if (old_to[i] == 0)
            continue;
        size_t slot = edge_slot(trie, old_key[i]);
        trie->edge_key[slot] = old_key[i];
        trie->edge_to[slot] = old_to[i];
    }
    free(old_key);
    free(old_to);
}

static int32_t add_node(struct trie *trie, int32_t parent, uint8_t byte)
{
    if (trie->n_nodes == trie->nodes_allocated) {
        trie->nodes_allocated = trie->nodes_allocated ? trie->nodes_allocated * 2 : 1024;
        size_t n = (size_t)trie->nodes_allocated;
        trie->value = mem_resize(trie->value, n * sizeof(*trie->value));
        trie->parent = mem_resize(trie->parent, n * sizeof(*trie->parent));
        trie->byte = mem_resize(trie->byte, n);
    }
    int32_t node = trie->n_nodes++;
    trie->value[node] = -1;
    trie->parent[node] = parent;
    trie->byte[node] = byte;
    return node;
}

void trie_init(struct trie *trie)
{
    *trie = (struct trie){0};
    make_edges(trie, 1024);
    add_node(trie, 0, 0);
}

void trie_free(struct trie *trie)
{
    free(trie->edge_key);
    free(trie->edge_to);
    free(trie->value);
    free(trie->parent);
    free(trie->byte);
    *trie = (struct trie){0};
}

int32_t trie_step(const struct trie *trie, int32_t node, uint8_t byte)
{
    if (node == 0)
        return trie->root[byte];
    return trie->edge_to[edge_slot(trie, (uint64_t)node << 8 | byte)];
}

static int32_t grow(struct trie *trie, int32_t node, uint8_t byte)
{
    int32_t next = trie_step(trie, node, byte);
    if (next > 0)
        return next;
    if ((size_t)trie->n_nodes * 3 > trie->edge_mask * 2)
        make_edges(trie, (trie->edge_mask + 1) * 2);
    next = add_node(trie, node, byte);
    if (node == 0)
        trie->root[byte] = next;
    size_t slot = edge_slot(trie, (uint64_t)node << 8 | byte);
    trie->edge_key[slot] = (uint64_t)node << 8 | byte;
    trie->edge_to[slot] = next;
    return next;
}

void trie_add(struct trie *trie, struct bytes text, int32_t value)
{
    int32_t node = 0;
    for (size_t i = 0; i < text.n; i++)
        node = grow(trie, node, text.p[i]);
    if (node > 0)
        trie->value[node] = value;
}

void trie_add_reversed(struct trie *trie, struct bytes text, int32_t value)
{
    int32_t node = 0;
    for (size_t i = text.n; i-- > 0;)
        node = grow(trie, node, text.p[i]);
    if (node > 0)
        trie->value[node] = value;
}
