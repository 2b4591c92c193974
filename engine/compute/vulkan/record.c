// record.c - recordings: dispatches with the barriers between them, cut into submissions of bounded
// time, kept under a key and submitted again.
//
// A dispatch names the ranges it reads and writes; a barrier goes in front of it only when one of
// them overlaps what was written since the last barrier (or it writes what was read). Submissions
// are pieces of a recording that are thought to take less than PIECE_S: kernels are killed after 2
// s on one ring, and the estimate may be far off. It is made from the bytes and operations of each
// dispatch and corrected by what the device was measured to take; until it was measured, pieces are
// so short that a device 200 times slower than thought has done one in a second. Without a key the
// first pieces are short, so that the device starts while the rest is recorded; with one, a
// recording is submitted many times and cut as little as possible.
//
// Everything is on one queue and compute_finish waits, so nothing here runs beside anything else.
#include "core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCRATCH_LEAST = 8 << 20 };
static const double PIECE_S = 0.05, FIRST_PIECE_S = 0.002, SOFTWARE_PIECE_S = 1,
                    UNKNOWN_PIECE_S = 0.005;

// ---- errors -------------------------------------------------------------------------------------

void recorder_tell_fault(struct vulkan *vk, struct err *err)
{
    VkDeviceFaultCountsEXT counts = {.sType = VK_STRUCTURE_TYPE_DEVICE_FAULT_COUNTS_EXT};
    VkDeviceFaultAddressInfoEXT address = {0};
    VkDeviceFaultInfoEXT info = {.sType = VK_STRUCTURE_TYPE_DEVICE_FAULT_INFO_EXT};
    if (!vk->call.FaultInfo || vk->call.FaultInfo(vk->device, &counts, NULL) < 0)
        return;
    counts.addressInfoCount = counts.addressInfoCount > 0;
    counts.vendorInfoCount = 0;
    counts.vendorBinarySize = 0;
    info.pAddressInfos = &address;
    if (vk->call.FaultInfo(vk->device, &counts, &info) < 0 ||
        (!info.description[0] && counts.addressInfoCount == 0))
        return;
    (void)err_set(err, err->status, "%.220s; the driver says: %.50s at address 0x%llx", err->text,
                  info.description, (unsigned long long)address.reportedAddress);
}

static void fail(struct vulkan *vk, const char *what, VkResult result)
{
    vk->recorder.lost |= result == VK_ERROR_DEVICE_LOST;
    if (vk->recorder.failure.status == OK)
        (void)vk_refused(&vk->recorder.failure, what, result);
}

// ---- pieces of a recording ----------------------------------------------------------------------

static void piece_begin(struct vulkan *vk)
{
    struct recorder *r = &vk->recorder;
    struct recording *open = r->open;
    VkCommandBuffer commands;
    VkResult result = commands_take(vk, &commands);
    if (result != VK_SUCCESS) {
        fail(vk, "a command buffer", result);
        return;
    }
    if (open->n == open->n_allocated) {
        open->n_allocated = open->n_allocated ? 2 * open->n_allocated : 4;
        open->pieces = mem_resize(open->pieces, open->n_allocated * sizeof(*open->pieces));
    }
    open->pieces[open->n++] = (struct submission){commands, 0};
    result = commands_begin(vk, commands, open->key == 0);
    if (result != VK_SUCCESS) {
        fail(vk, "a command buffer", result);
        return;
    }
    if (open->n == 1) // behind whatever ran before
        commands_barrier(vk, commands, COMPUTE | COPY, SHADER_WRITE | COPY_WRITE, COMPUTE | COPY,
                         SHADER_READ | SHADER_WRITE | COPY_READ | COPY_WRITE);
    r->bound = VK_NULL_HANDLE;
    r->begun = true;
}

static VkCommandBuffer piece_commands(struct vulkan *vk) // NULL: failed
{
    struct recorder *r = &vk->recorder;
    if (!r->begun)
        piece_begin(vk);
    return r->failure.status == OK ? r->open->pieces[r->open->n - 1].commands : NULL;
}

static void piece_send(struct vulkan *vk, struct submission *piece)
{
    struct recorder *r = &vk->recorder;
    if (r->n_sent++ == 0)
        r->began_us = clock_us();
    VkResult result = commands_submit(vk, piece->commands);
    if (result != VK_SUCCESS)
        fail(vk, "submitting work to the device", result);
    else
        r->work_s += piece->s;
}

