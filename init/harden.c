/* harden.c - what the kernel refuses from the start, and from when everything has been found.
 *
 * The engine is one ordinary user without rights, the only one there is; these settings are for the
 * day when it was taken over, and for the day after that, when somebody is root.
 */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* Each with its reason; a missing one is said once (kernel configurations differ). */
static const struct {
    const char *path, *value;
} sysctls[] = {
    {"kernel/modprobe", ""},           // no helper process: module.c loads modules
    {"kernel/core_pattern", ""},       // nor one for core dumps, of which there are none
    {"kernel/printk_devkmsg", "on\n"}, // our own lines are not to be rate-limited
    {"kernel/panic", "10"},            // a dead kernel restarts by itself
    {"kernel/panic_on_oops", "0"},  // a driver's oops ends a child, and the watchdog sees the rest
    {"kernel/dmesg_restrict", "0"}, // the doctor tells what the GPU's driver said in it ...
    {"kernel/kptr_restrict", "2"},  // ... without the kernel's addresses
    {"kernel/sysrq", "0"},          // a keyboard at the box is not a root shell
    // large parts of the kernel that nothing here asks for, and that were broken often
    {"kernel/unprivileged_bpf_disabled", "1"}, // until the next start, for root too
    {"net/core/bpf_jit_harden", "2"},
    {"user/max_user_namespaces", "0"}, // whoever makes one is root in it, and near to much code
    {"kernel/io_uring_disabled", "2"},
    {"kernel/perf_event_paranoid", "3"},
    {"vm/unprivileged_userfaultfd", "0"}, // makes races in the kernel easy to win
    {"kernel/kexec_load_disabled", "1"},  // no other kernel without a restart
    {"dev/tty/ldisc_autoload", "0"},
    {"dev/tty/legacy_tiocsti", "0"},
    // no process looks into another
    {"kernel/yama/ptrace_scope", "3"},
    {"kernel/randomize_va_space", "2"},
    {"vm/mmap_min_addr", "65536"},
    // files of others are no traps
    {"fs/protected_hardlinks", "1"},
    {"fs/protected_symlinks", "1"},
    {"fs/protected_fifos", "2"},
    {"fs/protected_regular", "2"},
    {"fs/suid_dumpable", "0"},
    // the network: no router, and it is told its routes by nobody but DHCP and routers' adverts
    {"net/ipv4/conf/all/accept_redirects", "0"},
    {"net/ipv4/conf/default/accept_redirects", "0"},
    {"net/ipv6/conf/all/accept_redirects", "0"},
    {"net/ipv6/conf/default/accept_redirects", "0"},
    {"net/ipv4/conf/all/secure_redirects", "0"},
    {"net/ipv4/conf/all/send_redirects", "0"},
    {"net/ipv4/conf/all/accept_source_route", "0"},
    {"net/ipv6/conf/all/accept_source_route", "0"},
    {"net/ipv4/icmp_echo_ignore_broadcasts", "1"},
    {"net/ipv4/tcp_syncookies", "1"},
    {"net/ipv4/tcp_rfc1337", "1"},
    {"net/ipv4/ip_unprivileged_port_start", "1024"}, // the engine's are opened by PID 1
    {"net/ipv4/conf/default/arp_notify", "1"},       // announce an address the moment it is set
    {"net/ipv4/tcp_slow_start_after_idle", "0"},     // answers stream in bursts
    {"net/core/somaxconn", "1024"},
};

enum status apply_sysctls(struct err *err)
{
    enum status worst = OK;
    char path[128], missing[160] = "";
    size_t n = 0;
    struct err why;

    for (size_t i = 0; i < sizeof(sysctls) / sizeof(*sysctls); i++) {
        snprintf(path, sizeof(path), "/proc/sys/%s", sysctls[i].path);
        if (write_file(path, sysctls[i].value[0] ? sysctls[i].value : "\n", &why) != OK &&
            n < sizeof(missing)) {
            n += (size_t)snprintf(missing + n, sizeof(missing) - n, " %s", sysctls[i].path);
            worst = NOT_FOUND;
        }
    }
    return worst == OK ? OK : err_set(err, worst, "this kernel has no, or refuses,%s", missing);
}

