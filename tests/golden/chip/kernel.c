// kernel.c - the amdgpu kernel driver, inside the process: its calls answered for one chip that
// runs here (pm4.h). The link puts these functions in the place of the C library's and libdrm's
// (ld --wrap): RADV and the engine are those that ship.
//
// What all buffers hold lies in one file in memory, at one offset each; a mapping of the process
// and one of the chip are mappings of that file. A submission is executed within its call, so every
// fence is signalled when the call returns. CHIP names the chip: gfx1150, or gfx1151.
#include "faults.h"
#include "pace.h"
#include "pm4.h"
#include "watch.h"
#include "wave.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <libdrm/amdgpu_drm.h>
#include <xf86drm.h>

#include "kernel.h"

static const char node[] = "/dev/dri/renderD128", primary[] = "/dev/dri/card0";
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

// ---- buffers ------------------------------------------------------------------------------------

enum { BUFFERS_MOST = 65536, SYNCS_MOST = 65536, FDS_MOST = 4096 };
static struct buffer {
    uint64_t offset, n_bytes, domains, flags; // n_bytes 0: free
} buffers[BUFFERS_MOST];
static struct {
    bool used;
    uint64_t point;
} syncs[SYNCS_MOST];
static bool is_ours[FDS_MOST];
static int store = -1;
static uint64_t store_end = 1 << 16, n_submitted;
static uint32_t n_contexts, n_lists;
static uint64_t used[2];             // bytes of buffers: in the carve-out, elsewhere
static uint64_t hidden, hidden_most; // of used[0]: what the processor does not see; at most so far

static struct buffer *buffer_of(uint32_t handle)
{
    return handle > 0 && handle < BUFFERS_MOST && buffers[handle].n_bytes ? &buffers[handle] : NULL;
}

// On a card the processor sees of the carve-out all but what was asked for so.
static bool is_hidden(const struct buffer *b)
{
    return kernel_window() && b->domains & AMDGPU_GEM_DOMAIN_VRAM &&
           b->flags & AMDGPU_GEM_CREATE_NO_CPU_ACCESS;
}

static int make_buffer(union drm_amdgpu_gem_create *c)
{
    uint32_t handle = 1;
    while (handle < BUFFERS_MOST && buffers[handle].n_bytes)
        handle++;
    const uint64_t n = (c->in.bo_size + 0xffff) & ~(uint64_t)0xffff;
    if (store < 0)
        store = memfd_create("chip", MFD_CLOEXEC);
    const bool carved = c->in.domains & AMDGPU_GEM_DOMAIN_VRAM;
    if ((kernel_window() && carved && used[0] + n > kernel_carved()) ||
        used[0] + used[1] + n > kernel_carved() + kernel_shared() ||
        fault_no_room(n, used[0] + used[1] + n, n_submitted + 1) || handle == BUFFERS_MOST ||
        n == 0 || ftruncate(store, (off_t)(store_end + n)) != 0)
        return -ENOMEM;
    buffers[handle] = (struct buffer){store_end, n, c->in.domains, c->in.domain_flags};
    used[!(c->in.domains & AMDGPU_GEM_DOMAIN_VRAM)] += n;
    hidden += is_hidden(&buffers[handle]) ? n : 0;
    hidden_most = hidden > hidden_most ? hidden : hidden_most;
    store_end += n;
    c->out.handle = handle;
    return 0;
}

uint64_t kernel_used(bool carved)
{
    return used[!carved];
}

__attribute__((destructor)) static void tell_hidden(void)
{
    if (hidden_most)
        fprintf(stderr, "chip: %llu MiB that the processor does not see were used\n",
                (unsigned long long)(hidden_most >> 20));
}

uint64_t kernel_used_seen(void)
{
    return used[0] - hidden;
}

static int close_buffer(uint32_t handle)
{
    struct buffer *b = buffer_of(handle);
    if (!b)
        return -EINVAL;
    fallocate(store, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)b->offset,
              (off_t)b->n_bytes);
    used[!(b->domains & AMDGPU_GEM_DOMAIN_VRAM)] -= b->n_bytes;
    hidden -= is_hidden(b) ? b->n_bytes : 0;
    b->n_bytes = 0;
    return 0;
}

