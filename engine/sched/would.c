// would.c - what a model that is not here would get of this box, with nothing else loaded.
#include "inside.h"

#include <string.h>

enum { CTX_USUAL = 16384 };

// What was free before any model was loaded: a processor's is that of the start, a GPU's is looked
// at, without what models have taken.
static uint64_t free_bytes(const struct sched_status *status)
{
    uint64_t n_bytes = status->device.memory_usable_bytes;
    if (strcmp(status->device.backend, "cpu") == 0)
        return n_bytes;
    for (int32_t i = 0; i < status->n_models; i++)
        n_bytes += status->models[i].memory_bytes;
    return n_bytes < status->device.memory_bytes ? n_bytes : status->device.memory_bytes;
}

void sched_would(const struct sched *sched, const struct model_shape *shape,
                 struct sched_would *out)
{
    struct model_options options = sched_model_options(&sched->settings);
    struct model_plan plan;
    *out = (struct sched_would){.known = false};
    options.memory_bytes = free_bytes(sched_status(sched));
    if (options.memory_bytes == 0)
        return;
    model_shape_plan(&plan, shape, &options);
    out->known = true;
    out->fits = plan.fits;
    out->n_ctx = plan.fits ? plan.n_ctx : 0;
    options.n_ctx = CTX_USUAL;
    model_shape_plan(&plan, shape, &options);
    out->needs_bytes = model_plan_bytes(&plan);
}
