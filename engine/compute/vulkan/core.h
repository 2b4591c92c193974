// core.h - what instance, device, memory, pipelines and recordings know of each other. The
// operations (gather.c, matvec.c ...) see vulkan.h alone.
//
// No Vulkan symbol is linked: every function is a pointer in `struct instance_calls` or `struct
// device_calls`, fetched by name once. A test puts its own pointer there to play a fault.
#pragma once

#include "entry.h"
#include "vulkan.h"

// ---- instance.c ---------------------------------------------------------------------------------

#define INSTANCE_CALLS(X)                                                                          \
    X(DestroyInstance)                                                                             \
    X(EnumeratePhysicalDevices)                                                                    \
    X(EnumerateDeviceExtensionProperties)                                                          \
    X(GetPhysicalDeviceProperties2)                                                                \
    X(GetPhysicalDeviceFeatures2)                                                                  \
    X(GetPhysicalDeviceMemoryProperties2)                                                          \
    X(GetPhysicalDeviceQueueFamilyProperties2)                                                     \
    X(CreateDevice)                                                                                \
    X(GetDeviceProcAddr)

#define DEVICE_CALLS(X)                                                                            \
    X(DestroyDevice)                                                                               \
    X(DeviceWaitIdle)                                                                              \
    X(GetDeviceQueue)                                                                              \
    X(AllocateMemory)                                                                              \
    X(FreeMemory)                                                                                  \
    X(MapMemory)                                                                                   \
    X(CreateBuffer)                                                                                \
    X(DestroyBuffer)                                                                               \
    X(GetBufferMemoryRequirements)                                                                 \
    X(GetDeviceBufferMemoryRequirements)                                                           \
    X(BindBufferMemory)                                                                            \
    X(GetBufferDeviceAddress)                                                                      \
    X(CreateShaderModule)                                                                          \
    X(DestroyShaderModule)                                                                         \
    X(CreatePipelineLayout)                                                                        \
    X(DestroyPipelineLayout)                                                                       \
    X(CreatePipelineCache)                                                                         \
    X(DestroyPipelineCache)                                                                        \
    X(GetPipelineCacheData)                                                                        \
    X(CreateComputePipelines)                                                                      \
    X(DestroyPipeline)                                                                             \
    X(CreateCommandPool)                                                                           \
    X(DestroyCommandPool)                                                                          \
    X(AllocateCommandBuffers)                                                                      \
    X(BeginCommandBuffer)                                                                          \
    X(EndCommandBuffer)                                                                            \
    X(CmdBindPipeline)                                                                             \
    X(CmdPushConstants)                                                                            \
    X(CmdDispatch)                                                                                 \
    X(CmdPipelineBarrier2)                                                                         \
    X(CmdCopyBuffer)                                                                               \
    X(CmdFillBuffer)                                                                               \
    X(CreateSemaphore)                                                                             \
    X(DestroySemaphore)                                                                            \
    X(WaitSemaphores)                                                                              \
    X(QueueSubmit2)

#define CALL_POINTER(name) PFN_vk##name name;
struct instance_calls {
    INSTANCE_CALLS(CALL_POINTER)
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR CooperativeMatrixProperties; // or NULL
};
struct device_calls {
    DEVICE_CALLS(CALL_POINTER)
    PFN_vkGetDeviceFaultInfoEXT FaultInfo; // or NULL
};
#undef CALL_POINTER

struct instance {
    VkInstance handle;
    struct instance_calls call;
    char loader[96]; // for the survey
};
// NOT_FOUND: no loader, or no driver that it finds.
enum status instance_open(struct instance *out, struct err *err);
void instance_close(struct instance *instance);

struct feature_chain { // linked by chain_link
    VkPhysicalDeviceFeatures2 core;
    VkPhysicalDeviceVulkan11Features v11;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDeviceVulkan13Features v13;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix;
    VkPhysicalDeviceFaultFeaturesEXT fault;
};
void chain_link(struct feature_chain *chain, bool matrix, bool fault);
// Sets in *chain what kernels want of what *found has: for vkCreateDevice.
void chain_want(struct feature_chain *chain, const struct feature_chain *found);

struct limits {
    uint64_t largest_buffer_bytes; // one allocation, one buffer and a 32-bit offset all allow it
    uint32_t push_bytes;
    uint32_t groups_most[3];
    uint32_t local_most[3];
};