static int change_mapping(const struct drm_amdgpu_gem_va *v)
{
    const struct buffer *b = buffer_of(v->handle);
    if (v->operation == AMDGPU_VA_OP_UNMAP || v->operation == AMDGPU_VA_OP_CLEAR) {
        vm_unmap(v->va_address, v->map_size);
        return 0;
    }
    if (v->flags & AMDGPU_VM_PAGE_PRT)
        chip_stop(NULL, "a sparse mapping, which nothing here asks for");
    if (!b || v->offset_in_bo > b->n_bytes || v->map_size > b->n_bytes - v->offset_in_bo)
        return -EINVAL;
    return vm_map(v->va_address, v->map_size, store, b->offset + v->offset_in_bo) ? 0 : -EINVAL;
}

// ---- submissions --------------------------------------------------------------------------------

static void signal_syncs(const struct drm_amdgpu_cs_chunk *c)
{
    const uint32_t *words = (const void *)(uintptr_t)c->chunk_data;
    if (c->chunk_id == AMDGPU_CHUNK_ID_SYNCOBJ_OUT)
        for (uint32_t i = 0; i < c->length_dw; i++)
            syncs[words[i] % SYNCS_MOST].point = 1;
    const struct drm_amdgpu_cs_chunk_syncobj *timeline = (const void *)words;
    if (c->chunk_id == AMDGPU_CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL)
        for (uint32_t i = 0; i < c->length_dw * 4 / sizeof(*timeline); i++)
            syncs[timeline[i].handle % SYNCS_MOST].point = timeline[i].point;
}

static int submit(union drm_amdgpu_cs *cs)
{
    const uint64_t *list = (const void *)(uintptr_t)cs->in.chunks;
    const int refused = fault_refuses(n_submitted + 1);
    if (refused)
        return refused;
    if (fault_hangs(n_submitted + 1)) {
        memset(cs, 0, sizeof(*cs));
        cs->out.handle = ++n_submitted;
        return 0;
    }
    tasks_before_submit();
    watch_order(), watch_visible();      // what the kernel driver puts between two submissions
    for (int pass = 0; pass < 2; pass++) // first all commands, then what they signal
        for (uint32_t i = 0; i < cs->in.num_chunks; i++) {
            const struct drm_amdgpu_cs_chunk *c = (const void *)(uintptr_t)list[i];
            const struct drm_amdgpu_cs_chunk_ib *ib = (const void *)(uintptr_t)c->chunk_data;
            if (pass == 1)
                signal_syncs(c);
            else if (c->chunk_id == AMDGPU_CHUNK_ID_IB && !fault_skips(n_submitted + 1)) {
                if (ib->ip_type != AMDGPU_HW_IP_GFX && ib->ip_type != AMDGPU_HW_IP_COMPUTE)
                    chip_stop(NULL, "a submission to queue %u", ib->ip_type);
                pm4_run(ib->va_start, ib->ib_bytes);
            }
        }
    const struct drm_amdgpu_cs_chunk_fence *fence = NULL;
    for (uint32_t i = 0; i < cs->in.num_chunks; i++) {
        const struct drm_amdgpu_cs_chunk *c = (const void *)(uintptr_t)list[i];
        if (c->chunk_id == AMDGPU_CHUNK_ID_FENCE)
            fence = (const void *)(uintptr_t)c->chunk_data;
    }
    n_submitted++;
    pace_submitted();
    const struct buffer *b = fence ? buffer_of(fence->handle) : NULL;
    if (b && pwrite(store, &n_submitted, 8, (off_t)(b->offset + fence->offset)) != 8)
        return -EIO;
    memset(cs, 0, sizeof(*cs));
    cs->out.handle = n_submitted;
    return 0;
}

// ---- syncobjs -----------------------------------------------------------------------------------

