// doctor.c - `tawny doctor`: every layer between the model and the GPU, looked at now.
//
// Exit status: 0 when a GPU runs, or what `device` asks for by name (cpu, llvmpipe); 1 when it does
// not, the processor of a machine without a GPU included; 2 when the command line is wrong.
#include "args.h"
#include "compute/compute.h"
#include "doctor/doctor.h"
#include "verb.h"
#include "version.h"

#include <stdio.h>
#include <stdlib.h>

static int print(const struct doctor_report *report, bool json)
{
    struct buf text;
    buf_init(&text, DOCTOR_BYTES_MOST);
    enum status status = json ? doctor_json(&text, report, version_text())
                              : doctor_text(&text, report, version_text());
    bool written =
        status == OK && fwrite(text.p, 1, text.n, stdout) == text.n && fflush(stdout) == 0;
    buf_free(&text);
    return written && report->asked_for ? 0 : 1;
}

int verb_doctor(int argc, char **argv)
{
    struct settings settings;
    struct err err = {0}, refused = {0};
    bool json = false;
    const struct arg args[] = {
        {"json", 0, NULL, &json, NULL, "as JSON instead of text"},
    };
    const struct command command = {
        "say whether a GPU runs here, and if not, which layer refuses it and what to do. Exit "
        "status 0: a GPU runs, or what `device` names; 1: not.",
        args, COUNT_OF(args), &settings};
    enum status status = args_read(&command, argc, argv, &err);
    if (status == CANCELLED)
        return 0;
    if (status != OK)
        return args_fail("doctor", &err, 2);
    log_level_set(settings.log);
    struct compute *compute = NULL;
    struct compute_options options = {
        .device = settings.device, .n_threads = settings.n_threads, .cache_dir = settings.state};
    struct doctor_device *device = mem_alloc(sizeof(*device));
    struct doctor_report *report = mem_alloc(sizeof(*report));
    doctor_survey(device, settings.device, true);
    if (compute_open(&compute, &options, &refused) != OK)
        compute = NULL;
    doctor_device(device, compute, &refused);
    doctor_walk(report, device, "");
    int code = print(report, json);
    compute_close(compute);
    free(report);
    free(device);
    return code;
}
