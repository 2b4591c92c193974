/* gpt.c - reading, growing and repairing a GUID partition table (UEFI specification, chapter 5).
 *
 * Header, in sector 1 and (backup) in the last sector, little endian:
 *    0  "EFI PART"        8  revision        12  header bytes (92)    16  CRC-32 of the header with
 *   20  reserved         24  sector of this header                        this field zero
 *   32  sector of the other header           40  first, 48  last sector usable by partitions
 *   56  GUID of the disk                     72  first sector of the entries
 *   80  number of entries                    84  bytes of an entry    88  CRC-32 of all entries
 * Entry: 0 type GUID (zero: unused), 16 GUID, 32 first, 40 last sector, 48 attributes, 56 name in
 * UTF-16LE, 36 units.
 *
 * Invariant: both tables are never invalid at once. Whoever writes does so in the order backup
 * entries, backup header, fsync, primary entries, primary header, fsync. The kernel looks at the
 * backup only when told to on its command line, so a damaged primary is repaired here (gpt_repair).
 * What one would get wrong: a good backup does not make the disk ours. Whoever gives a whole disk
 * to RAID or LUKS may leave it standing at the end; see beginning_is_ours().
 */
#include "init.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_ENTRIES 1024
#define MAX_ENTRY_BYTES 1024
#define MAX_SECTOR 4096

uint32_t crc32_ieee(const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    uint32_t c = ~0u;

    while (len--) {
        c ^= *p++;
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (0xEDB88320u & (0u - (c & 1)));
    }
    return ~c;
}

static bool read_at(const struct gpt *g, uint64_t sector, void *buf, size_t len)
{
    return pread(g->fd, buf, len, (off_t)(sector * g->sector)) == (ssize_t)len;
}

static bool write_at(const struct gpt *g, uint64_t sector, const void *buf, size_t len)
{
    return pwrite(g->fd, buf, len, (off_t)(sector * g->sector)) == (ssize_t)len;
}

static uint32_t entry_sectors(const struct gpt *g)
{
    return (g->n_entries * g->entry_bytes + g->sector - 1) / g->sector;
}

/* True when the sector holds a header that is valid there and whose entries, read to *entries (the
 * caller's to free), are too. Sizes are g->n_entries and g->entry_bytes, set here. */
static bool read_table(struct gpt *g, uint64_t sector, uint8_t header[512], uint8_t **entries)
{
    uint8_t copy[512];

    if (!read_at(g, sector, header, 512) || memcmp(header, "EFI PART", 8) != 0)
        return false;
    uint64_t bytes = le_get(header + 12, 4);
    if (bytes < 92 || bytes > 512)
        return false;
    memcpy(copy, header, 512);
    le_put(copy + 16, 4, 0);
    if (crc32_ieee(copy, bytes) != le_get(header + 16, 4) || le_get(header + 24, 8) != sector)
        return false;
    uint64_t n = le_get(header + 80, 4), size = le_get(header + 84, 4), at = le_get(header + 72, 8);
    if (n < 1 || n > MAX_ENTRIES || size < 128 || size > MAX_ENTRY_BYTES || size % 8)
        return false;
    g->n_entries = (uint32_t)n;
    g->entry_bytes = (uint32_t)size;
    if (at < 2 || at >= g->n_sectors || entry_sectors(g) > g->n_sectors - at)
        return false;
    uint8_t *table = malloc(n * size);
    if (!table || !read_at(g, at, table, n * size) ||
        crc32_ieee(table, n * size) != le_get(header + 88, 4)) {
        free(table);
        return false;
    }
    *entries = table;
    return true;
}

enum status gpt_open(struct gpt *g, int fd, uint32_t sector, uint64_t n_sectors, struct err *err)
{
    uint8_t header[512];
    uint8_t *entries = NULL;

    *g = (struct gpt){.fd = fd, .sector = sector, .n_sectors = n_sectors};
    if (sector < 512 || sector > MAX_SECTOR || n_sectors < 128 ||
        n_sectors > (uint64_t)INT64_MAX / sector) {
        return err_set(err, UNSUPPORTED, "a disk of %llu sectors of %u bytes has no room for a GPT",
                       (unsigned long long)n_sectors, sector);
    }
    g->backup_good = read_table(g, n_sectors - 1, header, &entries);
    if (g->backup_good) {
        memcpy(g->header, header, 512);
        g->entries = entries;
        entries = NULL;
    }
    uint32_t n = g->n_entries, size = g->entry_bytes;
    g->primary_good = read_table(g, 1, header, &entries);
    if (g->primary_good) {
        /* a backup that says something else is an old one */
        g->backup_good = g->backup_good && memcmp(g->header + 40, header + 40, 32) == 0 &&
                         memcmp(g->header + 80, header + 80, 12) == 0;
        memcpy(g->header, header, 512);
        free(g->entries);
        g->entries = entries;
    } else if (g->backup_good) {
        g->n_entries = n;
        g->entry_bytes = size;
    } else {
        return err_set(err, NOT_FOUND,
                       "neither the partition table at the beginning of the disk nor "
                       "its copy at the end is valid");
    }
    return OK;
}

