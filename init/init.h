/* init.h - the one header of PID 1.
 *
 * init/ is a separate program: libc and Linux headers only, of BearSSL the check of a signature
 * (bundle.c), and libyaml in a child without rights (cloud_yaml.c). It shares with the engine the
 * heartbeat pipe (supervise.c) and the one of what is said here (relay.c), the settings files
 * (conf.c), and what either leaves in the engine's folder for the other: keys (cloud_disk.c),
 * reports (report.c), updates (update.c) and the wish for a reset (reset.c).
 *
 * How it works: one thread, one poll loop (loop.c). Nothing that can block for long runs in PID 1
 * itself: loading a module, mounting or growing a disk happens in a forked child (child.c) whose
 * exit code comes back through SIGCHLD. So the power button, the network and the log stay alive
 * whatever a driver or a dying disk does, and a kernel oops in a driver kills a child and not
 * PID 1.
 *
 * What fails returns `enum status`; a sentence for people goes into `struct err` where the fact is
 * known and is logged once, by the caller that decides what happens next.
 *
 * gpt.c, dhcp.c, alias.c, conf.c, static.c, crash.c, shutdown.c, ip6.c, ll4.c, dns.c, mdns.c,
 * sntp.c, reach.c, pulse.c, iso.c, cloud.c, cloud_net.c and uevent.c's parser are pure: bytes and
 * times in, values out, no global state. They are what most unit tests run.
 */
#ifndef INIT_H
#define INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF(a, b) __attribute__((format(printf, a, b)))

enum status { OK, WAIT, BAD_INPUT, NOT_FOUND, UNSUPPORTED, IO_ERROR };

struct err {
    char text[256]; // one sentence: what was wanted, what was found
};

/* Always returns `s`, so that it can end a function: return err_set(err, IO_ERROR, "..."); */
enum status err_set(struct err *err, enum status s, const char *format, ...) PRINTF(3, 4);

/* ---- who and where (agreed with engine/ and the image) ---- */

#define ENGINE_PATH "/usr/bin/tawny"
#define ENGINE_UID 1000
#define ENGINE_GID 1000
#define GROUP_VIDEO 44
#define GROUP_RENDER 110
#define NOBODY 65534 // of who is to have no rights; how an id shows that a container has not
#define DATA_LABEL "tawny-data" // GPT name of the ext4 partition, the last one of its disk
#define ESP_LABEL "tawny-esp"   // GPT name of the EFI system partition that holds tawny.conf
#define DATA_DIR "/data"
#define STATE_ON_DISK "/data/tawny"
#define STATE_IN_MEMORY "/run/tawny"
#define STATE_IN_CONTAINER "/var/lib/tawny"
#define CONF_ON_ESP "/boot/tawny.conf"
#define RESET_ON_ESP "/boot/tawny.reset"
#define CONF_DEFAULT "/etc/tawny.conf"
#define RUNTIME_DIR "/run/user/1000"

/* ---- bytes.c: numbers of n_bytes (1..8) at any address ---- */

uint64_t le_get(const uint8_t *p, int n_bytes);
void le_put(uint8_t *p, int n_bytes, uint64_t v);
uint64_t be_get(const uint8_t *p, int n_bytes);
void be_put(uint8_t *p, int n_bytes, uint64_t v);

/* ---- log.c: every line to every console and to the kernel's log ---- */

/* Milliseconds since the kernel started (CLOCK_MONOTONIC). */
int64_t now_ms(void);

/* Opens the consoles once /dev, /sys and /proc are there. Lines said before go to the standard
 * error that the kernel gave us. */
enum status log_open(struct err *err);

/* One sentence about one step: "[    1.234] data: ...". `say` for what went well, `complain` for
 * what a person should read. */
void say(const char *step, const char *format, ...) PRINTF(2, 3);
void complain(const char *step, const char *format, ...) PRINTF(2, 3);

/* A line of someone else's text (the engine's): control bytes are replaced, long lines are cut. Not
 * copied to the kernel's log. */
void say_raw(const char *step, const char *line, size_t len);

/* Writes out what a slow console did not take yet. Returns when it wants to be called again, or
 * INT64_MAX. `log_drain` tries for up to 500 ms (before power-off, in children). */
int64_t log_tick(int64_t now);
void log_drain(void);

/* What children say goes to PID 1 over a pipe, and from there wherever its own lines go. Before a
 * fork: that pipe is there. In the child: what PID 1 still has to write is not ours, and what is
 * said goes there. Once it was reaped: its last lines come before what is said of its end. */
void log_before_fork(void);
void log_after_fork(void);
void log_from_children(void);

/* The machine's own screen shows a page and no lines, or lines again; false: there is none. */
bool log_screen(bool page);
void log_screen_write(const char *text, size_t len);

/* ---- loop.c: poll, timers, signals ---- */

