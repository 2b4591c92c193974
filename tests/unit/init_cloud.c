/* init_cloud.c - disks with a hypervisor's settings. Those of tests/fuzz/init_cloud/ were made by
 * genisoimage, with the options and the files of Proxmox VE, cloud-localds and OpenStack. */
#include "../../init/cloud.h"
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct cloud c;
static struct tree tree;
static struct err err;

/* The disk, in a block of just its size; its beginning is nobody's. */
static uint8_t *disk_of(const char *name, size_t *len)
{
    char path[100];
    static uint8_t bytes[256 << 10];

    snprintf(path, sizeof(path), "tests/fuzz/init_cloud/%s", name);
    FILE *f = fopen(path, "rb");
    CHECK(f != NULL);
    size_t n = f ? fread(bytes, 1, sizeof(bytes), f) : 0;
    if (f)
        fclose(f);
    *len = ISO_VOLUME_AT + n;
    uint8_t *disk = calloc(1, *len);
    memcpy(disk + ISO_VOLUME_AT, bytes, n);
    return disk;
}

static void read_disk(const char *name, enum cloud_kind wanted)
{
    size_t len;
    uint8_t *disk = disk_of(name, &len);
    enum cloud_kind kind = iso_kind(disk + ISO_VOLUME_AT);

    CHECK(kind == wanted);
    cloud_read(&c, kind, disk, len, &tree);
    free(disk);
}

static void lines_are(const char *wanted)
{
    char lines[CLOUD_TEXT];
    size_t n = cloud_lines(&c, lines, sizeof(lines));

    CHECK(n == strlen(lines));
    CHECK_TEXT(lines, wanted);
}

static void proxmox(void)
{
    read_disk("proxmox-nocloud", CLOUD_NOCLOUD);
    lines_are("hostname = owl-box\n"
              "address = 52:54:00:12:34:56 10.0.2.15/24, 52:54:00:12:34:56 fd00::15/64\n"
              "gateway = 52:54:00:12:34:56 10.0.2.2, 52:54:00:12:34:56 fd00::2\n"
              "dns = 10.0.2.3, 2001:db8::53\n");
    CHECK_TEXT(c.ignored,
               "user-data: manage_etc_hosts, user, password, ssh_authorized_keys, chpasswd, "
               "users, package_upgrade; network-config: nameserver search");
    CHECK(!c.api_key[0]);
    read_disk("proxmox-configdrive", CLOUD_CONFIG_DRIVE);
    lines_are("hostname = owl-box\n"
              "address = eth0 10.1.0.5/16, eth0 fd01::5/64\n"
              "gateway = eth0 10.1.1.1, eth0 fd01::1\n"
              "dns = 10.1.1.1, 10.1.1.2\n");
    CHECK(strstr(c.ignored, "openstack/content/0000: dns_search"));
}

static void others(void)
{
    read_disk("cloud-localds", CLOUD_NOCLOUD);
    lines_are("hostname = second\n");
    CHECK_TEXT(c.api_key, "tawny-from-the-hypervisor-0123");
    CHECK_TEXT(c.ignored, "meta-data: public-keys; user-data: tawny: model, users, runcmd");
    read_disk("plain-names", CLOUD_NOCLOUD);
    lines_are("hostname = plain-1\n"
              "address = 52:54:00:12:34:57 192.168.7.5/24, 52:54:00:12:34:57 fd07::5/64\n"
              "gateway = 52:54:00:12:34:57 fe80::1, 52:54:00:12:34:57 192.168.7.1\n"
              "dns = 192.168.7.1\n");
    CHECK_TEXT(c.ignored, "user-data: all of it (it does not begin with #cloud-config); "
                          "network-config: \"300.1.1.1/24\", the route to 10.9.0.0/16, lan0 mtu, "
                          "bonds");
    read_disk("openstack", CLOUD_CONFIG_DRIVE);
    lines_are("hostname = nova\n"
              "address = fa:16:3e:00:00:01 172.16.0.5/20, fa:16:3e:00:00:01 2001:db8:1::5/64\n"
              "gateway = fa:16:3e:00:00:01 172.16.0.1, fa:16:3e:00:00:01 2001:db8:1::1\n"
              "dns = 172.16.0.2\n");
    read_disk("empty", CLOUD_NOCLOUD);
    lines_are("");
    CHECK_TEXT(c.ignored, "");
}

/* A disk cut anywhere, or with any one byte changed, does no harm; ASan watches. */
static void damaged(void)
{
    size_t len;
    uint8_t *disk = disk_of("proxmox-nocloud", &len);

    for (size_t cut = ISO_VOLUME_AT + ISO_VOLUME; cut < len; cut += 512 - 3) {
        uint8_t *part = malloc(cut);
        memcpy(part, disk, cut);
        cloud_read(&c, CLOUD_NOCLOUD, part, cut, &tree);
        free(part);
    }
    for (size_t at = ISO_VOLUME_AT; at < len; at++) {
        uint8_t was = disk[at];
        if (was == 0 && disk[at - 1] == 0) // long stretches of zeros say nothing
            continue;
        disk[at] = (uint8_t)(was ^ 0xff);
        cloud_read(&c, CLOUD_NOCLOUD, disk, len, &tree);
        disk[at] = was;
    }
    CHECK(iso_kind(disk) == CLOUD_NONE);
    free(disk);
}