static void piece_end(struct vulkan *vk)
{
    struct recorder *r = &vk->recorder;
    struct submission *piece = &r->open->pieces[r->open->n - 1];
    r->begun = false;
    VkResult result = vk->call.EndCommandBuffer(piece->commands);
    if (result != VK_SUCCESS)
        fail(vk, "a command buffer", result);
    if (r->failure.status == OK)
        piece_send(vk, piece);
}

static void recording_close(struct vulkan *vk, struct recording *recording)
{
    for (uint32_t i = 0; i < recording->n; i++)
        commands_give(&vk->recorder, recording->pieces[i].commands);
    free(recording->pieces);
    free(recording->uses);
    free(recording);
}

// ---- time ---------------------------------------------------------------------------------------

static double think(const struct vulkan *vk, const struct dispatch *d)
{
    const char *kind = vk->chosen.said.kind;
    bool software = vk->chosen.features.software, discrete = strcmp(kind, "discrete") == 0;
    const double bytes_per_s = software   ? 10e9
                               : discrete ? 400e9
                                          : 80e9,
                 flops_per_s = software   ? 40e9
                               : discrete ? 10e12
                                          : 2e12,
                 start_s = software ? 20e-6 : 3e-6;
    double move_s = d->bytes / bytes_per_s, compute_s = d->flops / flops_per_s;
    return start_s + (move_s > compute_s ? move_s : compute_s);
}

static double piece_limit(const struct vulkan *vk)
{
    const struct recorder *r = &vk->recorder;
    double most = vk->chosen.features.software ? SOFTWARE_PIECE_S
                  : r->learnt                  ? PIECE_S
                                               : UNKNOWN_PIECE_S;
    double s = FIRST_PIECE_S;
    for (uint32_t i = 0; i < r->n_sent && s < most; i++)
        s *= 4;
    return r->open->key != 0 || s > most ? most : s;
}

static void learn(struct vulkan *vk)
{
    struct recorder *r = &vk->recorder;
    double measured_s = (double)(clock_us() - r->began_us) * 1e-6;
    if (r->work_s < 0.001 || r->n_pipelines != vk->pipelines.n)
        return;
    double slow = measured_s / r->work_s;
    r->slow = slow > r->slow ? (r->slow + slow) / 2 : 0.9 * r->slow + 0.1 * slow;
    r->slow = r->slow < 0.05 ? 0.05 : r->slow > 50 ? 50 : r->slow;
    r->learnt = true;
}

// ---- ranges -------------------------------------------------------------------------------------

static bool overlaps(const struct range *all, uint32_t n, struct range range)
{
    for (uint32_t i = 0; i < n; i++)
        if (range.address < all[i].address + all[i].n_bytes &&
            all[i].address < range.address + range.n_bytes)
            return true;
    return false;
}

static bool must_wait(const struct recorder *r, const struct dispatch *d)
{
    if (r->n_reads + RANGES_MOST > TRACKED_MOST || r->n_writes + RANGES_MOST > TRACKED_MOST)
        return true;
    for (int i = 0; i < RANGES_MOST; i++) {
        if (d->read[i].n_bytes && overlaps(r->writes, r->n_writes, d->read[i]))
            return true;
        if (d->write[i].n_bytes && (overlaps(r->writes, r->n_writes, d->write[i]) ||
                                    overlaps(r->reads, r->n_reads, d->write[i])))
            return true;
    }
    return false;
}

static void mirror_note(struct vulkan *vk, struct range written)
{
    struct recording *open = vk->recorder.open;
    for (uint32_t i = 0; i < vk->memory.n_mirrored; i++) {
        struct buffer *buffer = vk->memory.mirrored[i];
        const struct range whole = {buffer->address, buffer->n_bytes};
        uint32_t k = 0;
        if (!overlaps(&whole, 1, written))
            continue;
        while (k < open->n_copies && open->copies[k].buffer != buffer)
            k++;
        if (k == open->n_copies) {
            open->copies[open->n_copies++] = (struct copy){buffer, written};
            continue;
        }
        struct range *range = &open->copies[k].range;
        uint64_t end = range->address + range->n_bytes, other = written.address + written.n_bytes;
        range->address = written.address < range->address ? written.address : range->address;
        range->n_bytes = (other > end ? other : end) - range->address;
    }
}

