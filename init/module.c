/* module.c - loading kernel modules without modprobe.
 *
 * A wanted module brings everything it needs with it (modules.dep is transitively closed). Each
 * module is loaded once, by a child of its own (child.c), as soon as all it needs is live:
 * independent drivers load side by side, and one that hangs or oopses takes nobody along. The
 * kernel unpacks .ko.xz and .ko.zst itself.
 *
 * There is no modprobe helper: what the kernel would ask for at run time (a PHY driver, a character
 * set for FAT) must be wanted explicitly (main.c) or be in softdep.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#define COMPRESSED_FILE 4 // MODULE_INIT_COMPRESSED_FILE
#define MAX_LOADING 4     // at a time: more only compete for the same cores
#define RANK_GPU 3
#define SLOW_MS 5000
#define MAX_TEXT (16u << 20)

static struct modules all;
static char directory[128];
static int n_loading, n_live, n_failed, n_wanted;

static char *read_list(const char *name)
{
    char path[200];
    char *text;
    size_t len;
    struct err err;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    if (read_whole(path, MAX_TEXT, &text, &len, &err) == OK)
        return text;
    if (strcmp(name, "modules.softdep") != 0)
        complain("modules", "%s", err.text);
    return calloc(1, 1);
}

enum status module_open(struct err *err)
{
    struct utsname u;

    uname(&u);
    snprintf(directory, sizeof(directory), "/usr/lib/modules/%s", u.release);
    char *dep = read_list("modules.dep"), *alias = read_list("modules.alias");
    char *softdep = read_list("modules.softdep"); // all three stay for good
    if (!dep || !alias || !softdep)
        return err_set(err, IO_ERROR, "no memory for the lists of kernel modules");
    enum status s = modules_index(&all, dep, alias, softdep, err);
    if (s == OK && !all.n_modules) {
        return err_set(err, NOT_FOUND,
                       "there are no modules for this kernel (%s) in the image; "
                       "only built-in drivers will work",
                       u.release);
    }
    return s;
}

static void want(int32_t i);

/* Each word of `list` names a module. */
static void want_each(const char *list)
{
    while (*(list += strspn(list, " "))) {
        size_t len = strcspn(list, " ");
        int32_t i = modules_find(&all, list, len);
        if (i >= 0)
            want(i);
        list += len;
    }
}

static void want(int32_t i)
{
    struct kernel_module *m = &all.module[i];

    if (m->state == MODULE_KNOWN) {
        m->state = MODULE_WANTED;
        n_wanted++;
        want_each(m->first);
        want_each(m->deps);
    }
}

static void want_hit(void *ctx, int32_t i)
{
    (void)ctx;
    want(i);
}

static bool over;

void module_over(void)
{
    over = true;
}

void module_want(const char *name)
{
    int32_t i = over ? -1 : modules_find(&all, name, strlen(name));
    if (i >= 0)
        want(i);
}

void module_want_alias(const char *modalias)
{
    if (!over)
        modules_match(&all, modalias, want_hit, NULL);
}

/* In the child. The exit code is the errno, so that PID 1 can say it. */
static int load(void *ctx)
{
    const struct kernel_module *m = ctx;
    char path[400], cmdline[4096], params[1024];
    struct sysinfo info;
    size_t len = strlen(m->path);
    bool plain = len > 3 && strcmp(m->path + len - 3, ".ko") == 0;

    snprintf(path, sizeof(path), "%s/%s", directory, m->path);
    if (read_file("/proc/cmdline", cmdline, sizeof(cmdline)) < 0)
        cmdline[0] = 0;
    uint64_t memory = sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : 0;
    module_params(params, sizeof(params), m->name, cmdline, memory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || syscall(SYS_finit_module, fd, params, plain ? 0 : COMPRESSED_FILE))
        return errno < 255 ? errno : 255;
    return 0;
}

static void loaded(void *ctx, int code)
{
    struct kernel_module *m = ctx;
    int64_t took = now_ms() - m->started_ms;

    n_loading--;
    m->state = code == 0 || code == EEXIST ? MODULE_LIVE : MODULE_FAILED;
    if (m->state == MODULE_LIVE) {
        n_live++;
        if (took > SLOW_MS) {
            say("modules", "%s took %lld.%lld s", m->name, (long long)(took / 1000),
                (long long)(took % 1000 / 100));
        }
        return;
    }
    if (code == ENODEV)
        return; // the driver looked and its device is not here
    n_failed++;
    if (code < 0) {
        complain("modules",
                 "%s: the kernel ended its loading with signal %d; boot goes on without "
                 "it (the kernel's log above says why)",
                 m->name, -code);
    } else {
        complain("modules", "%s could not be loaded: %s; boot goes on without it", m->name,
                 strerror(code));
    }
}

static bool waits_for(const char *list)
{
    while (*(list += strspn(list, " "))) {
        size_t len = strcspn(list, " ");
        int32_t i = modules_find(&all, list, len);
        if (i >= 0 && all.module[i].state < MODULE_LIVE)
            return true;
        list += len;
    }
    return false;
}

/* Disks first, then links, file systems and the rest; displays and GPUs (seconds, on real hardware)
 * last. */
static int rank_of(const struct kernel_module *m)
{
    static const char *const first[] = {"drivers/virtio/", "drivers/scsi/",  "drivers/nvme/",
                                        "drivers/ata/",    "drivers/block/", "drivers/usb/"};
    for (size_t i = 0; i < sizeof(first) / sizeof(*first); i++)
        if (strstr(m->path, first[i]))
            return 0;
    if (strstr(m->path, "drivers/net/"))
        return 1;
    return strstr(m->path, "drivers/gpu/") ? RANK_GPU : 2;
}

static struct kernel_module *startable(void)
{
    struct kernel_module *best = NULL;

    for (int32_t i = 0; i < all.n_modules; i++) {
        struct kernel_module *m = &all.module[i];
        if (m->state == MODULE_WANTED && (!best || rank_of(m) < rank_of(best)) &&
            !waits_for(m->deps) && !waits_for(m->first)) {
            best = m;
        }
    }
    return best;
}

void module_load(void)
{
    struct kernel_module *m;

    while (n_wanted && n_loading < MAX_LOADING && (m = startable())) {
        char name[64];
        snprintf(name, sizeof(name), "module %s", m->name);
        m->started_ms = now_ms();
        if (!child_start(name, load, loaded, m))
            break;
        m->state = MODULE_LOADING;
        n_wanted--;
        n_loading++;
    }
}

enum status module_ready(const char *name)
{
    int32_t i = modules_find(&all, name, strlen(name));
    bool busy =
        i >= 0 && (all.module[i].state == MODULE_WANTED || all.module[i].state == MODULE_LOADING);
    return busy ? WAIT : OK;
}

/* Is anything under way whose rank lies in [from, to]? */
static enum status ranks_ready(int from, int to)
{
    for (int32_t i = 0; i < all.n_modules; i++) {
        const struct kernel_module *m = &all.module[i];
        if ((m->state == MODULE_WANTED || m->state == MODULE_LOADING) && rank_of(m) >= from &&
            rank_of(m) <= to) {
            return WAIT;
        }
    }
    return OK;
}

enum status module_drivers_ready(void)
{
    return ranks_ready(0, RANK_GPU - 1);
}

enum status module_gpus_ready(void)
{
    return ranks_ready(RANK_GPU, RANK_GPU);
}

void module_counts(int *live, int *failed)
{
    *live = n_live;
    *failed = n_failed;
}
