// device.c - the CPU as a device: its name, its memory, the kernels chosen for it, and the
// recording of tasks.
//
// The instruction set is chosen by cpuid when the device is opened. The environment variable
// TAWNY_CPU (portable, avx2, avx512) forces a lower one, for tests; a name this CPU cannot run is
// an error, never a silent other choice. Weights are borrowed: a buffer then only holds the
// caller's pointer.
#include "cpu.h"
#include "quant.h"

#include <cpuid.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

struct buffer {
    uint8_t *p;
    size_t n_bytes;
    bool borrowed;
};

// ---- memory -----------------------------------------------------------------------------------

// Asks for huge pages under weights that will be read from a mapped file: where the file system can
// (ext4 from Linux 6.16 on), what is not in memory yet is then read in pieces of 2 MiB. Address
// translation costs decoding up to a third of its speed otherwise. A wish: refusal changes nothing
// else.
static void want_huge_pages(const void *p, size_t n_bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)p / page * page;
    (void)madvise((void *)start, (uintptr_t)p + n_bytes - start, MADV_HUGEPAGE);
}

// Rows follow each other without a gap, whatever the use.
static size_t row_bytes(const struct compute *compute, enum dtype type, int64_t n_cols,
                        enum buffer_use use)
{
    (void)compute, (void)use;
    return dtype_row_bytes(type, n_cols);
}

static enum status buffer_open(struct compute *compute, struct buffer **out,
                               const struct tensor *shape, enum buffer_use use, int64_t whole_rows,
                               const void *borrowed, struct err *err)
{
    (void)compute, (void)use, (void)whole_rows;
    size_t n_bytes = shape->row_bytes * (size_t)shape->n_rows;
    uint8_t *p = (uint8_t *)(uintptr_t)borrowed; // never written: weights are inputs only
    if (borrowed) {
        want_huge_pages(borrowed, n_bytes);
    } else {
        p = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return err_set(err, NO_ROOM,
                           "%zu MiB of memory wanted for a tensor; the system has none left",
                           (n_bytes >> 20) + 1);
    }
    struct buffer *buffer = mem_alloc(sizeof(*buffer));
    *buffer = (struct buffer){p, n_bytes, borrowed};
    *out = buffer;
    return OK;
}

// Borrowed weights stay in the file's mapping; its pages are read now, and not one fault at a time
// by the first pass.
static enum status load_rows(struct compute *compute, const struct tensor *weight, int64_t row0,
                             int64_t n_rows, const void *data, struct err *err)
{
    enum { POPULATE_READ = 22 }; // MADV_POPULATE_READ, Linux 5.14; older ones answer EINVAL
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE),
              first = (uintptr_t)data + (size_t)row0 * weight->row_bytes,
              end = first + (size_t)n_rows * weight->row_bytes;
    (void)compute;
    first = first / page * page;
    end = (end + page - 1) / page * page;
    if (n_rows == 0 || madvise((void *)first, end - first, POPULATE_READ) == 0 || errno == EINVAL ||
        errno == ENOMEM)
        return OK;
    return err_set(err, IO_ERROR, "the weights cannot be read from the file: %s", strerror(errno));
}

static void buffer_close(struct compute *compute, struct buffer *buffer)
{
    (void)compute;
    if (!buffer->borrowed)
        munmap(buffer->p, buffer->n_bytes);
    free(buffer);
}

struct span cpu_span(const struct tensor *tensor)
{
    if (tensor->offset + tensor_span(tensor) > tensor->buffer->n_bytes)
        die("a tensor view reaches past its buffer");
    return (struct span){tensor->buffer->p + tensor->offset, tensor->row_bytes, tensor->n_rows,
                         tensor->n_cols, tensor->type};
}

const int32_t *cpu_ints(const struct tensor *tensor)
{
    return (const int32_t *)(const void *)cpu_span(tensor).p;
}

static void buffer_write(struct compute *compute, const struct tensor *to, const void *from,
                         size_t n_bytes)
{
    (void)compute;
    memcpy(cpu_span(to).p, from, n_bytes);
}

static void buffer_read(struct compute *compute, void *to, const struct tensor *from,
                        size_t n_bytes)
{
    (void)compute;
    memcpy(to, cpu_span(from).p, n_bytes);
}

static void scratch_reserve(struct scratch *scratch, size_t n_bytes)
{
    if (n_bytes <= scratch->n_bytes)
        return;
    free(scratch->p);
    n_bytes = (n_bytes + CPU_LINE - 1) / CPU_LINE * CPU_LINE;
    scratch->p = aligned_alloc(CPU_LINE, n_bytes);
    if (!scratch->p)
        die("out of memory: %zu bytes of scratch", n_bytes);
    scratch->n_bytes = n_bytes;
}

// ---- recording --------------------------------------------------------------------------------

