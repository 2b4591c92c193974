// landlock.c - which files this process can open (Documentation/userspace-api/landlock.rst).
//
// The numbers are spelled out here, since the headers that we compile against are older than the
// kernels that we run on. A right that the running kernel does not know is not asked for: what it
// knows is held.
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CREATE = 444, ADD = 445, RESTRICT = 446 }; // system calls
enum { VERSION = 1, PATH_BENEATH = 1 };

#define RIGHT(n) (UINT64_C(1) << (n))
#define WRITE_FILE RIGHT(1)
#define READ_FILE RIGHT(2)
#define READ_DIR RIGHT(3)
#define REMOVE (RIGHT(4) | RIGHT(5))           // folders, files
#define MAKE (RIGHT(7) | RIGHT(8) | RIGHT(12)) // folders, files, links; no devices, pipes, sockets
#define MOVE RIGHT(13)                         // into another folder
#define TRUNCATE RIGHT(14)
#define REQUESTS RIGHT(15) // ioctl of a device
#define OF_FILES (RIGHT(0) | WRITE_FILE | READ_FILE | TRUNCATE | REQUESTS)
#define BIND_TCP RIGHT(0)
#define OTHERS (RIGHT(0) | RIGHT(1)) // abstract unix sockets and signals of other processes

struct ruleset { // 8, 16 or 24 bytes, as the kernel's version of Landlock goes
    uint64_t files, net, scoped;
};

struct __attribute__((packed)) beneath {
    uint64_t allowed;
    int32_t folder;
};

static const uint64_t rights[] = {
    [CONFINE_READ] = READ_FILE | READ_DIR,
    [CONFINE_WRITE] = READ_FILE | READ_DIR | WRITE_FILE | REMOVE | MAKE | MOVE | TRUNCATE,
    [CONFINE_DEVICE] = READ_FILE | READ_DIR | WRITE_FILE | REQUESTS,
};

static int version(void)
{
    return (int)syscall(CREATE, NULL, 0, VERSION);
}

// What this version of Landlock can hold back.
static struct ruleset all_of(int abi)
{
    struct ruleset all = {.files = RIGHT(abi >= 5 ? 16 : abi >= 3 ? 15 : 14) - 1};
    all.net = abi >= 4 ? BIND_TCP : 0;
    all.scoped = abi >= 6 ? OTHERS : 0;
    return all;
}

static int make(const struct ruleset *ruleset)
{
    return (int)syscall(CREATE, ruleset,
                        ruleset->scoped ? sizeof(*ruleset)
                        : ruleset->net  ? 2 * sizeof(uint64_t)
                                        : sizeof(uint64_t),
                        0);
}

static bool add(int ruleset, uint64_t handled, const struct confine_path *one)
{
    struct stat info;
    if (!one->path[0])
        return true;
    int fd = open(one->path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return true; // not there: nothing to allow
    struct beneath rule = {rights[one->may] & handled, fd};
    if (fstat(fd, &info) == 0 && !S_ISDIR(info.st_mode))
        rule.allowed &= OF_FILES;
    bool good = syscall(ADD, ruleset, PATH_BENEATH, &rule, 0) == 0;
    int why = errno;
    close(fd);
    errno = why;
    return good;
}

static enum status restrict_to(int ruleset, struct err *err)
{
    enum status status = OK;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(RESTRICT, ruleset, 0) != 0)
        status = err_set(err, UNSUPPORTED, "Landlock refuses: %s", strerror(errno));
    close(ruleset);
    return status;
}

static enum status begin(int *abi, int least, const char *since, struct err *err)
{
    *abi = version();
    if (*abi >= least)
        return OK;
    if (*abi > 0)
        return err_set(err, UNSUPPORTED, "this kernel's Landlock is too old (Linux %s has it)",
                       since);
    return err_set(err, UNSUPPORTED, "this kernel has no Landlock, or a container hides it: %s",
                   strerror(errno));
}

enum status confine_files(const struct confine_path *paths, size_t n_paths, int *abi,
                          struct err *err)
{
    enum status status = begin(abi, 2, "5.19", err);
    if (status != OK)
        return status;
    struct ruleset all = all_of(*abi);
    all.net = 0; // confine_ports: when ours are open
    const int ruleset = make(&all);
    if (ruleset < 0)
        return err_set(err, UNSUPPORTED, "Landlock refuses: %s", strerror(errno));
    for (size_t i = 0; i < n_paths; i++) {
        if (!add(ruleset, all.files, &paths[i])) {
            status = err_set(err, UNSUPPORTED, "Landlock refuses a rule for %s: %s", paths[i].path,
                             strerror(errno));
            close(ruleset);
            return status;
        }
    }
    return restrict_to(ruleset, err);
}

enum status confine_ports(struct err *err)
{
    int abi;
    enum status status = begin(&abi, 4, "6.7", err);
    if (status != OK)
        return status;
    const struct ruleset ports = {.net = BIND_TCP};
    const int ruleset = make(&ports);
    if (ruleset < 0)
        return err_set(err, UNSUPPORTED, "Landlock refuses: %s", strerror(errno));
    return restrict_to(ruleset, err);
}
