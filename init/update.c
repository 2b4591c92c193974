/* update.c - PID 1's part of updates: it looks at boot what the slots say, takes bundles from the
 * ESP and from the engine, and confirms a system on trial or sends it back.
 *
 * Everything that reads or writes a disk runs in a child, which also writes /run/update/status:
 * lines `key=value` that the engine reads for GET /v1/update (engine/api/update.c). Its keys: state
 * (none, checking, verified, trying, confirmed, went back, refused), version (of the update that
 * this is about), why, running, running_built, other, other_built.
 *
 * A trial ends in one of four ways: the engine serves with its model from the data partition
 * (confirmed), it does not (given up, and the machine restarts), the ESP is not found (the machine
 * restarts where the loader has noted the try, else it runs on), or this system is gone before it
 * could say (then, too, the loaders have the good one: boot/README.md).
 */
#include "update.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATUS_DIR "/run/update"
#define STATUS STATUS_DIR "/status"
#define ESP_ROOT "/boot"
#define EFI_VARIABLES "/sys/firmware/efi/efivars"
#define BUNDLE_ON_ESP ESP_ROOT "/tawny-update.bin"
#define INCOMING STATE_ON_DISK "/models/.incoming/"
#define SERVES_MS 5000        // without a break, then it is confirmed
#define TRIAL_MS (30 * 60000) // to load its model
#define TRIAL_ENDS 3          // of the engine
#define RESTART_MS 5000       // until who asked has read that it was installed
#define ASK_MS 60000          // for the driver of the firmware's variables

/* Exit codes. TRIED_AGAIN: on trial, and the next start would be one too. */
enum { LOOKED, ON_TRIAL, TRIED_AGAIN, INSTALLED, NOT_INSTALLED };

static struct {
    bool busy, on_trial, may_be_older;
    bool used_up; // the next start is the good one's
    char path[160], why[WHY_BYTES];
    int64_t trial_ms, serves_ms, restart_ms; // 0: no
    int64_t ask_ms; // until then the loader's note is waited for; 0: it is not
} update;

/* ---- in children ---- */

static void status_write(const struct slots *s, const char *state, const char *version,
                         const char *why)
{
    char text[1024];
    const struct slot none = {0}, *running = &none, *other = &none;
    struct err err;

    for (int i = 0; i < s->n_slots; i++)
        if (s->slot[i].number == s->running)
            running = &s->slot[i];
        else if (s->slot[i].has_parts)
            other = &s->slot[i];
    int n = snprintf(text, sizeof(text),
                     "state=%s\nversion=%s\nwhy=%s\nrunning=%s\nrunning_built=%llu\nother=%s\n"
                     "other_built=%llu\n",
                     state, version, why, running->version, (unsigned long long)running->built,
                     other->version, (unsigned long long)other->built);
    if (replace_file(STATUS, text, (size_t)n, 0644, &err) != OK)
        complain("update", "%s", err.text);
}

static void state_write(struct slots *s, enum update_state state)
{
    static const char *const names[] = {[UPDATE_NONE] = "none",
                                        [UPDATE_VERIFIED] = "verified",
                                        [UPDATE_TRYING] = "trying",
                                        [UPDATE_CONFIRMED] = "confirmed",
                                        [UPDATE_WENT_BACK] = "went back"};
    const struct slot *last = slots_find(s, state == UPDATE_TRYING ? s->running : s->env.last);

    status_write(s, names[state], last ? last->version : "", s->env.why);
}

static struct release read_release(void)
{
    char text[512];
    struct release mine = {0};
    ssize_t n = read_file("/etc/tawny-release", text, sizeof(text));

    if (n > 0)
        release_read(&mine, text, (size_t)n);
    return mine;
}

static enum status read_slots(struct slots *s, struct err *err)
{
    const struct release mine = read_release();
    return slots_read(s, ESP_ROOT, &mine, err);
}

static int read_keys(struct update_key keys[MOST_KEYS])
{
    static const struct {
        const char *path, *whose;
    } places[] = {{"/etc/tawny-update.pub", "built into this system"},
                  {ESP_ROOT "/update.pub", "of this box's owner"}};
    char text[2048];
    int n_keys = 0;
    struct err err;

    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        ssize_t n = read_file(places[i].path, text, sizeof(text));
        if (n < 0)
            continue;
        if (key_read(&keys[n_keys], text, (size_t)n, &err) != OK)
            complain("update", "%s is left aside: %s", places[i].path, err.text);
        else
            keys[n_keys++].whose = places[i].whose;
    }
    return n_keys;
}