struct task *cpu_task(struct cpu *cpu, task_run *run, int64_t n_chunks)
{
    if (n_chunks > INT32_MAX / 2)
        die("an operation of %lld pieces", (long long)n_chunks);
    if (cpu->n_tasks == cpu->n_tasks_allocated) {
        int32_t n = cpu->n_tasks_allocated ? 2 * cpu->n_tasks_allocated : 256;
        struct task *tasks = aligned_alloc(CPU_LINE, (size_t)n * sizeof(*tasks));
        if (!tasks)
            die("out of memory for %d tasks", n);
        if (cpu->n_tasks)
            memcpy((void *)tasks, (void *)cpu->tasks, (size_t)cpu->n_tasks * sizeof(*tasks));
        free(cpu->tasks);
        cpu->tasks = tasks;
        cpu->n_tasks_allocated = n;
    }
    struct task *task = &cpu->tasks[cpu->n_tasks++];
    memset((void *)task, 0, sizeof(*task));
    task->run = run;
    task->n_chunks = (int32_t)n_chunks;
    return task;
}

void *cpu_take(struct cpu *cpu, size_t n_bytes)
{
    void *p = arena_take(&cpu->recording, n_bytes);
    if (!p)
        die("a recording wants more than %zu bytes", cpu->recording.cap_bytes);
    return p;
}

static bool begin(struct compute *compute, uint64_t key)
{
    (void)key; // recording costs next to nothing here: nothing is kept
    struct cpu *cpu = (struct cpu *)compute;
    size_t cap_bytes = cpu->recording.cap_bytes;
    arena_free(&cpu->recording);
    arena_init(&cpu->recording, cap_bytes);
    cpu->n_tasks = 0;
    cpu->activation_bytes = cpu->normed_bytes = cpu->partial_bytes = cpu->experts_bytes =
        cpu->thread_bytes = 0;
    cpu->rope_tables = NULL;
    return true;
}

static enum status finish(struct compute *compute, struct err *err)
{
    (void)err;
    struct cpu *cpu = (struct cpu *)compute;
    scratch_reserve(&cpu->activation, cpu->activation_bytes);
    scratch_reserve(&cpu->normed, cpu->normed_bytes);
    scratch_reserve(&cpu->partial, cpu->partial_bytes);
    scratch_reserve(&cpu->experts, cpu->experts_bytes);
    for (int32_t i = 0; i < cpu->n_threads; i++)
        scratch_reserve(&cpu->thread_scratch[i], cpu->thread_bytes);
    pool_run(cpu->pool, cpu->tasks, cpu->n_tasks);
    const uint32_t n = (uint32_t)cpu->n_tasks; // all threads wait for the end of each
    compute->counts = (struct compute_counts){n, n, n > 0};
    return OK;
}

// ---- opening ----------------------------------------------------------------------------------

static const struct isa {
    const char *name, *shown;
    const struct float_kernels *flt;
    const struct row_kernels *rows;
    const struct panel_kernels *panels;
} isas[] = {
    // best first
    {"avx512", "AVX-512 VNNI", &float_avx512, &row_avx512, &panel_avx512},
    {"avx2", "AVX2", &float_avx2, &row_avx2, NULL},
    {"portable", "no vector extensions", &float_portable, NULL, NULL},
};

static bool isa_runs(const struct isa *isa)
{
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    unsigned a, b, c = 0, d;
    bool f16c = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
    if (strcmp(isa->name, "avx512") == 0)
        return avx2 && f16c && __builtin_cpu_supports("avx512f") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    return strcmp(isa->name, "avx2") != 0 || (avx2 && f16c);
}

static enum status isa_choose(const struct isa **out, struct err *err)
{
    const char *forced = getenv("TAWNY_CPU");
    for (size_t i = 0; i < COUNT_OF(isas); i++) {
        if (forced && strcmp(forced, isas[i].name) != 0)
            continue;
        if (isa_runs(&isas[i])) {
            *out = &isas[i];
            return OK;
        }
        if (forced)
            return err_set(err, UNSUPPORTED, "TAWNY_CPU=%s: this CPU cannot run %s", forced,
                           isas[i].shown);
    }
    return err_set(err, BAD_INPUT, "TAWNY_CPU=%s: expected portable, avx2 or avx512", forced);
}

// The CPU's own 48-byte name, from cpuid leaves 0x80000002 to 4 (needs no /proc).
static void cpu_name(char name[49])
{
    unsigned r[12] = {0};
    memset(name, 0, 49);
    if ((unsigned)__get_cpuid_max(0x80000000, NULL) >= 0x80000004)
        for (unsigned i = 0; i < 3; i++)
            __get_cpuid(0x80000002 + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3]);
    memcpy(name, r, 48);
    for (size_t n = strlen(name); n > 0 && name[n - 1] == ' '; n--)
        name[n - 1] = 0;
}

static int32_t threads_allowed(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n > CPU_MAX_THREADS ? CPU_MAX_THREADS : n;
}