struct candidate { // a physical device, looked at
    VkPhysicalDevice physical;
    struct survey_device said;
    struct features features;
    struct limits limits;
    struct feature_chain found;
    bool unified; // its memory is the machine's RAM
    bool memory_budget, matrix_extension, fault_extension, drm;
    uint32_t drm_minor; // of the render node, when drm
    uint32_t family;    // the queue family to use
    uint8_t cache_uuid[16];
    uint32_t driver_version;
};
enum { CANDIDATES_MOST = 16 };
enum status instance_candidates(const struct instance *instance, struct candidate *out, int32_t *n,
                                struct err *err);
// What is free of it now and what there is of it at all; without the driver's budget only the
// latter.
void candidate_memory(const struct instance *instance, const struct candidate *candidate,
                      uint64_t *total, uint64_t *usable);

// ---- memory.c, upload.c -------------------------------------------------------------------------

struct block {         // one VkDeviceMemory with one VkBuffer over it
    struct vulkan *vk; // whose it is
    struct block *next;
    VkDeviceMemory memory;
    VkBuffer buffer;
    uint64_t address, n_bytes;
    uint8_t *map; // NULL: the host cannot see it
    uint32_t type;
    struct hole { // free ranges, rising, never adjacent
        uint64_t at, n_bytes;
    } *holes;
    uint32_t n_holes, n_holes_allocated;
};

struct buffer {                     // of compute.h: a piece of a block
    struct buffer *next, *previous; // all that are taken
    struct block *block;
    uint64_t at, n_bytes; // within the block; n_bytes as asked for
    uint64_t address;
    uint32_t n_kept;       // kept recordings that use it
    uint64_t noted;        // the serial of the last recording that did
    uint8_t *shadow;       // an input: what the host wrote last, since its map is slow to read
    struct buffer *mirror; // in memory the host reads fast, when the host reads this one
    struct range mirrored; // the part of it that the mirror holds; n_bytes 0: none
    struct buffer **parts; // [n_parts], of weights that are split (split.c); NULL: not so
    uint32_t n_parts;
    int64_t part_rows, whole_rows; // of a part; of what an address in the table is that of
};

enum memory_class {
    MEMORY_MAIN,   // tensors, weights: fast for the device, mapped where that costs nothing
    MEMORY_INPUT,  // small tensors that the host writes before each step: always mapped
    MEMORY_RESULT, // mapped and cached by the host: results are read from it
    MEMORY_CLASSES,
};
enum { TYPES_MOST = 4, MIRRORS_MOST = 16 };

struct memory {
    VkPhysicalDeviceMemoryProperties properties;
    uint32_t buffer_types;                      // that a buffer may lie in, a bit each
    uint32_t types[MEMORY_CLASSES][TYPES_MOST]; // in the order they are tried
    uint32_t n_types[MEMORY_CLASSES];
    struct block *blocks;
    struct buffer *buffers;
    uint64_t heap_used[VK_MAX_MEMORY_HEAPS]; // by us
    struct buffer *mirrored[MIRRORS_MOST];
    uint32_t n_mirrored;
    struct buffer *staging; // for what the host cannot see
};

enum status memory_open(struct vulkan *vk, struct err *err);
void memory_close(struct vulkan *vk);
// Undefined contents. `what` is for the error: "a Q4_K tensor".
enum status memory_take(struct vulkan *vk, struct buffer **out, enum memory_class class,
                        uint64_t n_bytes, const char *what, struct err *err);
void memory_release(struct vulkan *vk, struct buffer *buffer);
// Room for what the driver takes for a command buffer and its first submission. RADV (Mesa 25.0)
// crashes where it is refused memory for these.
bool memory_for_driver(struct vulkan *vk);
uint8_t *buffer_map(const struct buffer *buffer); // NULL: not visible
// memory.staging is there: to copy through.
enum status memory_staging(struct vulkan *vk, struct err *err);
// Where numbers get in or out by copies: all that a copy takes, before anything else takes memory,
// so that no answer ends for want of it later.
enum status memory_reserve(struct vulkan *vk, struct err *err);
enum { STAGING_BYTES = 32 << 20 };

// The backend entries (device.c's table).
size_t vk_row_bytes(const struct compute *compute, enum dtype type, int64_t n_cols,
                    enum buffer_use use);
enum status vk_buffer_open(struct compute *compute, struct buffer **out, const struct tensor *shape,
                           enum buffer_use use, int64_t whole_rows, const void *data,
                           struct err *err);
void vk_buffer_close(struct compute *compute, struct buffer *buffer);
enum status vk_load_rows(struct compute *compute, const struct tensor *weight, int64_t row0,
                         int64_t n_rows, const void *data, struct err *err); // upload.c
