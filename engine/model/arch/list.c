// list.c - the architectures of this build, one a line.
#include "../arch.h"

#include <stdio.h>

extern const struct arch arch_llama, arch_qwen2;

static const struct arch *const ALL[] = {
    &arch_llama,
    &arch_qwen2,
};

const struct arch *arch_find(struct bytes name)
{
    for (size_t i = 0; i < COUNT_OF(ALL); i++)
        if (bytes_equal_text(name, ALL[i]->name))
            return ALL[i];
    return NULL;
}

const char *arch_names(char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < COUNT_OF(ALL) && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i > 0 ? ", " : "", ALL[i]->name);
    return out;
}
