// fake_root.h - a folder with as much of /sys, /dev, /proc and /etc in it as a test wants the code
// to see: what stands in for another machine.
#pragma once

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char fake_root[64];

static inline void fake_remove(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        char inner[1024];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        if (entry->d_type == DT_DIR)
            fake_remove(inner);
        else
            unlink(inner);
    }
    if (dir)
        closedir(dir);
    rmdir(path);
}

static inline void fake_begin(void)
{
    if (fake_root[0])
        fake_remove(fake_root);
    snprintf(fake_root, sizeof(fake_root), "/tmp/tawny-fake-XXXXXX");
    if (!mkdtemp(fake_root))
        abort();
}

static inline void fake_end(void)
{
    fake_remove(fake_root);
    fake_root[0] = 0;
}

// fake_root + path, with all folders above it.
static inline const char *fake_path(const char *path)
{
    static char full[1024];
    snprintf(full, sizeof(full), "%s%s", fake_root, path);
    for (char *at = full + strlen(fake_root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = 0;
        mkdir(full, 0755);
        *at = '/';
    }
    return full;
}

static inline void fake_file(const char *path, const char *text)
{
    FILE *file = fopen(fake_path(path), "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        abort();
}

static inline void fake_link(const char *path, const char *target)
{
    const char *full = fake_path(path);
    unlink(full);
    if (symlink(target, full) != 0)
        abort();
}

static inline void fake_dir(const char *path)
{
    mkdir(fake_path(path), 0755);
}

// A display controller: ids as sysfs writes them, driver NULL: none is bound.
static inline void fake_pci(const char *slot, const char *class_code, const char *vendor,
                            const char *device, const char *driver)
{
    char path[200], target[200];
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/class", slot);
    fake_file(path, class_code);
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vendor", slot);
    fake_file(path, vendor);
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device", slot);
    fake_file(path, device);
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", slot);
    snprintf(target, sizeof(target), "../../../bus/pci/drivers/%s", driver ? driver : "");
    if (driver)
        fake_link(path, target);
}

// A render node that is a plain file, behind it the PCI device at slot.
static inline void fake_node(const char *name, const char *slot)
{
    char path[200], target[200];
    snprintf(path, sizeof(path), "/dev/dri/%s", name);
    fake_file(path, "");
    snprintf(path, sizeof(path), "/sys/class/drm/%s", name);
    snprintf(target, sizeof(target), "../../devices/pci0000:00/0000:00:08.1/%s/drm/%s", slot, name);
    fake_link(path, target);
}