void loop_add(int fd, void (*ready)(int fd, void *ctx), void *ctx);
void loop_remove(int fd);
/* `tick` runs once per turn and returns when it wants to run next at the latest. */
void loop_timer(int64_t (*tick)(int64_t now));
/* One turn: sleeps until something happens, a timer is due or `until_ms` is reached. */
void loop_once(int64_t until_ms);
/* Blocks the signals PID 1 listens to and adds them to the loop: SIGCHLD, SIGTERM, SIGINT. */
enum status loop_signals(struct err *err);

/* ---- lines.c: whole lines out of a pipe ---- */

struct lines { // what arrived behind the last newline
    int fd;    // without blocking; -1: closed
    size_t n;
    char text[440];
};
/* Reads what is there and hands over whole lines, and a full buffer as if it were one. */
void lines_read(struct lines *l, void (*each)(void *ctx, const char *line, size_t len), void *ctx);
void lines_close(struct lines *l);

/* ---- relay.c: what is said here, told to the engine too ---- */

void relay_line(int level, const char *step, const char *text);
int relay_open(void); // the end for an engine that is about to start; -1: it is told nothing
void relay_close(void);

/* ---- child.c: what may block runs in a child ---- */

/* Runs `run(ctx)` in a forked child and calls `done(ctx, code)` in PID 1 when it ended: its return
 * value (0..255), or minus the signal that killed it. False when no child could be made. With the
 * name "" nothing is said when it takes long. */
bool child_start(const char *name, int (*run)(void *ctx), void (*done)(void *ctx, int code),
                 void *ctx);
/* SIGTERM to those that run `run`, and to the process groups that they lead. */
void child_end(int (*run)(void *ctx));
/* Those that run are waited for no more: `done` is not called. */
void child_forget(void);
/* Hands a reaped pid over; false when it is none of ours. */
bool child_reaped(pid_t pid, int wait_status);
int64_t child_tick(int64_t now); // says which of them take suspiciously long
/* To be called in every forked child before anything else: default signals, none blocked. */
void child_signals(void);

/* ---- mount.c ---- */

enum status mount_kernel(struct err *err);     // /proc /sys /dev /dev/shm /run /tmp
enum status make_directories(struct err *err); // XDG_RUNTIME_DIR and mount points
void unmount_all(void);

/* ---- harden.c: what the kernel is to refuse ---- */

enum status apply_sysctls(struct err *err);
enum status check_hardening(struct err *err); // what the image counts on and is not there
enum status modules_close(struct err *err);   // the kernel takes no driver any more
/* Adds to out[n..] the ports that /proc/net/tcp (or udp) shows open to all; returns n. */
int open_ports(const char *text, bool udp, uint16_t *out, int n, int most);
void say_ports(void);
void cgroup_make(void);  // the engine's share of the machine ...
void cgroup_enter(void); // ... for the calling process

/* ---- file.c: small files ---- */

enum status write_file(const char *path, const char *text, struct err *err); // an existing file
/* New file under a temporary name, renamed over `path`. */
enum status replace_file(const char *path, const char *text, size_t len, mode_t mode,
                         struct err *err);
/* Reads at most cap - 1 bytes and ends them with a NUL; returns the length or -1. */
ssize_t read_file(const char *path, char *buf, size_t cap);
/* Reads a whole file of up to `max` bytes; *text is the caller's to free. */
enum status read_whole(const char *path, size_t max, char **text, size_t *len, struct err *err);

/* ---- clock.c: a sane clock and the random seed ---- */

enum status clock_check(struct err *err);
void seed_load(
    const char *dir); // credits DIR/random-seed once, replaces it; moves a stale clock on
void seed_save(const char *dir, bool wait); // `wait` until there is randomness: not in PID 1
void randomness_begin(void);                // in a child, where the kernel has none yet

int64_t clock_floor_s(void); // when this image was built: no time is before it
bool clock_was_absurd(void); // the hardware's clock was before that

/* ---- sntp.c: what time servers say, pure ---- */

#define SNTP_BYTES 48
#define NTP_YEARS 20 // after the floor, and a time is impossible

struct ntp_sample { // of one server
    int64_t offset_ms, delay_ms;
};

struct ntp_clock {
    int64_t floor_s;    // no time is before it
    bool absurd;        // nothing but the floor is known
    bool good;          // servers have agreed with it in this run
    bool one_is_enough; // the owner has named one server
    int64_t keep_ms;    // sntp_keeps' own
};

enum ntp_act {
    NTP_SILENCE,    // nobody answered
    NTP_DISAGREE,   // most do not say the same
    NTP_IMPOSSIBLE, // before the floor, or decades later
    NTP_REFUSED,    // a good clock is not set back, one that is not absurd not on by more than a
                    // year, and one server alone does not move it far
    NTP_SLEW,
    NTP_STEP
};

struct ntp_verdict {
    enum ntp_act act;
    int n_agree;
    int64_t offset_ms;
    bool trusted; // the clock is right once this is done
};

void sntp_request(uint8_t out[SNTP_BYTES], uint64_t cookie);
/* sent_ms, received_ms: the wall clock, in milliseconds since 1970. */
MUST_USE enum status sntp_read(struct ntp_sample *out, const uint8_t *p, size_t len,
                               uint64_t cookie, int64_t sent_ms, int64_t received_ms,
                               int64_t floor_s);
