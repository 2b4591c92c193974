// bench.c - `tawny bench`: tokens per second of reading a prompt (pp) and of generating (tg);
// with --ops the speed of single operations instead (bench_ops.c).
//
// The same meaning as llama-bench's table, so that the two can be put side by side: pp512 is 512
// random tokens in passes of at most 512 with one row of logits wanted at the end; tg64 is 64
// passes of one token each, logits wanted, starting from an empty context. A warm-up runs before
// each and is not counted. The figure is the mean over the repetitions +- standard deviation. With
// --rows also tg64x2, x4 and x8: passes of so many rows of one text, all logits wanted, as guessed
// tokens make them (speculation): the speed there would be if every guess came true.
#include "args.h"
#include "bench_ops.h"
#include "model/model.h"
#include "verb.h"
#include "version.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { PASS_TOKENS = 512, REPETITIONS_MOST = 1000, ROWS_MOST = FEW_ROWS, TESTS_MOST = 5 };

struct bench {
    struct settings settings;
    char path[2200];
    bool json, ops, rows;
    const char *op; // with ops: only those whose text contains this
    int32_t n_prompt, n_generate, n_repeat;
    struct compute *compute;
    struct model *model;
    const struct model_info *info;
    int32_t *token, *pos, *seq; // [PASS_TOKENS]
    uint8_t *wanted;
    float *logits; // [ROWS_MOST][n_vocab]
    uint32_t random;
};

struct result {
    char test[32];
    int32_t n_tokens;
    uint64_t us[REPETITIONS_MOST];
    double mean, deviation;       // tokens per second
    struct compute_counts counts; // of its last pass
};

static int32_t random_token(struct bench *bench)
{
    bench->random = bench->random * 1664525u + 1013904223u; // Numerical Recipes; any will do
    return (int32_t)((bench->random >> 8) % (uint32_t)bench->info->n_vocab);
}

// Rows at positions from .. from + n - 1; logits of the last n_wanted.
static enum status pass(struct bench *bench, int32_t from, int32_t n, int32_t n_wanted,
                        struct err *err)
{
    for (int32_t i = 0; i < n; i++) {
        bench->token[i] = random_token(bench);
        bench->pos[i] = from + i;
        bench->seq[i] = 0;
        bench->wanted[i] = i >= n - n_wanted;
    }
    struct batch batch = {.n_tokens = n,
                          .token = bench->token,
                          .pos = bench->pos,
                          .seq = bench->seq,
                          .wanted = bench->wanted};
    return model_forward(bench->model, &batch, (struct logits){.value = bench->logits}, err);
}

static enum status read_prompt(struct bench *bench, int32_t n, struct err *err)
{
    enum status status = OK;
    for (int32_t at = 0; at < n && status == OK; at += PASS_TOKENS) {
        int32_t take = n - at < PASS_TOKENS ? n - at : PASS_TOKENS;
        status = pass(bench, at, take, at + take == n ? 1 : 0, err);
    }
    return status;
}

// n tokens in passes of n_rows.
static enum status generate(struct bench *bench, int32_t n, int32_t n_rows, struct err *err)
{
    enum status status = OK;
    for (int32_t at = 0, take; at < n && status == OK; at += take) {
        take = n - at < n_rows ? n - at : n_rows;
        status = pass(bench, at, take, take, err);
    }
    return status;
}

static void summarise(struct result *result, int32_t n_repeat)
{
    double sum = 0, squares = 0;
    for (int32_t i = 0; i < n_repeat; i++)
        sum += result->n_tokens * 1e6 / (double)(result->us[i] ? result->us[i] : 1);
    result->mean = sum / n_repeat;
    for (int32_t i = 0; i < n_repeat; i++) {
        double off =
            result->n_tokens * 1e6 / (double)(result->us[i] ? result->us[i] : 1) - result->mean;
        squares += off * off;
    }
    result->deviation = n_repeat > 1 ? sqrt(squares / (n_repeat - 1)) : 0;
}

// n_rows: of a pass that generates; 0: the prompt is read.
static enum status measure(struct bench *bench, struct result *result, int32_t n_rows,
                           struct err *err)
{
    const bool prompt = n_rows == 0;
    int32_t n = prompt ? bench->n_prompt : bench->n_generate;
    int used = snprintf(result->test, sizeof(result->test), "%s%d", prompt ? "pp" : "tg", (int)n);
    if (n_rows > 1)
        snprintf(result->test + used, sizeof(result->test) - (size_t)used, "x%d", (int)n_rows);
    result->n_tokens = n;
    enum status status = prompt ? read_prompt(bench, n, err) : generate(bench, n_rows, n_rows, err);
    for (int32_t i = 0; i < bench->n_repeat && status == OK; i++) {
        uint64_t from_us = clock_us();
        status = prompt ? read_prompt(bench, n, err) : generate(bench, n, n_rows, err);
        result->us[i] = clock_us() - from_us;
    }
    result->counts = compute_counts(bench->compute);
    if (status == OK)
        summarise(result, bench->n_repeat);
    return status;
}

