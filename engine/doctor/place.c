// place.c - where this process runs: which kind of container, which user and groups, which kernel.
//
// A container is known by the marks that its manager leaves; one that leaves none counts as a
// machine. Ids are those seen inside: in a user namespace the same group has another number
// outside, and one that is not mapped shows as the overflow id (65534).
#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

// ---- reading ------------------------------------------------------------------------------------

bool place_read(const struct place *place, const char *path, char *out, size_t size)
{
    char full[600];
    snprintf(full, sizeof(full), "%s%s", place->root, path);
    out[0] = 0;
    int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return false;
    size_t n = 0;
    for (ssize_t got = 1; got > 0 && n < size - 1; n += got > 0 ? (size_t)got : 0)
        got = read(fd, out + n, size - 1 - n);
    close(fd);
    out[n] = 0;
    return true;
}

bool place_has(const struct place *place, const char *path)
{
    char full[600];
    snprintf(full, sizeof(full), "%s%s", place->root, path);
    return access(full, F_OK) == 0;
}

// ---- groups -------------------------------------------------------------------------------------

bool place_in_group(const struct place *place, uint32_t gid)
{
    for (int32_t i = 0; i < place->n_groups; i++)
        if (place->group[i] == gid)
            return true;
    return false;
}

// The line of a group(5) or passwd(5) file, "render:x:110:tawny", whose field `at` (0: name, 2:
// number) is `wanted`; text is cut into lines on the way. NULL: none.
static char *group_line(char *text, int at, const char *wanted)
{
    for (char *line = text; *line;) {
        char *end = line + strcspn(line, "\n"), *next = *end ? end + 1 : end, *field = line;
        *end = 0;
        for (int i = 0; i < at && field; i++) {
            field = strchr(field, ':');
            field = field ? field + 1 : NULL;
        }
        size_t n = field ? strcspn(field, ":") : 0;
        if (field && n == strlen(wanted) && memcmp(field, wanted, n) == 0)
            return line;
        line = next;
    }
    return NULL;
}

const char *place_group_name(const struct place *place, uint32_t gid, char out[32])
{
    static const size_t cap = 65536;
    char number[16], *text = mem_alloc(cap), *line = NULL;
    snprintf(number, sizeof(number), "%u", gid);
    snprintf(out, 32, "%u", gid);
    if (place_read(place, "/etc/group", text, cap))
        line = group_line(text, 2, number);
    if (line)
        snprintf(out, 32, "%.*s", (int)strcspn(line, ":"), line);
    free(text);
    return out;
}

bool place_group_find(const struct place *place, const char *name, uint32_t *gid)
{
    static const size_t cap = 65536;
    char *text = mem_alloc(cap), *line = NULL;
    if (place_read(place, "/etc/group", text, cap))
        line = group_line(text, 0, name);
    char *number = line ? strchr(line, ':') : NULL;
    number = number ? strchr(number + 1, ':') : NULL;
    if (number)
        *gid = (uint32_t)strtoul(number + 1, NULL, 10);
    free(text);
    return number;
}

bool place_list_has(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; at && *at;) {
        size_t word = strcspn(at, ",");
        if (n && word == n && memcmp(at, name, n) == 0)
            return true;
        at += word + (at[word] == ',');
    }
    return false;
}

bool place_group_lists_us(const struct place *place, uint32_t gid, char user[64])
{
    static const size_t cap = 65536;
    char number[16], *text = mem_alloc(cap), *line = NULL;
    user[0] = 0;
    snprintf(number, sizeof(number), "%u", place->uid);
    if (place_read(place, "/etc/passwd", text, cap))
        line = group_line(text, 2, number);
    if (line)
        snprintf(user, 64, "%.*s", (int)strcspn(line, ":"), line);
    snprintf(number, sizeof(number), "%u", gid);
    line = place_read(place, "/etc/group", text, cap) ? group_line(text, 2, number) : NULL;
    const char *members = line ? strrchr(line, ':') : NULL;
    bool listed = members && place_list_has(members + 1, user);
    free(text);
    return listed;
}