static int sync_call(unsigned nr, void *of)
{
    switch (nr) {
    case 0xbf: {
        struct drm_syncobj_create *c = of;
        uint32_t handle = 1;
        while (handle < SYNCS_MOST && syncs[handle].used)
            handle++;
        if (handle == SYNCS_MOST)
            return -ENOMEM;
        syncs[handle].used = true;
        syncs[handle].point = c->flags & DRM_SYNCOBJ_CREATE_SIGNALED;
        c->handle = handle;
        return 0;
    }
    case 0xc0: {
        const struct drm_syncobj_destroy *d = of;
        syncs[d->handle % SYNCS_MOST].used = false;
        return 0;
    }
    case 0xc3: { // wait: whatever was submitted is done, or never will be
        struct drm_syncobj_wait *w = of;
        const uint32_t *handles = (const void *)(uintptr_t)w->handles;
        w->first_signaled = 0;
        for (uint32_t i = 0; i < w->count_handles; i++)
            if (syncs[handles[i] % SYNCS_MOST].point == 0 && fault_hangs(0) &&
                fault_wait_until(w->timeout_nsec))
                return -ETIME;
        return 0;
    }
    case 0xca: { // wait for points of timelines
        struct drm_syncobj_timeline_wait *w = of;
        const uint32_t *handles = (const void *)(uintptr_t)w->handles;
        const uint64_t *points = (const void *)(uintptr_t)w->points;
        w->first_signaled = 0;
        for (uint32_t i = 0; i < w->count_handles; i++)
            if (syncs[handles[i] % SYNCS_MOST].point < points[i]) {
                if (fault_hangs(0) && !fault_wait_until(w->timeout_nsec))
                    continue;
                return -ETIME;
            }
        return 0;
    }
    case 0xcb: { // query
        const struct drm_syncobj_timeline_array *a = of;
        const uint32_t *handles = (const void *)(uintptr_t)a->handles;
        uint64_t *points = (void *)(uintptr_t)a->points;
        for (uint32_t i = 0; i < a->count_handles; i++)
            points[i] = syncs[handles[i] % SYNCS_MOST].point;
        return 0;
    }
    case 0xc4:
    case 0xc5: { // reset, signal
        const struct drm_syncobj_array *a = of;
        const uint32_t *handles = (const void *)(uintptr_t)a->handles;
        for (uint32_t i = 0; i < a->count_handles; i++)
            syncs[handles[i] % SYNCS_MOST].point = nr == 0xc5;
        return 0;
    }
    case 0xcc: { // transfer
        const struct drm_syncobj_transfer *t = of;
        syncs[t->dst_handle % SYNCS_MOST].point =
            t->dst_point ? t->dst_point : syncs[t->src_handle % SYNCS_MOST].point;
        return 0;
    }
    case 0xcd: { // signal points of timelines
        const struct drm_syncobj_timeline_array *a = of;
        const uint32_t *handles = (const void *)(uintptr_t)a->handles;
        const uint64_t *points = (const void *)(uintptr_t)a->points;
        for (uint32_t i = 0; i < a->count_handles; i++)
            syncs[handles[i] % SYNCS_MOST].point = points[i];
        return 0;
    }
    default:
        return -ENOTTY;
    }
}

// ---- all calls ----------------------------------------------------------------------------------

static int drm_call(unsigned nr, void *of)
{
    switch (nr) {
    case 0x00: {
        struct drm_version *v = of;
        v->version_major = 3, v->version_minor = 64, v->version_patchlevel = 0;
        if (v->name && v->name_len >= 6)
            memcpy(v->name, "amdgpu", 6);
        if (v->date && v->date_len >= 1) // libdrm copies these too, which may not be nothing
            v->date[0] = '0';
        if (v->desc && v->desc_len >= 1)
            v->desc[0] = '-';
        v->name_len = 6, v->date_len = 1, v->desc_len = 1;
        return 0;
    }
    case 0x05: {
        struct drm_client *c = of;
        c->auth = 1;
        return 0;
    }
    case 0x09:
        return close_buffer(((struct drm_gem_close *)of)->handle);
    case 0x0c: {
        struct drm_get_cap *c = of;
        c->value = c->capability == DRM_CAP_PRIME ? 3 : 1;
        return 0;
    }
    default:
        return sync_call(nr, of);
    }
}

