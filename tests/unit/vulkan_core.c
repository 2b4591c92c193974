// vulkan_core.c - the core of compute/vulkan/ on lavapipe: choice and refusal, memory of every
// kind, weights from a file, recordings and their barriers, kept kernels, and faults played through
// the table of function pointers.
#include "check.h"
#include "compute/vulkan/core.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static char dir[64];

static struct vulkan *open_device(const char *cache_dir)
{
    struct compute *compute = NULL;
    struct compute_options options = {.device = "LLVMpipe", .cache_dir = cache_dir};
    struct err err = {0};
    if (!CHECK(vulkan_open(&compute, &options, &err) == OK)) {
        fprintf(stderr, "    %s\n", err.text);
        exit(1);
    }
    return (struct vulkan *)compute;
}

static void close_device(struct vulkan *vk)
{
    CHECK(compute_close(&vk->compute));
}

static struct tensor floats(struct vulkan *vk, int64_t n_rows, int64_t n_cols, float start)
{
    struct tensor tensor = {0};
    CHECK(compute_tensor(&vk->compute, &tensor, DTYPE_F32, n_rows, n_cols, NULL) == OK);
    float *values = mem_array((size_t)(n_rows * n_cols), sizeof(*values));
    for (int64_t i = 0; i < n_rows * n_cols; i++)
        values[i] = start + (float)i;
    tensor_write(&vk->compute, &tensor, values, (size_t)(n_rows * n_cols) * sizeof(*values));
    free(values);
    return tensor;
}

static struct tensor ints(struct vulkan *vk, int64_t n, const int32_t *values)
{
    struct tensor tensor = {0};
    CHECK(compute_tensor(&vk->compute, &tensor, DTYPE_I32, 1, n, NULL) == OK);
    tensor_write(&vk->compute, &tensor, values, (size_t)n * sizeof(*values));
    return tensor;
}

static float float_at(struct vulkan *vk, const struct tensor *tensor, int64_t row, int64_t col)
{
    float row_values[4096];
    struct tensor view = tensor_rows(tensor, row, 1);
    tensor_read(&vk->compute, row_values, &view, (size_t)tensor->n_cols * sizeof(float));
    return row_values[col];
}

// ---- choice -------------------------------------------------------------------------------------

static void test_choice(void)
{
    struct compute *compute = NULL;
    struct err err = {0};
    static struct survey survey;
    vulkan_survey(&survey);
    CHECK(survey.failure.status == OK && survey.loader[0] && survey.n_devices >= 1);
    const struct survey_device *d = &survey.device[0];
    CHECK_TEXT(d->kind, "software");
    CHECK(d->usable && !d->refusal[0] && strstr(d->name, "llvmpipe") && d->driver[0]);
    CHECK(d->memory_bytes > 1 << 28 && d->memory_usable_bytes <= d->memory_bytes);
    CHECK(d->largest_buffer_bytes >= 256 << 20 && d->api_version >= VK_API_VERSION_1_3);
    const char *const missing[] = {"auto", "vulkan", "no such device"};
    for (size_t i = 0; i < COUNT_OF(missing); i++) { // llvmpipe is never chosen by itself
        struct compute_options options = {.device = missing[i]};
        CHECK(vulkan_open(&compute, &options, &err) == NOT_FOUND);
        CHECK(strstr(err.text, "llvmpipe"));
    }
    struct vulkan *vk = open_device(NULL);
    const struct compute_info *info = compute_info(&vk->compute);
    CHECK_TEXT(info->backend, "vulkan");
    CHECK_TEXT(info->kind, "software");
    CHECK(strstr(info->reason, "asked for") && info->memory_bytes == d->memory_bytes);
    CHECK(vk_features(vk)->software && vk_features(vk)->subgroup_default >= 4);
    close_device(vk);
}

static struct candidate device_like(const char *name, const char *kind, uint32_t n_units,
                                    const char *refusal)
{
    struct candidate c = {.said.usable = !refusal[0], .features.n_compute_units = n_units};
    snprintf(c.said.name, sizeof(c.said.name), "%s", name);
    snprintf(c.said.kind, sizeof(c.said.kind), "%s", kind);
    snprintf(c.said.refusal, sizeof(c.said.refusal), "%s", refusal);
    c.features.software = strcmp(kind, "software") == 0;
    return c;
}