// Our own, or, under another root, nobody's: tests say whose.
static void look_at_ids(struct place *out)
{
    gid_t groups[PLACE_GROUPS - 1];
    out->uid = geteuid();
    out->gid = getegid();
    out->group[out->n_groups++] = out->gid;
    int n = getgroups(PLACE_GROUPS - 1, groups);
    for (int i = 0; i < n; i++)
        if (groups[i] != out->gid)
            out->group[out->n_groups++] = groups[i];
    char text[2048], *at = text;
    out->overflow_gid = 65534;
    if (place_read(out, "/proc/sys/fs/overflowgid", text, sizeof(text)))
        out->overflow_gid = (uint32_t)strtoul(text, NULL, 10);
    (void)place_read(out, "/proc/self/gid_map", text, sizeof(text));
    while (*at && out->n_gid_maps < PLACE_MAPS) {
        struct id_map *map = &out->gid_map[out->n_gid_maps];
        char *end;
        map->inside = (uint32_t)strtoul(at, &end, 10);
        map->outside = (uint32_t)strtoul(end, &end, 10);
        map->count = (uint32_t)strtoul(end, &end, 10);
        if (end == at)
            break;
        out->n_gid_maps++;
        at = end + strspn(end, " \n");
    }
    out->mapped_ids =
        out->n_gid_maps > 0 && !(out->gid_map[0].inside == 0 && out->gid_map[0].outside == 0 &&
                                 out->gid_map[0].count >= UINT32_MAX - 1);
}

// ---- the kind of place --------------------------------------------------------------------------

