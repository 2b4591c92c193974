// start.h - what the settings of a server name, before and when it starts: whether it can be so,
// which model is meant, and what is not there (which is said, and no reason not to start).
#pragma once

#include "base/base.h"
#include "net/net.h"
#include "store/store.h"

// Whether the settings that other floors read may be so; BAD_INPUT names the setting. Nothing is
// opened.
MUST_USE enum status start_settings_good(const struct settings *settings, struct err *err);
// A box runs on without what cannot be: each setting that is refused becomes its default, and is
// noted; the others stay as they are.
void start_mend(struct settings *settings, struct settings_report *report);
// listen-http = auto becomes port 80 on the addresses of `listen`, of which a wildcard is alone
// enough; none where `listen` itself has that port.
MUST_USE enum status start_http(struct settings *settings, struct err *err);
// The setting becomes its default, and nobody has set it.
void start_reset(struct settings *settings, struct settings_report *report, const char *name);
struct client_options start_client(const struct settings *settings);
// The file of the model that requests would find by that name, or by an alias; false: none is.
bool start_named(const struct store *store, const char *name, char *out, size_t size);
// settings->draft becomes lines (base.h); what of it is not there is left out, with a line in the
// log.
void start_draft(struct settings *settings, const struct store *store);
// Lines in the log about what `models`, `alias`, `pin` and `ca` name and what is not there.
void start_tell(const struct settings *settings, const struct store *store, struct net *net);