// Which of several; never a software one unasked; a broken GPU is not a missing one.
static void test_policy(void)
{
    const struct candidate all[] = {
        device_like("llvmpipe (LLVM 19)", "software", 0, ""),
        device_like("Virtio-GPU Venus (AMD Radeon 8060S)", "virtual", 40, ""),
        device_like("AMD Radeon 890M (RADV)", "integrated", 16, ""),
        device_like("AMD Radeon 8060S (RADV)", "integrated", 40, ""),
        device_like("Old GPU", "discrete", 64, "Vulkan 1.3 is wanted; the driver has 1.1"),
        device_like("Virtio-GPU Venus (llvmpipe)", "software", 0, ""),
    };
    const struct {
        int first, n;
        const char *device;
        int chosen; // index into all; -1: none
        enum status status;
        const char *says;
    } cases[] = {
        {0, 6, "auto", 3, OK, "discrete before integrated"},
        {0, 6, "vulkan", 3, OK, "refused: Old GPU"},
        {0, 3, "auto", 2, OK, "the fastest of 2"},
        {0, 2, "auto", 1, OK, "the only GPU"},
        {0, 1, "auto", -1, NOT_FOUND, "llvmpipe (LLVM 19)' (software), which runs when named"},
        {0, 1, "LLVM", 0, OK, "asked for"},
        {5, 1, "auto", -1, NOT_FOUND, "no GPU"},
        {4, 1, "auto", -1, UNSUPPORTED, "the driver has 1.1"},
        {4, 2, "auto", -1, UNSUPPORTED, "Old GPU"},
        {0, 6, "890m", 2, OK, "890m was asked for"},
        {0, 6, "8060S", 3, OK, "asked for"}, // the real one before the virtual one
        {0, 6, "venus", 1, OK, "asked for"},
        {0, 6, "old", -1, UNSUPPORTED, "1.3 is wanted"},
        {0, 6, "geforce", -1, NOT_FOUND, "there is 'llvmpipe"},
        {0, 0, "auto", -1, NOT_FOUND, "no device at all"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct candidate *chosen = NULL;
        char reason[320] = "";
        struct err err = {0};
        CHECK(candidate_choose(all + cases[i].first, cases[i].n, cases[i].device, &chosen, reason,
                               sizeof(reason), &err) == cases[i].status);
        CHECK(chosen == (cases[i].chosen < 0 ? NULL : &all[cases[i].chosen]));
        if (!CHECK(strstr(cases[i].status == OK ? reason : err.text, cases[i].says)))
            fprintf(stderr, "    case %zu: '%s' '%s'\n", i, reason, err.text);
    }
}

static void test_no_driver(void)
{
    const char *drivers = getenv("VK_DRIVER_FILES");
    char kept[512];
    snprintf(kept, sizeof(kept), "%s", drivers ? drivers : "");
    struct compute *compute = NULL;
    struct compute_options options = {.device = "auto"};
    struct err err = {0};
    setenv("VK_DRIVER_FILES", "/nonexistent.json", 1);
    CHECK(vulkan_open(&compute, &options, &err) == NOT_FOUND && strstr(err.text, "no driver"));
    if (drivers)
        setenv("VK_DRIVER_FILES", kept, 1);
    else
        unsetenv("VK_DRIVER_FILES");
}

// ---- memory -------------------------------------------------------------------------------------

static void test_pieces(void)
{
    enum { N = 200 };
    struct vulkan *vk = open_device(NULL);
    struct tensor all[N] = {0};
    uint32_t random = 1;
    for (int i = 0; i < 2000; i++) { // tensors of 4 B to 400 KB come and go; each keeps its number
        random = random * 1664525u + 1013904223u;
        int k = (int)(random >> 16) % N;
        if (all[k].buffer) {
            CHECK(float_at(vk, &all[k], all[k].n_rows - 1, 0) ==
                  (float)k + (float)((all[k].n_rows - 1) * all[k].n_cols));
            tensor_free(&vk->compute, &all[k]);
        } else {
            all[k] = floats(vk, 1 + (random >> 8) % 100, 1 + (random >> 24) * 4 % 1000, (float)k);
        }
        for (const struct block *b = vk->memory.blocks; b && i % 100 == 0; b = b->next)
            for (uint32_t h = 1; h < b->n_holes; h++)
                CHECK(b->holes[h - 1].at + b->holes[h - 1].n_bytes < b->holes[h].at);
    }
    for (int k = 0; k < N; k++)
        if (all[k].buffer)
            tensor_free(&vk->compute, &all[k]);
    CHECK(!vk->memory.blocks);
    for (uint32_t i = 0; i < VK_MAX_MEMORY_HEAPS; i++)
        CHECK(vk->memory.heap_used[i] == 0);
    close_device(vk);
}

static void test_zeroed(void)
{
    struct vulkan *vk = open_device(NULL);
    const int64_t sizes[] = {1, 1000, 4 << 20}; // cleared by the host; by the device
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (int again = 0; again < 2; again++) { // the second time in memory that was used
            struct tensor tensor = {0};
            float *values = mem_array((size_t)sizes[i], sizeof(*values));
            bool zero = true;
            CHECK(compute_tensor(&vk->compute, &tensor, DTYPE_F32, 1, sizes[i], NULL) == OK);
            tensor_read(&vk->compute, values, &tensor, (size_t)sizes[i] * sizeof(*values));
            for (int64_t k = 0; k < sizes[i]; k++)
                zero &= values[k] == 0;
            CHECK(zero);
            for (int64_t k = 0; k < sizes[i]; k++)
                values[k] = 7;
            tensor_write(&vk->compute, &tensor, values, (size_t)sizes[i] * sizeof(*values));
            tensor_free(&vk->compute, &tensor);
            free(values);
        }
    close_device(vk);
}

static PFN_vkGetPhysicalDeviceMemoryProperties2 real_memory_properties;
static VKAPI_ATTR void VKAPI_CALL poor_memory(VkPhysicalDevice physical,
                                              VkPhysicalDeviceMemoryProperties2 *out)
{
    real_memory_properties(physical, out);
    for (uint32_t i = 0; i < out->memoryProperties.memoryHeapCount; i++)
        out->memoryProperties.memoryHeaps[i].size = 64 << 20;
    for (VkBaseOutStructure *next = out->pNext; next; next = next->pNext)
        if (next->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT)
            for (uint32_t i = 0; i < VK_MAX_MEMORY_HEAPS; i++) {
                ((VkPhysicalDeviceMemoryBudgetPropertiesEXT *)next)->heapBudget[i] = 64 << 20;
                ((VkPhysicalDeviceMemoryBudgetPropertiesEXT *)next)->heapUsage[i] = 0;
            }
}

static void test_no_room(void)
{
    struct vulkan *vk = open_device(NULL);
    struct tensor tensor = {0}, fits = {0};
    struct err err = {0};
    CHECK(compute_tensor(&vk->compute, &tensor, DTYPE_F32, 1 << 20, 1 << 20, &err) == NO_ROOM);
    CHECK(strstr(err.text, "4194304 MiB") && strstr(err.text, "one buffer") && !tensor.buffer);
    real_memory_properties = vk->instance.call.GetPhysicalDeviceMemoryProperties2;
    vk->instance.call.GetPhysicalDeviceMemoryProperties2 = poor_memory;
    CHECK(compute_tensor(&vk->compute, &fits, DTYPE_F32, 40 << 10, 256, &err) == OK);
    CHECK(compute_tensor(&vk->compute, &tensor, DTYPE_F32, 40 << 10, 256, &err) == NO_ROOM);
    CHECK(strstr(err.text, "a F32 tensor of 40 MiB") && strstr(err.text, "of the 64 MiB"));
    CHECK(strstr(err.text, "lower ctx or parallel") && !tensor.buffer);
    tensor_free(&vk->compute, &fits);
    CHECK(compute_tensor(&vk->compute, &tensor, DTYPE_F32, 40 << 10, 256, &err) == OK);
    tensor_free(&vk->compute, &tensor);
    close_device(vk);
}

// Two memory types out of lavapipe's one: type 1 is what the host sees.
static PFN_vkAllocateMemory real_allocate;
static PFN_vkGetBufferMemoryRequirements real_requirements;
static VKAPI_ATTR VkResult VKAPI_CALL allocate_type_0(VkDevice device,
                                                      const VkMemoryAllocateInfo *info,
                                                      const VkAllocationCallbacks *callbacks,
                                                      VkDeviceMemory *out)
{
    VkMemoryAllocateInfo changed = *info;
    changed.memoryTypeIndex = 0;
    return real_allocate(device, &changed, callbacks, out);
}
static VKAPI_ATTR void VKAPI_CALL both_types(VkDevice device, VkBuffer buffer,
                                             VkMemoryRequirements *out)
{
    real_requirements(device, buffer, out);
    out->memoryTypeBits = 3;
}

static void split_memory(struct vulkan *vk, VkMemoryPropertyFlags own)
{
    VkPhysicalDeviceMemoryProperties *p = &vk->memory.properties;
    p->memoryTypeCount = 2;
    p->memoryTypes[1] = p->memoryTypes[0];
    p->memoryTypes[0].propertyFlags = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | own;
    real_allocate = vk->call.AllocateMemory;
    vk->call.AllocateMemory = allocate_type_0;
    real_requirements = vk->call.GetBufferMemoryRequirements;
    vk->call.GetBufferMemoryRequirements = both_types;
    for (int i = 0; i < MEMORY_CLASSES; i++) {
        vk->memory.n_types[i] = 1;
        vk->memory.types[i][0] = i == MEMORY_MAIN ? 0 : 1;
    }
}

// Rows out of a tensor whose memory the host does not see (or not fast): what was written arrives,
// what is read is right the first time (a copy), later (the mirror) and in a kept recording.
static void test_other_memory(VkMemoryPropertyFlags own)
{
    struct vulkan *vk = open_device(NULL);
    const int32_t first[] = {5, 99, 0}, second[] = {7, 8, 9};
    split_memory(vk, own);
    struct tensor x = floats(vk, 100, 64, 0), out = floats(vk, 3, 64, -1), row = ints(vk, 3, first);
    CHECK((buffer_map(x.buffer) != NULL) == ((own & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) != 0));
    for (int i = 0; i < 6; i++) {
        const int32_t *rows = i % 2 ? second : first;
        tensor_write(&vk->compute, &row, rows, sizeof(first));
        if (compute_begin(&vk->compute, 11))
            op_rows(&vk->compute, &out, &x, &row);
        CHECK(compute_finish(&vk->compute, NULL) == OK);
        CHECK(vk_ints(&row)[0] == rows[0] && vk_ints(&row)[2] == rows[2] && !vk_ints(&x));
        for (int k = 0; k < 3; k++)
            CHECK(float_at(vk, &out, k, 63) == (float)(rows[k] * 64 + 63));
        CHECK(out.buffer->mirror && (i == 0 || vk->recorder.n_kept == 1));
    }
    struct tensor again = floats(vk, 3, 64, 1000); // written by the host: no old mirror is read
    tensor_free(&vk->compute, &again);
    tensor_write(&vk->compute, &out, (float[]){42}, sizeof(float));
    CHECK(float_at(vk, &out, 0, 0) == 42);
    tensor_free(&vk->compute, &out);
    tensor_free(&vk->compute, &x);
    tensor_free(&vk->compute, &row);
    CHECK(vk->memory.n_mirrored == 0);
    close_device(vk);
}

static VKAPI_ATTR VkResult VKAPI_CALL refuse_memory(VkDevice device,
                                                    const VkMemoryAllocateInfo *info,
                                                    const VkAllocationCallbacks *callbacks,
                                                    VkDeviceMemory *out)
{
    (void)device, (void)info, (void)callbacks, (void)out;
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}
static VKAPI_ATTR VkResult VKAPI_CALL refuse_commands(VkDevice device,
                                                      const VkCommandBufferAllocateInfo *info,
                                                      VkCommandBuffer *out)
{
    (void)device, (void)info, (void)out;
    return VK_ERROR_OUT_OF_HOST_MEMORY;
}

// What copies take is there before anything else: numbers get in and out when nothing is left.
static void test_reserve(void)
{
    const int32_t first[] = {5, 99, 0}, second[] = {7, 8, 9};
    struct vulkan *vk = open_device(NULL);
    CHECK(!vk->memory.staging); // the host sees all of lavapipe's memory
    split_memory(vk, 0);
    CHECK(memory_reserve(vk, NULL) == OK && vk->memory.staging && vk->recorder.copy);
    struct tensor x = floats(vk, 100, 64, 0), out = floats(vk, 3, 64, -1), row = ints(vk, 3, first);
    for (int i = 0; i < 3; i++) {
        const int32_t *rows = i % 2 ? second : first;
        tensor_write(&vk->compute, &row, rows, sizeof(first));
        if (compute_begin(&vk->compute, 11))
            op_rows(&vk->compute, &out, &x, &row);
        CHECK(compute_finish(&vk->compute, NULL) == OK);
        vk->call.AllocateMemory = refuse_memory; // from now on
        vk->call.AllocateCommandBuffers = refuse_commands;
        vk->memory.n_types[MEMORY_RESULT] = 0;
        for (int k = 0; k < 3; k++)
            CHECK(float_at(vk, &out, k, 63) == (float)(rows[k] * 64 + 63));
        CHECK(!out.buffer->mirror);
        tensor_write(&vk->compute, &x, (float[]){(float)i}, sizeof(float));
        CHECK(float_at(vk, &x, 0, 0) == (float)i);
        tensor_write(&vk->compute, &x, (float[]){0}, sizeof(float));
    }
    vk->memory.n_types[MEMORY_RESULT] = 1;
    close_device(vk);
}

// ---- weights ------------------------------------------------------------------------------------

static long file_kib_resident(void)
{
    char line[128];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "RssFile:", 8) == 0)
            kib = strtol(line + 8, NULL, 10);
    if (f)
        fclose(f);
    return kib;
}