static void track(struct vulkan *vk, const struct dispatch *d)
{
    struct recorder *r = &vk->recorder;
    for (int i = 0; i < RANGES_MOST; i++) {
        if (d->read[i].n_bytes)
            r->reads[r->n_reads++] = d->read[i];
        if (d->write[i].n_bytes) {
            r->writes[r->n_writes++] = d->write[i];
            mirror_note(vk, d->write[i]);
        }
    }
}

// ---- dispatch -----------------------------------------------------------------------------------

static void check_dispatch(const struct vulkan *vk, const struct dispatch *d)
{
    if (!vk->compute.recording || vk->recorder.replay)
        die("kernel '%s' is dispatched outside a recording", d->kernel);
    for (int i = 0; i < 3; i++)
        if (d->groups[i] > vk->chosen.limits.groups_most[i])
            die("kernel '%s': %u workgroups in dimension %d; the device allows %u", d->kernel,
                d->groups[i], i, vk->chosen.limits.groups_most[i]);
}

void vk_dispatch(struct vulkan *vk, const struct dispatch *d)
{
    struct recorder *r = &vk->recorder;
    VkPipeline pipeline;
    check_dispatch(vk, d);
    if (r->failure.status != OK || !d->groups[0] || !d->groups[1] || !d->groups[2])
        return;
    if (pipeline_find(vk, d, &pipeline, &r->failure) != OK || r->rehearsal)
        return;
    VkCommandBuffer commands = piece_commands(vk);
    if (!commands)
        return;
    if (must_wait(r, d)) {
        commands_barrier(vk, commands, COMPUTE, SHADER_WRITE, COMPUTE, SHADER_READ | SHADER_WRITE);
        r->open->counts.n_barriers++;
        r->n_reads = r->n_writes = 0;
    }
    track(vk, d);
    if (r->bound != pipeline)
        vk->call.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    r->bound = pipeline;
    if (d->push_bytes > 0)
        vk->call.CmdPushConstants(commands, vk->pipelines.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                                  (uint32_t)d->push_bytes, d->push);
    vk->call.CmdDispatch(commands, d->groups[0], d->groups[1], d->groups[2]);
    r->open->counts.n_dispatches++;
    struct submission *piece = &r->open->pieces[r->open->n - 1];
    piece->s += think(vk, d);
    if (piece->s * r->slow >= piece_limit(vk))
        piece_end(vk);
}

// ---- scratch ------------------------------------------------------------------------------------

static void scratch_release(struct vulkan *vk, uint32_t keep) // the last `keep` stay
{
    struct recorder *r = &vk->recorder;
    uint32_t n = r->n_scratch > keep ? r->n_scratch - keep : 0;
    for (uint32_t i = 0; i < n; i++)
        memory_release(vk, r->scratch[i]);
    memmove(r->scratch, r->scratch + n, (r->n_scratch - n) * sizeof(r->scratch[0]));
    r->n_scratch -= n;
}

// What one operation takes lies side by side; the next may lie over it, and the ranges of its
// dispatches see to the barriers. A buffer that is too small stays for the recordings that know its
// address, and a larger one takes its place.
struct range vk_scratch(struct vulkan *vk, uint64_t n_bytes)
{
    struct recorder *r = &vk->recorder;
    struct buffer *last = r->n_scratch > 0 ? r->scratch[r->n_scratch - 1] : NULL;
    n_bytes = n_bytes > 0 ? (n_bytes + 255) / 256 * 256 : 256;
    if (r->scratch_op != vk->compute.n_ops && last && r->scratch_at >= last->n_bytes / 2)
        r->scratch_at = 0;
    r->scratch_op = vk->compute.n_ops;
    if (!last || r->scratch_at + n_bytes > last->n_bytes) {
        uint64_t size = last ? 2 * last->n_bytes : SCRATCH_LEAST;
        size = size < 2 * n_bytes ? 2 * n_bytes : size;
        if (r->n_scratch == COUNT_OF(r->scratch))
            die("scratch memory has grown %zu times", COUNT_OF(r->scratch));
        if (r->failure.status != OK ||
            memory_take(vk, &last, MEMORY_MAIN, size, "scratch memory", &r->failure) != OK)
            return (struct range){0};
        r->scratch[r->n_scratch++] = last;
        r->scratch_at = 0;
    }
    struct range range = {last->address + r->scratch_at, n_bytes};
    r->scratch_at += n_bytes;
    return range;
}

// ---- begin and finish ---------------------------------------------------------------------------

