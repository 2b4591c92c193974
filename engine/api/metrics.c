// metrics.c - GET /metrics: Prometheus' text format, version 0.0.4.
//
// Where vLLM and llama-server count the same thing their names are used (vllm:..., llamacpp:...),
// so that dashboards made for them show this box too; what only this box has is called tawny_...,
// and of the process process_... as Prometheus' own clients call it. Needs a key with the scope
// metrics (a scraper's: it can do nothing else) or admin, unless the setting open-metrics says that
// it needs none; then the lines of keys are still for such a key. What a scrape costs does not grow
// with time; the lines of keys are as many as there are keys.
//
// vLLM observes each token's time; here an answer's tokens are all observed with their mean.
#include "inside.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { METRICS_BYTES = 1 << 20 };

// Upper bounds in seconds; those that vLLM has.
static const double first_bounds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                      0.25,  0.5,   0.75, 1,    2.5,  5,    7.5,  10,
                                      20,    40,    80,   160,  640,  2560};
static const double token_bounds[] = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                                      0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};
static const double whole_bounds[] = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                      30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};

static const struct {
    const char *name, *help;
    const double *bounds;
    size_t n_bounds;
} timed[HISTOGRAMS] = {
    [FIRST_TOKEN] = {"vllm:time_to_first_token_seconds",
                     "From a request to the first token of its answer.", first_bounds,
                     COUNT_OF(first_bounds)},
    [OUTPUT_TOKEN] = {"vllm:time_per_output_token_seconds",
                      "Time of each further token, the mean of its answer.", token_bounds,
                      COUNT_OF(token_bounds)},
    [WHOLE] = {"vllm:e2e_request_latency_seconds", "From a request to the end of its answer.",
               whole_bounds, COUNT_OF(whole_bounds)},
    [QUEUE] = {"vllm:request_queue_time_seconds", "Waiting for a turn.", whole_bounds,
               COUNT_OF(whole_bounds)},
    [PROMPT] = {"vllm:request_prefill_time_seconds", "Reading the prompt.", whole_bounds,
                COUNT_OF(whole_bounds)},
    [GENERATE] = {"vllm:request_decode_time_seconds", "Writing the answer.", whole_bounds,
                  COUNT_OF(whole_bounds)},
};

// ---- counting -------------------------------------------------------------------------------

static void observe(struct metrics *metrics, enum timed what, double seconds, uint64_t n)
{
    struct histogram *histogram = &metrics->timed[what];
    size_t i = 0;
    while (i < timed[what].n_bounds && seconds > timed[what].bounds[i])
        i++;
    histogram->count[i] += n;
    histogram->n += n;
    histogram->sum += seconds * (double)n;
}

void metrics_first(struct metrics *metrics, uint64_t after_ms)
{
    observe(metrics, FIRST_TOKEN, (double)after_ms / 1000, 1);
}

void metrics_end(struct metrics *metrics, const struct event *event, uint64_t after_ms)
{
    const struct usage *usage = &event->usage;
    const double generate_s = (double)usage->generate_us / 1e6;
    if (event->kind == EVENT_FAILED)
        metrics->n_failed++;
    else if (event->finish == FINISH_CANCELLED)
        metrics->n_cancelled++;
    else if (event->finish == FINISH_LENGTH)
        metrics->n_length++;
    else
        metrics->n_stop++;
    metrics->n_prompt += usage->prompt_us > 0 ? (uint64_t)usage->n_prompt : 0;
    metrics->n_cached += (uint64_t)usage->n_prompt_cached;
    metrics->n_generated += (uint64_t)usage->n_generated;
    metrics->n_drafted += (uint64_t)usage->n_drafted;
    metrics->n_draft_kept += (uint64_t)usage->n_draft_kept;
    metrics->prompt_s += (double)usage->prompt_us / 1e6;
    metrics->generate_s += generate_s;
    if (event->kind == EVENT_FAILED)
        return;
    metrics->work_s += 0.1 * ((double)usage->prompt_us / 1e6 + generate_s - metrics->work_s);
    observe(metrics, WHOLE, (double)after_ms / 1000, 1);
    observe(metrics, QUEUE, (double)usage->queue_us / 1e6, 1);
    observe(metrics, PROMPT, (double)usage->prompt_us / 1e6, 1);
    observe(metrics, GENERATE, generate_s, 1);
    if (usage->n_generated > 1)
        observe(metrics, OUTPUT_TOKEN, generate_s / (usage->n_generated - 1),
                (uint64_t)usage->n_generated - 1);
}

