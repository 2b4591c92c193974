/* init_container.c - by which marks PID 1 knows a container, and which groups its engine gets.
 */
#include "../../init/container.h"
#include "check.h"
#include "fake_root.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void test_kinds(void)
{
    static const struct {
        const char *named, *path, *text, *kind;
    } marks[] = {
        {NULL, NULL, "", ""},
        {"", NULL, "", ""},
        {"lxc", NULL, "", "lxc"},
        {"podman", "/.dockerenv", "", "podman"},
        {NULL, "/run/.containerenv", "", "podman"},
        {NULL, "/.dockerenv", "", "docker"},
        {NULL, "/run/host/container-manager", "systemd-nspawn\n", "systemd-nspawn"},
        {NULL, "/run/host/container-manager", "\x1b[2J Ab", "--2---b"},
        {NULL, "/proc/self/uid_map", "         0          0 4294967295\n", ""},
        {NULL, "/proc/self/uid_map", "         0     100000      65536\n", "container"},
        {NULL, "/proc/self/uid_map", "0 0 65536\n", "container"},
        {"a-name-that-is-far-too-long-to-be-one-of-a-manager", NULL, "",
         "a-name-that-is-far-too-long-to-"},
    };
    for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
        char kind[32] = "?";
        fake_begin();
        if (marks[i].path)
            fake_file(marks[i].path, marks[i].text);
        CHECK(container_find(marks[i].named, fake_root, kind) == (marks[i].kind[0] != 0));
        CHECK_TEXT(kind, marks[i].kind);
    }
}

static void node(const char *path, gid_t group, mode_t mode)
{
    fake_file("/dev/dri/.keep", "");
    unlink(fake_path(path));
    CHECK(mknod(fake_path(path), S_IFCHR | mode, makedev(226, 128)) == 0);
    CHECK(chown(fake_path(path), 0, group) == 0 && chmod(fake_path(path), mode) == 0);
}

static void test_groups(void)
{
    gid_t groups[16];

    fake_begin();
    CHECK(container_groups(fake_root, groups, 16) == 2);
    CHECK(groups[0] == GROUP_VIDEO && groups[1] == GROUP_RENDER);
    if (geteuid() != 0) {
        check_skip("groups of nodes", "only root makes device nodes");
        return;
    }
    node("/dev/dri/card0", GROUP_VIDEO, 0660);
    node("/dev/dri/renderD128", 104, 0660);
    node("/dev/dri/renderD129", 105, 0600);   // not its group's
    node("/dev/dri/renderD130", 0, 0660);     // root's
    node("/dev/dri/renderD131", 65534, 0660); // not mapped in here
    fake_file("/dev/dri/renderD132", "no device");
    node("/dev/kfd", 106, 0666);
    int n = container_groups(fake_root, groups, 16);
    CHECK(n == 4 && groups[2] == 104 && groups[3] == 106);
    CHECK(container_groups(fake_root, groups, 3) == 3); // no more than there is room for
}

static void test_hostname(void)
{
    static const struct {
        const char *node, *name;
    } names[] = {{"owl", "owl"},
                 {"Owl.example.org", "owl"},
                 {"4f0c1bd2aa31", "4f0c1bd2aa31"},
                 {"localhost.localdomain", "tawny"},
                 {"(none)", "tawny"},
                 {"", "tawny"},
                 {".owl", "tawny"},
                 {"an_owl", "tawny"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char name[64] = "tawny";
        container_hostname(names[i].node, name);
        CHECK_TEXT(name, names[i].name);
    }
}

int main(void)
{
    test_kinds();
    test_hostname();
    test_groups();
    return check_done("init_container");
}
