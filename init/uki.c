/* uki.c - where the parts of a UKI lie in its file, for GRUB, which cannot read them out of it.
 *
 * A UKI is a PE program (Microsoft's "PE Format"; its sections: UAPI.5). Little endian:
 *   60  p, of the PE header     p  "PE\0\0"     p+6  number of sections     p+20  o, bytes of the
 *   optional header             p+24+o  the sections, 40 bytes each: 0 name, 8 bytes in memory,
 *   16 bytes in the file, 20 where. What a section holds is the smaller of the two lengths.
 *
 * The file was found right by its hash before; all the same nothing here trusts a number of it.
 */
#include "update.h"

#include <string.h>

#define MOST_SECTIONS 64
#define CMDLINE_MOST 2048

static const uint8_t *section_table(const uint8_t *head, size_t n_head, int *n_sections)
{
    if (n_head < 64 || head[0] != 'M' || head[1] != 'Z')
        return NULL;
    uint64_t p = le_get(head + 60, 4);
    if (p > n_head || n_head - p < 24 || memcmp(head + p, "PE\0\0", 4) != 0)
        return NULL;
    uint64_t n = le_get(head + p + 6, 2), at = p + 24 + le_get(head + p + 20, 2);
    if (n == 0 || n > MOST_SECTIONS || at > n_head || n_head - at < n * 40)
        return NULL;
    *n_sections = (int)n;
    return head + at;
}

enum status uki_read(struct uki *u, const uint8_t *head, size_t n_head, uint64_t n_file,
                     struct err *err)
{
    int n_sections = 0;
    const uint8_t *table = section_table(head, n_head, &n_sections);
    const struct {
        char name[9];
        struct uki_part *part;
    } wanted[] = {{".linux", &u->linux_}, {".initrd", &u->initrd}, {".cmdline", &u->cmdline}};

    if (!table)
        return err_set(err, BAD_INPUT, "the update's system is no program for UEFI");
    memset(u, 0, sizeof(*u));
    for (int i = 0; i < n_sections; i++) {
        const uint8_t *s = table + (size_t)i * 40;
        uint64_t in_memory = le_get(s + 8, 4), in_file = le_get(s + 16, 4), at = le_get(s + 20, 4);
        uint64_t n = in_memory < in_file ? in_memory : in_file;
        if (at > n_file || n > n_file - at)
            return err_set(err, BAD_INPUT, "a part of the update's system lies outside its file");
        for (size_t k = 0; k < sizeof(wanted) / sizeof(*wanted); k++)
            if (memcmp(s, wanted[k].name, 8) == 0 && wanted[k].part->n == 0)
                *wanted[k].part = (struct uki_part){at, n};
    }
    for (size_t k = 0; k < sizeof(wanted) / sizeof(*wanted); k++)
        if (wanted[k].part->n == 0)
            return err_set(err, BAD_INPUT, "the update's system has no part %s", wanted[k].name);
    if (u->cmdline.n > CMDLINE_MOST)
        return err_set(err, BAD_INPUT, "the update's command line is longer than %d bytes",
                       CMDLINE_MOST);
    return OK;
}