struct ntp_verdict sntp_judge(const struct ntp_clock *c, const struct ntp_sample *s, int n,
                              int64_t now_ms);
/* Whether the time may now be kept as one that none is before, for each verdict once it is acted on
 * (and before `absurd` goes): at once when the clock was near already, else when servers have done
 * nothing but agree with it for a day. A false time that was kept would be there for good. */
bool sntp_keeps(struct ntp_clock *c, const struct ntp_verdict *v, int64_t now);

/* ---- static.c: fixed addresses and time servers, pure ---- */

#define STATIC_MOST 8

struct static_entry {
    char card[16];    // "eth1"; "": see mac
    uint8_t mac[6];   // of the card; zeros: the first card that has a cable, when card is "" too
    bool six;         // IPv6
    uint8_t bits;     // of the prefix; 0 where none belongs to it (gateway, dns)
    uint8_t addr[16]; // network byte order; the first 4 bytes of an IPv4 address
};

struct static_list {
    int n;
    struct static_entry entry[STATIC_MOST];
};

/* What a person (tawny.conf) or a hypervisor (NoCloud) has fixed. All empty: DHCP and routers say
 * it. A card with an IPv4 address asks no DHCP server. */
struct net_static {
    struct static_list address, gateway, dns;
};

enum static_key { STATIC_ADDRESS, STATIC_GATEWAY, STATIC_DNS };

/* One value of tawny.conf; on failure *s is as it was, and err says which entry is wrong. */
MUST_USE enum status static_read(struct net_static *s, enum static_key key, const char *text,
                                 size_t len, struct err *err);

#define NTP_MOST 8

struct ntp_server {
    char host[128]; // a name or an address
    uint16_t port;
};

struct ntp_setting {
    bool off;
    int n; // 0 and not off: those that DHCP names, and public ones
    struct ntp_server server[NTP_MOST];
};
MUST_USE enum status ntp_read(struct ntp_setting *s, const char *text, size_t len, struct err *err);

/* ---- ntp.c ---- */

void ntp_begin(const struct ntp_setting *setting);
int64_t ntp_tick(int64_t now);

/* ---- conf.c ---- */

struct conf {
    char hostname[64];
    struct net_static net;
    struct ntp_setting ntp;
    bool hot_plug;          // drivers are loaded after the start too
    bool api_settings;      // what was set through the API counts
    uint16_t https, ollama; // ports of `listen`: the first that is not Ollama's, and that
    char listen[512], listen_http[512]; // as they are written; ports.c
    unsigned said; // a bit for each that the file which is being read has set already
};
void conf_defaults(struct conf *c);
/* Reads `key = value` lines; keys that init has not are the engine's. Of two lines of a key the
 * first one that may be so counts. bad(ctx, line number, what) is called for each ignored line. */
void conf_parse(struct conf *c, const char *text, size_t len,
                void (*bad)(void *ctx, int line, const char *what), void *ctx);
#define CONF_CHANGED 64
/* Of the file that was read last the settings by which the box is reached, "address, listen". */
void conf_reach(const struct conf *c, char out[CONF_CHANGED]);
enum conf_place { CONF_MACHINE, CONF_CONTAINER, CONF_CONTAINER_WITH_NET }; // given by its manager
/* The settings that PID 1 acts on at its start alone, there, and that differ, "hostname, ntp";
 * pure. Of `listen` the ports that are announced; who listens takes the rest at the engine's
 * start. */
void conf_changed(const struct conf *in_force, const struct conf *next, enum conf_place where,
                  char out[CONF_CHANGED]);
/* Lower-cases into out; false: it is no host name (RFC 1123: a-z 0-9 -, 1..63, not at an end). */
bool conf_hostname(const char *in, size_t len, char out[64]);

/* ---- alias.c: modules.dep, modules.alias, modules.softdep in memory ---- */

enum module_state { MODULE_KNOWN, MODULE_WANTED, MODULE_LOADING, MODULE_LIVE, MODULE_FAILED };

struct kernel_module {
    char name[56];     // '-' written as '_'
    const char *path;  // relative to /usr/lib/modules/RELEASE, borrowed from the text
    const char *deps;  // "path path ..." of everything it needs, borrowed; ""
    const char *first; // "name name ..." to be loaded before it (softdep pre), borrowed; ""
    enum module_state state;
    int64_t started_ms;
};

struct alias {
    const char *pattern; // borrowed
    uint32_t n_literal;  // bytes before the first wildcard
    int32_t module;      // index into modules
    int32_t next;        // next alias of the same bus, or -1
};

struct bus {
    char name[16];
    int32_t head; // index into aliases, or -1
};

#define MAX_BUSES 64

struct modules {
    struct kernel_module *module; // [n_modules]
    int32_t n_modules;
    struct alias *alias; // [n_aliases]
    int32_t n_aliases;
    struct bus bus[MAX_BUSES]; // bus[0]: patterns whose bus is itself a wildcard
    int32_t n_buses;
};