/* What of the hardening that the image counts on is not there: for the console, at each start. */
enum status check_hardening(struct err *err)
{
    char text[256];

    if (read_file("/sys/kernel/security/lockdown", text, sizeof(text)) > 0 &&
        strstr(text, "[none]")) {
        return err_set(err, UNSUPPORTED,
                       "the kernel is not locked down (lockdown= is missing on its command line)");
    }
    if (read_file("/sys/kernel/security/lsm", text, sizeof(text)) > 0 && !strstr(text, "landlock"))
        return err_set(err, UNSUPPORTED,
                       "this kernel has no Landlock: the engine's files are only "
                       "kept from others by their owners");
    return OK;
}

/* ---- what is open ---- */

/* Of the text of /proc/net/tcp and its like: the ports that wait for strangers. A line:
 *   sl: LOCAL:PORT REMOTE:PORT STATE ... in hexadecimal; 0A listens, 07 is a UDP socket's. */
int open_ports(const char *text, bool udp, uint16_t *out, int n, int most)
{
    for (const char *at = strchr(text, '\n'); at && *++at; at = strchr(at, '\n')) {
        const char *end = strchr(at, '\n'), *colon = strchr(at, ':');
        unsigned long port, other;
        char *rest;

        colon = colon ? strchr(colon + 1, ':') : NULL; // behind the local address
        if (!colon || (end && colon > end))
            continue;
        port = strtoul(colon + 1, &rest, 16);
        const char *remote = strchr(rest, ':');
        if (!remote || (end && remote > end))
            continue;
        other = strtoul(remote + 1, &rest, 16);
        bool waits = strtoul(rest, NULL, 16) == (udp ? 0x07u : 0x0au) && other == 0;
        for (int i = 0; i < n && waits; i++)
            waits = out[i] != port;
        if (waits && port && n < most)
            out[n++] = (uint16_t)port;
    }
    return n;
}

void say_ports(void)
{
    static char text[65536];
    static const char *const files[2][2] = {{"/proc/net/tcp", "/proc/net/tcp6"},
                                            {"/proc/net/udp", "/proc/net/udp6"}};
    char told[2][200] = {"", ""};

    for (int kind = 0; kind < 2; kind++) {
        uint16_t port[30];
        int n = 0;
        for (int six = 0; six < 2; six++)
            if (read_file(files[kind][six], text, sizeof(text)) > 0)
                n = open_ports(text, kind == 1, port, n, 30);
        for (int i = 0; i < n; i++) {
            size_t at = strlen(told[kind]);
            snprintf(told[kind] + at, sizeof(told[kind]) - at, "%u ", port[i]);
        }
    }
    say("ports", "tcp %sudp %sare open to the network", told[0], told[1]);
}

/* ---- the engine's share ---- */

#define GROUP "/sys/fs/cgroup/engine"
#define KEPT_BYTES (64ull << 20) // of the memory, and a thirty-second: the kernel's and PID 1's

/* Memory of a GPU is not counted here, only what the engine has of its own: should its plan be
 * wrong, it is the engine that ends, before the kernel looks for somebody else. */
void cgroup_make(void)
{
    struct sysinfo info;
    struct err err;
    char text[32];

    err.text[0] = 0;
    if (write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids", &err) != OK ||
        (mkdir(GROUP, 0755) && errno != EEXIST) || sysinfo(&info)) {
        complain("kernel", "the engine's memory is not limited: %s",
                 err.text[0] ? err.text : strerror(errno));
        return;
    }
    uint64_t all = (uint64_t)info.totalram * info.mem_unit;
    snprintf(text, sizeof(text), "%llu", (unsigned long long)(all - all / 32 - KEPT_BYTES));
    (void)write_file(GROUP "/memory.max", text, &err);
    (void)write_file(GROUP "/pids.max", "2048", &err);
}

void cgroup_enter(void)
{
    struct err err;

    (void)write_file(GROUP "/cgroup.procs", "0", &err);
}

/* For good, until the machine restarts. */
enum status modules_close(struct err *err)
{
    return write_file("/proc/sys/kernel/modules_disabled", "1", err);
}