static void test_weights(bool staged)
{
    enum { ROWS = 24000, COLS = 1024 }; // F32: 94 MiB, more than staging holds
    struct vulkan *vk = open_device(NULL);
    struct tensor w = {0};
    char path[80];
    if (staged)
        split_memory(vk, 0);
    snprintf(path, sizeof(path), "%s/weights", dir);
    FILE *f = fopen(path, "w+");
    float row[COLS];
    for (int r = 0; r < ROWS; r++) {
        for (int c = 0; c < COLS; c++)
            row[c] = (float)(r * 3 + c);
        CHECK(fwrite(row, sizeof(row), 1, f) == 1);
    }
    CHECK(fflush(f) == 0);
    const float *map = mmap(NULL, sizeof(row) * ROWS, PROT_READ, MAP_PRIVATE, fileno(f), 0);
    CHECK(map != MAP_FAILED);
    long before = file_kib_resident();
    CHECK(compute_weight(&vk->compute, &w, DTYPE_F32, ROWS, COLS, map, NULL) == OK);
    CHECK(before > 0 && file_kib_resident() - before < 8 << 10); // not the file's 94 MiB
    struct tensor out = floats(vk, 3, COLS, 0);
    struct tensor ids = ints(vk, 3, (int32_t[]){0, ROWS / 2 + 1, ROWS - 1});
    CHECK(compute_begin(&vk->compute, 0));
    op_embed(&vk->compute, &out, &w, &ids, 1);
    CHECK(compute_finish(&vk->compute, NULL) == OK);
    CHECK(float_at(vk, &out, 0, 5) == 5 && float_at(vk, &out, 2, 0) == (ROWS - 1) * 3 &&
          float_at(vk, &out, 1, 1023) == (ROWS / 2 + 1) * 3 + 1023);
    munmap((void *)(uintptr_t)map, sizeof(row) * ROWS);
    fclose(f);
    unlink(path);
    close_device(vk); // with tensors that nobody freed
}

