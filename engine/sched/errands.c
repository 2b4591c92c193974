// errands.c - the thread that has the disk: it writes and reads what texts left in a model's
// memory, piece by piece, so that the engine thread waits for no disk.
//
// A file, numbers little-endian, as on the machines this runs on:
//
//      0   8  "TAWNYSEQ"
//      8   4  version of this format: 2
//     12   4  n, tokens
//     16   8  owner, 24 model, 32 number: as in the file's name
//     40   4  n_stands
//     44   4  float: us that computing a token took
//     48   8  bytes of the file
//     56   8  hash of these 56 bytes, of the stands and of the tokens
//     64 4 n_stands  the stands: positions, falling; the first is n
//          4 n  the tokens
//             the pieces (model/save.c), each with the hash of its bytes behind it: those of the
//             pages of n positions, then the last one of each stand
//
// A file is written as NUMBER.part and has its name when it is whole. What is not as it should be
// is deleted, with a line in the log, and never used. Errands are done in the order they are given.
#include "base/confine.h"
#include "keep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { VERSION = 2, HEAD_BYTES = 64, GIVES_WAY = 10, NAME_BYTES = 3 * 17 + 4, FREE_SHARE = 20 };

struct head {
    char magic[8];
    uint32_t version, n;
    uint64_t owner, model, number;
    uint32_t n_stands;
    float us_per_token;
    uint64_t n_bytes, hash;
};
_Static_assert(sizeof(struct head) == HEAD_BYTES, "the head's bytes are those of the file");

struct errands {
    struct ring *in, *out;
    pthread_t thread;
    _Atomic bool hurries, drops;
    char folder[600];
};

void errand_close(struct errand *errand)
{
    if (!errand)
        return;
    while (errand->kept) {
        struct saved *kept = errand->kept;
        errand->kept = kept->next;
        saved_free(kept);
    }
    free(errand->bytes);
    free(errand);
}

// ---- heads --------------------------------------------------------------------------------------

size_t saved_head_bytes(int32_t n, int32_t n_stands)
{
    return HEAD_BYTES + ((size_t)n + (size_t)n_stands) * sizeof(int32_t);
}

void saved_head_write(const struct saved *kept, uint8_t *out)
{
    const size_t n_stand_bytes = (size_t)kept->n_stands * sizeof(int32_t),
                 n_bytes = saved_head_bytes(kept->n, kept->n_stands);
    struct head head = {.magic = {'T', 'A', 'W', 'N', 'Y', 'S', 'E', 'Q'},
                        .version = VERSION,
                        .n = (uint32_t)kept->n,
                        .owner = kept->owner,
                        .model = kept->model,
                        .number = kept->number,
                        .n_stands = (uint32_t)kept->n_stands,
                        .us_per_token = kept->us_per_token,
                        .n_bytes = kept->n_bytes};
    memcpy(out + HEAD_BYTES, kept->stands, n_stand_bytes);
    memcpy(out + HEAD_BYTES + n_stand_bytes, kept->token, (size_t)kept->n * sizeof(int32_t));
    head.hash = hash_on(hash_on(HASH_BEGIN, &head, offsetof(struct head, hash)), out + HEAD_BYTES,
                        n_bytes - HEAD_BYTES);
    memcpy(out, &head, sizeof(head));
}

static enum status read_all(int fd, void *p, size_t n, uint64_t offset, struct err *err)
{
    for (size_t done = 0; done < n;) {
        const ssize_t one = pread(fd, (uint8_t *)p + done, n - done, (off_t)(offset + done));
        if (one < 0 && errno == EINTR)
            continue;
        if (one < 0)
            return err_set(err, IO_ERROR, "it cannot be read: %s", strerror(errno));
        if (one == 0)
            return err_set(err, BAD_INPUT, "it ends too early");
        done += (size_t)one;
    }
    return OK;
}

