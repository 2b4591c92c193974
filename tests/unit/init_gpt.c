/* init_gpt.c - the partition table: grown, damaged, repaired, cut off at every write.
 *
 * The oracle is sgdisk 1.0.9: `made_*` are its bytes of an 8 MiB disk with tawny-esp and
 * tawny-data, `grown_*` those after the disk became 32 MiB, `sgdisk -e` moved the backup and
 * partition 2 was made again up to the last whole MiB (bytes 446..511 of sector 0, 92 of each
 * header, two entries).
 */
#include "../../init/init.h"
#include "check.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SMALL 16384u // sectors
#define LARGE 65536u
#define TABLE 32u // sectors of entries

static const char made_mbr[] =
    "00000200ee05040101000000ff3f0000000000000000000000000000000000000000000000000000000000000000"
    "00000000000000000000000000000000000055aa";
static const char made_primary[] =
    "4546492050415254000001005c000000476fa978000000000100000000000000ff3f000000000000220000000000"
    "0000de3f00000000000011111111222233334444555555555555020000000000000080000000800000000f3bda68";
static const char made_entries[] =
    "28732ac11ff8d211ba4b00a0c93ec93baaaaaaaa0000000000000000000000010008000000000000ff0f00000000"
    "000000000000000000007400610077006e0079002d00650073007000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000af3dc60f838472478e79"
    "3d69d8477de4aaaaaaaa0000000000000000000000020010000000000000ff370000000000000000000000000000"
    "7400610077006e0079002d0064006100740061000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000";
static const char made_backup[] =
    "4546492050415254000001005c000000727a9ccc00000000ff3f0000000000000100000000000000220000000000"
    "0000de3f00000000000011111111222233334444555555555555df3f00000000000080000000800000000f3bda68";
static const char grown_primary[] =
    "4546492050415254000001005c0000008aae01ef000000000100000000000000ffff000000000000220000000000"
    "0000deff0000000000001111111122223333444455555555555502000000000000008000000080000000e7758e7e";
static const char grown_entries[] =
    "28732ac11ff8d211ba4b00a0c93ec93baaaaaaaa0000000000000000000000010008000000000000ff0f00000000"
    "000000000000000000007400610077006e0079002d00650073007000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000af3dc60f838472478e79"
    "3d69d8477de4aaaaaaaa0000000000000000000000020010000000000000fff70000000000000000000000000000"
    "7400610077006e0079002d0064006100740061000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000";
static const char grown_backup[] =
    "4546492050415254000001005c0000002276718d00000000ffff0000000000000100000000000000220000000000"
    "0000deff00000000000011111111222233334444555555555555dfff0000000000008000000080000000e7758e7e";

static int64_t may_write = INT64_MAX; // bytes until the power fails

/* In place of libc's: what is written behind the cut is lost. */
ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    size_t now = (int64_t)n < may_write ? n : (size_t)may_write;
    if (may_write != INT64_MAX)
        may_write -= (int64_t)now;
    ssize_t r = syscall(SYS_pwrite64, fd, buf, now, at);
    return now == n ? r : -1;
}

static size_t unhex(const char *hex, uint8_t *out)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return n;
}

static void lay(int fd, const char *hex, uint64_t at)
{
    uint8_t bytes[512];
    size_t n = unhex(hex, bytes);
    CHECK(pwrite(fd, bytes, n, (off_t)at) == (ssize_t)n);
}

static int same(int fd, const char *hex, uint64_t at)
{
    uint8_t want[512], got[512];
    size_t n = unhex(hex, want);
    return pread(fd, got, n, (off_t)at) == (ssize_t)n && memcmp(got, want, n) == 0;
}

/* The disk of 8 MiB as sgdisk made it, in a file of `sectors`. */
static int disk(uint64_t sectors)
{
    int fd = memfd_create("disk", 0);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)(sectors * 512)) == 0);
    lay(fd, made_mbr, 446);
    lay(fd, made_primary, 512);
    lay(fd, made_entries, 1024);
    lay(fd, made_entries, (SMALL - 1 - TABLE) * 512);
    lay(fd, made_backup, (SMALL - 1) * 512);
    return fd;
}

static void wipe(int fd, uint64_t sector)
{
    static const uint8_t junk[512] = {0xa5, 1, 2, 3};
    CHECK(pwrite(fd, junk, sizeof(junk), (off_t)(sector * 512)) == sizeof(junk));
}

