// relay.h - floor 0: lines of the log that another program said.
#pragma once

#include "base.h"

// Kept as our own lines are (log_read) and shown nowhere: who said it has shown it. Any thread.
void log_relay(enum log_level level, const char *text, size_t n);