// ---- the report -----------------------------------------------------------------------------

static void print_table(const struct bench *bench, const struct result *results, size_t n)
{
    const struct model_info *info = bench->info;
    char name[128], size[32], params[32];
    snprintf(name, sizeof(name), "%s %s", info->arch, info->quantisation);
    snprintf(size, sizeof(size), "%.2f MiB", (double)info->file_bytes / 1048576);
    if (info->n_params >= 1000000000)
        snprintf(params, sizeof(params), "%.2f B", (double)info->n_params / 1e9);
    else
        snprintf(params, sizeof(params), "%.2f M", (double)info->n_params / 1e6);
    printf("| %-22s | %11s | %9s | %-7s | %7s | %8s | %20s |\n", "model", "size", "params",
           "backend", "threads", "test", "t/s");
    printf("| %.22s | %.10s: | %.8s: | %.7s | %.6s: | %.7s: | %.19s: |\n", "----------------------",
           "----------", "--------", "-------", "------", "-------", "-------------------");
    for (size_t i = 0; i < n; i++) {
        char rate[48];
        snprintf(rate, sizeof(rate), "%.2f \u00b1 %.2f", results[i].mean, results[i].deviation);
        printf("| %-22s | %11s | %9s | %-7s | %7d | %8s | %21s |\n", name, size, params,
               compute_info(bench->compute)->backend, (int)compute_info(bench->compute)->n_threads,
               results[i].test, rate);
    }
    for (size_t i = 0; i < n; i++)
        if (results[i].test[0] == 't' && !strchr(results[i].test, 'x'))
            printf("\none token: %u dispatches, %u barriers, %u submissions\n",
                   results[i].counts.n_dispatches, results[i].counts.n_barriers,
                   results[i].counts.n_submissions);
}

static long peak_kib(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_maxrss : 0;
}

static void print_json_text(const char *name, const char *text)
{
    printf("    \"%s\": \"", name);
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            printf("\\");
        if ((unsigned char)*p >= 0x20)
            printf("%c", *p);
    }
    printf("\",\n");
}

static void print_json(const struct bench *bench, const struct result *results, size_t n)
{
    const struct model_info *info = bench->info;
    printf("[\n");
    for (size_t i = 0; i < n; i++) {
        bool prompt = results[i].test[0] == 'p';
        double sum_us = 0;
        for (int32_t k = 0; k < bench->n_repeat; k++)
            sum_us += (double)results[i].us[k];
        printf("  {\n");
        print_json_text("version", version_text());
        print_json_text("device", compute_info(bench->compute)->device);
        print_json_text("backend", compute_info(bench->compute)->backend);
        print_json_text("model_filename", bench->path);
        print_json_text("model_arch", info->arch);
        print_json_text("model_quantisation", info->quantisation);
        printf("    \"model_size\": %llu,\n    \"model_n_params\": %lld,\n    \"n_threads\": %d,\n"
               "    \"n_prompt\": %d,\n    \"n_gen\": %d,\n    \"avg_ns\": %.0f,\n    \"avg_ts\": "
               "%.6f,\n"
               "    \"stddev_ts\": %.6f,\n    \"n_dispatches\": %u,\n    \"n_barriers\": %u,\n"
               "    \"peak_rss_kib\": %ld,\n    \"samples_ns\": [",
               (unsigned long long)info->file_bytes, (long long)info->n_params,
               (int)compute_info(bench->compute)->n_threads, prompt ? (int)results[i].n_tokens : 0,
               prompt ? 0 : (int)results[i].n_tokens, sum_us * 1000 / bench->n_repeat,
               results[i].mean, results[i].deviation, results[i].counts.n_dispatches,
               results[i].counts.n_barriers, peak_kib());
        for (int32_t k = 0; k < bench->n_repeat; k++)
            printf("%s%llu", k ? ", " : "", (unsigned long long)results[i].us[k] * 1000);
        printf("]\n  }%s\n", i + 1 < n ? "," : "");
    }
    printf("]\n");
}

// ---- the verb -------------------------------------------------------------------------------

