/* uevent.c - what the kernel says about devices, and the walk over those that are there already.
 *
 * A message is "add@/devices/..." followed by NUL-separated KEY=VALUE strings. The netlink socket
 * is opened BEFORE the walk, so that nothing falls between the two; a device seen twice does no
 * harm. Only the kernel (netlink port 0) is listened to.
 */
#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static const char *after(const char *s, const char *key)
{
    size_t n = strlen(key);
    return strncmp(s, key, n) == 0 ? s + n : NULL;
}

enum status uevent_parse(struct uevent *u, const char *msg, size_t len)
{
    static const struct {
        const char *key;
        size_t offset;
    } keys[] = {
        {"ACTION=", offsetof(struct uevent, action)},
        {"SUBSYSTEM=", offsetof(struct uevent, subsystem)},
        {"DEVNAME=", offsetof(struct uevent, devname)},
        {"DEVTYPE=", offsetof(struct uevent, devtype)},
        {"MODALIAS=", offsetof(struct uevent, modalias)},
        {"DISK_MEDIA_CHANGE=", offsetof(struct uevent, media)},
    };

    *u = (struct uevent){"", "", "", "", "", ""};
    if (!len || msg[len - 1] != 0)
        return BAD_INPUT; // the last string must end
    for (const char *s = msg; s < msg + len; s += strlen(s) + 1) {
        for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
            const char *value = after(s, keys[i].key);
            if (value)
                memcpy((char *)u + keys[i].offset, &value, sizeof(value));
        }
    }
    return *u->action ? OK : BAD_INPUT;
}

static void dispatch(const struct uevent *u)
{
    bool is_block = strcmp(u->subsystem, "block") == 0;

    if (is_block && strcmp(u->action, "remove") == 0)
        stick_removed(u);
    if (strcmp(u->action, "add") != 0 && strcmp(u->action, "change") != 0)
        return;
    if (*u->modalias)
        module_want_alias(u->modalias);
    if (is_block) {
        disk_added(u);
        stick_added(u);
    } else if (strcmp(u->subsystem, "input") == 0) {
        power_added(u);
    } else if (strcmp(u->subsystem, "watchdog") == 0) {
        watchdog_added(u);
    } else {
        dev_added(u);
    }
}

static void arrived(int fd, void *ctx)
{
    char msg[8192];
    struct uevent u;
    struct sockaddr_nl from;
    (void)ctx;

    for (;;) {
        socklen_t from_len = sizeof(from);
        ssize_t n =
            recvfrom(fd, msg, sizeof(msg), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
        if (n < 0 && errno == ENOBUFS) {
            struct err err;
            (void)uevent_coldplug(&err); // announcements were lost: look again
            continue;
        }
        if (n <= 0)
            return;
        if (from.nl_pid == 0 && uevent_parse(&u, msg, (size_t)n) == OK)
            dispatch(&u);
    }
}

enum status uevent_open(struct err *err)
{
    struct sockaddr_nl here = {.nl_family = AF_NETLINK, .nl_groups = 1};
    int bytes = 1 << 20;
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here))) {
        return err_set(err, IO_ERROR,
                       "device announcements cannot be received (%s): only devices "
                       "present now will work",
                       strerror(errno));
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
    /* A card that is put into a reader that is there is no news unless the kernel looks for it. */
    (void)write_file("/sys/module/block/parameters/events_dfl_poll_msecs", "3000", err);
    loop_add(fd, arrived, NULL);
    return OK;
}

/* Calls each(path) for every entry of a directory. */
static int for_each_entry(const char *dir, void (*each)(const char *path))
{
    char path[900];
    struct dirent *e;
    int n = 0;
    DIR *d = opendir(dir);

    while (d && (e = readdir(d))) {
        if (e->d_name[0] != '.') {
            n++;
            if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name) < sizeof(path))
                each(path);
        }
    }
    if (d)
        closedir(d);
    return n;
}

static void device_alias(const char *device)
{
    char path[920], modalias[1024];

    snprintf(path, sizeof(path), "%s/modalias", device);
    if (read_file(path, modalias, sizeof(modalias)) > 0) {
        modalias[strcspn(modalias, "\n")] = 0;
        module_want_alias(modalias);
    }
}

static void bus_aliases(const char *bus)
{
    char path[920];
    snprintf(path, sizeof(path), "%s/devices", bus);
    for_each_entry(path, device_alias);
}

static void class_device(const char *device)
{
    char path[920], text[2048], subsystem[64];
    struct uevent u;

    snprintf(path, sizeof(path), "%s/uevent", device);
    ssize_t n = read_file(path, text + 11, sizeof(text) - 11);
    if (n < 0)
        return;
    memcpy(text, "ACTION=add\n", 11);
    n += 11;
    for (ssize_t i = 0; i < n; i++)
        text[i] = text[i] == '\n' ? 0 : text[i];
    if (uevent_parse(&u, text, (size_t)n + (text[n - 1] ? 1 : 0)) == OK) {
        const char *class = device + strlen("/sys/class/"); // not in the uevent file
        snprintf(subsystem, sizeof(subsystem), "%.*s", (int)strcspn(class, "/"), class);
        u.subsystem = subsystem;
        dispatch(&u);
    }
}

enum status uevent_coldplug(struct err *err)
{
    static const char *const classes[] = {"block", "input", "drm", "watchdog", "kfd"};
    char path[64];

    if (!for_each_entry("/sys/bus", bus_aliases))
        return err_set(err, NOT_FOUND, "/sys/bus is empty: no driver can be chosen");
    for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
        snprintf(path, sizeof(path), "/sys/class/%s", classes[i]);
        for_each_entry(path, class_device);
    }
    return OK;
}
