// vm.c - see wave.h. A sorted table of the chip's mappings and where their bytes are in this
// process. It is written only while no dispatch runs: the driver's calls and the command processor
// take turns (kernel.c).
#include "wave.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { MAPPINGS_MOST = 65536 };
static struct mapping {
    uint64_t va, end;
    uint8_t *at;
    struct memory_mark *marks; // [bytes / 2]; only what is touched takes memory
} mappings[MAPPINGS_MOST];
static size_t n_mappings;

// The first mapping that ends behind va.
static size_t after(uint64_t va)
{
    size_t low = 0, high = n_mappings;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (mappings[middle].end > va)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

bool vm_map(uint64_t va, uint64_t n_bytes, int fd, uint64_t offset)
{
    const size_t i = after(va);
    if (n_mappings == MAPPINGS_MOST || n_bytes == 0 || va + n_bytes < va ||
        (i < n_mappings && mappings[i].va < va + n_bytes))
        return false;
    void *p = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
    if (p == MAP_FAILED)
        return false;
    void *marks = mmap(NULL, n_bytes / 2 * sizeof(struct memory_mark), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (marks == MAP_FAILED) {
        munmap(p, n_bytes);
        return false;
    }
    memmove(&mappings[i + 1], &mappings[i], (n_mappings - i) * sizeof(*mappings));
    mappings[i] = (struct mapping){va, va + n_bytes, p, marks};
    n_mappings++;
    return true;
}

void vm_unmap(uint64_t va, uint64_t n_bytes)
{
    const size_t i = after(va);
    if (i == n_mappings || mappings[i].va != va || mappings[i].end != va + n_bytes)
        return;
    munmap(mappings[i].at, n_bytes);
    munmap(mappings[i].marks, n_bytes / 2 * sizeof(struct memory_mark));
    memmove(&mappings[i], &mappings[i + 1], (n_mappings - i - 1) * sizeof(*mappings));
    n_mappings--;
}

void *vm_at(uint64_t va, uint64_t n_bytes, uint64_t *until)
{
    const size_t i = after(va);
    if (i == n_mappings || mappings[i].va > va || mappings[i].end - va < n_bytes)
        return NULL;
    *until = mappings[i].end;
    return mappings[i].at + (va - mappings[i].va);
}

struct memory_mark *vm_marks(uint64_t va)
{
    const size_t i = after(va);
    if (i == n_mappings || mappings[i].va > va)
        return NULL;
    return mappings[i].marks + (va - mappings[i].va) / 2;
}

void vm_forget_marks(void)
{
    for (size_t i = 0; i < n_mappings; i++)
        (void)madvise(mappings[i].marks,
                      (mappings[i].end - mappings[i].va) / 2 * sizeof(struct memory_mark),
                      MADV_DONTNEED);
}

const char *vm_say(uint64_t va, char text[160])
{
    const size_t i = after(va);
    if (i < n_mappings && mappings[i].va <= va)
        snprintf(text, 160, "the mapping that holds its first byte ends at %llx",
                 (unsigned long long)mappings[i].end);
    else if (i > 0)
        snprintf(text, 160, "no mapping holds it; the one before it is [%llx, %llx)",
                 (unsigned long long)mappings[i - 1].va, (unsigned long long)mappings[i - 1].end);
    else
        snprintf(text, 160, "no mapping holds it");
    return text;
}
