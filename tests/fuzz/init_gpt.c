/* init_gpt.c - fuzz target: any bytes as the partition tables of a disk (init/gpt.c), which are
 * read, looked through, grown and repaired.
 *
 * Input: byte 0: bit 0 sectors of 4096 bytes instead of 512, bit 1 checksums of the headers are
 * made right, bit 2 those of the entries too (else nothing behind them would ever be reached), bit
 * 3 repair instead of growing; byte 1: the partition to grow. Then the header at sector 1 (92
 * bytes), the backup (92 bytes), and the entries, which both share the contents of.
 * What was grown or repaired is good on both ends of the disk when it is read again.
 * Kept inputs: init_gpt/.
 */
#include "../../init/init.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEADER = 92, SECTORS = 2048, ENTRIES_MOST = 16384 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t sector;

static uint64_t get(const uint8_t *p, int n)
{
    uint64_t v = 0;
    for (int i = n - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static void write_to(int fd, uint64_t at, const void *p, size_t n)
{
    if (at < SECTORS && pwrite(fd, p, n, (off_t)(at * sector)) != (ssize_t)n)
        abort();
}

/* One header and its entries, checksums mended as `mend` says. */
static void lay(int fd, uint64_t at, const uint8_t *header, const uint8_t *entries,
                size_t n_entries, int mend)
{
    uint8_t h[512] = {0}, *table = calloc(1, ENTRIES_MOST);
    if (!table)
        abort();
    memcpy(h, header, HEADER);
    memcpy(table, entries, n_entries);
    uint64_t n_bytes = get(h + 80, 4) * get(h + 84, 4);
    if ((mend & 2) && n_bytes <= ENTRIES_MOST)
        put32(h + 88, crc32_ieee(table, n_bytes));
    if (mend & 1) {
        put32(h + 12, HEADER);
        put32(h + 16, 0);
        put32(h + 16, crc32_ieee(h, HEADER));
    }
    write_to(fd, at, h, sizeof(h));
    write_to(fd, get(h + 72, 8), table, ENTRIES_MOST);
    free(table);
}

/* Entries that the input has no bytes for would be a megabyte of zeros to be summed up. */
static bool too_many(const uint8_t *header)
{
    return get(header + 80, 4) * get(header + 84, 4) > ENTRIES_MOST;
}

static void change(struct gpt *g, int fd, bool repair, uint32_t number)
{
    struct gpt again;
    struct err err = {{0}};
    bool grown = false;
    if (!repair && (number < 1 || number > g->n_entries))
        return;
    enum status s = repair ? gpt_repair(g, &err) : gpt_grow(g, number, &grown, &err);
    if (s != OK) {
        if (!err.text[0])
            abort();
        return;
    }
    if (gpt_open(&again, fd, sector, SECTORS, &err) != OK || !again.primary_good ||
        (!repair && !again.backup_good))
        abort();
    gpt_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    struct gpt g;
    struct err err = {{0}};
    uint64_t first = 0, last = 0;
    if (size < 2 + 2 * HEADER || too_many(data + 2) || too_many(data + 2 + HEADER))
        return 0;
    if (fd < 0)
        fd = memfd_create("disk", MFD_CLOEXEC);
    sector = data[0] & 1 ? 4096 : 512;
    if (fd < 0 || ftruncate(fd, 0) != 0 || ftruncate(fd, (off_t)SECTORS * sector) != 0)
        abort();
    const uint8_t *entries = data + 2 + 2 * HEADER;
    size_t n_entries = size - 2 - 2 * HEADER;
    n_entries = n_entries > ENTRIES_MOST ? ENTRIES_MOST : n_entries;
    int mend = data[0] >> 1 & 3;
    lay(fd, SECTORS - 1, data + 2 + HEADER, entries, n_entries, mend);
    lay(fd, 1, data + 2, entries, n_entries, mend);
    if (gpt_open(&g, fd, sector, SECTORS, &err) != OK) {
        if (!err.text[0])
            abort();
        return 0;
    }
    uint32_t number = gpt_find(&g, "tawny-data", &first, &last);
    if (number > g.n_entries)
        abort();
    change(&g, fd, data[0] >> 3 & 1, number ? number : data[1]);
    gpt_close(&g);
    return 0;
}