static int install(struct slots *s, const char *path, bool may_be_older)
{
    struct update_key keys[MOST_KEYS];
    const struct install how = {.root = ESP_ROOT,
                                .keys = keys,
                                .n_keys = read_keys(keys),
                                .may_be_older = may_be_older,
                                .writable = disk_esp_writable};
    struct bundle bundle = {0};
    struct err err;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    enum status status = OK;

    status_write(s, "checking", "", "");
    if (fd < 0)
        status = err_set(&err, NOT_FOUND, "the update could not be opened: %s", strerror(errno));
    if (status == OK)
        status = install_bundle(s, &how, fd, &bundle, &err);
    if (fd >= 0)
        close(fd);
    if (status != OK) {
        complain("update", "it was refused: %s", err.text);
        status_write(s, "refused", bundle.version, err.text);
        return NOT_INSTALLED;
    }
    say("update", "version %s is verified and written; it is tried at the next start",
        bundle.version);
    status_write(s, "verified", bundle.version, "");
    return INSTALLED;
}

/* What a trial that ended by itself leaves to do. */
static void settle(struct slots *s)
{
    struct err err;
    char why[WHY_BYTES];

    snprintf(why, sizeof(why), "%s",
             s->env.why[0] ? s->env.why
                           : "it stopped before it could say why: its kernel gave up or found no "
                             "disk, or the power was cut");
    // Written once: what was told stays written.
    if (s->running == s->env.good && (!s->env.why[0] || s->env.trial)) {
        disk_esp_writable(true);
        if (slots_give_up(s, why, &err) != OK)
            complain("update", "%s", err.text);
        disk_esp_writable(false);
    }
    complain("update", "the last update did not stay: %s", why);
}

