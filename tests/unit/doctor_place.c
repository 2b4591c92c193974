// doctor_place.c - where a process runs, by the marks that containers leave, and what its kernel
// says: all from faked trees.
#include "../../engine/doctor/inside.h"
#include "check.h"
#include "fake_root.h"

#include <errno.h>

static struct place place;

static void look(void)
{
    place_look(&place, fake_root);
}

static void test_empty(void)
{
    char text[160];
    fake_begin();
    look();
    CHECK(!place.proc && !place.sys && !place.dev && !place.appliance && !place.virtual_machine);
    CHECK(place.kind == PLACE_MACHINE && place.n_gid_maps == 0 && !place.mapped_ids);
    CHECK(place.overflow_gid == 65534 && place.memory_bytes == 0 && !place.cmdline[0]);
    place_text(&place, text, sizeof(text));
    CHECK(strncmp(text, "a machine, Linux ", 17) == 0);
}

static void test_kinds(void)
{
    static const struct {
        const char *path, *text;
        enum place_kind kind;
    } marks[] = {
        {"/.dockerenv", "", PLACE_DOCKER},
        {"/run/.containerenv", "engine=\"podman-5.4.2\"\n", PLACE_PODMAN},
        {"/run/systemd/container", "lxc\n", PLACE_LXC},
        {"/run/systemd/container", "systemd-nspawn\n", PLACE_NSPAWN},
        {"/run/host/container-manager", "something new\n", PLACE_CONTAINER},
        {"/var/run/secrets/kubernetes.io/token", "", PLACE_KUBERNETES},
        {"/proc/self/mountinfo", "95 85 0:47 / /proc/cpuinfo rw - fuse.lxcfs lxcfs rw\n",
         PLACE_LXC},
        {"/proc/self/mountinfo",
         "90 1 0:9 / /proc rw - proc proc rw\n36 25 0:41 / /var/lib/lxcfs rw - fuse.lxcfs lxcfs "
         "rw\n",
         PLACE_MACHINE}, // a Proxmox host
        {"/proc/1/cgroup", "0::/docker/0123\n", PLACE_DOCKER},
        {"/proc/1/cgroup", "12:pids:/kubepods/burstable/pod1\n", PLACE_KUBERNETES},
        {"/proc/1/cgroup", "0::/init.scope\n", PLACE_MACHINE},
    };
    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        fake_begin();
        fake_file(marks[i].path, marks[i].text);
        look();
        if (!CHECK(place.kind == marks[i].kind))
            fprintf(stderr, "    %s: %d\n", marks[i].path, (int)place.kind);
    }
    fake_begin();
    FILE *file = fopen(fake_path("/proc/1/environ"), "w");
    static const char environment[] = "PATH=/bin\0container=lxc\0HOME=/";
    CHECK(file && fwrite(environment, 1, sizeof(environment), file) == sizeof(environment));
    fclose(file);
    look();
    CHECK(place.kind == PLACE_LXC);
    fake_begin();
    fake_file("/init", "");
    fake_file("/usr/share/tawny/NOTICES", "");
    look();
    CHECK(place.appliance);
    fake_file("/bin/sh", "");
    look();
    CHECK(!place.appliance);
}

static void test_ids(void)
{
    char name[32];
    uint32_t gid = 7;
    fake_begin();
    fake_file("/proc/self/gid_map", "         0          0 4294967295\n");
    look();
    CHECK(place.n_gid_maps == 1 && !place.mapped_ids);
    fake_file("/proc/self/gid_map", "0 100000 104\n104 105 1\n105 100105 65431\n");
    look();
    CHECK(place.n_gid_maps == 3 && place.mapped_ids);
    CHECK(place.gid_map[1].inside == 104 && place.gid_map[1].outside == 105 &&
          place.gid_map[1].count == 1);
    fake_file("/proc/self/gid_map", "nonsense\n");
    look();
    CHECK(place.n_gid_maps == 0);
    fake_file("/etc/group", "root:x:0:\nvideo:x:44:a,b\nrender:x:110:\nbroken\n:x\nlast:x:5");
    CHECK_TEXT(place_group_name(&place, 110, name), "render");
    CHECK_TEXT(place_group_name(&place, 5, name), "last");
    CHECK_TEXT(place_group_name(&place, 4, name), "4");
    CHECK(place_group_find(&place, "video", &gid) && gid == 44);
    CHECK(!place_group_find(&place, "rende", &gid) && gid == 44);
    CHECK(!place_group_find(&place, "broken", &gid) && gid == 44);
    CHECK(place_in_group(&place, getegid()));
    char user[64];
    CHECK(!place_group_lists_us(&place, 44, user) && !user[0]); // no /etc/passwd
    place.uid = 1000;
    fake_file("/etc/passwd", "root:x:0:0::/:\nb:x:1000:1000:B:/home/b:/bin/sh\n");
    CHECK(place_group_lists_us(&place, 44, user) && strcmp(user, "b") == 0);
    CHECK(!place_group_lists_us(&place, 110, user) && strcmp(user, "b") == 0);
    CHECK(!place_group_lists_us(&place, 7, user));
    CHECK(place_list_has("a,b", "b") && !place_list_has("ab,c", "b") && !place_list_has(NULL, "b"));
    CHECK(!place_list_has("a,,b", ""));
}

