// base_mapped.c - a mapped file that is cut short under its readers reads as zeros and is lost;
// others stay as they are, and a SIGBUS of somebody else's ends the process as ever.
#include "../../engine/base/base.h"
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 16, PAGE = 4096, READERS = 4 };
static const size_t N = (size_t)PAGES * PAGE - 100; // its last page is not whole

static int file_of(uint8_t value)
{
    char path[] = "/tmp/mapped.XXXXXX";
    int fd = mkstemp(path);
    uint8_t *p = mem_alloc(N);
    memset(p, value, N);
    CHECK(fd >= 0 && write(fd, p, N) == (ssize_t)N);
    unlink(path);
    free(p);
    return fd;
}

static uint64_t sum(struct bytes file)
{
    uint64_t n = 0;
    for (size_t i = 0; i < file.n; i++)
        n += ((const volatile uint8_t *)file.p)[i];
    return n;
}

static void *read_all(void *file)
{
    sigset_t all; // as the engine's threads have it: a fault counts all the same
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    CHECK(sum(*(struct bytes *)file) == 0);
    return NULL;
}

static void test_lost(void)
{
    struct bytes one, two;
    struct err err = {0};
    pthread_t readers[READERS];
    int fd[2] = {file_of(1), file_of(2)};
    CHECK(file_map(&one, fd[0], N, &err) == OK && file_map(&two, fd[1], N, &err) == OK);
    CHECK(sum(one) == N && sum(two) == 2 * N && !file_lost(one) && !file_lost(two));
    CHECK(ftruncate(fd[0], 0) == 0);
    CHECK(!file_lost(one)); // nobody has read it since
    for (int i = 0; i < READERS; i++)
        CHECK(pthread_create(&readers[i], NULL, read_all, &one) == 0);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    CHECK(file_lost(one) && !file_lost(two) && sum(one) == 0 && sum(two) == 2 * N);
    file_unmap(one);
    CHECK(ftruncate(fd[0], (off_t)N) == 0 && file_map(&one, fd[0], N, &err) == OK);
    CHECK(!file_lost(one) && sum(one) == 0); // whole again, of zeros
    file_unmap(one);
    CHECK(ftruncate(fd[1], PAGE) == 0 && two.p[0] == 2 && !file_lost(two)); // what is there is read
    CHECK(sum(two) == 0 || file_lost(two));
    CHECK(file_lost(two) && two.p[0] == 0);
    file_unmap(two);
    close(fd[0]);
    close(fd[1]);
    CHECK(!file_lost(bytes_of("text")));
    CHECK(file_map(&one, -1, N, &err) == IO_ERROR && strstr(err.text, "cannot be mapped"));
}

// A mapping that is not ours.
static void test_others(void)
{
    int status, fd = file_of(3);
    struct bytes ours;
    CHECK(file_map(&ours, fd, N, NULL) == OK);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGBUS, SIG_DFL); // no sanitizer's report
        struct bytes again;
        int other = file_of(4);
        (void)!file_map(&again, other, N, NULL);
        const volatile uint8_t *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
        (void)!ftruncate(fd, 0);
        _exit(p[0]);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    file_unmap(ours);
    close(fd);
}

static void test_many(void)
{
    enum { MOST = 2048 };
    static struct bytes maps[MOST];
    struct bytes one;
    struct err err = {0};
    int fd = file_of(5), n = 0;
    while (n < MOST && file_map(&maps[n], fd, N, &err) == OK)
        n++;
    CHECK(n == MOST && file_map(&one, fd, N, &err) == NO_ROOM);
    while (n > 0)
        file_unmap(maps[--n]);
    CHECK(file_map(&one, fd, N, &err) == OK);
    file_unmap(one);
    close(fd);
}

int main(void)
{
    test_lost();
    test_others();
    test_many();
    return check_done("base_mapped");
}