/* The three texts are changed (cut into strings) and must live as long as *m. */
enum status modules_index(struct modules *m, char *dep, char *alias, char *softdep,
                          struct err *err);
void modules_free(struct modules *m); // not the texts
/* Index by name or path ("kernel/fs/ext4.ko.xz", "virtio-net"), or -1. */
int32_t modules_find(const struct modules *m, const char *name, size_t len);
/* Calls hit(ctx, module) for every alias that matches. */
void modules_match(const struct modules *m, const char *modalias,
                   void (*hit)(void *ctx, int32_t module), void *ctx);
/* The pattern language of modules.alias: * ? [a-b] and '-' equal to '_'. */
bool alias_glob(const char *pattern, const char *text);

/* ---- module.c: coldplug and loading ---- */

/* param.c: what a module is loaded with, "name=value name=value": MODULE.name=value of the kernel's
 * command line, and for ttm the share of the memory that GPUs may map. */
void module_params(char *out, size_t cap, const char *module, const char *cmdline,
                   uint64_t memory_bytes);
enum status module_open(struct err *err);
void module_want(const char *name); // and what it needs; unknown names are ignored
void module_want_alias(const char *modalias);
/* Starts loading what is wanted and has all it needs. */
void module_load(void);
/* OK when `name` is live, failed or unknown: nothing to wait for; else WAIT. */
enum status module_ready(const char *name);
/* The same for all drivers but those of GPUs (which take seconds, and may hang), and for those. */
enum status module_drivers_ready(void);
enum status module_gpus_ready(void);
void module_counts(int *n_live, int *n_failed);
void module_over(void); // nothing is wanted any more: the kernel takes none

/* ---- uevent.c ---- */

struct uevent {
    const char *action, *subsystem, *devname, *devtype, *modalias; // "" when missing; borrowed
    const char *media; // "1": a card was put in or taken out
};
/* Parses one kernel message (or /sys/.../uevent contents with '\n' turned into NULs). */
MUST_USE enum status uevent_parse(struct uevent *u, const char *msg, size_t len);
enum status uevent_open(struct err *err);
/* Walks the devices that are there already, as if each had just been announced. */
enum status uevent_coldplug(struct err *err);

/* ---- dev.c: owners and modes under /dev ---- */

void dev_added(const struct uevent *u);
int dev_scan_gpu(void); // sets owners again, returns the number of render nodes

/* ---- gpt.c: partition table on a file descriptor ---- */

struct gpt {
    int fd;              // borrowed
    uint32_t sector;     // bytes: 512 or 4096
    uint64_t n_sectors;  // of the disk
    uint8_t header[512]; // the good header, as read
    uint8_t *entries;    // [n_entries * entry_bytes], owned
    uint32_t n_entries, entry_bytes;
    bool primary_good, backup_good; // as found at sector 1 / the last sector of the disk
};

/* Reads whichever header is good (the primary first, else the one in the last sector; a good
 * primary may point at a backup elsewhere). NOT_FOUND: neither. */
MUST_USE enum status gpt_open(struct gpt *g, int fd, uint32_t sector, uint64_t n_sectors,
                              struct err *err);
void gpt_close(struct gpt *g);
/* Number (1..) of the partition called `label`, or 0; first and last sector through the pointers.
 */
uint32_t gpt_find(const struct gpt *g, const char *label, uint64_t *first, uint64_t *last);
/* Makes partition `number`, the last of the disk, reach to the disk's end, and writes both tables
 * where they are outdated or damaged. *grown: its new last sector differs. A power cut at any
 * moment leaves at least one good table. */
MUST_USE enum status gpt_grow(struct gpt *g, uint32_t number, bool *grown, struct err *err);
/* Writes the primary table again from a good backup. UNSUPPORTED, and nothing written, when the
 * beginning of the disk is not that of a damaged GPT: somebody may use the disk for something else.
 */
MUST_USE enum status gpt_repair(struct gpt *g, struct err *err);
uint32_t crc32_ieee(const void *bytes, size_t len);

/* ---- disk.c: the data partition and the ESP ---- */

// Of each file system that is mounted from a disk or made for data (sys/mount.h).
#define MOUNT_SAFE (MS_NOSUID | MS_NODEV | MS_NOEXEC)

void disk_added(const struct uevent *u);
/* OK: /data is mounted. WAIT: not found yet or still being mounted. Anything else: it will not
 * come, and why has been said. */
