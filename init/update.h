/* update.h - what the files of updates share: bundle.c, uki.c, slots.c, install.c, update.c.
 *
 * A bundle is a signed header and a UKI; a slot is a UKI on the ESP and its parts for GRUB. How the
 * two slots take turns is told in boot/README.md, "Updates". What reads or writes a
 * disk runs in children of PID 1, and works on the folder it is told (`root`: /boot, or a test's);
 * PID 1 itself runs the rest of update.c, and finds out from which disk it came (origin_find).
 */
#ifndef INIT_UPDATE_H
#define INIT_UPDATE_H

#include "init.h"

#define BUNDLE_HEADER 512
#define BUNDLE_VERSION 64 // bytes of a version's text, its NUL among them
#define UKI_LEAST (64 << 10)
#define UKI_MOST (128 << 20)
#define KEY_BYTES 65 // a point of P-256: 04, X, Y
#define MOST_KEYS 4
#define MOST_SLOTS 8
#define WHY_BYTES 256

#define DISK_ID_BYTES 33

/* What this system keeps on the data partition, and the newest that it can read. */
#define DATA_FORMAT 1

/* ---- bundle.c ---- */

struct bundle {
    char version[BUNDLE_VERSION];
    uint64_t built;       // unix time of the commit: what is higher is newer
    uint64_t n_uki;       // bytes, behind the header
    uint8_t sha256[32];   // of the UKI
    uint32_t data_format; // that it writes
    uint8_t signed_digest[32], signature[64];
};

struct update_key {
    uint8_t point[KEY_BYTES];
    const char *whose; // "built into this system", "of its owner"
};

/* file_bytes: of the whole file, whose length must be right. */
MUST_USE enum status bundle_read(struct bundle *b, const uint8_t head[BUNDLE_HEADER],
                                 uint64_t file_bytes, struct err *err);
/* OK: one of the keys has signed it; *whose says which. */
MUST_USE enum status bundle_verify(const struct bundle *b, const struct update_key *keys,
                                   int n_keys, const char **whose, struct err *err);
/* A public key of P-256 as openssl writes it (PEM, "PUBLIC KEY"). */
MUST_USE enum status key_read(struct update_key *key, const char *pem, size_t len, struct err *err);
/* SHA-256 of n bytes of a file from `at` on; `head` stands in for its first n_head bytes. */
MUST_USE enum status file_sha256(uint8_t out[32], int fd, uint64_t at, uint64_t n,
                                 const uint8_t *head, size_t n_head, struct err *err);

/* ---- uki.c: the parts of a UKI ---- */

struct uki_part {
    uint64_t at, n; // in the file
};
struct uki {
    struct uki_part linux_, initrd, cmdline;
};

#define UKI_HEAD 4096 // of a UKI: its section table ends within

MUST_USE enum status uki_read(struct uki *u, const uint8_t *head, size_t n_head, uint64_t n_file,
                              struct err *err);

/* ---- slots.c: the slots of an ESP ---- */

struct env { // grub/grubenv
    int good, trial, last;
    char disk
        [DISK_ID_BYTES]; // which disk this is: hexadecimal, made at its first start; "": not yet
    char why[WHY_BYTES];
};

/* Never fails: what is not there is 0 or "". */
void env_read(struct env *e, const char *text, size_t len);
#define ENV_BYTES 1024
void env_write(const struct env *e, char out[ENV_BYTES]);

struct slot {
    int number;
    bool has_uki;    // EFI/Linux/tawny-N.efi, or with a count
    bool is_counted; // its name has a count: it was not confirmed
    int tries_left;  // of that count
    bool has_parts;  // tawny/N/about
    char file[64];   // the UKI's name in EFI/Linux
    char version[BUNDLE_VERSION];
    uint64_t built;
};

struct slots {
    char root[64];
    struct env env;
    struct slot slot[MOST_SLOTS]; // by number
    int n_slots;
    int running; // number of the slot whose version this is; 0: none has it
};

struct release { // of a system: /etc/tawny-release, tawny/N/about
    char version[BUNDLE_VERSION];
    uint64_t built;
};
void release_read(struct release *r, const char *text, size_t len);

/* NOT_FOUND: the partition was not written by an image with slots. */
MUST_USE enum status slots_read(struct slots *s, const char *root, const struct release *mine,
                                struct err *err);
struct slot *slots_find(struct slots *s, int number);
MUST_USE enum status slots_write_env(const struct slots *s, struct err *err);
/* The slot's UKI is given a name with no tries left, where a firmware has not done so. */
MUST_USE enum status slots_use_up(struct slots *s, int number, struct err *err);
/* Whether the name of its UKI says that no loader tries it (again); nothing of that slot: true. */
bool slots_used_up(struct slots *s, int number);
MUST_USE enum status slots_confirm(struct slots *s, struct err *err);
/* Does all of it that it can, and tells the first that failed. */
MUST_USE enum status slots_give_up(struct slots *s, const char *why, struct err *err);
/* Removes every slot but the good one. */
MUST_USE enum status slots_make_room(struct slots *s, struct err *err);

/* Makes the disk's id and writes it where both loaders give it to the kernel, once. */
MUST_USE enum status slots_name_disk(struct slots *s, const char id[DISK_ID_BYTES],
                                     struct err *err);
/* Which release is on trial, where systemd's stub gives it to every system that it starts: one that
 * does not find its disk knows by it. NULL: none is. */
MUST_USE enum status slots_tell_trial(const struct slots *s, const struct release *trial,
                                      struct err *err);
#define DISK_CREDENTIAL "tawny-disk.cred"
#define TRIAL_CREDENTIAL "tawny-trial.cred"
#define CREDENTIALS "/.extra/global_credentials/" // where the stub lays them
/* A variable of the firmware as the kernel shows it (four bytes, UTF-16), in which systemd-boot
 * says that it has renamed the UKI that it starts; it is gone with the next start. True: the name
 * has no tries left, so that another slot is started next. */
#define LOADER_NOTED "LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
bool loader_noted(const uint8_t *variable, size_t len);
/* Whether the loader says that this system is on trial: by that text, or on the command line. */
bool trial_told(const char *credential, const char *cmdline, const struct release *mine);
/* The id of the disk that a loader started this system from: in what systemd's stub laid into the
 * initramfs, or on the kernel's command line. False: neither says. */
bool origin_find(char id[DISK_ID_BYTES], const char *credential, const char *cmdline);
/* "" unless the whole text (but for a newline) is such an id. */
void disk_id_read(char id[DISK_ID_BYTES], const char *text, size_t len);

enum update_state {
    UPDATE_NONE,      // nothing was installed but what runs
    UPDATE_VERIFIED,  // a slot waits to be tried
    UPDATE_TRYING,    // this system is on trial
    UPDATE_CONFIRMED, // this system was on trial, and is the good one
    UPDATE_WENT_BACK  // the last one installed is not the good one
};
/* From what is on the ESP; uefi: by which of the two ways this system was started. */
enum update_state slots_state(const struct slots *s, bool uefi);

/* ---- install.c: a bundle becomes a slot ---- */

struct install {
    const char *root; // of the ESP, mounted for writing by `writable`
    const struct update_key *keys;
    int n_keys;
    bool may_be_older;
    void (*writable)(bool on); // NULL: it is
};
/* Checks all of the bundle in `fd`, then writes it as a new slot that is tried at the next start.
 * Anything but OK: nothing that the good slot needs was touched. */
MUST_USE enum status install_bundle(struct slots *s, const struct install *how, int fd,
                                    struct bundle *b, struct err *err);

#endif