static enum status check_head(const struct head *head, const struct saved *name, int64_t n_bytes,
                              struct err *err)
{
    if (memcmp(head->magic, "TAWNYSEQ", sizeof(head->magic)) != 0)
        return err_set(err, BAD_INPUT, "it does not begin with TAWNYSEQ");
    if (head->version != VERSION)
        return err_set(err, UNSUPPORTED, "it is of version %u of its format; this build reads %d",
                       (unsigned)head->version, VERSION);
    if (head->owner != name->owner || head->model != name->model || head->number != name->number)
        return err_set(err, BAD_INPUT, "its name is not the one it was written under");
    if (head->n < 1 || head->n > 1 << 24 || head->n_stands < 1 || head->n_stands > KEEP_STANDS)
        return err_set(err, BAD_INPUT, "its head is damaged");
    if (n_bytes < 0 || head->n_bytes != (uint64_t)n_bytes)
        return err_set(err, BAD_INPUT, "it has %lld bytes instead of %llu", (long long)n_bytes,
                       (unsigned long long)head->n_bytes);
    return OK;
}

static bool stands_fall(const struct saved *kept)
{
    bool fall = kept->stands[0] == kept->n;
    for (int32_t i = 1; i < kept->n_stands; i++)
        fall = fall && kept->stands[i] < kept->stands[i - 1] && kept->stands[i] > 0;
    return fall;
}

// kept: has what the name says.
static enum status read_head(int fd, struct saved *kept, struct err *err)
{
    struct head head;
    struct stat file;
    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode))
        return err_set(err, BAD_INPUT, "it is no file");
    enum status status = read_all(fd, &head, sizeof(head), 0, err);
    if (status == OK)
        status = check_head(&head, kept, file.st_size, err);
    if (status != OK)
        return status;
    kept->n = (int32_t)head.n;
    kept->n_stands = (int32_t)head.n_stands;
    kept->us_per_token = head.us_per_token;
    kept->n_bytes = head.n_bytes;
    kept->used_s = file.st_mtim.tv_sec;
    const size_t n = saved_head_bytes(kept->n, kept->n_stands) - HEAD_BYTES,
                 n_stand_bytes = (size_t)kept->n_stands * sizeof(int32_t);
    uint8_t *rest = mem_alloc(n);
    kept->token = mem_array((size_t)kept->n, sizeof(int32_t));
    status = read_all(fd, rest, n, HEAD_BYTES, err);
    if (status == OK &&
        hash_on(hash_on(HASH_BEGIN, &head, offsetof(struct head, hash)), rest, n) != head.hash)
        status = err_set(err, BAD_INPUT, "its head is damaged");
    memcpy(kept->stands, rest, n_stand_bytes);
    memcpy(kept->token, rest + n_stand_bytes, n - n_stand_bytes);
    free(rest);
    if (status == OK && (!stands_fall(kept) || !(kept->us_per_token >= 0)))
        status = err_set(err, BAD_INPUT, "its head is damaged");
    return status;
}

// ---- the folder ---------------------------------------------------------------------------------

static void path_of(char out[700], const struct errands *errands, const struct errand *errand,
                    bool is_part)
{
    snprintf(out, 700, "%s/%016llx-%016llx-%016llx.%s", errands->folder,
             (unsigned long long)errand->owner, (unsigned long long)errand->model,
             (unsigned long long)errand->number, is_part ? "part" : "seq");
}

// Whether it is a name as above, which ends in `end`.
static bool name_read(struct saved *out, const char *name, const char *end)
{
    uint64_t *const numbers[] = {&out->owner, &out->model, &out->number};
    for (size_t i = 0; i < COUNT_OF(numbers); i++, name += 17) {
        *numbers[i] = 0;
        for (size_t k = 0; k < 16; k++) {
            const char *digits = "0123456789abcdef",
                       *digit = name[k] ? strchr(digits, name[k]) : NULL;
            if (!digit)
                return false;
            *numbers[i] = *numbers[i] << 4 | (uint64_t)(digit - digits);
        }
        if (name[16] != (i < 2 ? '-' : '.'))
            return false;
    }
    return strcmp(name, end) == 0;
}

