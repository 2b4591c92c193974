/* main.c - PID 1 of the appliance: the boot order, then supervision for ever.
 *
 * Read `in_machine` below from top to bottom: that is what happens after the kernel has started us
 * (`in_containers`: after a container's manager has). A
 * step that must wait for hardware answers WAIT and is asked again after every event, up to its
 * time; all that was begun earlier (drivers, links, DHCP, the power button) goes on meanwhile.
 *
 * A step that fails says what was wrong and what that means or what to do, and boot goes on: also a
 * required one, because a machine that is up and says why it is of no use beats one that is not up.
 * PID 1 never exits on a machine.
 */
#include "cloud.h"
#include "container.h"
#include "copies.h"
#include "init.h"
#include "ports.h"
#include "reset.h"
#include "screen.h"
#include "told.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MAX_WAIT_MS 90000 // whatever happens
#define NO_DEADLINE INT_MAX

static struct conf conf;
static const char *state_dir = STATE_IN_MEMORY;
static const char *conf_path = CONF_DEFAULT;
static const char *conf_read; // what the one that is being read is called

static enum status begin_log(struct err *err)
{
    struct utsname u;
    struct sysinfo info;
    enum status s = log_open(err);

    uname(&u);
    sysinfo(&info);
    say("init", "Linux %s, %s%s, %ld processors, %lu MB of memory", u.release,
        in_container()                           ? "a container"
        : access("/sys/firmware/efi", F_OK) == 0 ? "UEFI"
                                                 : "BIOS",
        in_container() ? "" : " firmware", sysconf(_SC_NPROCESSORS_ONLN),
        info.totalram * info.mem_unit / 1000000);
    return s;
}

static int64_t module_tick(int64_t now)
{
    (void)now;
    module_load();
    return INT64_MAX;
}

static enum status begin_loop(struct err *err)
{
    told_begin(TOLD_DIR);
    conf_defaults(&conf);
    loop_timer(module_tick);
    loop_timer(child_tick);
    loop_timer(stick_tick);
    loop_timer(net_tick);
    loop_timer(ntp_tick);
    loop_timer(engine_tick);
    loop_timer(ports_tick);
    loop_timer(update_tick);
    loop_timer(disk_tick);
    loop_timer(power_tick);
    loop_timer(watchdog_tick);
    loop_timer(screen_tick);
    loop_timer(log_tick);
    return loop_signals(err);
}

/* Wanted whatever the hardware: nobody announces a file system or the power button's events. */
static enum status want_modules(struct err *err)
{
    static const char *const always[] = {"ext4",     "vfat",          "nls_cp437", "nls_ascii",
                                         "nls_utf8", "nls_iso8859-1", "evdev",     "button"};
    enum status s = module_open(err);

    randomness_begin();
    for (size_t i = 0; s == OK && i < sizeof(always) / sizeof(*always); i++)
        module_want(always[i]);
    return s;
}

static enum status mount_data(struct err *err)
{
    enum status s = disk_data();

    if (s == OK) {
        state_dir = STATE_ON_DISK;
    } else if (s == WAIT && disk_check_runs()) {
        return err_set(err, disk_checking() ? WAIT : IO_ERROR,
                       "the data partition is still being checked: leave the machine on");
    } else if (s == WAIT) {
        err_set(err, WAIT,
                "no partition called " DATA_LABEL " was found (a disk to which the image was "
                "written has it)");
    } else {
        err_set(err, s, "the data partition cannot be used, for the reason above");
    }
    return s;
}

static bool told; // what is wrong in them

static void bad_line(void *ctx, int line, const char *what)
{
    (void)ctx;
    if (told)
        return;
    complain("settings", "line %d of %s: %s; init takes no notice of it", line, conf_read, what);
}

static enum status find_settings(struct err *err)
{
    enum status s = disk_esp();

    if (s == WAIT) { // without a data partition there has been time enough for one to appear
        return err_set(err, disk_data() == WAIT && !disk_esp_comes() ? NOT_FOUND : WAIT,
                       "no partition called " ESP_LABEL " was found");
    }
    if (s != OK)
        return err_set(err, s, "the partition " ESP_LABEL " cannot be read");
    if (!disk_esp_has_conf())
        return err_set(err, NOT_FOUND, "there is no tawny.conf on the partition " ESP_LABEL);
    conf_path = CONF_ON_ESP;
    return OK;
}

