// source.h - where a model is to be pulled from, as people write it, and the listings of what is
// there: a registry's manifest, a hub's tree. Texts in, values out: nothing is fetched here.
#pragma once

#include "inside.h"

enum {
    SOURCE_TEXT_BYTES = 2048,
    SOURCE_PULL_BYTES = 700, // of what is asked for
    SOURCE_FILES_MOST = 40,
    SOURCE_LISTING_BYTES = 2 << 20,
};

enum source_kind {
    SOURCE_REGISTRY, // [HOST/][NAMESPACE/]NAME[:TAG]
    SOURCE_HUB,      // hf.co/OWNER/REPO[:QUANT], and addresses of the hub's pages
    SOURCE_URL,      // https://HOST/.../NAME.gguf[#sha256=HEX]
};

struct source {
    enum source_kind kind;
    char host[280];              // HOST or HOST:PORT
    char path[300];              // NAMESPACE/NAME, OWNER/REPO
    char tag[160];               // of a registry; of a hub the QUANT that was asked for, or ""
    char revision[128];          // of a hub
    char file[512];              // of a hub: the file that is meant; "": to be chosen
    char url[SOURCE_TEXT_BYTES]; // of SOURCE_URL, without the fragment
    char sha256[65];             // of SOURCE_URL, where it is given
    char name[STORE_NAME_BYTES]; // of the model here
};

struct source_file {
    char name[STORE_NAME_BYTES]; // a file's here, without .gguf
    char url[SOURCE_TEXT_BYTES]; // without scheme: HOST/...
    char sha256[65];             // "": not known
    char etag[132];              // likewise
    uint64_t n_bytes;            // 0: not known
};

// BAD_INPUT: the sentence says what can be pulled. registry, hub: the settings.
MUST_USE enum status source_read(struct source *out, struct bytes text, const char *registry,
                                 const char *hub, struct err *err);
// The name that a model has here which was pulled by `text`; false: that is no source, or a plain
// name.
bool source_name_here(char out[STORE_NAME_BYTES], struct bytes text, const char *registry,
                      const char *hub);

// The files of a registry's manifest: one layer is the model.
MUST_USE enum status source_read_manifest(const struct source *source, struct bytes json,
                                          struct source_file *files, size_t *n, struct err *err);
// Of a hub's tree the files of the QUANT that was asked for, or of the usual one.
MUST_USE enum status source_read_tree(const struct source *source, struct bytes json,
                                      struct source_file *files, size_t *n, struct err *err);
// A registry's demand for a token: https://REALM?service=...&scope=..., BAD_INPUT: it is none.
MUST_USE enum status source_read_challenge(char url[SOURCE_TEXT_BYTES], struct bytes challenge,
                                           struct err *err);
// {"token": ...} or {"access_token": ...}
MUST_USE enum status source_read_token(char *out, size_t size, struct bytes json, struct err *err);