void recorder_note(struct vulkan *vk, struct buffer *buffer)
{
    struct recording *open = vk->recorder.open;
    if (!open || vk->recorder.replay || buffer->noted == open->serial)
        return;
    if (open->n_uses == open->n_uses_allocated) {
        open->n_uses_allocated = open->n_uses_allocated ? 2 * open->n_uses_allocated : 64;
        open->uses = mem_resize(open->uses, open->n_uses_allocated * sizeof(*open->uses));
    }
    open->uses[open->n_uses++] = buffer;
    buffer->noted = open->serial;
}

static bool uses(const struct recording *recording, const struct buffer *buffer)
{
    for (uint32_t i = 0; i < recording->n_uses; i++)
        if (recording->uses[i] == buffer)
            return true;
    return false;
}

// Kept recording i is dropped; the last one takes its place.
static void kept_drop(struct vulkan *vk, uint32_t i)
{
    struct recorder *r = &vk->recorder;
    for (uint32_t k = 0; k < r->kept[i]->n_uses; k++)
        r->kept[i]->uses[k]->n_kept--;
    recording_close(vk, r->kept[i]);
    r->kept[i] = r->kept[--r->n_kept];
}

void recorder_forget(struct vulkan *vk, const struct buffer *buffer)
{
    struct recorder *r = &vk->recorder;
    if (buffer && buffer->n_kept == 0)
        return;
    for (uint32_t i = r->n_kept; i-- > 0;)
        if (!buffer || uses(r->kept[i], buffer))
            kept_drop(vk, i);
    if (!r->open && r->n_kept == 0)
        scratch_release(vk, 1);
}

// A kept recording whose pieces have turned out too long for one submission is made anew, and so
// is one that was cut in many before anything was measured.
static bool still_fits(const struct vulkan *vk, const struct recording *recording)
{
    if (recording->is_guess && recording->n > 1 && vk->recorder.learnt)
        return false;
    for (uint32_t i = 0; i < recording->n; i++)
        if (recording->pieces[i].s * vk->recorder.slow > 4 * PIECE_S && recording->n > 0 &&
            !vk->chosen.features.software)
            return false;
    return true;
}

static struct recording *kept_find(struct vulkan *vk, uint64_t key)
{
    struct recorder *r = &vk->recorder;
    for (uint32_t i = 0; i < r->n_kept && key != 0; i++) {
        if (r->kept[i]->key != key)
            continue;
        if (still_fits(vk, r->kept[i]))
            return r->kept[i];
        kept_drop(vk, i);
        break;
    }
    return NULL;
}

// Those that were not used for longest make room, in number and in dispatches.
static void keep(struct vulkan *vk, struct recording *recording)
{
    struct recorder *r = &vk->recorder;
    uint64_t n_recorded = recording->counts.n_dispatches;
    for (uint32_t i = 0; i < r->n_kept; i++)
        n_recorded += r->kept[i]->counts.n_dispatches;
    while (r->n_kept == KEPT_MOST || (r->n_kept > 0 && n_recorded > KEPT_DISPATCHES)) {
        uint32_t oldest = 0;
        for (uint32_t i = 1; i < r->n_kept; i++)
            oldest = r->kept[i]->used < r->kept[oldest]->used ? i : oldest;
        n_recorded -= r->kept[oldest]->counts.n_dispatches;
        kept_drop(vk, oldest);
    }
    r->kept[r->n_kept++] = recording;
    for (uint32_t i = 0; i < recording->n_uses; i++)
        recording->uses[i]->n_kept++;
}

bool vk_begin(struct compute *compute, uint64_t key)
{
    struct vulkan *vk = vk_of(compute);
    struct recorder *r = &vk->recorder;
    if (r->failure.status != DEVICE_ERROR)
        r->failure.status = OK;
    r->n_sent = 0;
    r->work_s = 0;
    r->n_pipelines = vk->pipelines.n;
    r->n_reads = r->n_writes = 0;
    r->scratch_at = 0;
    r->open = r->failure.status == OK ? kept_find(vk, key) : NULL;
    r->replay = r->open;
    if (!r->replay) {
        r->open = mem_alloc(sizeof(*r->open));
        r->open->key = key;
        r->open->serial = ++r->serial;
        r->open->is_guess = !r->learnt;
    }
    return !r->replay;
}