static enum status tree_of(const char *text)
{
    err.text[0] = 0;
    return tree_read(&tree, (const uint8_t *)text, strlen(text), &err);
}

static void trees(void)
{
    char deep[200];

    CHECK(tree_of("a: {b: [x, 'y z']}\na: 2\nc: true\n") == OK);
    const struct node *root = tree.node, *list = node_in(node_in(root, "a"), "b");
    CHECK(list && list->kind == NODE_LIST);
    CHECK_TEXT(list->first->next->text, "y z");
    CHECK_TEXT(node_text(root, "c"), "true");
    CHECK_TEXT(node_text(root, "a"), "");
    CHECK(!node_in(list, "a") && !node_in(NULL, "a"));
    static const char *const bad[] = {
        "", "# only\n", "a: &x [1]\nb: *x\n", "a: [1", "[a]: b", "a: \"\\0\"", "\tx: 1", "a: b: c"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        CHECK(tree_of(bad[i]) == BAD_INPUT);
        CHECK(err.text[0]);
    }
    memset(deep, '[', 20);
    memset(deep + 20, ']', 20);
    deep[40] = 0;
    CHECK(tree_of(deep) == BAD_INPUT);
    char *wide = malloc(CLOUD_FILE_MOST);
    for (size_t i = 0; i < CLOUD_FILE_MOST; i++)
        wide[i] = i % 2 ? ',' : i ? 'a' : '[';
    CHECK(tree_read(&tree, (const uint8_t *)wide, CLOUD_FILE_MOST, &err) == BAD_INPUT);
    free(wide);
}

static void keys(void)
{
    CHECK(cloud_key_good("0123456789abcdef"));
    CHECK(!cloud_key_good("0123456789abcde"));
    CHECK(!cloud_key_good("0123456789 abcdef"));
    CHECK(!cloud_key_good("0123456789abcde\n"));
}

static void which_disks(void)
{
    static const char usb[] =
        "../../devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host3/target3:0:0/"
        "3:0:0:0/block/sdb";
    static const char ide[] = "../../devices/pci0000:00/0000:00:01.1/ata2/host1/block/sr0";

    CHECK(cloud_disk_wanted("sr0", ide, true) && !cloud_disk_wanted("sr0", ide, false));
    CHECK(!cloud_disk_wanted("sdb", usb, true) && !cloud_disk_wanted("sdb", "", true));
    CHECK(!cloud_disk_wanted("loop0", ide, true) && cloud_disk_wanted("vda", ide, true));
}

static void long_lists(void)
{
    CHECK(cloud_line_of("a, b; c", 300) == 7 && cloud_line_of("", 300) == 0);
    CHECK(cloud_line_of("a, b; c", 6) == 6 && cloud_line_of("a, b; c", 5) == 3);
    CHECK(cloud_line_of("abcdefgh", 4) == 4 && cloud_line_of("ab cdefgh", 4) == 4);
}

static bool holds(const char *path, const char *wanted)
{
    char text[64] = "";
    return read_file(path, text, sizeof(text)) >= 0 && strcmp(text, wanted) == 0;
}

static void key_written(void)
{
    char dir[] = "/tmp/init_cloud.XXXXXX", key[64], half[64];
    struct stat st;

    CHECK(mkdtemp(dir) != NULL);
    snprintf(key, sizeof(key), "%s/api-key", dir);
    snprintf(half, sizeof(half), "%s/api-key.cloud", dir);
    CHECK(symlink("elsewhere", half) == 0); /* what was left, or laid there */
    CHECK(cloud_key_write(dir, "0123456789abcdef", getuid(), getgid()) == CLOUD_KEY_WRITTEN);
    CHECK(holds(key, "0123456789abcdef\n") && lstat(half, &st) != 0);
    CHECK(lstat(key, &st) == 0 && (st.st_mode & 07777) == 0600 && st.st_uid == getuid());
    CHECK(cloud_key_write(dir, "another-key-of-the-box", getuid(), getgid()) == CLOUD_KEY_THERE);
    CHECK(holds(key, "0123456789abcdef\n") && lstat(half, &st) != 0);
    unlink(key);
    CHECK(mkdir(half, 0700) == 0); /* cannot be made */
    CHECK(cloud_key_write(dir, "0123456789abcdef", getuid(), getgid()) == CLOUD_KEY_FAILED);
    CHECK(lstat(key, &st) != 0 && rmdir(half) == 0);
    rmdir(dir);
    CHECK(cloud_key_write(dir, "0123456789abcdef", getuid(), getgid()) == CLOUD_KEY_FAILED);
}

int main(void)
{
    proxmox();
    others();
    damaged();
    trees();
    keys();
    which_disks();
    long_lists();
    key_written();
    return check_done("init_cloud");
}