/* A disk gets its id at its first start, so that the next one knows it among others. */
static void name_disk(struct slots *s)
{
    uint8_t random[(DISK_ID_BYTES - 1) / 2];
    char id[DISK_ID_BYTES];
    struct err err;

    if (s->env.disk[0] || getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return;
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(id + 2 * i, 3, "%02x", random[i]);
    disk_esp_writable(true);
    if (slots_name_disk(s, id, &err) != OK)
        complain("update", "this disk could not be given an id: %s", err.text);
    disk_esp_writable(false);
}

/* GRUB has taken the trial out of grubenv before it loaded it. */
static bool next_is_good(struct slots *s, int trial)
{
    return access("/sys/firmware/efi", F_OK) || slots_used_up(s, trial);
}

static int look(void *ctx)
{
    struct slots s;
    struct err err;
    (void)ctx;

    if (read_slots(&s, &err) != OK) {
        complain("update", "%s", err.text);
        return LOOKED;
    }
    name_disk(&s);
    enum update_state state = slots_state(&s, access("/sys/firmware/efi", F_OK) == 0);
    if (state == UPDATE_TRYING) {
        say("update", "this version is on trial until the engine serves");
        disk_esp_writable(true);
        s.env.trial = 0;
        if (slots_use_up(&s, s.running, &err) != OK || slots_write_env(&s, &err) != OK)
            complain("update", "%s", err.text);
        disk_esp_writable(false);
    } else if (state == UPDATE_WENT_BACK) {
        settle(&s);
    }
    state_write(&s, state);
    if (state == UPDATE_TRYING)
        return next_is_good(&s, s.running) ? ON_TRIAL : TRIED_AGAIN;
    if (access(BUNDLE_ON_ESP, F_OK))
        return LOOKED;
    say("update", "tawny-update.bin is on the partition " ESP_LABEL);
    int code = install(&s, BUNDLE_ON_ESP, false);
    if (code != INSTALLED)
        return code;
    disk_esp_writable(true);
    if (unlink(BUNDLE_ON_ESP))
        complain("update", "tawny-update.bin could not be deleted: %s", strerror(errno));
    disk_esp_writable(false);
    return code;
}

static int install_asked(void *ctx)
{
    struct slots s;
    struct err err;
    (void)ctx;

    if (read_slots(&s, &err) != OK) {
        complain("update", "%s", err.text);
        status_write(&s, "refused", "", err.text);
        return NOT_INSTALLED;
    }
    return install(&s, update.path, update.may_be_older);
}

/* The slots as the ESP has them, changed there. */
static enum status change_slots(struct slots *s,
                                enum status (*change)(struct slots *s, struct err *err),
                                struct err *err)
{
    disk_esp_writable(true);
    enum status status = read_slots(s, err);
    if (status == OK)
        status = change(s, err);
    disk_esp_writable(false);
    return status;
}

static int confirm(void *ctx)
{
    struct slots s;
    struct err err;
    (void)ctx;

    if (change_slots(&s, slots_confirm, &err) != OK) {
        complain("update",
                 "this version works, but that could not be written: %s; the next start "
                 "takes the one before",
                 err.text);
        return 1;
    }
    state_write(&s, UPDATE_CONFIRMED);
    say("update", "this version serves: it is confirmed");
    return 0;
}

static enum status give_up_for_why(struct slots *s, struct err *err)
{
    return slots_give_up(s, update.why, err);
}

static int give_up(void *ctx)
{
    struct slots s;
    struct err err;
    (void)ctx;

    if (change_slots(&s, give_up_for_why, &err) != OK)
        complain("update", "%s", err.text);
    return s.n_slots > 0 && next_is_good(&s, s.running) ? ON_TRIAL : TRIED_AGAIN;
}

/* ---- in PID 1 ---- */

static void looked(void *ctx, int code)
{
    (void)ctx;
    update.busy = false;
    if (code == ON_TRIAL || code == TRIED_AGAIN) {
        update.on_trial = true;
        update.used_up = code == ON_TRIAL;
        update.trial_ms = now_ms();
    } else if (code == INSTALLED) {
        update.restart_ms = now_ms() + RESTART_MS;
    }
}

static void gave_up(void *ctx, int code)
{
    (void)ctx;
    update.busy = false;
    if (update.used_up || code == ON_TRIAL)
        power_request(POWER_REBOOT, "the version before this one is taken again");
    else // a restart would try it again, for ever
        complain("update", "the firmware does not count what it tries, and this disk takes no note "
                           "of it either: this version runs on. To have another one, write an "
                           "image to the disk");
}

static void confirmed(void *ctx, int code)
{
    (void)ctx;
    (void)code;
    update.busy = false;
}

static void start(const char *name, int (*run)(void *ctx), void (*done)(void *ctx, int code))
{
    update.busy = child_start(name, run, done, NULL);
}

/* By what the loader told. */
static bool on_trial_without_disk(void)
{
    char credential[256] = "", cmdline[4096] = "";
    const struct release mine = read_release();

    (void)read_file(CREDENTIALS TRIAL_CREDENTIAL, credential, sizeof(credential));
    (void)read_file("/proc/cmdline", cmdline, sizeof(cmdline));
    return trial_told(credential, cmdline, &mine);
}

static const char no_disk[] = "this version is on trial and does not find its own disk";

/* In a child, for it is firmware that is asked. Where it cannot rename there is no such variable,
 * and nor is one where it shows none: what is not known to be counted is not tried again. */
static int ask_loader(void *ctx)
{
    char text[400];
    const struct slots none = {0};
    const struct release mine = read_release();
    (void)ctx;

    if (mount("efivarfs", EFI_VARIABLES, "efivarfs", MOUNT_SAFE | MS_RDONLY, NULL) == 0) {
        ssize_t n = read_file(EFI_VARIABLES "/" LOADER_NOTED, text, sizeof(text));
        umount(EFI_VARIABLES);
        if (n > 0 && loader_noted((const uint8_t *)text, (size_t)n))
            return ON_TRIAL;
    }
    snprintf(text, sizeof(text), "%s, and runs on: that the next start is another's is not known",
             no_disk);
    status_write(&none, "trying", mine.version, text);
    return TRIED_AGAIN;
}

static void loader_asked(void *ctx, int code)
{
    char why[160];
    (void)ctx;
    update.busy = false;
    if (code == ON_TRIAL) {
        snprintf(why, sizeof(why), "%s: the one before it is taken again", no_disk);
        power_request(POWER_REBOOT, why);
    } else {
        complain("update",
                 "%s. The firmware has not told that it noted this try, so a restart might only "
                 "bring another: this version runs on. Restart the machine once by hand; where it "
                 "comes back to this version, write an image to the disk",
                 no_disk);
    }
}

/* However late the driver is there, or is not: what is asked then says what comes of the trial. */
static int64_t ask_when_ready(int64_t now)
{
    if (module_ready("efivarfs") == WAIT && now < update.ask_ms)
        return now + 200;
    update.ask_ms = 0;
    start("asking what the loader did", ask_loader, loader_asked);
    if (!update.busy)
        loader_asked(NULL, TRIED_AGAIN);
    return INT64_MAX;
}

/* It restarts the machine once at most: what GRUB loaded it has taken out of grubenv before; of
 * systemd-boot it is asked whether the next start is another slot's. */
static void go_back(void)
{
    if (access("/sys/firmware/efi", F_OK)) {
        loader_asked(NULL, ON_TRIAL);
        return;
    }
    module_want("efivarfs");
    update.ask_ms = now_ms() + ASK_MS;
}

enum status update_look(struct err *err)
{
    if (mkdir(STATUS_DIR, 0755) && errno != EEXIST)
        return err_set(err, IO_ERROR, STATUS_DIR " could not be made: %s", strerror(errno));
    if (disk_esp() != OK) {
        if (on_trial_without_disk())
            go_back();
        return err_set(err, NOT_FOUND, "the partition " ESP_LABEL " is not there");
    }
    start("looking for updates", look, looked);
    return update.busy ? OK : err_set(err, IO_ERROR, "no process could be made for it");
}

void update_asked(const char *id, size_t len, bool may_be_older)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

    if (len == 0 || len > 90) {
        complain("update", "the engine names no file");
        return;
    }
    snprintf(update.path, sizeof(update.path), INCOMING "%.*s", (int)len, id);
    if (strspn(update.path + sizeof(INCOMING) - 1, good) != len) {
        complain("update", "the engine names a file that cannot be");
        return;
    }
    snprintf(update.path, sizeof(update.path), INCOMING "%.*s.part", (int)len, id);
    if (update.busy || update.on_trial || update.restart_ms || disk_esp() != OK) {
        complain("update", "one is not taken now: %s",
                 update.on_trial ? "this version is on trial itself"
                                 : "another is under way, or the ESP is not there");
        return;
    }
    update.may_be_older = may_be_older;
    start("installing an update", install_asked, looked);
}