// ---- writing --------------------------------------------------------------------------------

struct page { // the first error is kept, and nothing is written after it
    struct buf text;
    enum status status;
    char labels[256]; // of vLLM's: model_name="..."
};

static void put(struct page *page, const char *format, ...) PRINTF_LIKE(2, 3);
static void put(struct page *page, const char *format, ...)
{
    char line[1200];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (page->status == OK)
        page->status =
            n > 0 && (size_t)n < sizeof(line) ? buf_add(&page->text, line, (size_t)n) : TOO_LARGE;
}

// A label's value: backslash, quote and line feed are escaped.
static const char *escaped(char *out, size_t cap, const char *text)
{
    size_t n = 0;
    for (; *text && n + 3 < cap; text++) {
        if (*text == '\\' || *text == '"' || *text == '\n')
            out[n++] = '\\';
        out[n++] = *text == '\n' ? 'n' : *text;
    }
    out[n] = 0;
    out[utf8_whole(bytes_of(out))] = 0;
    return out;
}

static void family(struct page *page, const char *name, const char *type, const char *help)
{
    put(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(struct page *page, const char *name, const char *type, const char *help,
                double value)
{
    family(page, name, type, help);
    put(page, "%s %.17g\n", name, value);
}

struct figure {
    const char *name, *type, *help;
    double value;
};

static void put_figures(struct page *page, const struct figure *figures, size_t n, bool labelled)
{
    for (size_t i = 0; i < n; i++) {
        if (!labelled) {
            one(page, figures[i].name, figures[i].type, figures[i].help, figures[i].value);
            continue;
        }
        family(page, figures[i].name, figures[i].type, figures[i].help);
        put(page, "%s{%s} %.17g\n", figures[i].name, page->labels, figures[i].value);
    }
}

static void put_histogram(struct page *page, const struct metrics *metrics, enum timed what)
{
    const struct histogram *histogram = &metrics->timed[what];
    const char *name = timed[what].name;
    uint64_t below = 0;
    family(page, name, "histogram", timed[what].help);
    for (size_t i = 0; i < timed[what].n_bounds; i++) {
        below += histogram->count[i];
        put(page, "%s_bucket{%s,le=\"%g\"} %llu\n", name, page->labels, timed[what].bounds[i],
            (unsigned long long)below);
    }
    put(page, "%s_bucket{%s,le=\"+Inf\"} %llu\n", name, page->labels,
        (unsigned long long)histogram->n);
    put(page, "%s_sum{%s} %.17g\n%s_count{%s} %llu\n", name, page->labels, histogram->sum, name,
        page->labels, (unsigned long long)histogram->n);
}

static double share(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static void put_vllm(struct page *page, const struct metrics *metrics,
                     const struct sched_gauges *now)
{
    const struct {
        const char *reason;
        uint64_t n;
    } ends[] = {{"stop", metrics->n_stop},
                {"length", metrics->n_length},
                {"abort", metrics->n_cancelled},
                {"error", metrics->n_failed}};
    const double used = share((double)now->cache_used, (double)now->cache_tokens);
    const struct figure figures[] = {
        {"vllm:num_requests_running", "gauge", "Requests that are worked on.",
         (double)now->n_running},
        {"vllm:num_requests_waiting", "gauge", "Requests that wait for a turn.",
         (double)now->n_waiting},
        {"vllm:kv_cache_usage_perc", "gauge",
         "Share of the memory of keys and values that requests under way hold, 0 to 1.", used},
        {"vllm:gpu_cache_usage_perc", "gauge", "The same, by the name of earlier versions.", used},
        {"vllm:num_preemptions_total", "counter", "Requests that were sent back to wait.",
         (double)now->n_suspended},
        {"vllm:prefix_cache_queries_total", "counter",
         "Tokens of prompts that were looked up in memory.", (double)now->prefix_asked},
        {"vllm:prefix_cache_hits_total", "counter", "Of these those that were there.",
         (double)now->prefix_found},
        {"vllm:prompt_tokens_total", "counter", "Tokens of prompts.", (double)metrics->n_prompt},
        {"vllm:generation_tokens_total", "counter", "Tokens of answers.",
         (double)metrics->n_generated},
        {"vllm:spec_decode_num_draft_tokens_total", "counter",
         "Tokens that were computed ahead on a guess.", (double)metrics->n_drafted},
        {"vllm:spec_decode_num_accepted_tokens_total", "counter", "Of these those that were right.",
         (double)metrics->n_draft_kept},
    };
    put_figures(page, figures, COUNT_OF(figures), true);
    family(page, "vllm:cache_config_info", "gauge", "Pages of that memory, and tokens in each.");
    put(page, "vllm:cache_config_info{%s,block_size=\"%d\",num_gpu_blocks=\"%llu\"} 1\n",
        page->labels, PAGE_ROWS, (unsigned long long)now->cache_tokens / PAGE_ROWS);
    family(page, "vllm:request_success_total", "counter", "Requests that have ended, and how.");
    for (size_t i = 0; i < COUNT_OF(ends); i++)
        put(page, "vllm:request_success_total{%s,finished_reason=\"%s\"} %llu\n", page->labels,
            ends[i].reason, (unsigned long long)ends[i].n);
    for (size_t i = 0; i < HISTOGRAMS; i++)
        put_histogram(page, metrics, (enum timed)i);
}

static void put_llamacpp(struct page *page, const struct metrics *metrics,
                         const struct sched_gauges *now)
{
    const double n_read = (double)(metrics->n_prompt - metrics->n_cached);
    const struct figure figures[] = {
        {"llamacpp:prompt_tokens_total", "counter",
         "Tokens of prompts that were computed: without those found in memory.", n_read},
        {"llamacpp:prompt_seconds_total", "counter", "Time spent on reading prompts.",
         metrics->prompt_s},
        {"llamacpp:tokens_predicted_total", "counter", "Tokens of answers.",
         (double)metrics->n_generated},
        {"llamacpp:tokens_predicted_seconds_total", "counter", "Time spent on answers.",
         metrics->generate_s},
        {"llamacpp:n_decode_total", "counter", "Forward passes.", (double)now->n_passes},
        {"llamacpp:n_busy_slots_per_decode", "gauge", "Requests in a forward pass, mean.",
         share((double)now->n_pass_works, (double)now->n_passes)},
        {"llamacpp:prompt_tokens_seconds", "gauge", "Tokens of prompts a second, mean.",
         share(n_read, metrics->prompt_s)},
        {"llamacpp:predicted_tokens_seconds", "gauge", "Tokens of an answer a second, mean.",
         share((double)metrics->n_generated, metrics->generate_s)},
        {"llamacpp:requests_processing", "gauge", "Requests that are worked on.",
         (double)now->n_running},
        {"llamacpp:requests_deferred", "gauge", "Requests that wait for a turn.",
         (double)now->n_waiting},
        {"llamacpp:kv_cache_usage_ratio", "gauge",
         "Share of the memory of keys and values that requests under way hold, 0 to 1.",
         share((double)now->cache_used, (double)now->cache_tokens)},
        {"llamacpp:kv_cache_tokens", "gauge", "Tokens in it.", (double)now->cache_used},
    };
    put_figures(page, figures, COUNT_OF(figures), false);
}

static void put_model(struct page *page, const struct sched_status *now)
{
    static const char *const states[] = {"loading", "ready", "failed", "stopping"};
    const struct compute_info *device = &now->device;
    const struct model_info *model = &now->model;
    const struct model_plan *plan = &model->plan;
    char a[256], b[256], c[256];
    family(page, "tawny_state", "gauge", "1 for the state that the engine is in.");
    for (size_t i = 0; i < COUNT_OF(states); i++)
        put(page, "tawny_state{state=\"%s\"} %d\n", states[i], now->state == (enum sched_state)i);
    family(page, "tawny_device_info", "gauge", "What computes.");
    put(page, "tawny_device_info{device=\"%s\",backend=\"%s\",driver=\"%s\"} 1\n",
        escaped(a, sizeof(a), device->device), escaped(b, sizeof(b), device->backend),
        escaped(c, sizeof(c), device->driver));
    if (!model->id[0])
        return;
    family(page, "tawny_model_info", "gauge", "The model that is loaded.");
    put(page, "tawny_model_info{model=\"%s\",architecture=\"%s\",quantisation=\"%s\"} 1\n",
        escaped(a, sizeof(a), model->id), escaped(b, sizeof(b), model->arch),
        escaped(c, sizeof(c), model->quantisation));
    one(page, "tawny_layers", "gauge", "Layers of the model.", model->n_layer);
    one(page, "tawny_layers_on_device", "gauge", "Of these those on the device.",
        model->n_layer_on_device);
    one(page, "tawny_context_tokens", "gauge", "Tokens that a conversation may hold.",
        model->n_ctx);
    family(page, "tawny_model_memory_bytes", "gauge", "Memory that the model takes.");
    put(page, "tawny_model_memory_bytes{of=\"weights\"} %llu\n",
        (unsigned long long)plan->weight_bytes);
    put(page, "tawny_model_memory_bytes{of=\"keys_and_values\"} %llu\n",
        (unsigned long long)plan->cache_bytes);
    put(page, "tawny_model_memory_bytes{of=\"states\"} %llu\n",
        (unsigned long long)model_plan_states(plan));
    put(page, "tawny_model_memory_bytes{of=\"scratch\"} %llu\n",
        (unsigned long long)(plan->pass_bytes + plan->spare_bytes));
}

static void put_answers(struct page *page, const struct metrics *metrics)
{
    family(page, "tawny_http_answers_total", "counter", "Answers, by their status codes.");
    for (int i = 2; i < 6; i++)
        put(page, "tawny_http_answers_total{code=\"%dxx\"} %llu\n", i,
            (unsigned long long)metrics->n_answers[i]);
    put(page, "tawny_http_answers_total{code=\"left\"} %llu\n",
        (unsigned long long)metrics->n_answers[0]);
}

static void put_engine(struct page *page, const struct api *api, const struct sched_gauges *now)
{
    one(page, "tawny_step_seconds", "gauge",
        "How long the engine has been at its present step; 0 when it has none.",
        (double)sched_step_ms(api->options.sched) / 1000);
    one(page, "tawny_pass_rows_total", "counter", "Tokens that forward passes computed.",
        (double)now->n_rows);
    family(page, "tawny_cache_tokens", "gauge",
           "Memory of keys and values: of requests under way, of earlier texts, free.");
    put(page, "tawny_cache_tokens{state=\"used\"} %llu\n", (unsigned long long)now->cache_used);
    put(page, "tawny_cache_tokens{state=\"held\"} %llu\n", (unsigned long long)now->cache_held);
    put(page, "tawny_cache_tokens{state=\"free\"} %llu\n",
        (unsigned long long)(now->cache_tokens - now->cache_used - now->cache_held));
    one(page, "tawny_kept_texts", "gauge", "Texts whose memory is kept on the disk.",
        (double)now->kept_files);
    one(page, "tawny_kept_bytes", "gauge", "Bytes of these.", (double)now->kept_bytes);
    one(page, "tawny_kept_reads_total", "counter", "Times that one was read back.",
        (double)now->kept_reads);
    one(page, "tawny_kept_read_tokens_total", "counter", "Tokens that these had.",
        (double)now->kept_read_tokens);
    one(page, "tawny_kept_read_bytes_total", "counter", "Bytes that were read.",
        (double)now->kept_read);
    one(page, "tawny_kept_written_bytes_total", "counter", "Bytes that were written.",
        (double)now->kept_written);
}

static void put_keys(struct page *page, const struct keys *keys)
{
    static const struct {
        const char *name, *help;
        size_t at;
    } counts[] = {
        {"tawny_key_requests_total", "Requests of each key.", offsetof(struct key, n_requests)},
        {"tawny_key_prompt_tokens_total", "Tokens of its prompts.", offsetof(struct key, n_prompt)},
        {"tawny_key_generation_tokens_total", "Tokens of its answers.",
         offsetof(struct key, n_generated)}};
    char name[2 * KEY_NAME_BYTES + 4];
    for (size_t k = 0; k < COUNT_OF(counts); k++) {
        family(page, counts[k].name, "counter", counts[k].help);
        for (size_t i = 0; i < keys->n; i++) {
            uint64_t n;
            memcpy(&n, (const char *)keys->list[i] + counts[k].at, sizeof(n));
            put(page, "%s{id=\"%s\",name=\"%s\"} %llu\n", counts[k].name, keys->list[i]->id,
                escaped(name, sizeof(name), keys->list[i]->name), (unsigned long long)n);
        }
    }
}

static size_t n_open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n > 3 ? n - 3 : 0; // ".", ".." and the directory itself
}

static void put_process(struct page *page, const struct api *api)
{
    struct rlimit files = {0};
    struct timespec cpu = {0};
    (void)getrlimit(RLIMIT_NOFILE, &files);
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    one(page, "process_cpu_seconds_total", "counter", "Processor time.",
        (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    one(page, "process_resident_memory_bytes", "gauge", "Memory of the process that is in RAM.",
        1024.0 * (double)file_number("/proc/self/status", "VmRSS:", 10));
    one(page, "process_virtual_memory_bytes", "gauge", "Address space of the process.",
        1024.0 * (double)file_number("/proc/self/status", "VmSize:", 10));
    one(page, "process_open_fds", "gauge", "Open files.", (double)n_open_files());
    one(page, "process_max_fds", "gauge", "Most open files.", (double)files.rlim_cur);
    one(page, "process_start_time_seconds", "gauge", "When the process started: unix time.",
        (double)api->began_s);
}

void metrics_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    struct page page = {.status = OK};
    struct sched_gauges now;
    char text[256];
    const struct sched_status *status = sched_status(api->options.sched);
    buf_init(&page.text, METRICS_BYTES);
    sched_gauges(api->options.sched, &now);
    snprintf(page.labels, sizeof(page.labels), "model_name=\"%.240s\"",
             escaped(text, sizeof(text) - 20, status->model.id));
    put_vllm(&page, &api->metrics, &now);
    put_llamacpp(&page, &api->metrics, &now);
    family(&page, "tawny_build_info", "gauge", "Which version this is.");
    put(&page, "tawny_build_info{version=\"%s\"} 1\n", escaped(text, sizeof(text), api->version));
    put_model(&page, status);
    put_engine(&page, api, &now);
    put_answers(&page, &api->metrics);
    const struct key *key = keys_who(&api->keys, request->who); // NULL: none was shown
    if (key && (key->scopes & (SCOPE_METRICS | SCOPE_ADMIN)))
        put_keys(&page, &api->keys);
    put_process(&page, api);
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    if (page.status == OK)
        exchange_reply(exchange, 200, "text/plain; version=0.0.4; charset=utf-8",
                       buf_view(&page.text));
    else
        refusal_reply(exchange,
                      &(struct refusal){.http = 500, .text = "The metrics are too long."});
    buf_free(&page.text);
}
