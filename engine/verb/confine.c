// confine.c - the files that `tawny serve` may open, and whether a call too many ends it.
//
// What it reads: the folders of models, /sys, /proc and /etc (the doctor, names, certificates) and
// the programs' folders (the system's Vulkan); what it writes: its state; what it drives: /dev/dri.
// Links in a folder of models may lead anywhere: where they lead when the server starts may be
// read. The appliance's binary brings all its code: there a call that is on no list ends it, and no
// new code can be made. Elsewhere the system's drivers run in it, whose needs nobody knows whole:
// there such a call fails.
#include "confine.h"
#include "base/confine.h"
#include "model/model.h"
#include "version.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATHS = 256 };

struct paths {
    struct confine_path one[PATHS];
    char text[PATHS][1100];
    size_t n;
};

static void may(struct paths *paths, int how, const char *path)
{
    if (paths->n == PATHS || !path[0])
        return;
    snprintf(paths->text[paths->n], sizeof(paths->text[0]), "%s", path);
    paths->one[paths->n] = (struct confine_path){paths->text[paths->n], how};
    paths->n++;
}

// The folder that a file is in: its other parts are there, and what replaces it.
static void may_folder_of(struct paths *paths, int how, const char *file)
{
    char real[PATH_MAX];
    if (!realpath(file, real))
        return;
    char *slash = strrchr(real, '/');
    slash[slash == real ? 1 : 0] = 0;
    may(paths, how, real);
}

// Where links in a folder lead is read alone: in its own folders the engine makes them itself.
static void may_with_links(struct paths *paths, int how, const char *folder)
{
    char path[2300], real[PATH_MAX];
    may(paths, how, folder);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        if (entry->d_type != DT_LNK)
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (realpath(path, real))
            may(paths, CONFINE_READ, real);
    }
    if (dir)
        closedir(dir);
}

static void each_of(struct paths *paths, const char *list,
                    void (*add)(struct paths *paths, int how, const char *path))
{
    for (const char *at = list; *at;) {
        char path[1100];
        size_t n = strcspn(at, ",");
        snprintf(path, sizeof(path), "%.*s", (int)(n < 1024 ? n : 1024), at);
        char *begin = path + strspn(path, " \t"), *end = begin + strlen(begin);
        while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
            *--end = 0;
        if (begin[0])
            add(paths, CONFINE_READ, begin);
        at += n + (at[n] == ',');
    }
}

// Drivers by name: those of NVIDIA's that the system's Vulkan opens.
static void may_nvidia(struct paths *paths)
{
    DIR *dir = opendir("/dev");
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        char path[300];
        if (strncmp(entry->d_name, "nvidia", 6) != 0)
            continue;
        snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
        may(paths, CONFINE_DEVICE, path);
    }
    if (dir)
        closedir(dir);
}

static void list_system(struct paths *paths)
{
    static const char *const read[] = {"/sys",
                                       "/proc",
                                       "/etc",
                                       "/usr",
                                       "/lib",
                                       "/lib64",
                                       "/opt",
                                       "/nix",
                                       "/gnu",
                                       "/boot",
                                       "/init",
                                       "/run/host",
                                       "/run/systemd/resolve",
                                       "/run/systemd/container", // the doctor: where is this
                                       "/run/resolvconf",
                                       "/run/NetworkManager",
                                       "/dev/zero",
                                       "/dev/kmsg",
                                       "/dev/random",
                                       "/dev/urandom"};
    static const char *const device[] = {"/dev/dri", "/dev/kfd", "/dev/udmabuf", "/dev/null"};
    static const char *const drivers[] = {"VK_DRIVER_FILES", "VK_ICD_FILENAMES",
                                          "VK_ADD_DRIVER_FILES"};
    for (size_t i = 0; i < COUNT_OF(read); i++)
        may(paths, CONFINE_READ, read[i]);
    for (size_t i = 0; i < COUNT_OF(device); i++)
        may(paths, CONFINE_DEVICE, device[i]);
    may(paths, CONFINE_WRITE, "/dev/shm");
    may(paths, CONFINE_WRITE, "/proc/self/task"); // the names of threads
    may_nvidia(paths);
    for (size_t i = 0; i < COUNT_OF(drivers); i++) {
        const char *files = getenv(drivers[i]);
        if (files)
            may_folder_of(paths, CONFINE_READ, files);
    }
}

