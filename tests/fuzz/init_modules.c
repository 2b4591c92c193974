/* init_modules.c - fuzz target: modules.dep, modules.alias and modules.softdep (init/alias.c), the
 * name that a device gives itself, and the kernel's command line (init/param.c).
 *
 * Input: five texts, each ended by a NUL: dep, alias, softdep, a device's name, a command line.
 * Every index is within its table. Kept inputs: init_modules/.
 */
#include "../../init/init.h"

#include <stdlib.h>
#include <string.h>

enum { TEXTS = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hit(void *ctx, int32_t module)
{
    const struct modules *m = ctx;
    if (module < 0 || module >= m->n_modules)
        abort();
}

static void check(const struct modules *m)
{
    if (m->n_buses < 1 || m->n_buses > MAX_BUSES)
        abort();
    for (int32_t i = 0; i < m->n_aliases; i++)
        if (m->alias[i].module < 0 || m->alias[i].module >= m->n_modules || m->alias[i].next >= i ||
            m->alias[i].n_literal > strlen(m->alias[i].pattern))
            abort();
    for (int32_t i = 0; i < m->n_modules; i++) {
        const struct kernel_module *k = &m->module[i];
        int32_t found = modules_find(m, k->path, strlen(k->path));
        if (found < 0 || strcmp(m->module[found].name, k->name) != 0)
            abort();
    }
}

static void parameters(const char *module, const char *cmdline)
{
    char out[64];
    for (size_t cap = 1; cap <= sizeof(out); cap += 21) {
        memset(out, 'x', sizeof(out));
        module_params(out, cap, module, cmdline, 8ull << 30);
        if (!memchr(out, 0, cap))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct modules m;
    struct err err;
    char *text[TEXTS];
    size_t at = 0;
    for (int i = 0; i < TEXTS; i++) {
        const uint8_t *end = at < size ? memchr(data + at, 0, size - at) : NULL;
        size_t n = at >= size ? 0 : end ? (size_t)(end - data) - at : size - at;
        text[i] = malloc(n + 1); // not a byte to spare
        if (!text[i])
            abort();
        if (n)
            memcpy(text[i], data + at, n);
        text[i][n] = 0;
        at += n + 1;
    }
    if (modules_index(&m, text[0], text[1], text[2], &err) != OK)
        abort();
    check(&m);
    modules_match(&m, text[3], hit, &m);
    parameters("ttm", text[4]);
    for (int32_t i = 0; i < m.n_modules && i < 4; i++)
        parameters(m.module[i].name, text[4]);
    modules_free(&m);
    for (int i = 0; i < TEXTS; i++)
        free(text[i]);
    return 0;
}