static enum place_kind kind_named(const char *manager)
{
    static const struct {
        const char *name;
        enum place_kind kind;
    } known[] = {
        {"lxc", PLACE_LXC},         {"docker", PLACE_DOCKER}, {"podman", PLACE_PODMAN},
        {"kube", PLACE_KUBERNETES}, {"oci", PLACE_PODMAN},    {"systemd-nspawn", PLACE_NSPAWN},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (strncmp(manager, known[i].name, strlen(known[i].name)) == 0)
            return known[i].kind;
    return PLACE_CONTAINER;
}

// PID 1's environment holds container=NAME in most containers; root alone may read it.
static bool named_by_init(const struct place *place, char *name, size_t size)
{
    static const char key[] = "container=";
    char text[4096], full[400];
    snprintf(full, sizeof(full), "%s/proc/1/environ", place->root);
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    for (ssize_t at = 0; at < n; at += (ssize_t)strlen(text + at) + 1) {
        if (strncmp(text + at, key, sizeof(key) - 1) == 0) {
            snprintf(name, size, "%s", text + at + sizeof(key) - 1);
            return true;
        }
    }
    return false;
}

// LXC's containers see parts of /proc through lxcfs; so does their host, but elsewhere
// (/var/lib/lxcfs). A line of mountinfo: "95 85 0:47 /proc/cpuinfo /proc/cpuinfo rw - fuse.lxcfs
// ...".
static bool sees_lxcfs(char *mountinfo)
{
    for (char *line = mountinfo; *line;) {
        char *end = line + strcspn(line, "\n"), *next = *end ? end + 1 : end;
        *end = 0;
        if (strstr(line, "lxcfs") && strstr(line, " /proc/"))
            return true;
        line = next;
    }
    return false;
}

static enum place_kind kind_of(const struct place *place)
{
    char name[64], *text = mem_alloc(65536);
    enum place_kind kind = PLACE_MACHINE;
    if (place_has(place, "/var/run/secrets/kubernetes.io"))
        kind = PLACE_KUBERNETES;
    else if (place_has(place, "/run/.containerenv"))
        kind = PLACE_PODMAN;
    else if (place_has(place, "/.dockerenv"))
        kind = PLACE_DOCKER;
    else if ((place_read(place, "/run/systemd/container", name, sizeof(name)) && name[0]) ||
             (place_read(place, "/run/host/container-manager", name, sizeof(name)) && name[0]) ||
             named_by_init(place, name, sizeof(name)))
        kind = kind_named(name);
    else if (place_read(place, "/proc/self/mountinfo", text, 65536) && sees_lxcfs(text))
        kind = PLACE_LXC;
    else if (place_read(place, "/proc/1/cgroup", text, 65536) &&
             (strstr(text, "/docker") || strstr(text, "/kubepods") || strstr(text, "/lxc")))
        kind = strstr(text, "/docker")     ? PLACE_DOCKER
               : strstr(text, "/kubepods") ? PLACE_KUBERNETES
                                           : PLACE_LXC;
    free(text);
    return kind;
}

// "0::/system.slice/tawny.service" -> "tawny.service"
static void find_unit(struct place *out)
{
    char text[1024];
    if (!place_read(out, "/proc/self/cgroup", text, sizeof(text)))
        return;
    text[strcspn(text, "\n")] = 0;
    const char *slash = strrchr(text, '/');
    size_t n = slash ? strlen(slash + 1) : 0;
    static const char service[] = ".service";
    if (n > sizeof(service) && n < sizeof(out->unit) &&
        strcmp(slash + 1 + n - (sizeof(service) - 1), service) == 0 && !strstr(text, "/user@"))
        snprintf(out->unit, sizeof(out->unit), "%s", slash + 1);
}

static void look_at_machine(struct place *out)
{
    struct utsname name;
    char *text = mem_alloc(65536), *at;
    if (uname(&name) == 0)
        snprintf(out->release, sizeof(out->release), "%.63s", name.release);
    if (place_read(out, "/proc/sys/kernel/osrelease", text, 65536) && text[0])
        snprintf(out->release, sizeof(out->release), "%.*s", (int)strcspn(text, "\n"), text);
    (void)place_read(out, "/proc/cmdline", out->cmdline, sizeof(out->cmdline));
    out->cmdline[strcspn(out->cmdline, "\n")] = 0;
    if (place_read(out, "/proc/cpuinfo", text, 65536))
        out->virtual_machine = strstr(text, " hypervisor");
    if (place_read(out, "/proc/meminfo", text, 65536) && (at = strstr(text, "MemTotal:")) != NULL)
        out->memory_bytes = strtoull(at + strlen("MemTotal:"), NULL, 10) * 1024;
    free(text);
}

void place_look(struct place *out, const char *root)
{
    *out = (struct place){.root = root};
    out->proc = place_has(out, "/proc/self") || place_has(out, "/proc/cmdline");
    out->sys = place_has(out, "/sys/class") || place_has(out, "/sys/bus");
    out->dev = place_has(out, "/dev/null") || place_has(out, "/dev/dri");
    out->appliance = place_has(out, "/init") && place_has(out, "/usr/share/tawny/NOTICES") &&
                     !place_has(out, "/bin/sh");
    out->kind = kind_of(out);
    look_at_ids(out);
    look_at_machine(out);
    find_unit(out);
}

void place_text(const struct place *place, char *out, size_t size)
{
    static const char *const kinds[] = {
        [PLACE_MACHINE] = "",
        [PLACE_LXC] = "an LXC container (Proxmox's are these)",
        [PLACE_DOCKER] = "a Docker container",
        [PLACE_PODMAN] = "a Podman container",
        [PLACE_KUBERNETES] = "a Kubernetes pod",
        [PLACE_NSPAWN] = "a systemd-nspawn container",
        [PLACE_CONTAINER] = "a container",
    };
    const char *what = place->kind != PLACE_MACHINE ? kinds[place->kind]
                       : place->appliance
                           ? (place->virtual_machine ? "the image, in a virtual machine"
                                                     : "the image, on a machine")
                       : place->virtual_machine ? "a virtual machine"
                                                : "a machine";
    out[0] = 0;
    put(out, size, "%s, Linux %s, uid %u, groups", what, place->release, place->uid);
    for (int32_t i = 0; i < place->n_groups && i < 12; i++)
        put(out, size, " %u", place->group[i]);
    if (place->unit[0])
        put(out, size, ", %s", place->unit);
    if (place->mapped_ids)
        put(out, size, ", in a user namespace");
}

// ---- the kernel ---------------------------------------------------------------------------------

static bool same_name(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char left = a[i] == '-' ? '_' : a[i], right = b[i] == '-' ? '_' : b[i];
        if (left != right)
            return false;
    }
    return true;
}

const char *place_option(const struct place *place, const char *name, char out[256])
{
    const char *found = NULL;
    size_t n = strlen(name);
    for (const char *at = place->cmdline; *at;) {
        size_t word = strcspn(at, " ");
        if (word >= n && same_name(at, name, n) && (word == n || at[n] == '=')) {
            size_t skip = word == n ? n : n + 1;
            snprintf(out, 256, "%.*s", (int)(word - skip), at + skip);
            found = out;
        }
        at += word;
        at += strspn(at, " ");
    }
    return found;
}

bool place_kernel_at_least(const struct place *place, int32_t major, int32_t minor, int32_t patch)
{
    const int32_t wanted[] = {major, minor, patch};
    const char *at = place->release;
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        char *end;
        long number = strtol(at, &end, 10);
        if (end == at)
            return i > 0; // "7.2" has all of 7.2
        if (number != wanted[i])
            return number > wanted[i];
        at = *end == '.' ? end + 1 : end;
    }
    return true;
}