/* Opens, finds tawny-data, grows; returns what gpt_grow (or gpt_open) said. */
static enum status grow(int fd, uint64_t sectors, bool *grown, struct err *err)
{
    struct gpt g;
    uint64_t first, last;
    enum status s = gpt_open(&g, fd, 512, sectors, err);
    if (s != OK)
        return s;
    uint32_t n = gpt_find(&g, DATA_LABEL, &first, &last);
    CHECK(n == 2 && first == 4096);
    s = n ? gpt_grow(&g, n, grown, err) : NOT_FOUND;
    gpt_close(&g);
    return s;
}

static int is_grown(int fd)
{
    uint8_t mbr[66];
    return same(fd, grown_primary, 512) && same(fd, grown_entries, 1024) &&
           same(fd, grown_entries, (LARGE - 1 - TABLE) * 512) &&
           same(fd, grown_backup, (LARGE - 1) * 512) && pread(fd, mbr, 66, 446) == 66 &&
           mbr[4] == 0xee && memcmp(mbr + 8, "\1\0\0\0\xff\xff\0\0", 8) == 0;
}

static void grows_like_sgdisk(void)
{
    struct err err = {""};
    bool grown = false;
    int fd = disk(LARGE);

    CHECK(grow(fd, LARGE, &grown, &err) == OK && grown);
    CHECK(is_grown(fd));
    CHECK(grow(fd, LARGE, &grown, &err) == OK && !grown); // a second start changes nothing
    CHECK(is_grown(fd));
    close(fd);

    fd = disk(SMALL);
    CHECK(grow(fd, SMALL, &grown, &err) == OK && !grown); // already as large as its disk
    CHECK(same(fd, made_primary, 512) && same(fd, made_backup, (SMALL - 1) * 512));
    close(fd);
}

static void repairs(void)
{
    struct err err = {""};
    struct gpt g;
    bool grown = false;
    static const uint8_t nothing[512];
    static const struct {
        off_t at;
        size_t len;
    } primary[] = {{512 + 16, 4}, {512, 512}, {1024, 512}, {1024 + 40, 8}};

    for (size_t i = 0; i < sizeof(primary) / sizeof(*primary); i++) { // header or entries lost
        int fd = disk(SMALL);
        CHECK(pwrite(fd, nothing, primary[i].len, primary[i].at) == (ssize_t)primary[i].len);
        CHECK(gpt_open(&g, fd, 512, SMALL, &err) == OK && !g.primary_good && g.backup_good);
        CHECK(gpt_repair(&g, &err) == OK);
        gpt_close(&g);
        CHECK(same(fd, made_primary, 512) && same(fd, made_entries, 1024));
        CHECK(gpt_open(&g, fd, 512, SMALL, &err) == OK && g.primary_good && g.backup_good);
        gpt_close(&g);
        uint8_t mbr[66];
        CHECK(pread(fd, mbr, 66, 446) == 66 && mbr[4] == 0xee && mbr[64] == 0x55 &&
              mbr[65] == 0xaa);
        close(fd);
    }
    int fd = disk(SMALL); // the backup lost: written anew although nothing grows
    wipe(fd, SMALL - 1);
    CHECK(grow(fd, SMALL, &grown, &err) == OK && !grown);
    CHECK(same(fd, made_backup, (SMALL - 1) * 512));
    wipe(fd, SMALL - 1 - TABLE);
    CHECK(grow(fd, SMALL, &grown, &err) == OK && same(fd, made_entries, (SMALL - 1 - TABLE) * 512));
    wipe(fd, 1);
    wipe(fd, SMALL - 1); // both lost: said, nothing written
    CHECK(gpt_open(&g, fd, 512, SMALL, &err) == NOT_FOUND && err.text[0]);
    close(fd);
}

/* Somebody gave the whole disk to something else; our table at its end was left standing. Sector 0:
 * LUKS, 1: LVM, 8: RAID (mdadm 1.2), 33: the last one the table would be written over. */
