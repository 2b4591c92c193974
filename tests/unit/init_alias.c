/* init_alias.c - which module serves a device; lines and device strings of a real machine.
 *
 * The oracle for the pattern language is fnmatch(3), for strings without '-' and '_' (which depmod
 * treats as one letter and fnmatch does not).
 */
#include "../../init/init.h"
#include "check.h"

#include <fnmatch.h>
#include <stdlib.h>

static const char dep_text[] =
    "kernel/drivers/net/virtio_net.ko.xz: kernel/drivers/net/net_failover.ko.xz "
    "kernel/net/core/failover.ko.xz\n"
    "kernel/drivers/net/net_failover.ko.xz: kernel/net/core/failover.ko.xz\n"
    "kernel/net/core/failover.ko.xz:\n"
    "kernel/drivers/net/ethernet/realtek/r8169.ko.xz:\n"
    "kernel/drivers/net/phy/realtek/realtek.ko.xz:\n"
    "kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko.xz:\n"
    "kernel/drivers/hid/hid-generic.ko.xz:\n"
    "kernel/drivers/usb/storage/usb-storage.ko.xz:\n"
    "kernel/drivers/acpi/button.ko.xz:\n"
    "kernel/fs/ext4/ext4.ko.xz:\n"
    "a line without a colon\n";

static const char alias_text[] =
    "# Aliases extracted from modules themselves.\n"
    "alias virtio:d00000001v* virtio_net\n"
    "alias pci:v000010ECd00008125sv*sd*bc*sc*i* r8169\n"
    "alias pci:v00001002d*sv*sd*bc03sc00i00* amdgpu\n"
    "alias pci:v00001002d*sv*sd*bc03sc80i00* amdgpu\n"
    "alias hid:b*g*v*p* hid_generic\n"
    "alias usb:v1645p0007d013[0-3]dc*dsc*dp*ic*isc*ip*in* usb_storage\n"
    "alias usb:v*p*d*dc*dsc*dp*ic08isc06ip50in* usb_storage\n"
    "alias acpi*:PNP0C0C:* button\n"
    "alias fs-ext4 ext4\n"
    "alias pci:v0000dead* not_in_the_image\n"
    "alias broken\n";

static struct modules m;
static char hits[200];

static void hit(void *ctx, int32_t module)
{
    (void)ctx;
    size_t n = strlen(hits);
    snprintf(hits + n, sizeof(hits) - n, "%s ", m.module[module].name);
}

static const char *match(const char *modalias)
{
    hits[0] = 0;
    modules_match(&m, modalias, hit, NULL);
    return hits;
}

static void matches_devices(void)
{
    CHECK_TEXT(match("virtio:d00000001v00001AF4"), "virtio_net ");
    CHECK_TEXT(match("virtio:d00000002v00001AF4"), "");
    CHECK_TEXT(match("pci:v000010ECd00008125sv00001043sd0000884Cbc02sc00i00"), "r8169 ");
    CHECK_TEXT(match("pci:v00001002d0000150Esv00001F4Csd0000B016bc03sc80i00"), "amdgpu ");
    CHECK_TEXT(match("pci:v00001002d00001506sv00001F4Csd0000B016bc0Csc03i30"), "");
    CHECK_TEXT(match("hid:b0003g0001v00000627p00000001"), "hid_generic ");
    CHECK_TEXT(match("usb:v1645p0007d0132dc00dsc00dp00icFFisc00ipFFin00"), "usb_storage ");
    CHECK_TEXT(match("usb:v1645p0007d0134dc00dsc00dp00icFFisc00ipFFin00"), "");
    CHECK_TEXT(match("usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00"), "usb_storage ");
    CHECK_TEXT(match("acpi:PNP0C0C:"), "button ");
    CHECK_TEXT(match("fs-ext4"), "ext4 ");
    CHECK_TEXT(match("pci:v0000dead"), "");
    CHECK_TEXT(match("nobus:x"), "");
    CHECK_TEXT(match(""), "");
    CHECK_TEXT(match("pci:"), "");
}

static void knows_dependencies(void)
{
    int32_t net = modules_find(&m, "virtio-net", 10), r8169 = modules_find(&m, "r8169", 5);

    CHECK(net >= 0 && strstr(m.module[net].deps, "net_failover.ko.xz"));
    CHECK(modules_find(&m, "kernel/net/core/failover.ko.xz", 30) >= 0);
    CHECK(modules_find(&m, "amd", 3) == -1 && modules_find(&m, "", 0) == -1);
    CHECK(r8169 >= 0 && strncmp(m.module[r8169].first, "realtek", 7) == 0);
    CHECK(m.n_modules == 10 && m.n_aliases == 9);
}

/* Random patterns and texts over a small alphabet, against fnmatch. */
static void globs_like_fnmatch(void)
{
    static const char letters[] = "ab0*?[";
    uint32_t rng = 42;
    int n_hits = 0;

    for (int round = 0; round < 200000; round++) {
        char pattern[24] = "", text[12] = "";
        size_t n = 0;
        rng = rng * 1664525u + 1013904223u;
        for (uint32_t r = rng >> 8, k = r % 6; k; k--, r = r / 6 + 7 * k) {
            char c = letters[r % 6];
            const char *piece = c == '[' ? (r & 64 ? "[0-9]" : "[ab]") : NULL;
            n += (size_t)snprintf(pattern + n, sizeof(pattern) - n, piece ? "%s" : "%.1s",
                                  piece ? piece : &letters[r % 6]);
        }
        rng = rng * 1664525u + 1013904223u;
        n = 0;
        for (uint32_t r = rng >> 8, k = r % 7; k; k--, r = r / 3 + 5 * k)
            text[n++] = letters[r % 3];
        bool want = fnmatch(pattern, text, 0) == 0;
        n_hits += want;
        if (alias_glob(pattern, text) != want) {
            fprintf(stderr, "pattern %s text %s: fnmatch says %d\n", pattern, text, want);
            CHECK(!"alias_glob differs from fnmatch");
            return;
        }
    }
    CHECK(n_hits > 1000);
    CHECK(alias_glob("a-b", "a_b") && alias_glob("x_y*", "x-yz"));
    CHECK(!alias_glob("[0-", "0") && !alias_glob("a[", "ab")); // an open bracket matches nothing
}

/* Texts that end anywhere, in blocks of exactly their size. */
static void survives_truncation(void)
{
    struct err err;

    for (size_t cut = 0; cut < sizeof(alias_text); cut++) {
        struct modules part;
        size_t dep_cut = cut < sizeof(dep_text) - 1 ? cut : sizeof(dep_text) - 1;
        char *dep = strndup(dep_text, dep_cut), *alias = strndup(alias_text, cut);
        char *soft = strndup("softdep r8169 pre: realtek", cut);
        CHECK(modules_index(&part, dep, alias, soft, &err) == OK);
        for (int32_t i = 0; i < part.n_aliases; i++)
            CHECK(part.alias[i].module >= 0 && part.alias[i].module < part.n_modules);
        modules_free(&part);
        free(dep);
        free(alias);
        free(soft);
    }
}

int main(void)
{
    struct err err;
    char *dep = strdup(dep_text), *alias = strdup(alias_text);
    char soft[] =
        "# Soft dependencies\nsoftdep r8169 pre: realtek post: ext4\nsoftdep nobody pre: x\n";

    CHECK(modules_index(&m, dep, alias, soft, &err) == OK);
    matches_devices();
    knows_dependencies();
    globs_like_fnmatch();
    survives_truncation();
    modules_free(&m);
    free(dep);
    free(alias);
    return check_done("init_alias");
}