// Memory that is no file's is left as it is.
static void test_weights_of_memory(void)
{
    struct vulkan *vk = open_device(NULL);
    const size_t n = 1 << 20;
    float *data = mem_array(n, sizeof(*data));
    struct tensor w = {0};
    for (size_t i = 0; i < n; i++)
        data[i] = (float)i;
    CHECK(compute_weight(&vk->compute, &w, DTYPE_F32, 1024, 1024, data, NULL) == OK);
    bool same = true;
    for (size_t i = 0; i < n; i++)
        same &= data[i] == (float)i;
    CHECK(same);
    free(data);
    tensor_free(&vk->compute, &w);
    close_device(vk);
}

// ---- recordings ---------------------------------------------------------------------------------

static PFN_vkCmdPipelineBarrier2 real_barrier;
static PFN_vkQueueSubmit2 real_submit;
static int n_barriers, n_submits;
static VKAPI_ATTR void VKAPI_CALL count_barrier(VkCommandBuffer commands,
                                                const VkDependencyInfo *info)
{
    n_barriers++;
    real_barrier(commands, info);
}
static VKAPI_ATTR VkResult VKAPI_CALL count_submit(VkQueue queue, uint32_t n,
                                                   const VkSubmitInfo2 *info, VkFence fence)
{
    n_submits++;
    return real_submit(queue, n, info, fence);
}