static void end_trial(const char *why)
{
    update.on_trial = false;
    snprintf(update.why, sizeof(update.why), "%s", why);
    complain("update", "this version is given up: %s", why);
    start("giving up an update", give_up, gave_up);
    if (!update.busy)
        gave_up(NULL, TRIED_AGAIN);
}

void update_restart(const char *why)
{
    if (update.on_trial && !update.busy)
        end_trial(why);
    else
        power_request(POWER_REBOOT, why);
}

static int64_t watch_trial(int64_t now)
{
    if (disk_check_late()) { // an engine without its data proves nothing
        update.trial_ms = now;
        return now + 1000;
    }
    if (!engine_ready())
        update.serves_ms = 0;
    else if (!update.serves_ms)
        update.serves_ms = now;
    if (update.serves_ms && now - update.serves_ms >= SERVES_MS) {
        if (!disk_mounted()) {
            end_trial("it could not use the data partition");
            return INT64_MAX;
        }
        start("confirming an update", confirm, confirmed);
        update.on_trial = !update.busy; // no process could be made: once more
        return update.busy ? INT64_MAX : now + 1000;
    }
    if (engine_answers() && !engine_ready())
        end_trial("its engine refused the model");
    else if (engine_failures() >= TRIAL_ENDS)
        end_trial("its engine ended three times before it served");
    else if (now - update.trial_ms >= TRIAL_MS)
        end_trial("its engine did not serve within 30 minutes");
    return now + 1000;
}

int64_t update_tick(int64_t now)
{
    if (update.restart_ms && now >= update.restart_ms) {
        update.restart_ms = 0;
        power_request(POWER_REBOOT, "an update is installed and is tried now");
        return INT64_MAX;
    }
    if (update.restart_ms)
        return update.restart_ms;
    if (update.ask_ms)
        return ask_when_ready(now);
    return update.on_trial && !update.busy ? watch_trial(now) : INT64_MAX;
}
