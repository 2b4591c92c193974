/* iso.c - files of an ISO 9660 file system whose bytes are in memory. Pure.
 *
 *   volume descriptor, sector 16 (of 2048 bytes): 0 type 1, 1 "CD001", 40 label [32, padded with
 *   blanks], 128 bytes of a block (2048), 156 record of the root directory
 *   directory record: 0 its length, 2 first block, 10 bytes, 25 flags (2: directory, 128: goes on
 *   in another record), 26 and 27 interleaving, 32 length of the name, 33 the name, then, at an
 *   even place, Rock Ridge's fields: 2 letters, length, version; NM: 4 flags, 5 a name
 *
 * Numbers stand in both byte orders; the little one is read. Joliet's second tree is not: whoever
 * writes it writes Rock Ridge's names too, or names that differ in case and '-' for '_' alone.
 */
#include "cloud.h"

#include <string.h>

#define SECTOR 2048
#define RECORD 33 // least length
#define DIRECTORY_MOST (64 << 10)

enum cloud_kind iso_kind(const uint8_t volume[ISO_VOLUME])
{
    char label[33] = "";

    if (memcmp(volume, "\001CD001\001", 7) != 0 || le_get(volume + 128, 2) != SECTOR)
        return CLOUD_NONE;
    for (size_t i = 0; i < 32 && volume[40 + i] > ' '; i++)
        label[i] =
            (char)(volume[40 + i] | (volume[40 + i] >= 'A' && volume[40 + i] <= 'Z' ? 32 : 0));
    return strcmp(label, "cidata") == 0     ? CLOUD_NOCLOUD
           : strcmp(label, "config-2") == 0 ? CLOUD_CONFIG_DRIVE
                                            : CLOUD_NONE;
}

/* Case, '-' for '_', a final '.' and the version behind ';' make no difference. */
static bool same_name(const uint8_t *name, size_t n, const char *want, size_t n_want)
{
    const uint8_t *end = memchr(name, ';', n);

    n = end ? (size_t)(end - name) : n;
    if (n && name[n - 1] == '.' && n == n_want + 1)
        n--;
    if (n != n_want)
        return false;
    for (size_t i = 0; i < n; i++) {
        int a = name[i], b = want[i];
        a = a >= 'A' && a <= 'Z' ? a + 32 : a == '-' ? '_' : a;
        b = b == '-' ? '_' : b;
        if (a != b)
            return false;
    }
    return true;
}

/* Rock Ridge's name of a record, or NULL. */
static const uint8_t *rock_name(const uint8_t *record, size_t len, size_t *n)
{
    size_t at = RECORD + record[32];

    at += at & 1;
    while (at + 4 <= len && record[at + 2] >= 4 && at + record[at + 2] <= len) {
        if (record[at] == 'N' && record[at + 1] == 'M' && record[at + 2] > 5 && !record[at + 4]) {
            *n = record[at + 2] - 5u;
            return record + at + 5;
        }
        at += record[at + 2];
    }
    return NULL;
}

static bool is_named(const uint8_t *record, size_t len, const char *want, size_t n_want)
{
    size_t n;
    const uint8_t *name = rock_name(record, len, &n);

    return same_name(record + RECORD, record[32], want, n_want) ||
           (name && same_name(name, n, want, n_want));
}

/* What a record points at. */
static enum status contents(struct iso_file *out, const uint8_t *disk, size_t len,
                            const uint8_t *record, size_t most, struct err *err)
{
    uint64_t at = le_get(record + 2, 4) * SECTOR, n = le_get(record + 10, 4);

    if (record[26] || record[27] || (record[25] & 128))
        return err_set(err, BAD_INPUT, "it is in several pieces, and one was expected");
    if (n > most)
        return err_set(err, BAD_INPUT, "it has %llu bytes, and at most %zu are read",
                       (unsigned long long)n, most);
    if (at > len || n > len - at)
        return err_set(err, BAD_INPUT, "it lies behind the first %zu bytes of the disk", len);
    *out = (struct iso_file){disk + at, (size_t)n};
    return OK;
}

/* The record of that name, or NULL. Records do not cross sectors; the rest of one is zeros. */
static const uint8_t *find(const struct iso_file *folder, const char *want, size_t n_want)
{
    for (size_t at = 0; at + RECORD <= folder->len;) {
        const uint8_t *record = folder->bytes + at;
        size_t len = record[0], left = SECTOR - at % SECTOR;
        if (len == 0) {
            at += left;
            continue;
        }
        if (len < RECORD || len > left || at + len > folder->len || RECORD + record[32] > len)
            return NULL;
        if (is_named(record, len, want, n_want))
            return record;
        at += len;
    }
    return NULL;
}

enum status iso_find(struct iso_file *out, const uint8_t *disk, size_t len, const char *path,
                     struct err *err)
{
    struct iso_file at;

    if (len < ISO_VOLUME_AT + ISO_VOLUME || iso_kind(disk + ISO_VOLUME_AT) == CLOUD_NONE)
        return err_set(err, BAD_INPUT, "it is no ISO 9660 file system");
    enum status s = contents(&at, disk, len, disk + ISO_VOLUME_AT + 156, DIRECTORY_MOST, err);
    while (s == OK && *path) {
        size_t n = strcspn(path, "/");
        bool last = path[n] == 0;
        const uint8_t *record = find(&at, path, n);
        if (!record || !(record[25] & 2) != last)
            return err_set(err, NOT_FOUND, "there is no %s", path);
        s = contents(&at, disk, len, record, last ? CLOUD_FILE_MOST : DIRECTORY_MOST, err);
        path += n + (last ? 0 : 1);
    }
    if (s == OK)
        *out = at;
    return s;
}