enum status disk_data(void);
enum status disk_esp(void);
int64_t disk_tick(int64_t now);
bool disk_mounted(void);         // /data is there and can be written
bool disk_busy(void);            // a mount is under way
void disk_give_up(void);         // from now on a data partition comes too late
bool disk_esp_has_conf(void);    // it is in use, and tawny.conf lies on it
bool disk_esp_beside_data(void); // both are in use, and of one disk
void disk_esp_writable(bool on); // /boot, in a child and for as long as it writes there
void disk_memory_state(void);    // STATE_IN_MEMORY with the engine's directories
void disk_after_start(void);     // a child: new random seed, the ext4 grows into its partition
bool disk_checking(void);        // e2fsck is at work, and is worth waiting for
bool disk_check_runs(void);      // e2fsck is at work
bool disk_check_late(void);      // the engine was started without data that e2fsck has, or had
void disk_check_end(void);       // asks it to end where it stands
bool disk_esp_comes(void);       // there is one that is not mounted yet
const char *disk_fault(void);    // what is wrong with the data, and the cure; "": nothing

/* ---- stick.c: USB sticks, read-only on MEDIA_DIR/NAME ---- */

#define MEDIA_DIR "/run/media"
enum stick_kind { STICK_NONE, STICK_EXT4, STICK_FAT, STICK_EXFAT, STICK_NTFS };
/* Which file system begins with these bytes (2048 of them); pure, as the next two are. */
enum stick_kind stick_kind(const uint8_t *head, size_t n);
bool stick_on_usb(const char *sysfs_path); // ".../usb1/1-2/.../block/sdb/sdb1"
bool stick_name_good(const char *name);
bool stick_is_of(const char *name, const char *disk); // "sdb1" and "sdb" of "sdb"; pure
void stick_place(char out[512], const char *name);    // what sysfs_path is of "sdb1"; "": not known
void stick_added(const struct uevent *u);
void stick_removed(const struct uevent *u);
/* WAIT: one that is there is not mounted yet. One that does not answer is waited for 20 s after the
 * first call, and named. */
enum status stick_ready(int64_t now);
/* Which of n places a new one gets: a free one (0), else one that is not in use (1), else -1. */
int stick_pick(const uint8_t *use, int n);
void stick_over(void); // none that comes later is looked at
int64_t stick_tick(int64_t now);

/* ---- dhcp.c: RFC 2131 client, pure ---- */

#define DHCP_MAX_ROUTES 8
#define DHCP_MAX_DNS 3
#define DHCP_MAX_NTP 4
#define DHCP_MESSAGE_MAX 576

struct dhcp_route {
    uint32_t dest, mask, gateway; // network byte order
};

struct dhcp_lease {
    uint32_t addr, mask, server; // network byte order
    struct dhcp_route route[DHCP_MAX_ROUTES];
    int n_routes;
    uint32_t dns[DHCP_MAX_DNS];
    int n_dns;
    uint32_t ntp[DHCP_MAX_NTP];
    int n_ntp;
    char domain[128];             // "" or a plain DNS name
    uint32_t lease_s, t1_s, t2_s; // seconds; UINT32_MAX: for ever
};

enum dhcp_type {
    DHCP_DISCOVER = 1,
    DHCP_OFFER = 2,
    DHCP_REQUEST = 3,
    DHCP_DECLINE = 4,
    DHCP_ACK = 5,
    DHCP_NAK = 6
};

struct dhcp_reply {
    enum dhcp_type type; // OFFER, ACK or NAK
    struct dhcp_lease lease;
};

enum dhcp_state {
    DHCP_OFF,
    DHCP_SELECTING,
    DHCP_REQUESTING,
    DHCP_DECLINING, // the address could not be set: it is given back, then all begins again
    DHCP_BOUND,
    DHCP_RENEWING,
    DHCP_REBINDING
};
/* What the caller must do now. */
enum dhcp_act {
    DHCP_NOTHING,
    DHCP_BROADCAST, // build the message, send it from 0.0.0.0 to 255.255.255.255
    DHCP_UNICAST,   // build the message, send it to lease.server from lease.addr
    DHCP_APPLY,     // a new or renewed lease: set address, routes, DNS
    DHCP_DROP       // the lease ended: remove them; then call dhcp_tick again
};

struct dhcp {
    enum dhcp_state state;
    uint8_t mac[6];
    char hostname[64];
    uint32_t xid;
    uint32_t rng;     // jitter
    uint32_t wanted;  // address asked for (the last one we had, or the offered one), or 0
    int attempt;      // messages sent in this state
    int n_refused;    // addresses given back since one was kept until its renewal
    int64_t begun_ms; // when the exchange began
    int64_t next_ms;  // when dhcp_tick is due
    int64_t bound_ms; // when the accepted lease was asked for: its times count from here
    struct dhcp_lease
        lease; // valid in BOUND, RENEWING, REBINDING; server and addr in REQUESTING and DECLINING
};

void dhcp_start(struct dhcp *d, const uint8_t mac[6], const char *hostname, uint32_t random,
                int64_t now);
enum dhcp_act dhcp_tick(struct dhcp *d, int64_t now);
/* The message of the current state. Returns its length (300..DHCP_MESSAGE_MAX). */
size_t dhcp_build(const struct dhcp *d, uint8_t out[DHCP_MESSAGE_MAX], int64_t now);
/* Strict: anything malformed, not for us or not a reply is BAD_INPUT. */
MUST_USE enum status dhcp_parse(struct dhcp_reply *r, const uint8_t *msg, size_t len, uint32_t xid,
                                const uint8_t mac[6]);