// What the system's drivers keep of compiled kernels goes where we may write.
static void keep_drivers_cache(struct paths *paths, const struct settings *settings)
{
    const char *folder = getenv("MESA_SHADER_CACHE_DIR");
    if (folder)
        may(paths, CONFINE_WRITE, folder);
    else
        (void)setenv("MESA_SHADER_CACHE_DIR", settings->state, 1);
}

// MODEL, or NAME: MODEL; a name leads to one of the folders.
static void may_draft(struct paths *paths, int how, const char *entry)
{
    const char *mark = strstr(entry, ": ");
    may_folder_of(paths, how, mark ? mark + 2 + strspn(mark + 2, " \t") : entry);
}

static void list_ours(struct paths *paths, const struct settings *settings, const char *model_path)
{
    char path[600];
    may_with_links(paths, CONFINE_WRITE, settings->state);
    snprintf(path, sizeof(path), "%s/models", settings->state);
    may_with_links(paths, CONFINE_WRITE, path);
    each_of(paths, settings->models, may_with_links);
    each_of(paths, settings->ca, may_folder_of);
    const char *attached = getenv("TAWNY_ATTACHED"), *update = getenv("TAWNY_UPDATE"),
               *cloud = getenv("TAWNY_CLOUD"), *told = getenv("TAWNY_TOLD");
    if (attached) // disks that come later are mounted below it
        may(paths, CONFINE_READ, attached);
    if (update)
        may_folder_of(paths, CONFINE_READ, update);
    if (cloud)
        may_folder_of(paths, CONFINE_READ, cloud);
    if (told)
        may_folder_of(paths, CONFINE_READ, told);
    if (strcmp(model_path, MODEL_BUILTIN) != 0)
        may_folder_of(paths, CONFINE_READ, model_path);
    each_of(paths, settings->draft, may_draft);
}

static bool is_flavour(const char *word)
{
    return strncmp(version_flavour(), word, strlen(word)) == 0;
}

// For whom it stands in the way: no setting, so that the appliance cannot be talked into it.
static bool is_wanted(void)
{
    const char *said = getenv("TAWNY_CONFINE");
    return !said || strcmp(said, "no") != 0;
}

void serve_confine(const struct settings *settings, const char *model_path)
{
    struct err no_files = {0}, no_calls = {0};
    int abi = 0;
    if (!is_flavour("asan"))
        crash_watch(); // a sanitizer's own reports say more
    if (!is_wanted()) {
        log_warn("TAWNY_CONFINE=no: whoever takes this process over may do all that its user may");
        return;
    }
    struct paths *paths = mem_alloc(sizeof(*paths));
    list_ours(paths, settings, model_path);
    list_system(paths);
    keep_drivers_cache(paths, settings);
    const struct confine_calls how = {.fatal = is_flavour("appliance"),
                                      .foreign = !is_flavour("appliance")};
    enum status files = confine_files(paths->one, paths->n, &abi, &no_files), calls = OK;
    if (is_flavour("asan")) // its search for leaks forks and traces
        calls = err_set(&no_calls, UNSUPPORTED, "a build for finding mistakes needs all of them");
    else
        calls = confine_calls(&how, &no_calls);
    free(paths);
    if (files == OK && calls == OK)
        log_info("confined: files by Landlock %d, system calls by a list for each thread", abi);
    if (files != OK)
        log_warn("files are not confined: %s", no_files.text);
    if (calls != OK)
        log_warn("system calls are not confined: %s", no_calls.text);
}

void serve_confine_net(void)
{
    struct err err;
    if (is_wanted() && confine_ports(&err) != OK)
        log_warn("further ports are not refused: %s", err.text);
    thread_begin("net", THREAD_NET);
}
