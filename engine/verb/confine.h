// confine.h - what a server gives up before it meets anybody (base/confine.h does it).
#pragma once

#include "base/base.h"

// In the main thread, before any other is started; model_path: that of the start, draft in
// `settings` whole. Says in the log which layer holds, and which is not to be had and why.
void serve_confine(const struct settings *settings, const char *model_path);
// When all is open and every thread but the net thread's look-ups runs: the caller is the net
// thread.
void serve_confine_net(void);