static enum status read_command_line(struct bench *bench, int argc, char **argv, struct err *err)
{
    const char *prompt = "512", *generated = "64", *repeat = "3";
    int64_t n_prompt = 0, n_generate = 0, n_repeat = 0;
    const struct arg args[] = {
        {"n-prompt", 'p', &prompt, NULL, "N", "tokens of the prompt test; 0: none"},
        {"n-gen", 'n', &generated, NULL, "N", "tokens of the generation test; 0: none"},
        {"repetitions", 'r', &repeat, NULL, "N", "of each test"},
        {"rows", 0, NULL, &bench->rows, NULL, "generating also in passes of 2, 4 and 8 rows"},
        {"json", 0, NULL, &bench->json, NULL, "as JSON instead of a table"},
        {"ops", 0, NULL, &bench->ops, NULL, "single operations instead of a model"},
        {"op", 0, &bench->op, NULL, "WORD", "with --ops: only those with WORD in their name"},
    };
    const struct command command = {
        "measure tokens per second of reading a prompt (pp) and of generating (tg).", args,
        COUNT_OF(args), &bench->settings};
    enum status status = args_read(&command, argc, argv, err);
    if (status == OK && bench->op && !bench->ops)
        status = err_set(err, BAD_INPUT, "--op: only with --ops (--help lists the options)");
    if (status == OK)
        status = args_int("n-prompt", prompt, 0, 1 << 20, &n_prompt, err);
    if (status == OK)
        status = args_int("n-gen", generated, 0, 1 << 20, &n_generate, err);
    if (status == OK)
        status = n_prompt + n_generate > 0 || bench->ops
                     ? OK
                     : err_set(err, BAD_INPUT,
                               "--n-prompt and --n-gen are both 0: there is nothing to measure");
    if (status == OK)
        status = args_int("repetitions", repeat, 1, REPETITIONS_MOST, &n_repeat, err);
    bench->n_prompt = (int32_t)n_prompt;
    bench->n_generate = (int32_t)n_generate;
    bench->n_repeat = (int32_t)n_repeat;
    return status;
}

static enum status open_floors(struct bench *bench, struct err *err)
{
    struct compute_options device = {.device = bench->settings.device,
                                     .n_threads = bench->settings.n_threads,
                                     .cache_dir = bench->settings.state};
    int32_t n_ctx = bench->n_prompt > bench->n_generate ? bench->n_prompt : bench->n_generate;
    n_ctx = bench->rows && n_ctx < ROWS_MOST ? ROWS_MOST : n_ctx;
    struct model_options options = {
        .n_ctx = n_ctx > 0 ? n_ctx : 1,
        .n_seq = 1,
        .n_batch = PASS_TOKENS,
        .kv_q8_0 = bench->settings.kv_q8_0,
    };
    enum status status = compute_open(&bench->compute, &device, err);
    if (status != OK || bench->ops)
        return status;
    status = args_model_path(&bench->settings, bench->path, sizeof(bench->path), err);
    if (status == OK)
        status = model_open(&bench->model, bench->compute, bench->path, &options, err);
    if (status != OK)
        return status;
    bench->info = model_info(bench->model);
    if (bench->info->n_ctx < n_ctx)
        return err_set(err, TOO_LARGE, "the model's context holds %d tokens; %d are asked for",
                       (int)bench->info->n_ctx, (int)n_ctx);
    bench->token = mem_array(PASS_TOKENS, sizeof(int32_t));
    bench->pos = mem_array(PASS_TOKENS, sizeof(int32_t));
    bench->seq = mem_array(PASS_TOKENS, sizeof(int32_t));
    bench->wanted = mem_array(PASS_TOKENS, 1);
    bench->logits = mem_array(ROWS_MOST * (size_t)bench->info->n_vocab, sizeof(float));
    return OK;
}

static void close_floors(struct bench *bench)
{
    free(bench->token);
    free(bench->pos);
    free(bench->seq);
    free(bench->wanted);
    free(bench->logits);
    if (bench->model)
        model_close(bench->model);
    if (bench->compute)
        compute_close(bench->compute);
}

int verb_bench(int argc, char **argv)
{
    static struct result results[TESTS_MOST];
    struct bench bench = {.random = 1};
    struct err err = {0};
    size_t n = 0;
    enum status status = read_command_line(&bench, argc, argv, &err);
    if (status == CANCELLED)
        return 0;
    if (status != OK)
        return args_fail("bench", &err, 2);
    status = open_floors(&bench, &err);
    if (status == OK && bench.ops) {
        status = bench_ops(bench.compute, bench.op, bench.json, &err);
        close_floors(&bench);
        return status == OK ? 0 : args_fail("bench", &err, 1);
    }
    if (status == OK && bench.n_prompt > 0)
        status = measure(&bench, &results[n++], 0, &err);
    const int32_t rows_most = bench.n_generate == 0 ? 0 : bench.rows ? ROWS_MOST : 1;
    for (int32_t rows = 1; rows <= rows_most && status == OK; rows *= 2)
        status = measure(&bench, &results[n++], rows, &err);
    if (status == OK && bench.json) {
        print_json(&bench, results, n);
    } else if (status == OK) {
        print_table(&bench, results, n);
        printf("\n%s\npeak memory %ld MiB, model file %llu MiB, tawny %s\n",
               compute_info(bench.compute)->device, peak_kib() / 1024,
               (unsigned long long)(bench.info->file_bytes >> 20), version_text());
    }
    close_floors(&bench);
    return status == OK ? 0 : args_fail("bench", &err, 1);
}
