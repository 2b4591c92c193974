/* container.c - PID 1 where the kernel is somebody else's: LXC, Podman, Docker, systemd-nspawn.
 *
 * Modules, the clock, disks and the kernel's settings are the host's and are left alone; so is the
 * network, where the container begins with an address. What is ours there: the engine, its state
 * under /var/lib/tawny, and, in a container that has a network card and no address (Proxmox, LXC),
 * DHCP as on a machine.
 *
 * That this is a container is told by `container=` in our environment (systemd's container
 * interface), by the marks of managers that set none, or by a user namespace with mapped ids. We
 * write the name to /run/systemd/container, as that interface asks of PID 1: the engine's doctor,
 * which may not read our environment, takes it from there. Which lines of which configuration mend
 * a GPU's node that the engine may not use is the doctor's to say; here the engine only gets the
 * groups that such nodes have.
 */
#include "container.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_GROUPS 16

static char kind[32];      // "": a machine
static bool network_given; // an address was there before us

/* ---- is it one ---- */

static bool has(const char *root, const char *path)
{
    char full[256];
    snprintf(full, sizeof(full), "%s%s", root, path);
    return access(full, F_OK) == 0;
}

/* True when all ids are what they are outside: "0 0 4294967295". */
static bool ids_are_whole(const char *root)
{
    char full[256], text[256], *end;

    snprintf(full, sizeof(full), "%s/proc/self/uid_map", root);
    if (read_file(full, text, sizeof(text)) <= 0)
        return true; // it cannot be seen
    unsigned long inside = strtoul(text, &end, 10), outside = strtoul(end, &end, 10);
    return inside == 0 && outside == 0 && strtoul(end, NULL, 10) >= UINT32_MAX - 1;
}

bool container_find(const char *named, const char *root, char out[32])
{
    char full[256], text[64];

    snprintf(full, sizeof(full), "%s/run/host/container-manager", root);
    if (named && named[0])
        snprintf(text, sizeof(text), "%s", named);
    else if (has(root, "/run/.containerenv"))
        snprintf(text, sizeof(text), "podman");
    else if (has(root, "/.dockerenv"))
        snprintf(text, sizeof(text), "docker");
    else if (read_file(full, text, sizeof(text)) <= 0)
        snprintf(text, sizeof(text), "%s", ids_are_whole(root) ? "" : "container");
    text[strcspn(text, "\n")] = 0;
    for (char *c = text; *c; c++) // it goes into a file and onto the console
        if (!(*c >= 'a' && *c <= 'z') && !(*c >= '0' && *c <= '9') && *c != '-')
            *c = '-';
    snprintf(out, 32, "%.31s", text);
    return out[0] != 0;
}

bool container_begin(void)
{
    return container_find(getenv("container"), "", kind);
}

bool in_container(void)
{
    return kind[0] != 0;
}

bool container_restarts(void)
{
    return strcmp(kind, "lxc") == 0 || strcmp(kind, "systemd-nspawn") == 0;
}

/* An address that we have from DHCP would be taken for the host's, and not be renewed. */
void container_begin_anew(bool engine_runs)
{
    char path[256];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

    if (engine_runs || !network_given || n <= 0)
        return;
    path[n] = 0;
    execv(path, (char *[]){path, NULL});
    complain("power", "%s could not begin anew: %s", path, strerror(errno));
    log_drain();
}

void container_hostname(const char *node, char out[64])
{
    char name[64];

    if (conf_hostname(node, strcspn(node, "."), name) && strcmp(name, "localhost") != 0)
        memcpy(out, name, sizeof(name));
}

/* ---- its file systems and settings ---- */

static bool is_empty(const char *path)
{
    struct dirent *e;
    bool empty = true;
    DIR *d = opendir(path);

    while (d && (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            empty = false;
    if (d)
        closedir(d);
    return d && empty;
}

/* What the manager has not mounted and lets us mount. Where it does not, a folder does as well. */
enum status container_mounts(struct err *err)
{
    umask(022);
    if (!has("", "/proc/self") && mount("proc", "/proc", "proc", MOUNT_SAFE, NULL)) {
        return err_set(err, IO_ERROR, "/proc is not mounted, and may not be from in here: %s",
                       strerror(errno));
    }
    if (is_empty("/run"))
        (void)mount("tmpfs", "/run", "tmpfs", MOUNT_SAFE, "mode=0755,size=25%");
    if (is_empty("/tmp"))
        (void)mount("tmpfs", "/tmp", "tmpfs", MOUNT_SAFE, "mode=1777,size=25%");
    mkdir("/run/systemd", 0755);
    if (replace_file("/run/systemd/container", kind, strlen(kind), 0644, err) != OK)
        return IO_ERROR;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        close(null);
    }
    return OK;
}

/* ---- the network ---- */

/* An address that others can reach: not of lo, not one that every card has of itself. */
static bool reachable(const struct ifaddrs *a, char text[INET6_ADDRSTRLEN])
{
    if (!a->ifa_addr || (a->ifa_flags & IFF_LOOPBACK))
        return false;
    if (a->ifa_addr->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)a->ifa_addr;
        return inet_ntop(AF_INET, &in->sin_addr, text, INET6_ADDRSTRLEN);
    }
    if (a->ifa_addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const void *)a->ifa_addr;
        return !IN6_IS_ADDR_LINKLOCAL(&in->sin6_addr) &&
               inet_ntop(AF_INET6, &in->sin6_addr, text, INET6_ADDRSTRLEN);
    }
    return false;
}

