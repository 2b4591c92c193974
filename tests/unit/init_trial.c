/* init_trial.c - a system on trial that does not find its own disk: it restarts the machine where
 * the loader has noted the try, and runs on where that is not known, so that no machine restarts
 * again and again. The kernel, the disk and the children are this test's.
 */
#include "../../init/update.h"
#include "check.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <unistd.h>

static struct {
    bool uefi, told, no_child, module_waits, mounts, noted;
} box;
static char said[2000], wrote[2000];
static int n_reboots, n_mounted, n_wanted;
static struct {
    int (*run)(void *ctx);
    void (*done)(void *ctx, int code);
} child;

int __wrap_access(const char *path, int mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mount(const char *from, const char *to, const char *type, unsigned long flags,
                 const void *options);
int __wrap_umount(const char *to);
ssize_t __wrap_read_file(const char *path, char *buf, size_t cap);
enum status __wrap_replace_file(const char *path, const char *text, size_t len, mode_t mode,
                                struct err *err);
enum status __wrap_disk_esp(void);
void __wrap_module_want(const char *name);
enum status __wrap_module_ready(const char *name);
bool __wrap_child_start(const char *name, int (*run)(void *), void (*done)(void *, int), void *ctx);
void __wrap_power_request(enum power what, const char *why);
void __wrap_complain(const char *step, const char *format, ...);

int __wrap_access(const char *path, int mode)
{
    (void)mode;
    return strcmp(path, "/sys/firmware/efi") == 0 && box.uefi ? 0 : -1;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    (void)path;
    (void)mode;
    return 0;
}

int __wrap_mount(const char *from, const char *to, const char *type, unsigned long flags,
                 const void *options)
{
    (void)from;
    (void)options;
    CHECK(strcmp(to, "/sys/firmware/efi/efivars") == 0 && strcmp(type, "efivarfs") == 0);
    CHECK(flags & MS_RDONLY);
    n_mounted += box.mounts;
    return box.mounts ? 0 : -1;
}

int __wrap_umount(const char *to)
{
    CHECK(strcmp(to, "/sys/firmware/efi/efivars") == 0);
    n_mounted--;
    return 0;
}

ssize_t __wrap_read_file(const char *path, char *buf, size_t cap)
{
    static const char name[] = "\\EFI\\Linux\\tawny-3+0-1.efi";
    ssize_t n = -1;

    if (strcmp(path, "/etc/tawny-release") == 0)
        n = snprintf(buf, cap, "version=v3\nbuilt=3000\n");
    else if (strstr(path, TRIAL_CREDENTIAL) && box.told)
        n = snprintf(buf, cap, "v3\nbuilt=3000\n");
    else if (strstr(path, "/efivars/" LOADER_NOTED) && box.noted) {
        memset(buf, 0, cap);
        buf[0] = 6;
        for (size_t i = 0; i < sizeof(name); i++)
            buf[4 + 2 * i] = name[i];
        n = 4 + 2 * sizeof(name);
    }
    return n;
}

enum status __wrap_replace_file(const char *path, const char *text, size_t len, mode_t mode,
                                struct err *err)
{
    (void)mode;
    (void)err;
    CHECK(strcmp(path, "/run/update/status") == 0);
    snprintf(wrote, sizeof(wrote), "%.*s", (int)len, text);
    return OK;
}

enum status __wrap_disk_esp(void)
{
    return WAIT;
}

void __wrap_module_want(const char *name)
{
    CHECK(strcmp(name, "efivarfs") == 0);
    n_wanted++;
}

enum status __wrap_module_ready(const char *name)
{
    (void)name;
    return box.module_waits ? WAIT : OK;
}

bool __wrap_child_start(const char *name, int (*run)(void *), void (*done)(void *, int), void *ctx)
{
    (void)name;
    (void)ctx;
    child.run = run;
    child.done = done;
    return !box.no_child;
}

void __wrap_power_request(enum power what, const char *why)
{
    CHECK(what == POWER_REBOOT && strstr(why, "on trial and does not find its own disk"));
    n_reboots++;
}

void __wrap_complain(const char *step, const char *format, ...)
{
    va_list args;

    (void)step;
    va_start(args, format);
    vsnprintf(said, sizeof(said), format, args);
    va_end(args);
}

static void goes_on(int64_t now)
{
    child.run = NULL;
    int64_t next = update_tick(now);
    if (child.run && !box.no_child)
        child.done(NULL, child.run(NULL));
    CHECK(child.run ? next == INT64_MAX : next > now);
}

/* As the start asks, and its loop; the child, where there is one, comes to its end. */
static enum status look(void)
{
    struct err err = {""};

    said[0] = wrote[0] = 0;
    n_reboots = 0;
    child.run = NULL;
    enum status s = update_look(&err);
    CHECK(!child.run);
    goes_on(now_ms());
    CHECK(n_mounted == 0);
    return s;
}

static bool runs_on(void)
{
    return n_reboots == 0 && strstr(said, "this version runs on");
}

int main(void)
{
    CHECK(look() == NOT_FOUND && !n_reboots && !child.run); // on no trial
    box.told = true;
    CHECK(look() == NOT_FOUND && n_reboots == 1 && !child.run); // GRUB: it is taken out already

    box.uefi = box.module_waits = true;
    CHECK(look() == NOT_FOUND && n_wanted == 1 && !n_reboots && !child.run);
    goes_on(now_ms() + 50000);
    CHECK(!n_reboots && !child.run && !said[0]);
    goes_on(now_ms() + 60001); // the driver still starts: what becomes of the trial is said
    CHECK(runs_on() && strstr(wrote, "state=trying\n"));
    CHECK(look() == NOT_FOUND && !child.run);
    box.module_waits = false;
    goes_on(now_ms()); // it is there, later than that step waits
    CHECK(runs_on());  // the kernel shows no variables
    CHECK(
        strstr(wrote, "state=trying\nversion=v3\nwhy=this version is on trial and does not find"));
    box.mounts = true;
    CHECK(look() == NOT_FOUND && runs_on()); // a firmware that cannot rename
    box.noted = true;
    CHECK(look() == NOT_FOUND && n_reboots == 1 && !said[0] && !wrote[0]);
    box.no_child = true;
    CHECK(look() == NOT_FOUND && runs_on());
    return check_done("init_trial");
}