// A software device compiles for seconds what it then runs for milliseconds: it starts without.
bool vk_rehearse(struct compute *compute)
{
    struct vulkan *vk = vk_of(compute);
    if (vk->chosen.features.software)
        return false;
    vk->recorder.rehearsal = vk_begin(compute, 0);
    return true;
}

// The end of a recording: results to where the host reads them.
static void copy_results(struct vulkan *vk)
{
    struct recorder *r = &vk->recorder;
    if (r->failure.status != OK || r->open->n == 0)
        return;
    VkCommandBuffer commands = piece_commands(vk);
    if (!commands)
        return;
    if (r->open->n_copies > 0)
        commands_barrier(vk, commands, COMPUTE, SHADER_WRITE, COPY, COPY_READ);
    for (uint32_t i = 0; i < r->open->n_copies; i++) {
        const struct copy *copy = &r->open->copies[i];
        const struct buffer *from = copy->buffer, *to = from->mirror;
        uint64_t at = copy->range.address - from->address;
        const VkBufferCopy region = {from->at + at, to->at + at, copy->range.n_bytes};
        vk->call.CmdCopyBuffer(commands, from->block->buffer, to->block->buffer, 1, &region);
    }
    commands_barrier(vk, commands, COMPUTE | COPY, SHADER_WRITE | COPY_WRITE,
                     VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT);
    piece_end(vk);
}

static void save_pipelines(struct vulkan *vk)
{
    enum { MANY = 8, LATER_MS = 10000 };
    const struct pipelines *p = &vk->pipelines;
    if (p->n_unsaved >= MANY || (p->n_unsaved > 0 && clock_ms() - p->saved_ms > LATER_MS))
        cache_save(vk);
}

enum status vk_finish(struct compute *compute, struct err *err)
{
    struct vulkan *vk = vk_of(compute);
    struct recorder *r = &vk->recorder;
    struct recording *open = r->open;
    struct err waited = {0};
    if (!r->replay)
        copy_results(vk);
    for (uint32_t i = 0; r->replay && i < open->n && r->failure.status == OK; i++)
        piece_send(vk, &open->pieces[i]);
    if (r->n_sent > 0 && commands_wait(vk, r->work_s * r->slow, &waited) != OK &&
        r->failure.status != DEVICE_ERROR)
        r->failure = waited;
    if (r->lost && !r->fault_told)
        recorder_tell_fault(vk, &r->failure);
    r->fault_told = r->lost;
    if (r->failure.status == OK && r->n_sent > 0)
        learn(vk);
    for (uint32_t i = 0; i < open->n_copies && r->failure.status == OK; i++)
        open->copies[i].buffer->mirrored = open->copies[i].range;
    open->used = ++r->clock;
    vk->compute.counts = open->counts;
    vk->compute.counts.n_submissions = r->n_sent;
    r->open = NULL;
    r->begun = false;
    if (!r->replay && r->failure.status == OK && open->key != 0)
        keep(vk, open);
    else if (!r->replay)
        recording_close(vk, open);
    r->replay = r->rehearsal = false;
    save_pipelines(vk);
    return r->failure.status == OK ? OK : err_set(err, r->failure.status, "%s", r->failure.text);
}

// ---- opening and closing ------------------------------------------------------------------------

enum status recorder_open(struct vulkan *vk, struct err *err)
{
    struct recorder *r = &vk->recorder;
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
        .queueFamilyIndex = vk->chosen.family,
    };
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
    };
    const VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                             .pNext = &type};
    r->slow = 1;
    r->learnt = vk->chosen.features.software; // nothing kills what is slow there
    r->kept = mem_array(KEPT_MOST, sizeof(struct recording *));
    VkResult result = vk->call.CreateCommandPool(vk->device, &pool, NULL, &r->pool);
    if (result == VK_SUCCESS)
        result = vk->call.CreateSemaphore(vk->device, &semaphore, NULL, &r->timeline);
    return result == VK_SUCCESS ? OK : vk_refused(err, "a command pool", result);
}

void recorder_close(struct vulkan *vk)
{
    struct recorder *r = &vk->recorder;
    if (r->kept)
        recorder_forget(vk, NULL);
    scratch_release(vk, 0);
    free(r->kept);
    free(r->idle);
    if (r->pool)
        vk->call.DestroyCommandPool(vk->device, r->pool, NULL);
    if (r->timeline)
        vk->call.DestroySemaphore(vk->device, r->timeline, NULL);
}