// What the container's limit leaves, where there is one: its pages of files can be taken back.
static uint64_t container_free(void)
{
    static const char stat[] = "/sys/fs/cgroup/memory.stat";
    const uint64_t most = file_number("/sys/fs/cgroup/memory.max", NULL, 10),
                   used = file_number("/sys/fs/cgroup/memory.current", NULL, 10),
                   files = file_number(stat, "inactive_file ", 10) +
                           file_number(stat, "\nactive_file ", 10);
    const uint64_t held = used > files ? used - files : 0;
    return most == 0 ? UINT64_MAX : most > held ? most - held : 1;
}

static void fill_info(struct cpu *cpu, const struct isa *isa)
{
    struct compute_info *info = &cpu->compute.info;
    struct sysinfo memory;
    char name[49];
    cpu_name(name);
    snprintf(info->backend, sizeof(info->backend), "cpu");
    snprintf(info->kind, sizeof(info->kind), "cpu");
    snprintf(info->device, sizeof(info->device), "CPU: %s (%d thread%s, %s)",
             name[0] ? name : "x86-64", cpu->n_threads, cpu->n_threads == 1 ? "" : "s", isa->shown);
    info->n_threads = cpu->n_threads;
    if (sysinfo(&memory) == 0) {
        info->memory_bytes = (uint64_t)memory.totalram * memory.mem_unit;
        info->memory_usable_bytes = (uint64_t)(memory.freeram + memory.bufferram) * memory.mem_unit;
    }
    uint64_t available = file_number("/proc/meminfo", "MemAvailable:", 10) * 1024;
    if (available > 0) // with what the kernel can take back from its caches
        info->memory_usable_bytes = available;
    const uint64_t contained = container_free();
    if (info->memory_usable_bytes > contained)
        info->memory_usable_bytes = contained;
}

static bool cpu_close(struct compute *compute)
{
    struct cpu *cpu = (struct cpu *)compute;
    pool_close(cpu->pool);
    for (int32_t i = 0; i < cpu->n_threads; i++)
        free(cpu->thread_scratch[i].p);
    free(cpu->thread_scratch);
    free(cpu->activation.p);
    free(cpu->normed.p);
    free(cpu->partial.p);
    free(cpu->experts.p);
    free(cpu->tasks);
    arena_free(&cpu->recording);
    free(cpu);
    return true;
}

static const struct backend backend = {
    .close = cpu_close,
    .row_bytes = row_bytes,
    .buffer_open = buffer_open,
    .load_rows = load_rows,
    .buffer_close = buffer_close,
    .write = buffer_write,
    .read = buffer_read,
    .begin = begin,
    .finish = finish,
    .bandwidth = cpu_bandwidth,
    .embed = cpu_embed,
    .norm = cpu_norm,
    .matmul = cpu_matmul,
    .matmul_glu = cpu_matmul_glu,
    .rope_kv = cpu_rope_kv,
    .attention = cpu_attention,
    .rows = cpu_rows,
    .copy = cpu_copy,
    .top_k = cpu_top_k,
    .route = cpu_route,
    .matmul_experts = cpu_matmul_experts,
    .elementwise = cpu_elementwise,
    .experts_sum = cpu_experts_sum,
    .experts_glu = cpu_experts_glu,
    .experts_down = cpu_experts_down,
    .streams = cpu_streams,
    .streams_read = cpu_streams_read,
    .compress = cpu_compress,
    .attention_far = cpu_attention_far,
    .index_keys = cpu_index_keys,
    .index_choose = cpu_index_choose,
    .conv = cpu_conv,
    .delta_net = cpu_delta_net,
    .mamba2 = cpu_mamba2,
};

enum status cpu_open(struct compute **out, const struct compute_options *options, struct err *err)
{
    const struct isa *isa;
    enum status status = isa_choose(&isa, err);
    if (status != OK)
        return status;
    if (options->n_threads < 0 || options->n_threads > CPU_MAX_THREADS)
        return err_set(err, BAD_INPUT, "threads = %d: expected 0 (one a core) to %d",
                       options->n_threads, CPU_MAX_THREADS);
    struct cpu *cpu = mem_alloc(sizeof(*cpu));
    cpu->compute.backend = &backend;
    cpu->n_threads = options->n_threads ? options->n_threads : threads_allowed();
    cpu->flt = isa->flt;
    cpu->rows = isa->rows;
    cpu->panels = isa->panels;
    cpu->thread_scratch = mem_array((size_t)cpu->n_threads, sizeof(*cpu->thread_scratch));
    arena_init(&cpu->recording, (size_t)256 << 20);
    status = pool_open(&cpu->pool, cpu, cpu->n_threads, err);
    if (status != OK) {
        cpu_close(&cpu->compute);
        return status;
    }
    fill_info(cpu, isa);
    *out = &cpu->compute;
    return OK;
}