void gpt_close(struct gpt *g)
{
    free(g->entries);
    g->entries = NULL;
}

static uint8_t *entry(const struct gpt *g, uint32_t number)
{
    return g->entries + (size_t)(number - 1) * g->entry_bytes;
}

static bool used(const uint8_t *e)
{
    static const uint8_t none[16];
    return memcmp(e, none, 16) != 0;
}

uint32_t gpt_find(const struct gpt *g, const char *label, uint64_t *first, uint64_t *last)
{
    uint8_t name[72] = {0};

    for (size_t i = 0; label[i] && i < 36; i++)
        name[2 * i] = (uint8_t)label[i];
    for (uint32_t i = 1; i <= g->n_entries; i++) {
        const uint8_t *e = entry(g, i);
        if (used(e) && memcmp(e + 56, name, sizeof(name)) == 0) {
            *first = le_get(e + 32, 8);
            *last = le_get(e + 40, 8);
            return i;
        }
    }
    return 0;
}

/* The header for one of the two places, sealed with its CRC. */
static void seal(const struct gpt *g, uint8_t out[MAX_SECTOR], uint64_t at, uint64_t other,
                 uint64_t entries_at)
{
    memset(out, 0, MAX_SECTOR);
    memcpy(out, g->header, le_get(g->header + 12, 4));
    le_put(out + 24, 8, at);
    le_put(out + 32, 8, other);
    le_put(out + 72, 8, entries_at);
    le_put(out + 88, 4, crc32_ieee(g->entries, (size_t)g->n_entries * g->entry_bytes));
    le_put(out + 16, 4, 0);
    le_put(out + 16, 4, crc32_ieee(out, le_get(out + 12, 4)));
}

static bool write_table(const struct gpt *g, uint64_t at, uint64_t other, uint64_t entries_at)
{
    uint8_t sector[MAX_SECTOR];
    size_t n = (size_t)entry_sectors(g) * g->sector;
    uint8_t *padded = calloc(1, n); // whole sectors

    if (!padded)
        return false;
    memcpy(padded, g->entries, (size_t)g->n_entries * g->entry_bytes);
    seal(g, sector, at, other, entries_at);
    bool good = write_at(g, entries_at, padded, n) && write_at(g, at, sector, g->sector) &&
                fsync(g->fd) == 0;
    free(padded);
    return good;
}

/* The MBR in sector 0 that tells old tools "all of this disk is in use". Boot code stays. */
static bool write_protective_mbr(const struct gpt *g)
{
    uint8_t mbr[MAX_SECTOR], old[MAX_SECTOR];

    if (!read_at(g, 0, mbr, g->sector))
        return false;
    memcpy(old, mbr, g->sector);
    bool ours = mbr[510] == 0x55 && mbr[511] == 0xaa;
    if (ours && mbr[450] != 0xee)
        return true; // a hybrid one, somebody's choice
    if (!ours) {
        memset(mbr + 446, 0, 64);
        le_put(mbr + 447, 3, 0x000200);
        mbr[450] = 0xee;
        le_put(mbr + 451, 3, 0xffffff);
        le_put(mbr + 454, 4, 1);
        mbr[510] = 0x55;
        mbr[511] = 0xaa;
    }
    le_put(mbr + 458, 4, g->n_sectors - 1 > 0xffffffffu ? 0xffffffffu : g->n_sectors - 1);
    return memcmp(old, mbr, g->sector) == 0 || (write_at(g, 0, mbr, g->sector) && !fsync(g->fd));
}

static enum status write_failed(struct err *err)
{
    return err_set(err, IO_ERROR,
                   "the partition table could not be written: %s; if the disk is "
                   "write-protected, remove the protection",
                   strerror(errno));
}

/* One entry of the primary as it is on the disk: the backup's (the end of a partition that was
 * being grown may differ), or nothing. */