static void count_calls(struct vulkan *vk)
{
    real_barrier = vk->call.CmdPipelineBarrier2;
    vk->call.CmdPipelineBarrier2 = count_barrier;
    real_submit = vk->call.QueueSubmit2;
    vk->call.QueueSubmit2 = count_submit;
    n_barriers = n_submits = 0;
}

// a -> b -> c, then a again: what a recording computes does not depend on how it was submitted.
static void test_replay(void)
{
    struct vulkan *vk = open_device(NULL);
    const int32_t up[] = {1, 2, 3, 0}, down[] = {3, 0, 1, 2};
    struct tensor a = floats(vk, 4, 64, 0), b = floats(vk, 4, 64, 0), c = floats(vk, 4, 64, 0),
                  row = ints(vk, 4, up);
    float fresh[4], kept[4];
    bool recorded[3];
    count_calls(vk);
    for (int i = 0; i < 3; i++) {
        tensor_write(&vk->compute, &row, i == 1 ? down : up, sizeof(up));
        recorded[i] = compute_begin(&vk->compute, 5);
        if (recorded[i])
            for (int k = 0; k < 4; k++) {
                op_rows(&vk->compute, &b, &a, &row);
                op_rows(&vk->compute, &c, &b, &row);
            }
        CHECK(compute_finish(&vk->compute, NULL) == OK);
        for (int k = 0; k < 4; k++)
            kept[k] = float_at(vk, &c, k, 0);
    }
    CHECK(recorded[0] && !recorded[1] && !recorded[2] && n_submits == 3);
    CHECK(n_barriers == 1 + 7 + 1); // before all, between each two, for the host
    CHECK(compute_begin(&vk->compute, 0));
    op_rows(&vk->compute, &b, &a, &row);
    op_rows(&vk->compute, &c, &b, &row);
    CHECK(compute_finish(&vk->compute, NULL) == OK);
    for (int k = 0; k < 4; k++) {
        fresh[k] = float_at(vk, &c, k, 0);
        CHECK(fresh[k] == kept[k] && fresh[k] == (float)(64 * up[up[k]]));
    }
    // another's recording, of other tensors but for the rows
    struct tensor d = floats(vk, 4, 64, 0), e = floats(vk, 4, 64, 0);
    CHECK(compute_begin(&vk->compute, 6));
    op_rows(&vk->compute, &e, &d, &row);
    CHECK(compute_finish(&vk->compute, NULL) == OK && vk->recorder.n_kept == 2);
    tensor_free(&vk->compute, &b); // forgets the key that uses it, and no other
    CHECK(vk->recorder.n_kept == 1 && compute_begin(&vk->compute, 5));
    CHECK(compute_finish(&vk->compute, NULL) == OK); // nothing recorded: nothing to do
    tensor_write(&vk->compute, &row, down, sizeof(down));
    CHECK(!compute_begin(&vk->compute, 6));
    CHECK(compute_finish(&vk->compute, NULL) == OK);
    for (int k = 0; k < 4; k++)
        CHECK(float_at(vk, &e, k, 0) == (float)(64 * down[k]));
    tensor_free(&vk->compute, &d);
    tensor_free(&vk->compute, &a);   // used by a recording that is gone
    CHECK(vk->recorder.n_kept == 1); // of key 5, which records nothing
    close_device(vk);
}

// Rehearsed operations compile, run nothing and leave nothing to compile.
static void test_rehearsal(void)
{
    struct vulkan *vk = open_device(NULL);
    const int32_t at[] = {1, 2, 3, 0};
    struct tensor a = floats(vk, 4, 64, 0), b = floats(vk, 4, 64, 0), row = ints(vk, 4, at);
    CHECK(!compute_rehearse(&vk->compute)); // a software device does not
    vk->chosen.features.software = false;
    float before = float_at(vk, &b, 2, 0);
    uint32_t n_pipelines = vk->pipelines.n;
    count_calls(vk);
    CHECK(compute_rehearse(&vk->compute));
    op_rows(&vk->compute, &b, &a, &row);
    CHECK(compute_finish(&vk->compute, NULL) == OK);
    CHECK(vk->pipelines.n == n_pipelines + 1 && n_submits == 0);
    CHECK(float_at(vk, &b, 2, 0) == before);
    CHECK(compute_begin(&vk->compute, 0));
    op_rows(&vk->compute, &b, &a, &row);
    CHECK(compute_finish(&vk->compute, NULL) == OK);
    CHECK(vk->pipelines.n == n_pipelines + 1 && float_at(vk, &b, 2, 0) == 64 * 3);
    close_device(vk);
}

static void test_no_barrier(void)
{
    struct vulkan *vk = open_device(NULL);
    struct tensor a = floats(vk, 8, 64, 0), b = floats(vk, 8, 64, 0),
                  row = ints(vk, 2, (int32_t[]){1, 2});
    count_calls(vk);
    CHECK(compute_begin(&vk->compute, 0));
    for (int i = 0; i < 4; i++) { // four parts of b, out of one of a: nothing waits
        struct tensor to = tensor_rows(&b, 2 * i, 2);
        op_rows(&vk->compute, &to, &a, &row);
    }
    CHECK(n_barriers == 1);
    struct tensor to = tensor_rows(&a, 0, 2);
    op_rows(&vk->compute, &to, &b, &row); // reads what was written, writes what was read
    CHECK(n_barriers == 2);
    CHECK(compute_finish(&vk->compute, NULL) == OK);
    CHECK(float_at(vk, &a, 0, 0) == 128 && float_at(vk, &a, 1, 0) == 64);
    close_device(vk);
}

