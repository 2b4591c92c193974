/* fsck.h - checks of file systems, in children (fsck.c): e2fsck on the data partition, fsck.fat on
 * the ESP.
 */
#ifndef INIT_FSCK_H
#define INIT_FSCK_H

#include "init.h"

enum { FSCK_MENDED = 1 | 2, FSCK_LEFT = 4, FSCK_FAILED = 8 }; // bits of e2fsck's exit code
enum fsck_kind {
    FSCK_DATA,
    FSCK_DATA_WHOLE, // also what its superblock calls clean
    FSCK_ESP         // its exit code 1 means that it mended, or gave up: the mark tells
};

/* Whether an ext4 superblock says that the kernel has met errors; pure, as the next three are. */
bool fsck_wanted(const uint8_t superblock[1024]);
/* Whether the boot sector of a FAT says that it was writable when the power went (Linux's
 * fat_set_state; Microsoft's specification has the byte as reserved). */
bool fsck_fat_wanted(const uint8_t boot_sector[512]);
/* Whether a mount that failed with this errno means damage that a check may find. */
bool fsck_mount_asks(int why);
/* Whether what ended with this exit code may be written to; minus a signal: it may not. */
bool fsck_trusted(int code);
/* Mends what has one safe answer; returns the exit code. `place`: a folder with nothing but `disk`
 * in it, which belongs to the user 65533. program: the kind's own, or a test's in its place. */
int fsck_confined(const char *program, const char *place, enum fsck_kind kind);
/* The calling child, whose child e2fsck is, leads a process group of its own, and waits for it also
 * when SIGTERM comes to both. */
void fsck_leads(void);
int fsck_run(const char *device, enum fsck_kind kind);
bool fsck_data_wanted(const char *device); // fsck_wanted, of a device
/* The ESP, while it is not mounted: mended where it was being written when the power went. What is
 * left then is met by the kernel, which makes it read-only; that is said. */
void fsck_esp(const char *device);

#endif