static enum status read_conf(struct conf *c, const char *path, const char *name, struct err *err)
{
    char *text;
    size_t len;
    enum status s = read_whole(path, 1 << 20, &text, &len, err);

    conf_read = name;
    if (s == OK) {
        conf_parse(c, text, len, bad_line, NULL);
        free(text);
    }
    return s;
}

static bool reset_over;

static void reset_ended(void *ctx, int code)
{
    (void)ctx;
    reset_over = true;
    if (code < 0)
        complain("reset", "ended with signal %d", -code);
}

/* Before anything is read that it may erase. No deadline: beside an engine that has begun anew it
 * would erase what that one has made. */
static enum status reset_in(const char *state, const char *file, struct err *err)
{
    static bool begun;
    static struct reset reset; // what the child reads

    reset = (struct reset){
        .state = state, .file = file, .writable = in_container() ? NULL : disk_esp_writable};
    if (!begun)
        begun = child_start("erasing", reset_run, reset_ended, &reset) || (reset_over = true);
    return reset_over ? OK : err_set(err, WAIT, "it is not over");
}

static enum status look_for_reset(struct err *err)
{
    if (in_container())
        return reset_in(STATE_IN_CONTAINER, RESET_IN_CONTAINER, err);
    if (disk_mounted()) // another disk's ESP says nothing about this one's data
        return reset_in(STATE_ON_DISK, disk_esp_beside_data() ? RESET_ON_ESP : NULL, err);
    return disk_esp() == OK ? reset_in(NULL, RESET_ON_ESP, err) : OK;
}

/* The settings that a hypervisor has laid on a disk of its own. */
static enum status read_cloud(struct err *err)
{
    if (cloud_ready() == OK)
        return OK;
    return err_set(err, WAIT, "a disk that may hold settings (cloud-init) could not be read");
}

static enum status keep_cloud_key(struct err *err)
{
    if (cloud_keep_key(state_dir) == OK)
        return OK;
    return err_set(err, WAIT, "the API key of the cloud-init disk could not be written");
}

/* Where nobody reaches the box any more, its console says which file has done that. */
static void say_reach(const struct conf *c)
{
    char names[CONF_CHANGED];

    conf_reach(c, names);
    if (names[0] && !told)
        say("net",
            "%s: set over the network (PUT /v1/settings), over what tawny.conf says; if nobody "
            "reaches this box any more: the line api-settings = no in tawny.conf leaves that out",
            names);
}

/* tawny.conf over what a hypervisor says, and over it what the engine's administrator set through
 * the API. That file is the engine's: whatever else it has made of it, no pipe is waited for. */
static enum status read_settings(struct conf *c, const char *conf_at, const char *kept_at,
                                 struct err *err)
{
    struct stat st;
    struct err why;

    cloud_apply(c);
    enum status s = read_conf(c, conf_at, conf_path, err);

    bool open = c->hot_plug; // what the owner closed the engine does not open
    if (lstat(kept_at, &st) != 0 || !S_ISREG(st.st_mode))
        return s;
    if (!c->api_settings) {
        if (!told)
            say("net", "what was set over the network (settings.conf) is left out, as "
                       "api-settings = no says");
        return s;
    }
    if (read_conf(c, kept_at, "settings.conf", &why) == OK)
        say_reach(c);
    else
        complain("settings", "%s; it is left out", why.text);
    c->hot_plug = c->hot_plug && open;
    return s;
}

/* In a container the host's choice of a name, unless ours is set. */
static enum status read_in_container(struct conf *c, struct err *err)
{
    struct utsname u;

    if (uname(&u) == 0)
        container_hostname(u.nodename, c->hostname);
    return read_settings(c, conf_path, STATE_IN_CONTAINER "/settings.conf", err);
}

/* What was changed since counts for the engine that is about to be started: so its ports do too.
 * What only we act on waits for our own start. */