static void dispatch_rows(struct vulkan *vk, const struct tensor *out, const struct tensor *x,
                          const struct tensor *row, double bytes)
{
    const struct push_rows push = {vk_range(out).address,  vk_range(x).address,
                                   vk_range(row).address,  (uint32_t)out->row_bytes,
                                   (uint32_t)x->row_bytes, (uint32_t)x->n_cols};
    vk_dispatch(vk, &(struct dispatch){.kernel = "rows",
                                       .spec = {4},
                                       .n_spec = 1,
                                       .push = &push,
                                       .push_bytes = sizeof(push),
                                       .groups = {1, 2, 1},
                                       .read = {vk_range(x), vk_range(row)},
                                       .write = {vk_range(out)},
                                       .bytes = bytes});
}

struct turn { // two rows that change places; as long as the device
    struct tensor a, b, row;
};

static struct turn turn_of(struct vulkan *vk)
{
    return (struct turn){floats(vk, 2, 64, 0), floats(vk, 2, 64, 0),
                         ints(vk, 2, (int32_t[]){1, 0})};
}

static enum status turn_once(struct vulkan *vk, const struct turn *turn, struct err *err)
{
    *err = (struct err){0};
    if (compute_begin(&vk->compute, 3))
        op_rows(&vk->compute, &turn->b, &turn->a, &turn->row);
    return compute_finish(&vk->compute, err);
}

// Kept recordings have a cap in number and one in dispatches: the longest unused go.
static void test_kept_most(void)
{
    struct vulkan *vk = open_device(NULL);
    struct tensor a = floats(vk, 2, 64, 0), b = floats(vk, 2, 64, 0),
                  row = ints(vk, 2, (int32_t[]){1, 0});
    struct recorder *r = &vk->recorder;
    for (uint64_t key = 1; key <= KEPT_MOST + 20; key++)
        for (int i = 0; i < 2; i++) { // key 1 is used again after each
            if (compute_begin(&vk->compute, i ? 1 : key))
                op_rows(&vk->compute, &b, &a, &row);
            CHECK(compute_finish(&vk->compute, NULL) == OK);
        }
    CHECK(r->n_kept == KEPT_MOST);
    const struct {
        uint64_t key;
        bool gone;
    } found[] = {{1, false}, {22, false}, {KEPT_MOST + 20, false}, {2, true}};
    for (size_t i = 0; i < COUNT_OF(found); i++) {
        CHECK(compute_begin(&vk->compute, found[i].key) == found[i].gone);
        CHECK(compute_finish(&vk->compute, NULL) == OK);
    }
    CHECK(r->n_kept == KEPT_MOST);
    for (uint32_t i = 0; i < r->n_kept; i++)
        r->kept[i]->counts.n_dispatches = KEPT_DISPATCHES / KEPT_MOST;
    CHECK(compute_begin(&vk->compute, 1000));
    for (int i = 0; i < 3; i++)
        op_rows(&vk->compute, &b, &a, &row);
    CHECK(compute_finish(&vk->compute, NULL) == OK &&
          r->kept[r->n_kept - 1]->counts.n_dispatches == 3);
    r->kept[0]->counts.n_dispatches = KEPT_DISPATCHES; // one that is as large as all may be
    CHECK(compute_begin(&vk->compute, 1001));
    op_rows(&vk->compute, &b, &a, &row);
    CHECK(compute_finish(&vk->compute, NULL) == OK);
    uint64_t n_recorded = 0;
    for (uint32_t i = 0; i < r->n_kept; i++)
        n_recorded += r->kept[i]->counts.n_dispatches;
    CHECK(r->n_kept > 0 && r->n_kept < KEPT_MOST && n_recorded <= KEPT_DISPATCHES);
    CHECK(!compute_begin(&vk->compute, 1001)); // the newest is there
    CHECK(compute_finish(&vk->compute, NULL) == OK);
    close_device(vk);
}

// 100 dispatches that claim 100 ms each: cut into submissions of a second with a key, of less and
// more without; then the device turns out faster and the next recording is cut less.
static void test_pieces_of_time(void)
{
    struct vulkan *vk = open_device(NULL);
    struct tensor a = floats(vk, 2, 64, 0), b = floats(vk, 2, 64, 0),
                  row = ints(vk, 2, (int32_t[]){1, 0});
    int cut[3];
    struct err err;
    const struct turn turn = turn_of(vk);
    CHECK(turn_once(vk, &turn, &err) == OK); // compiled
    for (int i = 0; i < 3; i++) {
        count_calls(vk);
        if (i == 1)
            vk->recorder.slow = 1;
        CHECK(compute_begin(&vk->compute, i < 2 ? (uint64_t)(i + 1) : 0));
        for (int k = 0; k < 100; k++)
            dispatch_rows(vk, k % 2 ? &a : &b, k % 2 ? &b : &a, &row, 1e9);
        CHECK(compute_finish(&vk->compute, NULL) == OK);
        cut[i] = n_submits;
        vk->call.QueueSubmit2 = real_submit;
        vk->call.CmdPipelineBarrier2 = real_barrier;
        CHECK(vk->recorder.slow < 1);
    }
    CHECK(cut[0] >= 10 && cut[0] <= 11 && cut[1] == cut[0]);
    CHECK(cut[2] > 4 && cut[2] < 20);
    // a GPU of which nothing was measured has each of its 12 ms by itself; then it is made anew
    vk->chosen.features.software = vk->recorder.learnt = false;
    vk->recorder.slow = 1;
    count_calls(vk);
    for (int i = 0; i < 2; i++) {
        CHECK(compute_begin(&vk->compute, 10));
        for (int k = 0; k < 100; k++)
            dispatch_rows(vk, k % 2 ? &a : &b, k % 2 ? &b : &a, &row, 1e9);
        CHECK(compute_finish(&vk->compute, NULL) == OK && vk->recorder.learnt);
        CHECK(i == 0 ? n_submits >= 100 : n_submits > 100 && n_submits < 130);
    }
    vk->chosen.features.software = true;
    CHECK(float_at(vk, &a, 0, 0) == 0 && float_at(vk, &a, 1, 0) == 64);
    close_device(vk);
}

