/* told.h - what the engine reads of PID 1 while it runs (told.c). */
#ifndef INIT_TOLD_H
#define INIT_TOLD_H

#include "init.h"

#define TOLD_DIR "/run/told"
#define TOLD_NAME "box"
enum told { TOLD_DATA_FAULT, TOLD_BOX_WAITS, TOLD_LISTEN_WAITS, TOLD_KEYS };

void told_begin(const char *folder); // from here on it is written there; made where it is not
/* Of its value one line of 399 bytes at most; "": nothing is the matter. */
void told_set(enum told key, const char *value);
size_t told_text(char *out, size_t cap); // what the file has; returns its length, less than cap

#endif