static int amdgpu_call(unsigned nr, void *of)
{
    switch (nr) {
    case DRM_AMDGPU_INFO:
        return kernel_info(of);
    case DRM_AMDGPU_GEM_CREATE:
        return make_buffer(of);
    case DRM_AMDGPU_GEM_MMAP: {
        union drm_amdgpu_gem_mmap *m = of;
        const struct buffer *b = buffer_of(m->in.handle);
        if (b && is_hidden(b))
            chip_stop(NULL, "a buffer of %llu bytes outside of the window is mapped",
                      (unsigned long long)b->n_bytes);
        m->out.addr_ptr = b ? b->offset : 0;
        return b ? 0 : -EINVAL;
    }
    case DRM_AMDGPU_GEM_VA:
        return change_mapping(of);
    case DRM_AMDGPU_CTX: {
        union drm_amdgpu_ctx *c = of;
        const bool alloc = c->in.op == AMDGPU_CTX_OP_ALLOC_CTX;
        const uint64_t flags = c->in.op == AMDGPU_CTX_OP_QUERY_STATE2 ? fault_flags() : 0;
        memset(c, 0, sizeof(*c));
        c->out.state.flags = flags;
        if (alloc)
            c->out.alloc.ctx_id = ++n_contexts;
        return 0;
    }
    case DRM_AMDGPU_BO_LIST:
        ((union drm_amdgpu_bo_list *)of)->out.list_handle = ++n_lists;
        return 0;
    case DRM_AMDGPU_CS:
        return submit(of);
    case DRM_AMDGPU_WAIT_CS:
        ((union drm_amdgpu_wait_cs *)of)->out.status = 0;
        return 0;
    case DRM_AMDGPU_GEM_WAIT_IDLE:
        ((union drm_amdgpu_gem_wait_idle *)of)->out.status = 0;
        return 0;
    case DRM_AMDGPU_GEM_USERPTR: // memory of the process: not for this chip
        return -ENOSYS;
    case DRM_AMDGPU_GEM_METADATA:
    case DRM_AMDGPU_GEM_OP:
    case DRM_AMDGPU_VM:
    case DRM_AMDGPU_SCHED:
        return 0;
    default:
        return -ENOTTY;
    }
}

static int call(unsigned long request, void *of)
{
    const unsigned nr = _IOC_NR(request);
    pthread_mutex_lock(&lock);
    const int r = nr >= 0x40 && nr < 0xa0 ? amdgpu_call(nr - 0x40, of) : drm_call(nr, of);
    pthread_mutex_unlock(&lock);
    if (r == -ENOTTY)
        chip_stop(NULL, "the driver's call %x is not known", nr);
    return r;
}

// ---- in the place of the C library's and libdrm's -----------------------------------------------

int __real_open(const char *, int, ...);
int __real_ioctl(int, int, ...);
int __real_stat(const char *, struct stat *);
int __real_fstat(int, struct stat *);
void *__real_mmap(void *, size_t, int, int, int, off_t);
int __real_close(int);
int __real_dup(int);
int __real_fcntl(int, int, ...);

int __wrap_open(const char *, int, ...);
int __wrap_ioctl(int, int, ...);
int __wrap_stat(const char *, struct stat *);
int __wrap_fstat(int, struct stat *);
void *__wrap_mmap(void *, size_t, int, int, int, off_t);
int __wrap_close(int);
int __wrap_dup(int);
int __wrap_fcntl(int, int, ...);
int __wrap_drmGetDevices2(uint32_t, drmDevicePtr[], int);
void __wrap_drmFreeDevices(drmDevicePtr[], int);
void __wrap_drmFreeDevice(drmDevicePtr *);
int __wrap_drmGetDevice2(int, uint32_t, drmDevicePtr *);
int __wrap_drmGetNodeTypeFromFd(int);

static bool ours(int fd)
{
    return fd >= 0 && fd < FDS_MOST && is_ours[fd];
}

static int remember(int fd)
{
    if (fd >= 0 && fd < FDS_MOST)
        is_ours[fd] = true;
    return fd;
}

