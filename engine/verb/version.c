// version.c - `tawny version`: what this binary is made of, and what it would compute with on
// this machine.
#include "args.h"
#include "compute/compute.h"
#include "verb.h"
#include "version.h"

#include <stdio.h>

int verb_version(int argc, char **argv)
{
    struct err err = {0};
    bool notices = false;
    const struct arg args[] = {
        {"notices", 0, NULL, &notices, NULL, "the licences of everything that is linked in"},
    };
    const struct command command = {
        "print the version, what is linked in, and the device that would compute here.", args,
        COUNT_OF(args), NULL};
    enum status status = args_read(&command, argc, argv, &err);
    if (status == CANCELLED)
        return 0;
    if (status != OK)
        return args_fail("version", &err, 2);
    if (notices) {
        size_t n_bytes;
        const char *text = version_notices(&n_bytes);
        return fwrite(text, 1, n_bytes, stdout) == n_bytes ? 0 : 1;
    }
    printf("tawny %s\nbuild: %s, clang %s\nlibraries: %s\n", version_text(), version_flavour(),
           __clang_version__, version_libs());
    struct compute *compute;
    struct compute_options options = {.device = "auto"};
    status = compute_open(&compute, &options, &err);
    if (status != OK) { // no failure of this verb: what would run is what it was asked
        printf("device: none\n        %s\n", err.text);
        return 0;
    }
    printf("device: %s\n        %s\n", compute_info(compute)->device,
           compute_info(compute)->reason);
    compute_close(compute);
    return 0;
}
