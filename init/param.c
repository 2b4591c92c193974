/* param.c - parameters of kernel modules.
 *
 * The kernel itself obeys `module.name=value` on its command line only for what is built in; for
 * modules whoever loads them has to hand it over. One parameter is worked out here: TTM, which
 * manages the memory of GPUs, lends them half of the machine's unless told otherwise, and a box
 * whose GPU has no memory of its own holds its models there. It may have all but an eighth, of
 * which 4 GiB are enough.
 */
#include "init.h"

#include <stdio.h>
#include <string.h>

#define PAGE 4096

static bool names(const char *word, size_t len, const char *module)
{
    size_t n = strlen(module);

    for (size_t i = 0; i < n; i++)
        if (i >= len || (word[i] == '-' ? '_' : word[i]) != module[i])
            return false;
    return len > n + 1 && word[n] == '.';
}

/* Appends the word, or nothing of it when it does not fit. */
static void append(char *out, size_t cap, const char *word, size_t len)
{
    size_t n = strlen(out);

    if (n + len + 2 <= cap)
        snprintf(out + n, cap - n, "%s%.*s", n ? " " : "", (int)len, word);
}

void module_params(char *out, size_t cap, const char *module, const char *cmdline,
                   uint64_t memory_bytes)
{
    size_t n = strlen(module);
    char text[80];

    out[0] = 0;
    if (strcmp(module, "ttm") == 0 && memory_bytes && !strstr(cmdline, "ttm.pages_limit=")) {
        uint64_t kept = memory_bytes / 8 < 4ull << 30 ? memory_bytes / 8 : 4ull << 30;
        unsigned long long pages = (memory_bytes - kept) / PAGE;
        snprintf(text, sizeof(text), "pages_limit=%llu page_pool_size=%llu", pages, pages);
        append(out, cap, text, strlen(text));
    }
    for (const char *word = cmdline; *word;) {
        size_t len = strcspn(word, " \n");
        if (names(word, len, module))
            append(out, cap, word + n + 1, len - n - 1);
        word += len;
        word += strspn(word, " \n");
    }
}