static void test_kernel(void)
{
    char value[256];
    fake_begin();
    fake_file("/proc/sys/kernel/osrelease", "7.2.3+deb14-amd64\n");
    fake_file("/proc/cmdline", "quiet amd_iommu=on ttm.pages-limit=5 amd_iommu=off nomodeset\n");
    fake_file("/proc/cpuinfo", "flags : fpu hypervisor lahf\n");
    fake_file("/proc/meminfo", "MemTotal:       131072000 kB\nMemFree: 1 kB\n");
    fake_file("/proc/self/cgroup", "0::/system.slice/tawny.service\n");
    look();
    CHECK(place.proc && place.virtual_machine && place.memory_bytes == 131072000ull * 1024);
    CHECK_TEXT(place.unit, "tawny.service");
    CHECK_TEXT(place.release, "7.2.3+deb14-amd64");
    CHECK_TEXT(place_option(&place, "amd_iommu", value), "off"); // the last one counts
    CHECK_TEXT(place_option(&place, "nomodeset", value), "");
    CHECK_TEXT(place_option(&place, "ttm.pages_limit", value), "5");
    CHECK(!place_option(&place, "amd", value));
    CHECK(place_kernel_at_least(&place, 7, 2, 3) && place_kernel_at_least(&place, 6, 18, 4));
    CHECK(!place_kernel_at_least(&place, 7, 2, 4) && !place_kernel_at_least(&place, 8, 0, 0));
    snprintf(place.release, sizeof(place.release), "6.18-rc3");
    CHECK(place_kernel_at_least(&place, 6, 18, 0) && !place_kernel_at_least(&place, 6, 19, 0));
    fake_file("/proc/self/cgroup", "0::/user.slice/user@1000.service/app.slice/x.service\n");
    look();
    CHECK_TEXT(place.unit, "");
}

static void test_log(void)
{
    struct kernel_log log;
    fake_begin();
    kernel_log_read(&log, fake_root);
    CHECK(log.error == ENOENT);
    fake_file(
        "/dev/kmsg",
        "6,1,5,-;Linux version 7.2.3\n"
        "4,2,6,-;amdgpu 0000:c5:00.0: Direct firmware load for amdgpu/gc_11_5_1_pfp.bin "
        "failed with error -2\n"
        " SUBSYSTEM=pci\n DEVICE=+pci:0000:c5:00.0;failed with error -5 amdgpu\n"
        "4,3,6,-;r8169 0000:01:00.0: Direct firmware load for rtl_nic/rtl8125.fw failed with "
        "error -2\n"
        "3,4,7,-;amdgpu 0000:c5:00.0: Direct firmware load for amdgpu/gc_11_5_1_me.bin failed "
        "with error -2\n"
        "3,5,8,-;amdgpu 0000:c5:00.0: amdgpu: Fatal error during GPU init\n"
        "3,6,9,-;usb 1-1: probe failed with error -71\n");
    kernel_log_read(&log, fake_root);
    CHECK(log.error == 0 && log.n_resets == 0);
    CHECK_TEXT(log.missing, "amdgpu/gc_11_5_1_pfp.bin");
    CHECK_TEXT(log.failure, "amdgpu 0000:c5:00.0: amdgpu: Fatal error during GPU init");
    CHECK_TEXT(log.reset, "");
    char *text = mem_alloc(300000);
    for (int i = 0; i < 2000; i++) // longer than any buffer, lines across the borders of reads
        snprintf(text + strlen(text), 200, "6,%d,1,-;a line of the kernel about nothing much %d\n",
                 i, i);
    snprintf(text + strlen(text), 200,
             "3,1,1,-;amdgpu 0000:c5:00.0: amdgpu: GPU reset begin!\n"
             "3,1,1,-;amdgpu 0000:c5:00.0: amdgpu: ring comp_1.0.0 timeout, signaled seq=1\n");
    fake_file("/dev/kmsg", text);
    kernel_log_read(&log, fake_root);
    CHECK(log.n_resets == 1 && strstr(log.reset, "comp_1.0.0 timeout") && !log.missing[0]);
    memset(text, 'x', 100000);
    memcpy(text, "6,1,1,-;", 8);
    text[100000] = 0;
    fake_file("/dev/kmsg", text);
    kernel_log_read(&log, fake_root);
    CHECK(log.error == 0 && !log.failure[0]);
    free(text);
}

int main(void)
{
    test_empty();
    test_kinds();
    test_ids();
    test_kernel();
    test_log();
    fake_end();
    return check_done("doctor_place");
}
