// drm.c - the render nodes under /dev/dri: through them, and nothing else, a program reaches a GPU.
//
// For each: which PCI device stands behind it, whose it is, and, when asked, whether it opens and
// which driver answers. Opening wakes a sleeping GPU: only the engine thread and `tawny doctor`
// ask.
#include "survey.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

// The kernel's interface, of which older systems have no headers (drm.h, virtgpu_drm.h of Linux).
struct drm_version {
    int major, minor, patch;
    size_t n_name;
    char *name;
    size_t n_date;
    char *date;
    size_t n_text;
    char *text;
};
struct virtgpu_getparam {
    uint64_t param, value; // value: an address
};
#define DRM_VERSION _IOWR('d', 0x00, struct drm_version)
#define VIRTGPU_GETPARAM _IOWR('d', 0x43, struct virtgpu_getparam)
enum {
    SUPPORTED_CAPSETS = 7, // the parameter: a bit for each
    CAPSET_VENUS = 4,      // virtio specification 1.3, section 5.7.6.8
};

// "0000:c5:00.0"
static bool is_slot(const char *text, size_t n)
{
    static const char shape[] = "hhhh:hh:hh.h";
    if (n != sizeof(shape) - 1)
        return false;
    for (size_t i = 0; i < n; i++) {
        bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
        if (shape[i] == 'h' ? !hex : text[i] != shape[i])
            return false;
    }
    return true;
}

// sysfs links a node to its place in the tree of devices; the PCI device is the last slot in it.
static void find_slot(struct drm_node *node, const char *root, const char *name)
{
    char link[400], target[512];
    snprintf(link, sizeof(link), "%s/sys/dev/char/%u:%u", root, node->major, node->minor);
    ssize_t n = node->device ? readlink(link, target, sizeof(target) - 1) : -1;
    if (n <= 0) {
        snprintf(link, sizeof(link), "%s/sys/class/drm/%.40s", root, name);
        n = readlink(link, target, sizeof(target) - 1);
    }
    target[n > 0 ? n : 0] = 0;
    for (const char *at = target; *at;) {
        size_t part = strcspn(at, "/");
        if (is_slot(at, part))
            snprintf(node->slot, sizeof(node->slot), "%.*s", (int)part, at);
        at += part;
        at += *at == '/';
    }
}

static bool offers_venus(int fd)
{
    int capsets = 0;
    struct virtgpu_getparam get = {.param = SUPPORTED_CAPSETS,
                                   .value = (uint64_t)(uintptr_t)&capsets};
    return ioctl(fd, VIRTGPU_GETPARAM, &get) == 0 && (capsets >> CAPSET_VENUS & 1);
}

static void try_open(struct drm_node *node, const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    node->error = fd < 0 ? errno : 0;
    if (fd < 0)
        return;
    struct drm_version version = {.n_name = sizeof(node->driver) - 1, .name = node->driver};
    if (ioctl(fd, DRM_VERSION, &version) != 0)
        node->driver[0] = 0;
    else if (strcmp(node->driver, "virtio_gpu") == 0)
        node->venus = offers_venus(fd);
    close(fd);
}

static bool look_at(struct drm_node *node, const char *root, const char *name, bool open_it)
{
    char path[400];
    struct stat info;
    snprintf(node->path, sizeof(node->path), "/dev/dri/%.40s", name);
    snprintf(path, sizeof(path), "%s%s", root, node->path);
    if (stat(path, &info) != 0)
        return false;
    node->device = S_ISCHR(info.st_mode);
    node->major = node->device ? major(info.st_rdev) : 0;
    node->minor = node->device ? minor(info.st_rdev) : 0;
    node->uid = info.st_uid;
    node->gid = info.st_gid;
    node->mode = info.st_mode & 07777;
    node->error = faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) == 0 ? 0 : errno;
    find_slot(node, root, name);
    if (open_it)
        try_open(node, path);
    return true;
}

static int compare(const void *left, const void *right)
{
    const struct drm_node *a = left, *b = right;
    return strcmp(a->path, b->path);
}

void drm_nodes(struct drm_nodes *out, const char *root, bool open_them)
{
    static const char render[] = "renderD";
    char path[300];
    *out = (struct drm_nodes){.opened = open_them};
    snprintf(path, sizeof(path), "%s/dev/dri", root);
    DIR *dir = opendir(path);
    if (!dir) {
        out->error = errno;
        return;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strncmp(entry->d_name, "card", 4) == 0)
            out->n_cards++;
        if (strncmp(entry->d_name, render, sizeof(render) - 1) != 0 || out->n >= DRM_NODES)
            continue;
        struct drm_node node = {0};
        if (look_at(&node, root, entry->d_name, open_them))
            out->node[out->n++] = node;
    }
    closedir(dir);
    qsort(out->node, (size_t)out->n, sizeof(out->node[0]), compare);
}

const struct drm_node *drm_node_of(const struct drm_nodes *nodes, const char *slot)
{
    const struct drm_node *unknown = NULL;
    for (int32_t i = 0; i < nodes->n; i++) {
        if (strcmp(nodes->node[i].slot, slot) == 0)
            return &nodes->node[i];
        if (!nodes->node[i].slot[0] && !unknown)
            unknown = &nodes->node[i]; // sysfs is not to be had: it may be the one
    }
    return unknown;
}