static void take_ports(void)
{
    static struct conf now;
    char waits[CONF_CHANGED];
    struct err err;

    told = true;
    conf_defaults(&now);
    if ((in_container() ? read_in_container(&now, &err)
                        : read_settings(&now, COPY_OF_CONF, COPY_OF_SETTINGS, &err)) == OK) {
        conf_changed(&conf, &now,
                     !in_container()             ? CONF_MACHINE
                     : container_network_given() ? CONF_CONTAINER_WITH_NET
                                                 : CONF_CONTAINER,
                     waits);
        told_set(TOLD_BOX_WAITS, waits);
    }
    ports_want(&now);
}

static void look_again(void)
{
    if (in_container())
        take_ports();
    else
        copies_again(take_ports);
}

static bool looked(void)
{
    return in_container() || copies_ready(conf_path, state_dir) == OK;
}

static enum status copy_settings(struct err *err)
{
    if (copies_ready(conf_path, state_dir) == OK)
        return OK;
    return err_set(err, WAIT, "the settings could not be read");
}

static enum status name_host(struct err *err)
{
    enum status s = read_settings(&conf, COPY_OF_CONF, COPY_OF_SETTINGS, err);

    if (sethostname(conf.hostname, strlen(conf.hostname)))
        s = err_set(err, IO_ERROR, "the kernel refused the host name %s", conf.hostname);
    net_start(conf.hostname, &conf.net);
    ports_want(&conf);
    mdns_begin(conf.https, conf.ollama);
    ntp_begin(&conf.ntp);
    return s;
}

static enum status wait_for_gpus(struct err *err)
{
    int n_live, n_failed;

    if (module_gpus_ready() == WAIT)
        return err_set(err, WAIT, "a graphics driver is still starting");
    module_counts(&n_live, &n_failed);
    int n_render = dev_scan_gpu();
    say("drivers", "%d modules loaded, %d failed; %d GPU node%s to compute on", n_live, n_failed,
        n_render, n_render == 1 ? "" : "s");
    return OK;
}

static enum status start_engine(struct err *err)
{
    if (strcmp(state_dir, STATE_IN_MEMORY) == 0) {
        disk_give_up();
        disk_memory_state();
        bool kept = access(STATE_IN_MEMORY "/api-key", F_OK) == 0; // from a disk in a bad way
        complain("data", "%s", disk_fault());
        complain("data", "%s IN MEMORY ONLY: %s lost at power-off",
                 kept ? "WHAT CHANGES IN THIS RUN IS KEPT"
                      : "THE API KEY AND THE CERTIFICATE OF THIS RUN ARE KEPT",
                 kept ? "it is" : "they are");
    }
    if (!in_container())
        cgroup_make();
    engine_settings(look_again, looked);
    engine_start(state_dir, conf_path, conf.hostname);
    disk_after_start();
    return engine_running() ? OK : err_set(err, IO_ERROR, "the engine could not be started");
}

/* Last: what was there at the start has its drivers then. */
static enum status close_modules(struct err *err)
{
    if (conf.hot_plug)
        return OK;
    if (module_drivers_ready() == WAIT || module_gpus_ready() == WAIT)
        return err_set(err, WAIT, "a driver is still starting");
    if (stick_ready(now_ms()) == WAIT)
        return err_set(err, WAIT, "a USB stick is still starting");
    enum status s = modules_close(err);
    if (s == OK) {
        module_over();
        stick_over();
        say("hot-plug", "the kernel takes no drivers any more, as hot-plug = no says");
    }
    return s;
}

/* ---- in a container (container.c) ---- */

static enum status name_container(struct err *err)
{
    enum status s = read_in_container(&conf, err);
    ports_want(&conf);
    if (!container_network_given())
        net_start(conf.hostname, &conf.net);
    else if (conf.net.address.n || conf.net.gateway.n)
        complain("net", "address and gateway in the settings are left out: this container's "
                        "network is set by the host");
    return s;
}

static enum status start_in_container(struct err *err)
{
    state_dir = container_state();
    return start_engine(err);
}

