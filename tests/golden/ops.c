// ops.c - every operation of compute.h on a device against the CPU's, with the same random inputs.
//
//   ops [--as-gpu] [--large] [--every N] DEVICE [WORD...]
//             DEVICE: as the setting `device`; WORDs: a case's name holds all of them; N: one in N
//             of these
//   --large   other cases: with weights of gigabytes (ops_large.c)
//   --as-gpu  a software device is treated as a GPU with its subgroups would be: kernels run in
//             the shapes they have there (LP_NATIVE_VECTOR_WIDTH=128, 256 or 512: subgroups of
//             4, 8, 16 on llvmpipe)
//
// The oracle is the portable CPU path: exact F32 arithmetic but for the order of sums (`ops cpu`
// compares the CPU's own vector paths with it). One line a case: rms and largest of the differences
// of its worst output, both relative to the rms of that output, and the limits. The last line
// is "ops: N passed, N failed"; exit status 0 only when none failed and one ran.
#include "ops.h"

#include "../../engine/compute/vulkan/vulkan.h"
#include "../unit/formats.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct compute *ops_on[N_DEVICES];

// What a right implementation may differ by. A wrong nibble, scale, mask, row or edge costs 1e-1
// and more of the outputs it touches.
static const struct {
    double rms, most;
    const char *why;
} limits[] = {
    [LIMIT_EXACT] = {0, 0, "nothing is computed"},
    [LIMIT_DECODE] = {2e-7, 2e-6, "d * scale * q - dmin * min, each rounded once in F32"},
    [LIMIT_SUMS] = {1e-5, 1e-4, "F32 products and sums in any order, n up to 5000; e^x to 2^-21"},
    [LIMIT_TRIGONOMETRY] = {5e-6, 5e-5, "sine and cosine of an angle within half a turn to 2^-20"},
    [LIMIT_HALF] = {1e-3, 6e-3, "both factors rounded to half floats, 2^-12 each, sums in F32"},
    [LIMIT_BYTES] = {8e-3, 5e-2, "x in 8 bits, 32 to a scale: steps of 1/60 of its rms at most"},
    [LIMIT_CACHE_F16] = {4e-4, 3e-3, "the last place of a half float, 2^-11"},
    [LIMIT_CACHE_Q8_0] = {3e-3, 4e-2, "8 bits: a value halfway between two may go either way"},
    [LIMIT_SOFTMAX] = {5e-5, 5e-4, "F32 scores up to 20 with 2^-22 each, in the exponent"},
    [LIMIT_SOFTMAX_HALF] = {2e-3, 1e-2, "q and weights as half floats: scores up to 20 by 2^-12"},
    [LIMIT_SOFTMAX_Q8_0] = {4e-3, 4e-2, "a cached value halfway between two may go either way"},
};

// ---- the case -----------------------------------------------------------------------------------

enum { MOST_TENSORS = 64 };

static struct {
    char name[160];
    struct both tensors[MOST_TENSORS];
    void *weights[MOST_TENSORS]; // bytes that the CPU borrows
    void *far;                   // the same, mapped
    size_t far_bytes;
    int n_tensors, n_weights;
    double rms, most; // worst so far
    enum limit limit; // of the worst
    int n_compared;
    bool bad;
} now;

static char **words;
static int n_words, n_passed, n_failed, n_named;
static long every = 1;

// Of each `every` cases in a row one, not always the same: cases come in loops, and their lengths
// must not be what decides which kinds are never chosen.
static bool is_chosen(long n)
{
    const uint32_t lot = (uint32_t)(n / every + 1) * 2654435761u >> 8;
    return n % every == lot % every;
}

static struct both *next_tensor(void)
{
    if (now.n_tensors == MOST_TENSORS)
        die("a case of more than %d tensors", MOST_TENSORS);
    return &now.tensors[now.n_tensors++];
}

static struct compute *splitting; // what ops_on[DEVICE] is when it is not the one that splits
static bool treated_as_gpu;
static const char *device_name;

bool case_open(const char *format, ...)
{
    va_list args;
    memset(&now, 0, sizeof(now));
    va_start(args, format);
    int n = vsnprintf(now.name, sizeof(now.name), format, args);
    va_end(args);
    if (splitting && n > 0 && (size_t)n < sizeof(now.name))
        snprintf(now.name + n, sizeof(now.name) - (size_t)n, ", split");
    random_state = 88172645463325252u;
    for (const char *p = now.name; *p; p++)
        random_state = (random_state ^ (uint8_t)*p) * 1099511628211u;
    for (int i = 0; i < n_words; i++)
        if (!strstr(now.name, words[i]))
            return false;
    return is_chosen(n_named++);
}