// What the engine reads of the machine's memory: the carve-out, and with CHIP_FREE_MB what is free.
static int memory_file(const char *path)
{
    static const char folder[] = "/sys/dev/char/226:128/device/mem_info_vram_";
    const char *free_mb = getenv("CHIP_FREE_MB");
    uint64_t n;
    if (strncmp(path, folder, sizeof(folder) - 1) == 0)
        n = strcmp(path + sizeof(folder) - 1, "used") == 0 ? kernel_used(true) : kernel_carved();
    else if (strcmp(path, "/proc/meminfo") == 0 && free_mb)
        n = strtoull(free_mb, NULL, 10) << 10;
    else
        return -1;
    const int fd = memfd_create("memory", MFD_CLOEXEC);
    if (fd >= 0)
        dprintf(fd, path[1] == 's' ? "%llu\n" : "MemAvailable: %llu kB\n", (unsigned long long)n);
    return fd >= 0 && lseek(fd, 0, SEEK_SET) == 0 ? fd : -1;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const int mode = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    if (strcmp(path, node) == 0 || strcmp(path, primary) == 0)
        return remember(memfd_create("amdgpu", MFD_CLOEXEC));
    const int fd = memory_file(path);
    return fd >= 0 ? fd : __real_open(path, flags, mode);
}

int __wrap_close(int fd)
{
    if (ours(fd))
        is_ours[fd] = false;
    return __real_close(fd);
}

int __wrap_dup(int fd)
{
    return ours(fd) ? remember(__real_dup(fd)) : __real_dup(fd);
}

int __wrap_fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    const long value = va_arg(args, long);
    va_end(args);
    const int r = __real_fcntl(fd, command, value);
    const bool copies = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
    return copies && ours(fd) ? remember(r) : r;
}

static int character_device(struct stat *s, unsigned minor_number)
{
    memset(s, 0, sizeof(*s));
    s->st_mode = S_IFCHR | 0666;
    s->st_rdev = makedev(226, minor_number);
    return 0;
}

int __wrap_stat(const char *path, struct stat *s)
{
    if (strcmp(path, node) == 0 || strcmp(path, primary) == 0)
        return character_device(s, path == node || strcmp(path, node) == 0 ? 128 : 0);
    return __real_stat(path, s);
}

int __wrap_fstat(int fd, struct stat *s)
{
    return ours(fd) ? character_device(s, 128) : __real_fstat(fd, s);
}

void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    return __real_mmap(at, n, protection, flags, ours(fd) ? store : fd, offset);
}

int __wrap_ioctl(int fd, int request, ...)
{
    va_list args;
    va_start(args, request);
    void *of = va_arg(args, void *);
    va_end(args);
    if (!ours(fd))
        return __real_ioctl(fd, request, of);
    const int r = call((unsigned)request, of);
    if (r >= 0)
        return r;
    errno = -r;
    return -1;
}

static drmDevicePtr device(void)
{
    static char *nodes[DRM_NODE_MAX];
    static drmPciBusInfo bus = {0, 0xc5, 0, 0};
    static drmPciDeviceInfo info;
    static drmDevice d;
    nodes[DRM_NODE_PRIMARY] = (char *)primary, nodes[DRM_NODE_RENDER] = (char *)node;
    info = (drmPciDeviceInfo){0x1002, kernel_device_id(), 0x1002, kernel_device_id(), 0xc1};
    d = (drmDevice){.nodes = nodes,
                    .available_nodes = 1 << DRM_NODE_PRIMARY | 1 << DRM_NODE_RENDER,
                    .bustype = DRM_BUS_PCI};
    d.businfo.pci = &bus, d.deviceinfo.pci = &info;
    return &d;
}

int __wrap_drmGetDevices2(uint32_t flags, drmDevicePtr out[], int n)
{
    (void)flags;
    if (out && n > 0)
        out[0] = device();
    return 1;
}

int __wrap_drmGetDevice2(int fd, uint32_t flags, drmDevicePtr *out)
{
    (void)fd, (void)flags;
    *out = device();
    return 0;
}

void __wrap_drmFreeDevices(drmDevicePtr all[], int n)
{
    (void)all, (void)n;
}

void __wrap_drmFreeDevice(drmDevicePtr *one)
{
    *one = NULL;
}

int __wrap_drmGetNodeTypeFromFd(int fd)
{
    (void)fd;
    return DRM_NODE_RENDER;
}