static int each_address(void (*each)(const char *nic, const char *text))
{
    struct ifaddrs *all, *a;
    char text[INET6_ADDRSTRLEN];
    int n = 0;

    if (getifaddrs(&all))
        return 0;
    for (a = all; a; a = a->ifa_next) {
        if (reachable(a, text)) {
            n++;
            each(a->ifa_name, text);
        }
    }
    freeifaddrs(all);
    return n;
}

static void say_given(const char *nic, const char *text)
{
    say("net", "%s has %s, set by the host", nic, text);
}

static void say_url(const char *nic, const char *text)
{
    bool six = strchr(text, ':');
    (void)nic;
    say("ready",
        "open https://%s%s%s/ in a browser (or the host's own address, where it hands "
        "ports on)",
        six ? "[" : "", text, six ? "]" : "");
}

bool container_network_given(void)
{
    return network_given;
}

void container_say_urls(void)
{
    (void)each_address(say_url);
}

static bool has_card(void)
{
    struct if_nameindex *all = if_nameindex();
    bool found = false;

    for (struct if_nameindex *i = all; i && i->if_index; i++)
        found = found || strcmp(i->if_name, "lo") != 0;
    if (all)
        if_freenameindex(all);
    return found;
}

enum status container_network(struct err *err)
{
    network_given = each_address(say_given) > 0;
    if (network_given)
        return OK;
    if (!has_card()) {
        network_given = true; // nothing here is ours to set up
        return err_set(err, NOT_FOUND, "this container has no network card (%s)",
                       strcmp(kind, "lxc") == 0 ? "Proxmox: pct set CTID --net0 "
                                                  "name=eth0,bridge=vmbr0,type=veth"
                                                : "podman run --network host");
    }
    return net_open(err);
}

/* ---- state and groups ---- */

static bool give_folder(const char *path, mode_t mode)
{
    if (mkdir(path, mode) && errno != EEXIST)
        return false;
    if (geteuid() != 0)
        return access(path, W_OK) == 0;
    return chown(path, ENGINE_UID, ENGINE_GID) == 0 || errno == EINVAL; // EINVAL: no such id here
}

const char *container_state(void)
{
    mkdir("/run/user", 0755);
    (void)give_folder(RUNTIME_DIR, 0700);
    mkdir("/var", 0755);
    mkdir("/var/lib", 0755);
    if (give_folder(STATE_IN_CONTAINER, 0700) && give_folder(STATE_IN_CONTAINER "/models", 0755))
        return STATE_IN_CONTAINER;
    complain("data", "%s cannot be written (%s): give the container a volume there",
             STATE_IN_CONTAINER, strerror(errno));
    return STATE_IN_MEMORY;
}

static int add_group(gid_t *groups, int n, int most, gid_t group)
{
    for (int i = 0; i < n; i++)
        if (groups[i] == group)
            return n;
    if (n < most)
        groups[n++] = group;
    return n;
}

/* A node that is its group's to use, of a group that exists in here and is not root's. */
static int add_group_of(const char *path, gid_t *groups, int n, int most)
{
    struct stat st;

    if (stat(path, &st) || !S_ISCHR(st.st_mode) || (st.st_mode & 0060) != 0060 || st.st_gid == 0 ||
        st.st_gid == NOBODY)
        return n;
    return add_group(groups, n, most, st.st_gid);
}

int container_groups(const char *root, gid_t *groups, int most)
{
    char folder[200], path[500];
    struct dirent *e;
    int n = add_group(groups, 0, most, GROUP_VIDEO);

    n = add_group(groups, n, most, GROUP_RENDER);
    snprintf(folder, sizeof(folder), "%s/dev/dri", root);
    DIR *d = opendir(folder);
    while (d && (e = readdir(d))) {
        snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
        n = add_group_of(path, groups, n, most);
    }
    if (d)
        closedir(d);
    snprintf(path, sizeof(path), "%s/dev/kfd", root);
    return add_group_of(path, groups, n, most);
}

bool container_keeps_groups(void)
{
    gid_t groups[64];
    int n = getgroups(64, groups);

    for (int i = 0; i < n; i++)
        if (groups[i] == NOBODY)
            return true;
    return false;
}