enum dhcp_act dhcp_receive(struct dhcp *d, const struct dhcp_reply *r, int64_t now);
/* The lease of DHCP_APPLY could not be set on the link. dhcp_tick now gives it back (DHCPDECLINE)
 * and asks for another after a while. Returns that while in seconds: 10 20 40 ... 320. */
int dhcp_refuse(struct dhcp *d, int64_t now);
/* IPv4 + UDP around a message, 0.0.0.0:68 -> 255.255.255.255:67. Returns the length (28 + len). */
size_t dhcp_wrap(uint8_t out[28 + DHCP_MESSAGE_MAX], const uint8_t *msg, size_t len);
/* Takes an IPv4 packet apart: *msg borrowed from it. */
MUST_USE enum status dhcp_unwrap(const uint8_t *packet, size_t len, const uint8_t **msg,
                                 size_t *msg_len);

/* ---- dhcp_socket.c: how its messages travel; a file descriptor, or -1 and errno ---- */

int dhcp_packet_open(int ifindex); // before there is an address
void dhcp_packet_send(int fd, int ifindex, const struct dhcp *d);
int dhcp_udp_open(const char *nic, uint32_t addr); // from an address we have
void dhcp_udp_send(int fd, uint32_t to_addr, const struct dhcp *d);
struct ll4;
int arp_open(int ifindex); // the same for ARP
void arp_send(int fd, int ifindex, const struct ll4 *l);

/* ---- ll4.c: 169.254.x.y where nobody gives addresses out, pure ---- */

#define ARP_BYTES 28

struct arp {
    uint8_t from_mac[6];
    uint32_t from, target; // network byte order
};

enum ll4_state { LL4_OFF, LL4_PROBING, LL4_BOUND };
/* What the caller must do now. */
enum ll4_act {
    LL4_NOTHING,
    LL4_SEND, // build and broadcast
    LL4_SET,  // the address is ours: set it, then build and broadcast
    LL4_DROP  // somebody else has it: remove the address; another is sought
};

struct ll4 {
    enum ll4_state state;
    uint8_t mac[6];
    uint32_t addr; // network byte order: sought, or ours
    uint32_t rng;
    int attempt, n_conflicts;
    int64_t next_ms, defended_ms;
};

MUST_USE enum status arp_parse(struct arp *a, const uint8_t *p, size_t len);
void ll4_start(struct ll4 *l, const uint8_t mac[6], int64_t now);
enum ll4_act ll4_tick(struct ll4 *l, int64_t now);
enum ll4_act ll4_receive(struct ll4 *l, const struct arp *a, int64_t now);
void ll4_build(const struct ll4 *l, uint8_t out[ARP_BYTES]);

/* ---- ip6.c: the IPv6 addresses of a link, and its name servers, pure ---- */

#define IP6_TEXT 46
#define IP6_MOST 4

struct ip6_list {
    int n;
    char text[IP6_MOST][IP6_TEXT]; // in the order they came
};

/* A message of rtnetlink. False: it is not about an IPv6 address that others can reach. *came: it
 * is there and can be used; else it is not, or not any more. */
bool ip6_read(const void *msg, size_t len, int *ifindex, char text[IP6_TEXT], bool *came);
bool ip6_add(struct ip6_list *l, const char *text); // true: that is news
bool ip6_remove(struct ip6_list *l, const char *text);

#define IP6_MAX_DNS 3

struct ip6_dns { // what routers advertise (RFC 8106)
    int n;
    uint8_t addr[IP6_MAX_DNS][16];
    int64_t until_ms[IP6_MAX_DNS]; // INT64_MAX: for ever
};

/* A message of rtnetlink about a router's options. True: *d has changed. ip6_dns_ifindex says whose
 * it is: 0 for any other message. */
int ip6_dns_ifindex(const void *msg, size_t len);
bool ip6_dns_read(struct ip6_dns *d, const void *msg, size_t len, int64_t now);
bool ip6_dns_expire(struct ip6_dns *d, int64_t now); // true: *d has changed

/* ---- dns.c: messages of the DNS, pure ---- */

#define DNS_NAME 256
#define DNS_MESSAGE_MAX 1440 // of ours: one packet; longer ones of others are not read
#define DNS_KNOWN 40

enum { DNS_A = 1, DNS_PTR = 12, DNS_TXT = 16, DNS_AAAA = 28, DNS_SRV = 33, DNS_NSEC = 47 };
enum { DNS_ANY = 255, DNS_IN = 1, DNS_TOP = 0x8000 }; // TOP: cache-flush, or answer by unicast

struct dns_name { // labels with their lengths, in lower case, to the empty one
    uint8_t bytes[DNS_NAME];
    size_t n;
};

struct dns_record { // a question has no contents
    struct dns_name name;
    uint16_t type, class;
    uint32_t ttl;
    int section;         // 0 answers, 1 authority, 2 additional
    const uint8_t *data; // borrowed from the message
    size_t n_data, data_at;
};

