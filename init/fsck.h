/* fsck.h - e2fsck on the data partition, in children (fsck.c).
 */
#ifndef INIT_FSCK_H
#define INIT_FSCK_H

#include "init.h"

#define FSCK_PATH "/usr/bin/e2fsck"
enum { FSCK_MENDED = 1 | 2, FSCK_LEFT = 4, FSCK_FAILED = 8 }; // bits of its exit code

/* Whether an ext4 superblock says that the kernel has met errors; pure. */
bool fsck_wanted(const uint8_t superblock[1024]);
/* Mends what has one safe answer; returns the exit code. `place`: a folder with nothing but `disk`
 * in it, which belongs to the user 65533. */
int fsck_confined(const char *program, const char *place);
int fsck_run(const char *device);

#endif