static void list_one(const struct errands *errands, struct errand *errand, const char *name)
{
    char path[700];
    struct err err = {0};
    struct saved *kept = mem_alloc(sizeof(*kept));
    snprintf(path, sizeof(path), "%s/%.64s", errands->folder, name);
    const bool is_part = name_read(kept, name, "part");
    if (!is_part && !name_read(kept, name, "seq")) { // nobody's business
        saved_free(kept);
        return;
    }
    const int fd = is_part ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (!is_part && fd < 0)
        (void)err_set(&err, IO_ERROR, "it cannot be opened: %s", strerror(errno));
    else if (!is_part && read_head(fd, kept, &err) == OK) {
        close(fd);
        kept->next = errand->kept;
        errand->kept = kept;
        return;
    }
    if (fd >= 0)
        close(fd);
    if (is_part)
        log_debug("%s: it was not finished, and is deleted", path);
    else
        log_warn("%s: %s; it is deleted", path, err.text);
    (void)unlink(path);
    saved_free(kept);
}

static enum status list(const struct errands *errands, struct errand *errand)
{
    int32_t n = 0;
    if (file_make_dir(errands->folder, 0700, &errand->err) != OK)
        return errand->err.status;
    DIR *dir = opendir(errands->folder);
    if (!dir)
        return err_set(&errand->err, IO_ERROR, "%s cannot be read: %s", errands->folder,
                       strerror(errno));
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL && n < KEPT_MOST; n++)
        list_one(errands, errand, entry->d_name);
    closedir(dir);
    return OK;
}

// ---- pieces -------------------------------------------------------------------------------------

static uint64_t piece_hash(const struct errand *errand)
{
    const uint64_t of[] = {errand->owner, errand->model, errand->number, errand->offset};
    return hash_on(hash_on(HASH_BEGIN, of, sizeof(of)), errand->bytes, errand->n);
}

static enum status failed(struct errand *errand, const char *path, const char *what)
{
    const int code = errno;
    return err_set(&errand->err,
                   code == ENOSPC || code == EDQUOT || code == EFBIG ? NO_ROOM : IO_ERROR,
                   "%s cannot be %s: %s", path, what, strerror(code));
}

static enum status write_at(struct errand *errand, int fd, const char *path, size_t n)
{
    for (size_t done = 0; done < n;) {
        const ssize_t one =
            pwrite(fd, errand->bytes + done, n - done, (off_t)(errand->offset + done));
        if (one < 0 && errno == EINTR)
            continue;
        if (one <= 0)
            return failed(errand, path, "written");
        done += (size_t)one;
    }
    return OK;
}

// Everything else on the disk has a share of it left.
static enum status check_free(const struct errands *errands, struct errand *errand)
{
    struct statvfs disk;
    if (errand->whole_bytes == 0 || statvfs(errands->folder, &disk) != 0)
        return OK;
    const uint64_t free = (uint64_t)disk.f_bavail * disk.f_frsize,
                   all = (uint64_t)disk.f_blocks * disk.f_frsize;
    if (free > errand->whole_bytes && free - errand->whole_bytes >= all / FREE_SHARE)
        return OK;
    return err_set(&errand->err, NO_ROOM,
                   "%s: %llu MB are free; a text of %llu MB would leave less than a twentieth of "
                   "the disk",
                   errands->folder, (unsigned long long)(free >> 20),
                   (unsigned long long)(errand->whole_bytes >> 20));
}

static enum status write_piece(const struct errands *errands, struct errand *errand)
{
    char path[700];
    if (check_free(errands, errand) != OK)
        return errand->err.status;
    path_of(path, errands, errand, true);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return failed(errand, path, "written");
    const uint64_t hash = piece_hash(errand);
    memcpy(errand->bytes + errand->n, &hash, HASH_BYTES);
    enum status status = write_at(errand, fd, path, errand->n + HASH_BYTES);
    close(fd);
    return status;
}

static enum status write_end(struct errands *errands, struct errand *errand)
{
    char path[700], name[700];
    path_of(path, errands, errand, true);
    path_of(name, errands, errand, false);
    const int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return failed(errand, path, "written");
    enum status status = write_at(errand, fd, path, errand->n);
    if (status == OK && !atomic_load(&errands->hurries) && fdatasync(fd) != 0)
        status = failed(errand, path, "written");
    close(fd);
    if (status == OK && rename(path, name) != 0)
        status = failed(errand, path, "given its name");
    return status;
}