struct dns_reader {
    const uint8_t *msg; // borrowed
    size_t len, at;
    uint16_t id, flags;
    int n_questions, n_records[3], section;
    bool bad; // something was not whole
};

struct dns_writer {
    uint8_t msg[DNS_MESSAGE_MAX];
    size_t n;
    uint16_t known[DNS_KNOWN]; // where labels begin
    int n_known;
    bool full;
};

/* Reads a name at *at, which moves behind it. */
MUST_USE bool dns_name(struct dns_name *out, const uint8_t *msg, size_t len, size_t *at);
void dns_name_of(struct dns_name *out, const char *dotted);
bool dns_same(const struct dns_name *a, const struct dns_name *b);
MUST_USE enum status dns_open(struct dns_reader *r, const uint8_t *msg, size_t len);
/* All questions first, then all records; false: there are no more, or r->bad. */
bool dns_question(struct dns_reader *r, struct dns_record *q);
bool dns_next(struct dns_reader *r, struct dns_record *out);
void dns_begin(struct dns_writer *w, uint16_t id, uint16_t flags);
void dns_put_question(struct dns_writer *w, const struct dns_name *name, uint16_t type,
                      uint16_t class);
/* `target` (or NULL) is a name behind the data. False, and nothing written: it does not fit. */
bool dns_put(struct dns_writer *w, int section, const struct dns_name *name, uint16_t type,
             uint16_t class, uint32_t ttl, const uint8_t *data, size_t n_data,
             const struct dns_name *target);

/* ---- mdns.c: this box by name on its links (RFC 6762, 6763), pure ---- */

#define MDNS_LINKS 8
#define MDNS_SIX 4
#define MDNS_RECORDS 16

struct mdns_link { // as PID 1 tells it
    int ifindex;
    uint32_t four, mask; // network byte order; 0: none
    int n_six;
    uint8_t six[MDNS_SIX][16];
};

struct mdns_table {
    int n;
    struct mdns_link link[MDNS_LINKS];
    char hostname[64];
    uint16_t https, ollama; // ports; 0: not offered
};

enum mdns_state { MDNS_PROBING, MDNS_ANNOUNCING, MDNS_UP };

struct mdns_run { // of one link
    enum mdns_state state;
    int step;
    int64_t next_ms;               // INT64_MAX: nothing is due
    uint32_t pending;              // records to be multicast at pending_ms
    int64_t pending_ms;            // INT64_MAX: none
    int64_t sent_ms[MDNS_RECORDS]; // when each was last multicast
};

struct mdns_from {
    int ifindex;
    bool six, unicast; // unicast: it was sent to us alone
    uint32_t four;     // who sent it
    bool near;         // its IPv6 address is link-local
    uint16_t port;
};

struct mdns {
    struct mdns_table table;
    struct mdns_run run[MDNS_LINKS]; // of table.link
    char name[64];                   // what this box is called now
    int number, n_conflicts;         // NAME-2 is number 2
    int64_t conflict_ms;             // the last one
    uint32_t rng;
    /* to: NULL for everybody on the link, by both families. */
    void (*send)(void *ctx, int ifindex, const struct mdns_from *to, const uint8_t *msg,
                 size_t len);
    void *ctx;
};

void mdns_start(struct mdns *m, uint32_t random);
/* The addresses of now: links that are new are asked, those that changed are announced. */
void mdns_set(struct mdns *m, const struct mdns_table *t, int64_t now);
void mdns_receive(struct mdns *m, const struct mdns_from *from, const uint8_t *msg, size_t len,
                  int64_t now);
int64_t mdns_tick(struct mdns *m, int64_t now); // when it wants to be called again
bool mdns_is_up(const struct mdns *m);          // the name is ours on every link
void mdns_goodbye(struct mdns *m);

/* ---- confine.c ---- */

/* In a forked child: keeps keep_fd, as 3, and nothing else; becomes nobody, without processes,
 * system calls or (without_files) any file. False: something of it did not work. */
MUST_USE bool confine(int keep_fd, bool without_files);
/* For good, also over a new program: only these system calls, each other one answers EPERM;
 * network: sockets of it too. False: it did not work, or the list is too long. */
MUST_USE bool confine_calls(const int *list, size_t n_list, bool network);
/* Of RLIMIT_... `what`, for this process and its children: soft and hard. */
void process_limit(int what, uint64_t value);

/* ---- mdns_child.c ---- */

void mdns_begin(uint16_t https, uint16_t ollama); // ports; 0: not offered
void mdns_stop(void);                             // says goodbye
void mdns_tell(void);                             // the addresses of now
int64_t mdns_due(int64_t now);
const char *mdns_name(void); // what this box is called now, without .local

/* ---- unclaimed.c, reach.c: why nobody can reach this box ---- */

#define REACH_DEVICE 96
#define REACH_UNCLAIMED 4

/* Names network devices under root/sys that have no driver; returns how many there are. */
int unclaimed_nics(const char *root, char out[][REACH_DEVICE], int most);

