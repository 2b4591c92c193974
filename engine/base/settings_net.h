// settings_net.h - floor 0, inside base/: what the settings about the network must look like.
#pragma once

#include "base.h"

// BAD_INPUT with a sentence when `name` is address, gateway, dns or ntp and the value is none; OK
// for every other name.
MUST_USE enum status settings_net_check(const char *name, struct bytes value, struct err *err);