static bool entry_is_ours(const uint8_t *found, const uint8_t *e, size_t n_bytes)
{
    size_t n_zero = 0;

    while (n_zero < n_bytes && found[n_zero] == 0)
        n_zero++;
    return n_zero == n_bytes ||
           (memcmp(found, e, 40) == 0 && memcmp(found + 48, e + 48, n_bytes - 48) == 0);
}

/* Are the sectors where the primary goes a GPT's, only damaged? Then sector 0 is a protective MBR,
 * sector 1 begins like a header or is empty, and the entries are the backup's. Anything else is
 * what somebody keeps on this disk now (a RAID superblock stands in sector 8, LVM's label in sector
 * 1). */
static bool beginning_is_ours(const struct gpt *g)
{
    static const uint8_t empty[512];
    uint8_t mbr[512], header[512];
    size_t n = (size_t)entry_sectors(g) * g->sector, n_bytes = g->entry_bytes;
    uint8_t *found = malloc(n);
    bool ours = found && read_at(g, 0, mbr, 512) && read_at(g, 1, header, 512) &&
                read_at(g, 2, found, n) && mbr[510] == 0x55 && mbr[511] == 0xaa &&
                (mbr[450] == 0xee || mbr[466] == 0xee || mbr[482] == 0xee || mbr[498] == 0xee) &&
                (memcmp(header, "EFI PART", 8) == 0 || memcmp(header, empty, 512) == 0);

    for (size_t i = 0; ours && i < g->n_entries; i++)
        ours = entry_is_ours(found + i * n_bytes, g->entries + i * n_bytes, n_bytes);
    free(found);
    return ours;
}

static enum status not_ours(struct err *err)
{
    return err_set(err, UNSUPPORTED,
                   "at the beginning of the disk stands something else than a damaged table, so "
                   "nothing was written. If the disk is in use for something else, all is well; if "
                   "not, repair it with gdisk on any Linux machine");
}

/* Where the primary's entries are (kept), or where they go when the primary is lost. */
static uint64_t primary_entries_at(const struct gpt *g)
{
    return g->primary_good ? le_get(g->header + 72, 8) : 2;
}

enum status gpt_grow(struct gpt *g, uint32_t number, bool *grown, struct err *err)
{
    uint64_t align = (1u << 20) / g->sector, n_table = entry_sectors(g);
    uint64_t end = g->n_sectors - 1, usable = end - n_table - 1;
    uint8_t *e = entry(g, number);
    uint64_t first = le_get(e + 32, 8), last = le_get(e + 40, 8);
    uint64_t new_last = usable < align ? last : ((usable + 1) & ~(align - 1)) - 1;

    *grown = false;
    for (uint32_t i = 1; i <= g->n_entries; i++) {
        if (i != number && used(entry(g, i)) && le_get(entry(g, i) + 40, 8) >= first) {
            return err_set(err, UNSUPPORTED,
                           "partition %u is not the last of its disk (%u lies "
                           "behind it), so it stays as large as it is",
                           number, i);
        }
    }
    if (last < first || last > usable) {
        return err_set(err, BAD_INPUT,
                       "partition %u ends at sector %llu, but the disk has room only "
                       "up to %llu: was the image cut off when it was copied?",
                       number, (unsigned long long)last, (unsigned long long)usable);
    }
    if (!g->primary_good && !beginning_is_ours(g))
        return not_ours(err);
    bool stale = le_get(g->header + 48, 8) != usable ||
                 (g->primary_good && le_get(g->header + 32, 8) != end);
    if (new_last <= last && g->primary_good && g->backup_good && !stale)
        return write_protective_mbr(g) ? OK : write_failed(err);
    *grown = new_last > last;
    le_put(e + 40, 8, *grown ? new_last : last);
    le_put(g->header + 48, 8, usable);
    if (!write_table(g, end, 1, end - n_table) || !write_table(g, 1, end, primary_entries_at(g)) ||
        !write_protective_mbr(g)) {
        return write_failed(err);
    }
    return OK;
}

enum status gpt_repair(struct gpt *g, struct err *err)
{
    uint64_t end = g->n_sectors - 1;

    if (g->primary_good)
        return OK;
    if (le_get(g->header + 40, 8) < 2 + (uint64_t)entry_sectors(g)) {
        return err_set(err, BAD_INPUT,
                       "the copy of the partition table leaves no room for the table "
                       "itself");
    }
    if (!beginning_is_ours(g))
        return not_ours(err);
    if (!write_table(g, 1, end, 2) || !write_protective_mbr(g))
        return write_failed(err);
    g->primary_good = true;
    return OK;
}