static const struct step {
    const char *name;
    bool required;
    int wait_ms; // how long WAIT is accepted once drivers have loaded
    enum status (*run)(struct err *err);
    const char *otherwise; // what a failure means, what to do
} in_machine[] =
    {
        {"mounts", true, 0, mount_kernel, "write the image to the disk again"},
        {"log", false, 0, begin_log, "boot goes on silently"},
        {"signals", true, 0, begin_loop, "switch off by holding the power button"},
        {"kernel", false, 0, apply_sysctls, "boot goes on with the kernel's own setting"},
        {"locks", false, 0, check_hardening, "boot goes on without it"},
        {"clock", false, 0, clock_check, "certificates need a right date"},
        {"dirs", true, 0, make_directories, "write the image to the disk again"},
        {"drivers", true, 0, want_modules, "write the image to the disk again"},
        {"devices", true, 0, uevent_open, "restart the machine after plugging anything in"},
        {"net", true, 0, net_open,
         "restart the machine; if that does not help, write the image again"},
        {"coldplug", true, 0, uevent_coldplug, "write the image to the disk again"},
        {"data", true, 10000, mount_data, "the engine runs without it"},
        {"settings", false, 3000, find_settings, "the defaults of the image are in use"},
        {"reset", false, NO_DEADLINE, look_for_reset, "what is left is erased at the next start"},
        {"cloud-init", false, 5000, read_cloud, "what it says is left out"},
        {"update", false, 5000, update_look, "no update is taken in this run"},
        {"settings", false, 15000, copy_settings, "a disk hangs: the defaults are in use"},
        {"hostname", false, 0, name_host, "the name may differ from the one wanted"},
        {"api key", false, 10000, keep_cloud_key, "the box makes one of its own"},
        {"gpu", false, 20000, wait_for_gpus, "the engine starts without it"},
        {"engine", true, 0, start_engine, "init tries again by itself"},
        {"hot-plug", false, 60000, close_modules, "drivers can still be loaded"},
},
  in_containers[] = {
      {"mounts", true, 0, container_mounts, "give the container its /proc and a /run to write to"},
      {"log", false, 0, begin_log, "boot goes on silently"},
      {"signals", true, 0, begin_loop, "stop the container by killing it"},
      {"net", false, 0, container_network, "nobody can reach the engine"},
      {"reset", false, NO_DEADLINE, look_for_reset, "what is left is erased at the next start"},
      {"settings", false, 0, name_container, "the defaults are in use"},
      {"engine", true, 0, start_in_container, "init tries again by itself"},
};

/* The time of a step counts from when nothing is on its way any more: a slow machine is not to be
 * taken for one without a disk. */
static void run_step(const struct step *s)
{
    struct err err = {""};
    int64_t deadline = now_ms() + s->wait_ms, latest = now_ms() + MAX_WAIT_MS;
    enum status result;

    while ((result = s->run(&err)) == WAIT && now_ms() < deadline) {
        loop_once(deadline);
        if (s->wait_ms && disk_checking())
            latest = now_ms() + MAX_WAIT_MS;
        if (s->wait_ms && now_ms() < latest && (module_drivers_ready() == WAIT || disk_busy()))
            deadline = now_ms() + s->wait_ms;
    }
    if (result == WAIT) {
        complain(s->name, "%s within %d s: %s", err.text, s->wait_ms / 1000, s->otherwise);
    } else if (result != OK) {
        complain(s->name, "%s%s: %s", s->required ? "REQUIRED STEP FAILED: " : "", err.text,
                 s->otherwise);
    }
}

int main(void)
{
    if (getpid() != 1) {
        fprintf(stderr, "This is the appliance's init; it runs as PID 1 only. To run the engine on "
                        "this machine: tawny serve --help\n");
        return 2;
    }
    bool inside = container_begin();
    const struct step *steps = inside ? in_containers : in_machine;
    size_t n = inside ? sizeof(in_containers) / sizeof(*in_containers)
                      : sizeof(in_machine) / sizeof(*in_machine);
    for (size_t i = 0; i < n && !power_asked(); i++) // nothing begins that is killed at once
        run_step(&steps[i]);
    for (;;)
        loop_once(INT64_MAX);
}
