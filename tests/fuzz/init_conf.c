/* init_conf.c - fuzz target: any bytes as tawny.conf, as PID 1 reads it (init/conf.c). The host
 * name stays one, and lines that are complained about are counted from 1.
 *
 * Kept inputs: init_conf/ (those of settings/ do as well).
 */
#include "../../init/init.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void bad(void *ctx, int line, const char *what)
{
    int *last = ctx;
    if (line <= *last || !what[0])
        abort();
    *last = line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf c;
    char again[64], *copy = malloc(size ? size : 1);
    int last = 0;
    if (!copy)
        abort();
    memcpy(copy, data, size);
    conf_defaults(&c);
    conf_parse(&c, copy, size, bad, &last);
    if (!conf_hostname(c.hostname, strlen(c.hostname), again) || strcmp(again, c.hostname) != 0)
        abort();
    free(copy);
    return 0;
}
