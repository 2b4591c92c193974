/* fsck.h - e2fsck on the data partition, in children (fsck.c).
 */
#ifndef INIT_FSCK_H
#define INIT_FSCK_H

#include "init.h"

#define FSCK_PATH "/usr/bin/e2fsck"
enum { FSCK_MENDED = 1 | 2, FSCK_LEFT = 4, FSCK_FAILED = 8 }; // bits of its exit code

/* Whether an ext4 superblock says that the kernel has met errors; pure, as the next two are. */
bool fsck_wanted(const uint8_t superblock[1024]);
/* Whether a mount that failed with this errno means damage that a check may find. */
bool fsck_mount_asks(int why);
/* Whether what ended with this exit code may be written to; minus a signal: it may not. */
bool fsck_trusted(int code);
/* Mends what has one safe answer; returns the exit code. `place`: a folder with nothing but `disk`
 * in it, which belongs to the user 65533. whole: also what its superblock calls clean. */
int fsck_confined(const char *program, const char *place, bool whole);
/* The calling child, whose child e2fsck is, leads a process group of its own, and waits for it also
 * when SIGTERM comes to both. */
void fsck_leads(void);
int fsck_run(const char *device, bool whole);

#endif