static void test_scratch(void)
{
    struct vulkan *vk = open_device(NULL);
    (void)compute_begin(&vk->compute, 0);
    vk->compute.n_ops++;
    struct range a = vk_scratch(vk, 1000), b = vk_scratch(vk, 1), c = vk_scratch(vk, 50 << 20);
    CHECK(a.address % 256 == 0 && b.address % 256 == 0 && c.address % 256 == 0);
    CHECK(a.n_bytes >= 1000 && b.address >= a.address + 1000 && c.n_bytes >= 50 << 20);
    uint64_t first = c.address;
    vk->compute.n_ops++; // another operation may have the same memory
    CHECK(vk_scratch(vk, 60 << 20).address != 0);
    vk->compute.n_ops++;
    CHECK(vk_scratch(vk, 10).address == first);
    CHECK(compute_finish(&vk->compute, NULL) == OK);
    close_device(vk);
}

// ---- faults -------------------------------------------------------------------------------------

static VKAPI_ATTR VkResult VKAPI_CALL lose_device(VkQueue queue, uint32_t n,
                                                  const VkSubmitInfo2 *info, VkFence fence)
{
    (void)queue, (void)n, (void)info, (void)fence;
    return VK_ERROR_DEVICE_LOST;
}
static VKAPI_ATTR VkResult VKAPI_CALL fault_info(VkDevice device, VkDeviceFaultCountsEXT *counts,
                                                 VkDeviceFaultInfoEXT *info)
{
    (void)device;
    counts->addressInfoCount = 1;
    if (info) {
        snprintf(info->description, sizeof(info->description), "a page fault");
        info->pAddressInfos[0].reportedAddress = 0xabc000;
    }
    return VK_SUCCESS;
}
static VKAPI_ATTR VkResult VKAPI_CALL never_done(VkDevice device, const VkSemaphoreWaitInfo *info,
                                                 uint64_t timeout_ns)
{
    (void)device, (void)info;
    CHECK(timeout_ns > 1000000000);
    return VK_TIMEOUT;
}
static VKAPI_ATTR VkResult VKAPI_CALL no_pipeline(VkDevice device, VkPipelineCache cache,
                                                  uint32_t n,
                                                  const VkComputePipelineCreateInfo *info,
                                                  const VkAllocationCallbacks *callbacks,
                                                  VkPipeline *out)
{
    (void)device, (void)cache, (void)n, (void)info, (void)callbacks, (void)out;
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

static void test_faults(void)
{
    struct err err;
    struct vulkan *vk = open_device(NULL);
    struct turn turn = turn_of(vk);
    PFN_vkCreateComputePipelines real_create = vk->call.CreateComputePipelines;
    vk->call.CreateComputePipelines = no_pipeline;
    CHECK(turn_once(vk, &turn, &err) == NO_ROOM && strstr(err.text, "'rows'"));
    vk->call.CreateComputePipelines = real_create;
    CHECK(turn_once(vk, &turn, &err) == OK); // memory may come back
    vk->call.QueueSubmit2 = lose_device;
    vk->call.FaultInfo = fault_info;
    CHECK(turn_once(vk, &turn, &err) == DEVICE_ERROR && strstr(err.text, "the device is lost"));
    CHECK(strstr(err.text, "a page fault at address 0xabc000"));
    CHECK(turn_once(vk, &turn, &err) == DEVICE_ERROR); // and stays so
    close_device(vk);

    vk = open_device(NULL);
    turn = turn_of(vk);
    PFN_vkWaitSemaphores real_wait = vk->call.WaitSemaphores;
    CHECK(turn_once(vk, &turn, &err) == OK);
    vk->call.WaitSemaphores = never_done;
    CHECK(turn_once(vk, &turn, &err) == DEVICE_ERROR && strstr(err.text, "it hangs"));
    CHECK(!compute_close(&vk->compute)); // and nothing of it is touched
    vk->call.WaitSemaphores = real_wait;
    close_device(vk);
}

// Lost in a transfer: what is read is zeros, and it is told to who asks and to who submits next.
static void test_lost_transfer(bool reads)
{
    struct err err;
    struct vulkan *vk = open_device(NULL);
    split_memory(vk, 0);
    struct tensor x = floats(vk, 4, 64, 1);
    const struct turn turn = turn_of(vk);
    CHECK(turn_once(vk, &turn, &err) == OK && float_at(vk, &x, 3, 63) == 3 * 64 + 63 + 1);
    vk->call.QueueSubmit2 = lose_device;
    vk->call.FaultInfo = fault_info;
    for (int i = 0; i < 2; i++) {
        if (!reads)
            tensor_write(&vk->compute, &x, (float[]){42}, sizeof(float));
        CHECK(!reads || float_at(vk, &x, 3, 63) == 0);
        CHECK(compute_check(&vk->compute, &err) == DEVICE_ERROR &&
              strstr(err.text, "a page fault"));
        CHECK(strstr(err.text, reads ? "cannot be read" : "cannot be written"));
    }
    CHECK(turn_once(vk, &turn, &err) == DEVICE_ERROR && strstr(err.text, "a page fault"));
    close_device(vk);
}

// ---- kernels ------------------------------------------------------------------------------------

static void test_spirv(void)
{
    struct spirv s;
    const char *wrong = NULL;
    CHECK(kernel_count > 0);
    for (uint32_t i = 0; i < kernel_count; i++) {
        const struct kernel *k = &kernel_table[i];
        CHECK(spirv_read(&s, k->code, k->n_bytes, &wrong) && !s.bindings);
        CHECK(s.push_bytes > 0 && s.push_bytes <= PUSH_MOST && s.n_spec <= SPEC_MOST);
    }
    const struct kernel *k = kernel_table;
    for (size_t n = 0; n < k->n_bytes; n += n < 4000 ? 4 : 52) { // every cut: no more than a no
        uint32_t *copy = mem_alloc(n + 1);
        memcpy(copy, k->code, n);
        (void)spirv_read(&s, copy, n, &wrong);
        for (size_t word = 0; word < n / 4 && n < 600; word++) { // and a wrong word
            uint32_t was = copy[word];
            copy[word] = 0xffff001e;
            (void)spirv_read(&s, copy, n, &wrong);
            copy[word] = was;
        }
        free(copy);
    }
}

static size_t loaded_of(const char *with)
{
    struct err err;
    struct vulkan *vk = open_device(with);
    size_t n = vk->pipelines.n_loaded;
    const struct turn turn = turn_of(vk);
    CHECK(turn_once(vk, &turn, &err) == OK);
    close_device(vk);
    return n;
}

// The linker takes this one before the system's.
static pthread_t main_thread;
static _Atomic int n_syncs, n_syncs_here;
int fsync(int fd)
{
    (void)fd;
    n_syncs++;
    n_syncs_here += pthread_equal(pthread_self(), main_thread) != 0;
    return 0;
}

static void test_kept_kernels(void)
{
    char path[160];
    struct err err;
    struct buf file;
    main_thread = pthread_self();
    n_syncs = n_syncs_here = 0;
    CHECK(loaded_of(dir) == 0);
    size_t good = loaded_of(dir);
    CHECK(good > 0);
    CHECK(n_syncs > 0 && n_syncs_here == 0); // the engine's thread never waits for the disk
    struct vulkan *vk = open_device(NULL);
    snprintf(path, sizeof(path), "%s/kernels-%04x-%04x.cache", dir, vk->chosen.said.vendor_id,
             vk->chosen.said.device_id);
    close_device(vk);
    CHECK(file_read(&file, path, 1 << 24, &err) == OK && file.n == good + 56);
    const struct {
        size_t at, n; // the byte that is changed, the length that is kept
    } harms[] = {{3, file.n},  {9, file.n},  {25, file.n},    {33, file.n}, {41, file.n},
                 {49, file.n}, {60, file.n}, {0, file.n - 1}, {0, 10},      {0, 0}};
    for (size_t i = 0; i < COUNT_OF(harms); i++) {
        if (harms[i].n == file.n)
            file.p[harms[i].at] ^= 1;
        CHECK(file_write(path, (struct bytes){file.p, harms[i].n}, 0600, &err) == OK);
        if (harms[i].n == file.n)
            file.p[harms[i].at] ^= 1;
        CHECK(loaded_of(dir) == 0);    // ignored
        CHECK(loaded_of(dir) == good); // and replaced
    }
    buf_free(&file);
    unlink(path);
    CHECK(loaded_of("/nonexistent/dir") == 0); // said, and no reason to stop
}

static void test_bandwidth(void)
{
    struct vulkan *vk = open_device(NULL);
    double copy = 0, read = 0;
    struct err err = {0};
    CHECK(vk_bandwidth(&vk->compute, &copy, &read, &err) == OK);
    CHECK(copy > 1e7 && read > 1e7);
    CHECK(!vk->memory.blocks);
    close_device(vk);
}

int main(void)
{
    snprintf(dir, sizeof(dir), "/tmp/tawny-vulkan-XXXXXX");
    CHECK(mkdtemp(dir));
    log_level_set(LOG_ERROR);
    test_choice();
    test_policy();
    test_no_driver();
    test_pieces();
    test_zeroed();
    test_no_room();
    test_other_memory(VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
    test_other_memory(0);
    test_reserve();
    test_weights(false);
    test_weights(true);
    test_weights_of_memory();
    test_replay();
    test_rehearsal();
    test_no_barrier();
    test_pieces_of_time();
    test_scratch();
    test_kept_most();
    test_faults();
    test_lost_transfer(true);
    test_lost_transfer(false);
    test_spirv();
    test_kept_kernels();
    test_bandwidth();
    rmdir(dir);
    return check_done("vulkan_core");
}