void vk_write(struct compute *compute, const struct tensor *to, const void *from, size_t n_bytes);
void vk_read(struct compute *compute, void *to, const struct tensor *from, size_t n_bytes);

// ---- split.c ------------------------------------------------------------------------------------

uint64_t split_most(const struct vulkan *vk); // bytes that one buffer of weights may have
// Weights in several buffers, none of whole_rows rows across a border. NO_ROOM: these alone are
// larger than a buffer.
enum status split_open(struct vulkan *vk, struct buffer **out, const struct tensor *shape,
                       int64_t whole_rows, const char *what, struct err *err);
void split_close(struct vulkan *vk, struct buffer *table); // its parts; itself: memory_release

// ---- codebook.c ---------------------------------------------------------------------------------

// Has the codebooks in device memory, when weights of this format need one.
enum status codebook_open(struct vulkan *vk, enum dtype type, struct err *err);

// ---- spirv.c ------------------------------------------------------------------------------------

struct spirv {             // what C must agree with
    uint32_t local[3];     // workgroup size as written
    int32_t local_spec[3]; // the specialisation constant that overrides it; -1: none
    uint32_t push_bytes;   // rounded up to its alignment, as sizeof; 0: none
    uint32_t n_spec;       // constants with ids 0 .. n_spec - 1
    bool bindings;         // it wants descriptors, which we have none of
};
// false: not SPIR-V we understand; *wrong says what.
bool spirv_read(struct spirv *out, const uint32_t *code, size_t n_bytes, const char **wrong);

// ---- pipeline.c, pipeline_cache.c ---------------------------------------------------------------

struct kernel { // the table the Makefile embeds
    const char *name;
    const uint32_t *code;
    uint64_t n_bytes;
};
extern const struct kernel kernel_table[];
extern const uint32_t kernel_count;

struct pipeline {
    VkPipeline handle;
    uint32_t kernel; // index into kernel_table
    uint32_t spec[SPEC_MOST], n_spec, subgroup;
};
struct pipelines {
    VkPipelineLayout layout; // the one there is: push constants only
    VkPipelineCache cache;
    char path[1100];  // of the cache's file; empty: none
    size_t n_loaded;  // bytes that file gave at opening; 0: there was none, or it was not ours
    uint64_t kernels; // hash of all SPIR-V
    struct pipeline *all;
    uint32_t n, n_allocated, n_unsaved;
    uint64_t saved_ms;
    struct cache_writer *writer; // NULL: nothing is being written
    uint32_t *slots;             // hash of a pipeline -> index + 1
    uint32_t n_slots;
    uint32_t *kernel_slots; // hash of a name -> kernel index + 1
    uint32_t n_kernel_slots;
    struct spirv *spirv; // [kernel_count], read when first used
    bool *spirv_known;
};
enum status pipelines_open(struct vulkan *vk, const char *cache_dir, struct err *err);
void pipelines_close(struct vulkan *vk);
// Made now if need be. Mismatches with the SPIR-V are programming errors (die).
enum status pipeline_find(struct vulkan *vk, const struct dispatch *dispatch, VkPipeline *out,
                          struct err *err);
VkPipelineCache cache_load(struct vulkan *vk); // from pipelines.path, when it is ours
// Writes it on a thread of its own: the engine never waits for fsync. One that is still being
// written is not waited for: a later save brings what is new.
void cache_save(struct vulkan *vk);
void cache_finish(struct vulkan *vk); // all of it is on the disk, or cannot be

// ---- record.c -----------------------------------------------------------------------------------

enum {
    TRACKED_MOST = 96,
    KEPT_MOST = 128,         // recordings; a server of 64 sequences has one a number of rows
    KEPT_DISPATCHES = 65536, // of all of them: some 500 bytes of the driver's memory each
};

