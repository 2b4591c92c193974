// defaults.h - inside api/: the defaults of models, between those who read requests, what sets them
// and the route.
#pragma once

#include "fields.h"

struct model_default {
    struct model_default *next;
    char name[STORE_NAME_BYTES];
    yyjson_doc *doc; // an object of default_fields
};

// defaults.c. NULL: it has none.
const struct model_default *defaults_find(const struct api *api, const char *model);
// The members of `old`, with those of `said` in their place; null is none.
void defaults_members(struct json *json, yyjson_val *old, yyjson_val *said);
// They become the model's; takes doc, whose root is an object of checked members.
void defaults_keep(struct api *api, const char *model, yyjson_doc *doc);
void defaults_drop(struct api *api, const char *model); // it has none any more

// defaults_set.c. Whether every member is a field, and its reader takes it.
bool defaults_good(yyjson_val *root, struct refusal *refusal);
// What the model's defaults are to become; NULL: refused.
yyjson_doc *defaults_merged(const struct api *api, const char *model, yyjson_val *said,
                            struct refusal *refusal);
// Gives the file to the scribe, as a writing of that number. False: it is not written.
bool defaults_save(struct api *api, uint64_t id);
