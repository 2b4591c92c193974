/* init_cloud.c - fuzz target: any bytes as a cloud-init disk, from its sector 16 on (before it
 * nothing is read), as the confined child of PID 1 reads them; then the lines that come of it as
 * PID 1 does. None of them may be wrong: what is, is to be named and left out.
 *
 * Kept inputs: init_cloud/, disks that genisoimage made, without their first 32768 bytes.
 */
#include "../../init/cloud.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void bad(void *ctx, int line, const char *what)
{
    (void)ctx;
    (void)line;
    (void)what;
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct cloud c;
    static struct tree tree;
    char lines[CLOUD_TEXT];
    struct conf conf;
    uint8_t *disk;

    if (size < ISO_VOLUME || size > 256 << 10 || !(disk = calloc(1, ISO_VOLUME_AT + size)))
        return 0;
    memcpy(disk + ISO_VOLUME_AT, data, size);
    cloud_read(&c, iso_kind(disk + ISO_VOLUME_AT), disk, ISO_VOLUME_AT + size, &tree);
    free(disk);
    size_t n = cloud_lines(&c, lines, sizeof(lines));
    conf_defaults(&conf);
    conf_parse(&conf, lines, n, bad, NULL);
    if (strlen(lines) != n || (c.api_key[0] && !cloud_key_good(c.api_key)))
        abort();
    for (const char *s = c.ignored; *s; s++)
        if (*s < ' ' || *s > '~')
            abort();
    return 0;
}