struct submission { // a command buffer and the time it is thought to take
    VkCommandBuffer commands;
    double s;
};
struct recording {
    uint64_t key, used; // used: recorder.clock when last submitted
    bool is_guess;      // nothing was measured when it was cut
    struct submission *pieces;
    uint32_t n, n_allocated;
    struct compute_counts counts;
    struct copy { // what it leaves in a mirror
        struct buffer *buffer;
        struct range range;
    } copies[MIRRORS_MOST];
    uint32_t n_copies;
    uint64_t serial;
    struct buffer **uses; // whose addresses are in it
    uint32_t n_uses, n_uses_allocated;
};
struct recorder {
    VkCommandPool pool;
    VkSemaphore timeline;
    uint64_t submitted;   // the timeline's value when all is done
    VkCommandBuffer copy; // of vk_copy_now; NULL until the first one
    VkCommandBuffer *idle;
    uint32_t n_idle, n_idle_allocated;
    struct recording **kept;
    uint32_t n_kept;
    uint64_t clock, serial;
    struct recording *open; // the one in progress
    bool replay;            // open was kept: it is submitted again
    bool rehearsal;         // pipelines are made, nothing is recorded
    bool begun;             // the last piece of open takes commands
    VkPipeline bound;
    uint32_t n_sent; // pieces of open that have been submitted
    struct range reads[TRACKED_MOST], writes[TRACKED_MOST]; // since the last barrier
    uint32_t n_reads, n_writes;
    bool lost, fault_told; // the device is; and why was asked
    struct err failure;    // of this recording; DEVICE_ERROR stays
    double work_s;         // thought of the pieces submitted since compute_begin
    uint64_t began_us;
    uint32_t n_pipelines;       // when it began: one that compiles is not measured
    double slow;                // measured over thought
    bool learnt;                // it was measured
    struct buffer *scratch[16]; // the last one is in use
    uint32_t n_scratch;
    uint64_t scratch_at;
    uint32_t scratch_op;
};
enum status recorder_open(struct vulkan *vk, struct err *err);
void recorder_close(struct vulkan *vk);
void recorder_note(struct vulkan *vk, struct buffer *buffer); // the open recording uses it
// The kept recordings that use the buffer: its address is no longer true. NULL: all.
void recorder_forget(struct vulkan *vk, const struct buffer *buffer);
// What the driver knows of a lost device's end is put behind the sentence.
void recorder_tell_fault(struct vulkan *vk, struct err *err);
bool vk_begin(struct compute *compute, uint64_t key);
bool vk_rehearse(struct compute *compute);
enum status vk_finish(struct compute *compute, struct err *err);

// ---- commands.c ---------------------------------------------------------------------------------

// What a barrier stands between.
#define COMPUTE VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT
#define COPY VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT
#define SHADER_READ VK_ACCESS_2_SHADER_READ_BIT
#define SHADER_WRITE VK_ACCESS_2_SHADER_WRITE_BIT
#define COPY_READ VK_ACCESS_2_TRANSFER_READ_BIT
#define COPY_WRITE VK_ACCESS_2_TRANSFER_WRITE_BIT

VkResult commands_take(struct vulkan *vk, VkCommandBuffer *out);
void commands_give(struct recorder *r, VkCommandBuffer commands); // takes it back
VkResult commands_begin(struct vulkan *vk, VkCommandBuffer commands, bool once);
void commands_barrier(struct vulkan *vk, VkCommandBuffer commands, VkPipelineStageFlags2 from,
                      VkAccessFlags2 wrote, VkPipelineStageFlags2 to, VkAccessFlags2 uses);
VkResult commands_submit(struct vulkan *vk, VkCommandBuffer commands);
// Until all that was submitted is done. thought_s: how long it should take; far beyond that the
// device hangs: DEVICE_ERROR.
enum status commands_wait(struct vulkan *vk, double thought_s, struct err *err);
bool commands_idle(struct vulkan *vk); // within 5 s, or because the device is lost
// One copy (or, with from NULL, zeros) now, outside a recording; waits for it.
enum status vk_copy_now(struct vulkan *vk, const struct buffer *to, uint64_t to_at,
                        const struct buffer *from, uint64_t from_at, uint64_t n_bytes,
                        struct err *err);
// A sentence for a VkResult: DEVICE_ERROR, or NO_ROOM when memory ran out.
enum status vk_refused(struct err *err, const char *what, VkResult result);

// ---- device.c -----------------------------------------------------------------------------------

// The best of `all` that `device` asks for, a usable one before one that is not; why it, in one
// sentence.
enum status candidate_choose(const struct candidate *all, int32_t n, const char *device,
                             const struct candidate **out, char *reason, size_t size,
                             struct err *err);

struct vulkan {
    struct compute compute; // first
    struct instance instance;
    struct candidate chosen;
    VkDevice device;
    VkQueue queue;
    struct device_calls call;
    struct memory memory;
    struct pipelines pipelines;
    struct recorder recorder;
    struct buffer *codebooks;     // NULL until weights want one
    uint64_t weight_buffer_bytes; // of compute_options
};