void case_close(void)
{
    bool good = !now.bad;
    n_passed += good, n_failed += !good;
    printf("%s %-60s rms %.1e (%.0e)  max %.1e (%.0e)\n", good ? "ok    " : "FAILED", now.name,
           now.rms, limits[now.limit].rms, now.most, limits[now.limit].most);
    fflush(stdout);
    for (int d = 0; d < N_DEVICES; d++)
        for (int i = 0; i < now.n_tensors; i++)
            tensor_free(ops_on[d], &now.tensors[i].on[d]);
    for (int i = 0; i < now.n_weights; i++)
        free(now.weights[i]);
    if (now.far)
        munmap(now.far, now.far_bytes);
}

static void must(enum status status, const struct err *err)
{
    if (status != OK)
        die("%s: %s", now.name, err->text);
}

struct both *both_tensor(enum dtype type, int64_t n_rows, int64_t n_cols, const void *data)
{
    struct both *both = next_tensor();
    struct err err;
    for (int d = 0; d < N_DEVICES; d++) {
        must(compute_tensor(ops_on[d], &both->on[d], type, n_rows, n_cols, &err), &err);
        if (data)
            tensor_write(ops_on[d], &both->on[d], data, both->on[d].row_bytes * (size_t)n_rows);
    }
    return both;
}

struct both *both_random(int64_t n_rows, int64_t n_cols, float size)
{
    float *x = mem_array((size_t)(n_rows * n_cols), sizeof(*x));
    for (int64_t i = 0; i < n_rows * n_cols; i++)
        x[i] = size * normal();
    struct both *both = both_tensor(DTYPE_F32, n_rows, n_cols, x);
    free(x);
    return both;
}

struct both *both_ints(const int32_t *data, int64_t n)
{
    return both_tensor(DTYPE_I32, 1, n, data);
}

static double rms_of(enum dtype type, const void *data, int64_t n_cols)
{
    float *row = mem_array((size_t)n_cols, sizeof(*row));
    double squares = 0;
    dtype_decode(type, row, data, n_cols);
    for (int64_t i = 0; i < n_cols; i++)
        squares += (double)row[i] * row[i] / (double)n_cols;
    free(row);
    return sqrt(squares);
}

static struct both *weight(enum dtype type, int64_t n_rows, int64_t n_cols, int64_t whole_rows)
{
    struct both *both = next_tensor();
    struct err err;
    void *data = random_weights(type, n_rows, n_cols);
    now.weights[now.n_weights++] = data;
    for (int d = 0; d < N_DEVICES; d++) {
        must(compute_weight_begin(ops_on[d], &both->on[d], type, n_rows, n_cols, whole_rows, data,
                                  &err),
             &err);
        const int64_t half = n_rows / 2; // in pieces, as a model is loaded
        must(compute_weight_rows(ops_on[d], &both->on[d], 0, half, data, &err), &err);
        must(compute_weight_rows(ops_on[d], &both->on[d], half, n_rows - half, data, &err), &err);
    }
    both->rms = rms_of(type, data, n_cols);
    return both;
}