struct reach {
    int n_nics, n_carriers; // cards that init uses; of these, with a cable
    char nic[16];           // the one the sentence is about
    bool drivers_busy;      // more cards may appear
    bool silent;            // no DHCP server has answered for a while
    bool refused;           // one did, and the address was of no use
    bool has_ip4, has_ip6;
    int n_unclaimed;
    char unclaimed[REACH_UNCLAIMED][REACH_DEVICE];
};

/* What is missing and what to do; false: nothing is. */
bool reach_text(char *out, size_t cap, const struct reach *r);

/* ---- netlink.c ---- */

enum status nl_open(void (*event)(const void *msg, size_t len),
                    struct err *err); // links, addresses, what IPv6 routers say
/* A card that one can plug a cable into: no bridge, no tunnel, no Wi-Fi. */
bool nl_is_wired(const char *nic);
enum status nl_link_up(int ifindex);
enum status nl_address(bool add, int ifindex, uint32_t addr, uint32_t mask, uint32_t lease_s);
enum status nl_route(bool add, int ifindex, const struct dhcp_route *r, bool on_link);
enum status nl_address6(bool add, int ifindex, const uint8_t addr[16], uint8_t bits);
enum status nl_route6(bool add, int ifindex, const uint8_t gateway[16]); // the default route

/* ---- net.c ---- */

enum status net_open(struct err *err); // lo, netlink, links that are there
/* From now on every wired link with carrier gets an address. */
void net_start(const char *hostname, const struct net_static *fixed);
void net_say_urls(void); // the lines a person at the screen needs
int64_t net_tick(int64_t now);
void net_changed(void);                        // an address came or went
bool net_has_address(void);                    // one that reaches further than the cable
int net_ntp_servers(uint32_t out[], int most); // those that DHCP named, in network byte order

/* ---- supervise.c (engine.h has what is its own) ---- */

void engine_start(const char *state_dir, const char *conf_path, const char *hostname);
/* Before it is started again: `look` begins to read what its administrator may have changed, and is
 * waited for, five seconds at most, until `looked`. */
void engine_settings(void (*look)(void), bool (*looked)(void));
bool engine_reaped(pid_t pid, int wait_status);
bool engine_ready(void);
bool engine_answers(void); // it is ready, or runs without a model: its pages can be opened
bool engine_running(void);
/* It is silent, was killed and does not end, and the restart of the machine has not come either. */
bool engine_lost(int64_t now);
void engine_stop(bool now); // SIGTERM, or SIGKILL; never started again
int engine_failures(void);  // ends in a row without service between
int64_t engine_tick(int64_t now);

/* ---- update.c: the other system on the disk (update.h has the rest of it) ---- */

enum status update_look(struct err *err); // what the slots say; a bundle that lies on the ESP
/* The engine has received a bundle: the file of its folder for what arrives. */
void update_asked(const char *id, size_t len, bool may_be_older);
/* Restarts the machine; a system on trial is given up for this reason first. */
void update_restart(const char *why);
int64_t update_tick(int64_t now);

/* ---- shutdown.c: its order and whether it stands still, pure ---- */

enum shutdown_phase { SHUTDOWN_NOT, SHUTDOWN_STOPPING, SHUTDOWN_WRITING, SHUTDOWN_OVER };

/* What the caller must do now. */
enum shutdown_act {
    SHUTDOWN_WAIT,
    SHUTDOWN_KILL,  // the engine has had its time
    SHUTDOWN_WRITE, // kill everything, begin to write out
    SHUTDOWN_TELL,  // that it is still being written
    SHUTDOWN_END,   // all is written
    SHUTDOWN_RESET  // no disk moves any more
};

struct shutdown {
    enum shutdown_phase phase;
    bool killed;         // the engine
    int64_t begun_ms;    // when it was asked for
    int64_t moved_ms;    // when a disk last completed something
    int64_t told_ms;     // when the console last heard that it goes on
    uint64_t n_requests; // completed so far by all disks
};

void shutdown_begin(struct shutdown *s, int64_t now);
/* written: all is; n_requests: of shutdown_requests, in the phase WRITING. */
enum shutdown_act shutdown_step(struct shutdown *s, int64_t now, bool engine_runs, bool written,
                                uint64_t n_requests);
bool shutdown_moves(const struct shutdown *s, int64_t now);
/* How many requests all disks have completed, from the text of /proc/diskstats. */
uint64_t shutdown_requests(const char *diskstats);
/* What waits to be written, from the text of /proc/meminfo. */
uint64_t shutdown_kilobytes_left(const char *meminfo);

/* ---- power.c, watchdog.c ---- */

enum power { POWER_OFF, POWER_REBOOT };
void power_added(const struct uevent *u);
void power_request(enum power how, const char *why);
bool power_asked(void);        // to switch off or restart
bool power_moves(int64_t now); // no shutdown that stands still is under way
int64_t power_tick(int64_t now);
void watchdog_added(const struct uevent *u);
int64_t watchdog_tick(int64_t now);
void watchdog_release(void);

#endif
