// vault.h - inside api/: what a backup holds, and how one comes back.
//
// The files of STATE that make this box the one its clients know, packed as one text:
//
//   "tawny backup 1\n", then for each file "NAME LENGTH\n" and its bytes
//
// A restore only lays that text down as STATE/restore.pending. The next start of the server writes
// each file as NAME.restore first, before anything has read one, and renames them when all are
// there. Where that fails (a full disk), the start fails too, with restore.pending left: the next
// one does it again, and so it does after a cut of the power. Half of it is never served.
#pragma once

#include "../base/base.h"

enum { VAULT_BYTES = 3 << 20, VAULT_NAMES = 200 };
#define VAULT_PENDING "restore.pending"

MUST_USE enum status vault_pack(struct buf *out, const char *state, struct err *err);
// names: of the files in it, "api-key, keys.json". BAD_INPUT: it is no such text, or
// its key, its certificates or its settings would not be taken at a start.
MUST_USE enum status vault_check(struct bytes text, char names[VAULT_NAMES], struct err *err);
