/* dev.c - owners and modes under /dev.
 *
 * devtmpfs makes every node for root only. The engine is an ordinary user in the groups video and
 * render, as on any Linux machine, and gets exactly the GPU nodes: card* for video, renderD* and
 * kfd for render, 0660.
 */
#include "init.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void give(const char *path, gid_t group)
{
    if (chown(path, 0, group) == 0)
        chmod(path, 0660);
}

static bool give_node(const char *devname)
{
    char path[128];

    snprintf(path, sizeof(path), "/dev/%s", devname);
    if (strncmp(devname, "dri/card", 8) == 0) {
        give(path, GROUP_VIDEO);
    } else if (strncmp(devname, "dri/renderD", 11) == 0) {
        give(path, GROUP_RENDER);
        return true;
    } else if (strcmp(devname, "kfd") == 0) {
        give(path, GROUP_RENDER);
    }
    return false;
}

void dev_added(const struct uevent *u)
{
    if (strcmp(u->subsystem, "drm") == 0 || strcmp(u->subsystem, "kfd") == 0)
        give_node(u->devname);
}

int dev_scan_gpu(void)
{
    char name[300];
    struct dirent *e;
    int n_render = 0;
    DIR *d = opendir("/dev/dri");

    while (d && (e = readdir(d))) {
        snprintf(name, sizeof(name), "dri/%s", e->d_name);
        n_render += give_node(name);
    }
    if (d)
        closedir(d);
    give_node("kfd");
    return n_render;
}
