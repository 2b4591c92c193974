// status.c - what can be read off a status, by whoever has one.
#include "sched.h"

const struct sched_model *sched_model(const struct sched_status *status, struct bytes path)
{
    for (int32_t i = 0; i < status->n_models; i++)
        if (path.n == 0 ? status->models[i].is_main
                        : bytes_equal_text(path, status->models[i].path))
            return &status->models[i];
    return NULL;
}
