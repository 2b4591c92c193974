// sha256.h - inside base/: which way a processor takes SHA-256, for the test of both.
#pragma once

#include "base.h"

// Whether the processor's own instructions do it. wanted: 0 or 1 chooses, -1 asks.
bool sha256_quick(int wanted);
