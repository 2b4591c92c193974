// takes.c - what models really take against what their plans say: a tool of the golden tier.
//
//   takes DEVICE GIB MODEL.gguf...   for each model opened as if the device had GIB free, a line:
//                                    NAME, its context, the bytes planned (without the room that
//                                    is kept for operations, of which nothing is taken yet), and
//                                    those taken
//
// Taken is what the address space of this process grows by when the model is begun: the file is
// mapped (the processor computes from there), pools, states and activations are made; and all that
// a plan may have forgotten. No weight is read, so that the file may be one of zeros that no memory
// would hold.
#include "model/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_SEQ = 4, N_HELD = 32, N_BATCH = 512 }; // as `tawny serve` opens one

static void fail(const char *what, const struct err *err)
{
    fprintf(stderr, "takes: %s: %s\n", what, err->text);
    exit(1);
}

static uint64_t taken_bytes(void)
{
    return file_number("/proc/self/status", "VmSize:", 10) * 1024;
}

static void tell(struct compute *compute, const char *path, uint64_t memory_bytes)
{
    const struct model_options options = {.n_ctx = CTX_AUTO,
                                          .n_seq = N_SEQ,
                                          .n_batch = N_BATCH,
                                          .n_held = N_HELD,
                                          .memory_bytes = memory_bytes};
    struct model *model;
    struct err err = {0};
    const uint64_t before = taken_bytes();
    if (model_begin(&model, compute, path, &options, &err) != OK)
        fail("model", &err);
    const uint64_t taken = taken_bytes() - before;
    const struct model_plan *plan = &model_info(model)->plan;
    printf("%s %d %" PRIu64 " %" PRIu64 "\n", model_info(model)->id, (int)plan->n_ctx,
           plan->weight_bytes + plan->cache_bytes + model_plan_states(plan) + plan->pass_bytes,
           taken);
    model_close(model);
}

int main(int argc, char **argv)
{
    struct compute *compute;
    struct err err = {0};
    if (argc < 4) {
        fprintf(stderr, "usage: takes DEVICE GIB MODEL.gguf...\n");
        return 2;
    }
    log_level_set(LOG_WARN);
    if (compute_open(&compute, &(struct compute_options){.device = argv[1], .n_threads = 1},
                     &err) != OK)
        fail("device", &err);
    for (int i = 3; i < argc; i++)
        tell(compute, argv[i], strtoull(argv[2], NULL, 10) << 30);
    compute_close(compute);
    return 0;
}
