// vault.h - inside api/: what a backup holds, and how one comes back.
//
// The files of STATE that make this box the one its clients know, packed as one text:
//
//   "tawny backup 1\n", then for each file "NAME LENGTH\n" and its bytes
//
// A restore only lays that text down as STATE/restore.pending; the next start of the server puts
// each file in its place before anything has read one, and so a cut of the power in between leaves
// no half of it: the next start does it again.
#pragma once

#include "../base/base.h"

enum { VAULT_BYTES = 2 << 20, VAULT_NAMES = 200 };
#define VAULT_PENDING "restore.pending"

MUST_USE enum status vault_pack(struct buf *out, const char *state, struct err *err);
// names: of the files in it, "api-key, keys.json". BAD_INPUT: it is no such text.
MUST_USE enum status vault_check(struct bytes text, char names[VAULT_NAMES], struct err *err);