struct both *both_far(enum dtype type, int64_t n_rows, int64_t n_cols, int64_t whole_rows,
                      const int64_t *first, int n, int64_t n_each, bool whole)
{
    struct both *both = next_tensor();
    struct err err;
    const size_t row_bytes = dtype_row_bytes(type, n_cols);
    now.far_bytes = row_bytes * (size_t)n_rows;
    now.far = mmap(NULL, now.far_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (now.far == MAP_FAILED)
        die("%s: no addresses for %zu bytes", now.name, now.far_bytes);
    for (int i = 0; i < n; i++) {
        void *some = random_weights(type, n_each, n_cols);
        memcpy((uint8_t *)now.far + (size_t)first[i] * row_bytes, some, row_bytes * (size_t)n_each);
        free(some);
    }
    for (int d = 0; d < N_DEVICES; d++) {
        must(compute_weight_begin(ops_on[d], &both->on[d], type, n_rows, n_cols, whole_rows,
                                  now.far, &err),
             &err);
        for (int i = 0; i < n && !whole; i++)
            must(compute_weight_rows(ops_on[d], &both->on[d], first[i], n_each, now.far, &err),
                 &err);
        if (whole)
            must(compute_weight_rows(ops_on[d], &both->on[d], 0, n_rows, now.far, &err), &err);
    }
    both->rms = rms_of(type, (uint8_t *)now.far + (size_t)first[0] * row_bytes, n_cols);
    return both;
}

struct both *both_weight(enum dtype type, int64_t n_rows, int64_t n_cols)
{
    return weight(type, n_rows, n_cols, 1);
}

struct both *both_experts(enum dtype type, int64_t n_expert, int64_t n_rows, int64_t n_cols)
{
    return weight(type, n_expert * n_rows, n_cols, n_rows);
}

struct both *both_cache(enum dtype type, int64_t n_rows, int64_t n_cols)
{
    struct both *both = next_tensor();
    struct err err;
    for (int d = 0; d < N_DEVICES; d++)
        must(compute_cache(ops_on[d], &both->on[d], type, n_rows, n_cols, &err), &err);
    return both;
}

void record(int d)
{
    if (!compute_begin(ops_on[d], 0))
        die("%s: a recording without a key is said to be there already", now.name);
}

void submit(int d)
{
    struct err err;
    must(compute_finish(ops_on[d], &err), &err);
}

float normal(void)
{
    float sum = 0; // of 4 uniform ones: close enough, and never far out
    for (int i = 0; i < 4; i++)
        sum += (float)random_u32() / 4294967296.0f - 0.5f;
    return sum * 1.7320508f;
}

uint32_t random_bits(void)
{
    return random_u32();
}

// ---- verdicts -----------------------------------------------------------------------------------

static void *read_whole(int d, const struct both *out)
{
    const struct tensor *tensor = &out->on[d];
    size_t n_bytes = dtype_row_bytes(tensor->type, tensor->n_cols) * (size_t)tensor->n_rows;
    void *p = mem_array(n_bytes, 1);
    tensor_read(ops_on[d], p, tensor, n_bytes);
    return p;
}

void compare_to(const struct both *out, enum limit limit, double size)
{
    int64_t n = out->on[ORACLE].n_rows * out->on[ORACLE].n_cols;
    float *want = read_whole(ORACLE, out), *got = read_whole(DEVICE, out);
    double squares = 0, sum = 0, most = 0;
    for (int64_t i = 0; i < n; i++) {
        double off = fabs((double)got[i] - (double)want[i]);
        if (isnan(want[i]) && isnan(got[i]))
            continue;
        squares += (double)want[i] * want[i];
        sum += off * off;
        most = !(off <= most) ? off : most; // NaN stays
    }
    size = fmax(size, sqrt(squares / (double)n));
    double rms = sqrt(sum / (double)n) / (size > 0 ? size : 1);
    most /= size > 0 ? size : 1;
    bool bad = !(rms <= limits[limit].rms && most <= limits[limit].most);
    double share = most / (limits[limit].most + 1e-30),
           worst = now.most / (limits[now.limit].most + 1e-30);
    if (now.n_compared++ == 0 || bad > now.bad || (bad == now.bad && !(share <= worst))) {
        now.rms = rms, now.most = most;
        now.limit = limit;
    }
    now.bad |= bad;
    free(want), free(got);
}

void compare(const struct both *out, enum limit limit)
{
    compare_to(out, limit, 0);
}

void compare_ints(const struct both *out)
{
    int64_t n = out->on[ORACLE].n_rows * out->on[ORACLE].n_cols;
    int32_t *want = read_whole(ORACLE, out), *got = read_whole(DEVICE, out);
    for (int64_t i = 0; i < n; i++)
        if (want[i] != got[i]) {
            if (!now.bad)
                printf("       row %lld, column %lld is %d; expected %d\n",
                       (long long)(i / out->on[ORACLE].n_cols),
                       (long long)(i % out->on[ORACLE].n_cols), got[i], want[i]);
            now.bad = true;
        }
    free(want), free(got);
}

void compare_largest(const struct both *id, const struct both *of)
{
    const int64_t n_cols = of->on[DEVICE].n_cols;
    int32_t *ids = read_whole(DEVICE, id);
    float *all = read_whole(DEVICE, of);
    for (int64_t row = 0; row < of->on[DEVICE].n_rows; row++) {
        const float *x = all + row * n_cols;
        int64_t largest = 0;
        for (int64_t i = 1; i < n_cols; i++)
            largest = x[i] > x[largest] ? i : largest;
        if (ids[row] >= 0 && ids[row] < n_cols && x[ids[row]] == x[largest])
            continue;
        if (!now.bad)
            printf("       row %lld: %d is told as the largest; expected %lld\n", (long long)row,
                   ids[row], (long long)largest);
        now.bad = true;
    }
    free(ids), free(all);
}

// ---- main ---------------------------------------------------------------------------------------

static void as_gpu(struct compute *compute)
{
    if (strcmp(compute_info(compute)->backend, "vulkan") != 0)
        die("--as-gpu is for Vulkan devices");
    // Its own copy, which nobody else writes: only the choice of kernels reads it.
    ((struct features *)vk_features(vk_of(compute)))->software = false;
}

bool split_begin(uint64_t n_bytes)
{
    struct err err;
    // A lent GPU (Venus over vtest) serves one instance of a process; a second one waits for ever.
    if (strcmp(compute_info(ops_on[DEVICE])->backend, "vulkan") != 0 ||
        strstr(compute_info(ops_on[DEVICE])->device, "Venus"))
        return false;
    splitting = ops_on[DEVICE];
    must(compute_open(
             &ops_on[DEVICE],
             &(struct compute_options){.device = device_name, .weight_buffer_bytes = n_bytes},
             &err),
         &err);
    if (treated_as_gpu)
        as_gpu(ops_on[DEVICE]);
    return true;
}

void split_end(void)
{
    compute_close(ops_on[DEVICE]);
    ops_on[DEVICE] = splitting;
    splitting = NULL;
}

static int open_both(const char *device)
{
    struct err err;
    setenv("TAWNY_CPU", "portable", 1);
    enum status status =
        compute_open(&ops_on[ORACLE], &(struct compute_options){.device = "cpu"}, &err);
    unsetenv("TAWNY_CPU");
    if (status == OK)
        status = compute_open(&ops_on[DEVICE], &(struct compute_options){.device = device}, &err);
    if (status != OK)
        fprintf(stderr, "ops: %s\n", err.text);
    else
        printf("%s against %s\n", compute_info(ops_on[DEVICE])->device,
               compute_info(ops_on[ORACLE])->device);
    return status == OK;
}

static void all_cases(void)
{
    row_cases();
    rope_cases();
    matmul_cases();
    attention_cases();
    expert_cases();
    heads_and_layer_cases();
    recurrent_cases();
    stream_cases();
    far_cases();
    recording_cases();
    if (split_begin(16 << 10)) {
        split_rows();
        split_products();
        split_experts();
        split_end();
    }
    if (split_begin(300 << 10)) {
        split_layers();
        split_end();
    }
}

int main(int argc, char **argv)
{
    const bool gpu = argc > 1 && strcmp(argv[1], "--as-gpu") == 0;
    argv += gpu, argc -= gpu;
    const bool large = argc > 1 && strcmp(argv[1], "--large") == 0;
    argv += large, argc -= large;
    if (argc > 2 && strcmp(argv[1], "--every") == 0) {
        char *end;
        every = strtol(argv[2], &end, 10);
        if (*end || every < 1 || every > 1000000)
            die("--every takes a whole number from 1, not \"%s\"", argv[2]);
        argv += 2, argc -= 2;
    }
    if (argc < 2) {
        fprintf(stderr, "usage: ops [--as-gpu] [--large] [--every N] DEVICE [WORD...]\n");
        return 2;
    }
    words = argv + 2, n_words = argc - 2;
    device_name = argv[1], treated_as_gpu = gpu;
    if (!open_both(argv[1]))
        return 1;
    if (gpu)
        as_gpu(ops_on[DEVICE]);
    uint64_t start_ms = clock_ms();
    if (large)
        large_cases();
    else
        all_cases();
    for (int d = 0; d < N_DEVICES; d++)
        compute_close(ops_on[d]);
    printf("%.1f s\nops: %d passed, %d failed\n", (double)(clock_ms() - start_ms) / 1000, n_passed,
           n_failed);
    return n_failed != 0 || n_passed == 0;
}
