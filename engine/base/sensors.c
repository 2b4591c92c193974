// sensors.c - what the kernel's drivers measure, and the thread that asks them.
//
// A folder hwmonN has a file `name` (the driver's) and for each sensor KINDi_input, in a thousandth
// or a millionth of the unit, perhaps with KINDi_label. Numbers have gaps. A driver that has put
// its device to sleep refuses to be read: such a sensor is left out.
#include "sensors.h"
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FOLDERS = 32, NUMBERS = 8, CPUS = 512, ANEW_MS = 1000, OLD_MS = 15000, WAIT_MS = 20 };

static const struct {
    const char *prefix, *ending;
    enum sensor_kind kind;
    double scale;
} kinds[] = {
    {"temp", "input", SENSOR_TEMPERATURE, 1e-3},
    {"power", "average", SENSOR_POWER, 1e-6},
    {"power", "input", SENSOR_POWER, 1e-6},
    {"freq", "input", SENSOR_CLOCK, 1e-6},
    {"fan", "input", SENSOR_FAN, 1},
};

struct reading_of {
    const char *root;
    struct sensor *out;
    size_t n, room;
};

// The first line of a short file; false: there is none to be had.
static bool line_of(char *out, size_t size, const char *root, const char *path)
{
    char full[300];
    snprintf(full, sizeof(full), "%s%s", root, path);
    int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, out, size - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    out[n] = 0;
    out[strcspn(out, "\n")] = 0;
    for (char *at = out; *at; at++)
        if (*at < 0x20 || *at > 0x7e)
            *at = '?';
    return true;
}

static bool number_of(double *out, const char *root, const char *path)
{
    char text[32], *end;
    if (!line_of(text, sizeof(text), root, path))
        return false;
    *out = strtod(text, &end);
    return end != text && *out > -1e15 && *out < 1e15;
}

static void add(struct reading_of *r, const char *device, const char *name, enum sensor_kind kind,
                double value)
{
    if (r->n == r->room)
        return;
    struct sensor *sensor = &r->out[r->n++];
    *sensor = (struct sensor){.kind = kind, .value = value};
    snprintf(sensor->device, sizeof(sensor->device), "%s", device);
    snprintf(sensor->name, sizeof(sensor->name), "%s", name);
}

static void read_folder(struct reading_of *r, int folder)
{
    char path[120], device[24], label[24];
    double value;
    snprintf(path, sizeof(path), "/sys/class/hwmon/hwmon%d/name", folder);
    if (!line_of(device, sizeof(device), r->root, path))
        return;
    for (size_t k = 0; k < COUNT_OF(kinds); k++)
        for (int i = 1; i <= NUMBERS; i++) {
            snprintf(path, sizeof(path), "/sys/class/hwmon/hwmon%d/%s%d_%s", folder,
                     kinds[k].prefix, i, kinds[k].ending);
            if (!number_of(&value, r->root, path))
                continue;
            snprintf(path, sizeof(path), "/sys/class/hwmon/hwmon%d/%s%d_label", folder,
                     kinds[k].prefix, i);
            if (!line_of(label, sizeof(label), r->root, path))
                label[0] = 0;
            add(r, device, label, kinds[k].kind, value * kinds[k].scale);
        }
    snprintf(path, sizeof(path), "/sys/class/hwmon/hwmon%d/device/gpu_busy_percent", folder);
    if (number_of(&value, r->root, path))
        add(r, device, "", SENSOR_BUSY, value);
}

// The processor's fastest core.
static void read_processor(struct reading_of *r)
{
    char path[100];
    double most = 0, value;
    for (int i = 0; i < CPUS; i++) {
        snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", i);
        if (!number_of(&value, r->root, path))
            break;
        most = value > most ? value : most;
    }
    if (most > 0)
        add(r, "cpu", "", SENSOR_CLOCK, most * 1e-3); // it is told in kHz
}

size_t sensors_read(const char *root, struct sensor *out, size_t room)
{
    struct reading_of r = {.root = root, .out = out, .room = room};
    for (int i = 0; i < FOLDERS; i++)
        read_folder(&r, i);
    read_processor(&r);
    return r.n;
}

// ---- the thread -----------------------------------------------------------------------------

struct sensors {
    pthread_mutex_t mutex; // of all below
    pthread_cond_t wanted, found;
    pthread_t thread;
    bool wants, reads, ends;
    uint64_t read_ms; // 0: never
    struct sensor last[SENSORS_MOST];
    size_t n;
};

static void *thread_main(void *arg)
{
    struct sensors *s = arg;
    struct sensor now[SENSORS_MOST];
    thread_begin("sensors", THREAD_FILES);
    pthread_mutex_lock(&s->mutex);
    while (!s->ends) {
        if (!s->wants) {
            pthread_cond_wait(&s->wanted, &s->mutex);
            continue;
        }
        s->wants = false;
        s->reads = true;
        pthread_mutex_unlock(&s->mutex);
        const size_t n = sensors_read("", now, SENSORS_MOST);
        pthread_mutex_lock(&s->mutex);
        memcpy(s->last, now, sizeof(now));
        s->n = n;
        s->read_ms = clock_ms();
        s->reads = false;
        pthread_cond_signal(&s->found);
    }
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

void sensors_open(struct sensors **out)
{
    struct sensors *s = mem_alloc(sizeof(*s));
    sigset_t all, before;
    pthread_condattr_t steady;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->wanted, NULL);
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC); // the time of day is set while it waits
    pthread_cond_init(&s->found, &steady);
    pthread_condattr_destroy(&steady);
    sigfillset(&all); // signals are the main thread's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&s->thread, NULL, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code)
        die("the thread that reads sensors cannot be started: %s", strerror(code));
    *out = s;
}

static void wait_a_moment(struct sensors *s)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until); // as `found` was made
    until.tv_nsec += WAIT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (s->read_ms == 0 && pthread_cond_timedwait(&s->found, &s->mutex, &until) == 0)
        ;
}

size_t sensors_ask(struct sensors *s, struct sensor out[SENSORS_MOST])
{
    size_t n = 0;
    pthread_mutex_lock(&s->mutex);
    if (!s->reads && (s->read_ms == 0 || clock_ms() - s->read_ms >= ANEW_MS)) {
        s->wants = true;
        pthread_cond_signal(&s->wanted);
    }
    if (s->read_ms == 0)
        wait_a_moment(s);
    if (s->read_ms && clock_ms() - s->read_ms < OLD_MS) {
        n = s->n;
        memcpy(out, s->last, n * sizeof(*out));
    }
    pthread_mutex_unlock(&s->mutex);
    return n;
}

// One that hangs in a driver cannot be waited for: it is left, with what it uses.
void sensors_close(struct sensors *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->mutex);
    s->ends = true;
    const bool hangs = s->reads;
    pthread_cond_signal(&s->wanted);
    pthread_mutex_unlock(&s->mutex);
    if (hangs) {
        pthread_detach(s->thread);
        return;
    }
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->wanted);
    pthread_cond_destroy(&s->found);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}