static enum status read_piece(const struct errands *errands, struct errand *errand)
{
    char path[700];
    uint64_t hash;
    path_of(path, errands, errand, false);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return failed(errand, path, "read");
    if (errand->piece == 0) // by when it was used last it is kept or goes
        (void)futimens(fd, NULL);
    errand->bytes = mem_alloc(errand->n + HASH_BYTES);
    enum status status =
        read_all(fd, errand->bytes, errand->n + HASH_BYTES, errand->offset, &errand->err);
    close(fd);
    memcpy(&hash, errand->bytes + errand->n, HASH_BYTES);
    if (status == OK && hash != piece_hash(errand))
        status = err_set(&errand->err, BAD_INPUT, "it is damaged: a hash is not that of its bytes");
    return status == OK ? OK : err_prefix(&errand->err, "%s", path);
}

static void remove_file(const struct errands *errands, const struct errand *errand, bool is_part)
{
    char path[700];
    path_of(path, errands, errand, is_part);
    if (unlink(path) != 0 && errno != ENOENT)
        log_warn("%s cannot be deleted: %s", path, strerror(errno));
}

// ---- the thread ---------------------------------------------------------------------------------

// False: it is the end.
static bool run_errand(struct errands *errands, struct errand *errand)
{
    const uint64_t from_us = clock_us();
    switch (errand->kind) {
    case ERRAND_LIST:
        (void)list(errands, errand);
        break;
    case ERRAND_WRITE:
        if (!atomic_load(&errands->drops))
            (void)write_piece(errands, errand);
        break;
    case ERRAND_END:
        if (atomic_load(&errands->drops)) // the pieces before may not be there
            remove_file(errands, errand, true);
        else
            (void)write_end(errands, errand);
        break;
    case ERRAND_GIVE_UP:
    case ERRAND_DELETE:
        remove_file(errands, errand, errand->kind == ERRAND_GIVE_UP);
        break;
    case ERRAND_READ:
        (void)read_piece(errands, errand);
        break;
    case ERRAND_QUIT:
        return false;
    }
    errand->took_us = clock_us() - from_us;
    return true;
}

static void *errands_main(void *arg)
{
    struct errands *errands = arg;
    thread_begin("errands", THREAD_FILES);
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), GIVES_WAY);
    for (bool goes_on = true; goes_on;) {
        struct errand *errand = ring_pop(errands->in);
        if (!errand) {
            ring_wait(errands->in);
            continue;
        }
        goes_on = run_errand(errands, errand);
        if (!goes_on || errand->kind == ERRAND_DELETE || errand->kind == ERRAND_GIVE_UP)
            errand_close(errand);
        else
            while (ring_push(errands->out, errand) != OK)
                nap(1); // as many slots as there may be errands: never
    }
    return NULL;
}

void errands_open(struct errands **out, const char *folder)
{
    struct errands *errands = mem_alloc(sizeof(*errands));
    snprintf(errands->folder, sizeof(errands->folder), "%s", folder);
    ring_open(&errands->in, JOB_SLOTS);
    ring_open(&errands->out, JOB_SLOTS);
    int code = pthread_create(&errands->thread, NULL, errands_main, errands);
    if (code)
        die("the errands' thread cannot be started: %s", strerror(code));
    *out = errands;
}

void errands_send(struct errands *errands, struct errand *errand)
{
    while (ring_push(errands->in, errand) != OK)
        nap(1); // many files are deleted at once
}

struct errand *errands_take(struct errands *errands)
{
    return ring_pop(errands->out);
}

int errands_fd(const struct errands *errands)
{
    return ring_fd(errands->out);
}

void errands_hurry(struct errands *errands, bool drops)
{
    atomic_store(&errands->drops, drops);
    atomic_store(&errands->hurries, true);
}

void errands_close(struct errands *errands)
{
    struct errand *errand = mem_alloc(sizeof(*errand));
    errand->kind = ERRAND_QUIT;
    errands_send(errands, errand);
    pthread_join(errands->thread, NULL);
    while ((errand = errands_take(errands)) != NULL)
        errand_close(errand);
    ring_close(errands->in);
    ring_close(errands->out);
    free(errands);
}
