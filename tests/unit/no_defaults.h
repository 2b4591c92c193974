// no_defaults.h - for a program with an exchange and a scheduler of its own: no model has defaults,
// and what keeps them, with all its routes, is not linked.
#pragma once

#include "../../engine/api/fields.h"

bool defaults_read(const struct api *api, yyjson_val *model, struct reading *r)
{
    (void)api, (void)model, (void)r;
    return true;
}

int32_t defaults_context(const struct api *api, const char *model)
{
    (void)api, (void)model;
    return 0;
}