static void keeps_foreign_disks(void)
{
    static const uint64_t sector[] = {0, 1, 2, 8, 33};
    uint8_t before[40 * 512], after[sizeof(before)];
    struct err err = {""};
    struct gpt g;

    for (size_t i = 0; i < sizeof(sector) / sizeof(*sector); i++) {
        int fd = disk(SMALL);
        wipe(fd, 1); // the header is lost ...
        lay(fd, "4546492050415254", 512);
        wipe(fd, sector[i]); // ... and this is theirs
        CHECK(pread(fd, before, sizeof(before), 0) == sizeof(before));
        CHECK(gpt_open(&g, fd, 512, SMALL, &err) == OK && !g.primary_good && g.backup_good);
        CHECK(gpt_repair(&g, &err) == UNSUPPORTED && strstr(err.text, "nothing was written"));
        bool grown = false;
        CHECK(gpt_grow(&g, 2, &grown, &err) == UNSUPPORTED && !grown);
        gpt_close(&g);
        CHECK(pread(fd, after, sizeof(after), 0) == sizeof(after));
        CHECK(memcmp(before, after, sizeof(before)) == 0);
        close(fd);
    }
}

static void refuses(void)
{
    struct err err = {""};
    struct gpt g;
    bool grown = false;
    int fd = disk(LARGE);

    CHECK(gpt_open(&g, fd, 512, LARGE, &err) == OK);
    CHECK(gpt_grow(&g, 1, &grown, &err) == UNSUPPORTED && strstr(err.text, "not the last"));
    uint64_t first, last;
    CHECK(gpt_find(&g, "tawny-dat", &first, &last) == 0 &&
          gpt_find(&g, "tawny-data2", &first, &last) == 0);
    gpt_close(&g);
    CHECK(gpt_open(&g, fd, 512, 64, &err) == UNSUPPORTED);
    CHECK(gpt_open(&g, fd, 511, LARGE, &err) == UNSUPPORTED);
    CHECK(gpt_open(&g, fd, 512, UINT64_MAX, &err) == UNSUPPORTED);
    CHECK(ftruncate(fd, 10000 * 512) == 0); // the image was cut off when it was copied
    CHECK(grow(fd, 10000, &grown, &err) == BAD_INPUT && strstr(err.text, "cut off"));
    CHECK(same(fd, made_primary, 512));
    close(fd);
}

/* Every byte of header and entries flipped: never accepted as primary, never a crash. */
static void notices_every_flip(void)
{
    struct err err = {""};
    struct gpt g;
    int fd = disk(SMALL);

    for (unsigned at = 512; at < 512 + 92; at++) {
        uint8_t b, bad;
        CHECK(pread(fd, &b, 1, at) == 1);
        bad = b ^ 0x41;
        CHECK(pwrite(fd, &bad, 1, at) == 1);
        if (gpt_open(&g, fd, 512, SMALL, &err) != OK || g.primary_good)
            CHECK(!"a damaged primary was believed");
        gpt_close(&g);
        CHECK(pwrite(fd, &b, 1, at) == 1);
    }
    for (unsigned at = 1024; at < 1024 + 16384; at += 61) {
        uint8_t b, bad;
        CHECK(pread(fd, &b, 1, at) == 1);
        bad = b ^ 0x41;
        CHECK(pwrite(fd, &bad, 1, at) == 1);
        CHECK(gpt_open(&g, fd, 512, SMALL, &err) == OK && !g.primary_good);
        gpt_close(&g);
        CHECK(pwrite(fd, &b, 1, at) == 1);
    }
    close(fd);
}

/* The power fails after n bytes that gpt_grow wrote, for every n up to the end in odd steps. At
 * least one good table remains each time, and starting again (the repair where the kernel would
 * need it, then growing) ends in the grown disk. */
static void power_cuts(void)
{
    struct err err = {""};
    struct gpt g;
    bool grown = false;
    int64_t n_all = 2 * (TABLE + 1) * 512 + 512, n_cut = 0;

    for (int64_t n = 0; n < n_all; n += 37) {
        int fd = disk(LARGE);
        may_write = n;
        CHECK(grow(fd, LARGE, &grown, &err) == IO_ERROR);
        CHECK(may_write == 0);
        may_write = INT64_MAX;
        CHECK(gpt_open(&g, fd, 512, LARGE, &err) == OK);
        n_cut += !g.primary_good;
        CHECK(gpt_repair(&g, &err) == OK);
        gpt_close(&g);
        CHECK(grow(fd, LARGE, &grown, &err) == OK);
        CHECK(is_grown(fd));
        close(fd);
    }
    CHECK(n_cut > 10); // the primary was hit: the backup had to be there already
}

int main(void)
{
    CHECK(crc32_ieee("123456789", 9) == 0xcbf43926u);
    grows_like_sgdisk();
    repairs();
    keeps_foreign_disks();
    refuses();
    notices_every_flip();
    power_cuts();
    return check_done("init_gpt");
}
