// pool.c - the worker threads: run a list of tasks in order, each one's chunks claimed by whoever
// is free.
//
// Threads are woken once for a whole list (a forward pass), not once a task. There is no barrier
// that wants every thread: a task is over when its chunks are done, so a thread that the kernel has
// taken off its core holds the others up only for the chunk it is in, never for work it has not
// claimed. A thread that finds nothing to do spins for some microseconds (the usual wait between
// two tasks is shorter) and then sleeps on a futex, which gives its core to whoever the kernel
// likes: often to the very thread it waits for.
//
// The door: workers enter a list by counting themselves in, and cannot once it is closed. A worker
// that wakes up late goes back to sleep, and the list's memory is free as soon as the door is
// closed and the count inside is zero.
#include "base/confine.h"
#include "cpu.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SPINS = 1500, // of some 20 to 40 ns (a `pause`)
    DOOR_CLOSED = 1 << 30,
    STACK_BYTES = 1 << 20,
};

struct worker {
    struct pool *pool;
    pthread_t thread;
    int32_t index; // 1 .. n_threads - 1; the caller of pool_run is 0
};

struct pool {
    struct cpu *cpu;
    struct worker *workers;
    int32_t n_threads;
    struct task *tasks;
    int32_t n_tasks;
    _Alignas(CPU_LINE) _Atomic int32_t generation; // counts the lists; workers sleep on it
    _Atomic bool stop;
    _Alignas(CPU_LINE) _Atomic int32_t door;     // workers inside the list, | DOOR_CLOSED
    _Alignas(CPU_LINE) _Atomic int32_t sleepers; // threads asleep on some task's `done`
};

static void futex_wait(_Atomic int32_t *word, int32_t seen)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic int32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

// Waits until *word differs from `seen`.
static void wait_change(_Atomic int32_t *word, int32_t seen)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != seen)
            return;
        __builtin_ia32_pause();
    }
    while (atomic_load(word) == seen)
        futex_wait(word, seen);
}

static void wait_done(struct pool *pool, struct task *task)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&task->done, memory_order_acquire) == task->n_chunks)
            return;
        __builtin_ia32_pause();
    }
    atomic_fetch_add(&pool->sleepers, 1);
    for (;;) {
        int32_t done = atomic_load(&task->done);
        if (done == task->n_chunks)
            break;
        futex_wait(&task->done, done);
    }
    atomic_fetch_sub(&pool->sleepers, 1);
}

static void run_tasks(struct pool *pool, int32_t thread)
{
    for (int32_t i = 0; i < pool->n_tasks; i++) {
        struct task *task = &pool->tasks[i];
        for (;;) {
            if (atomic_load_explicit(&task->next, memory_order_relaxed) >= task->n_chunks)
                break; // a look first: a late thread passes finished tasks without writing
            int32_t chunk = atomic_fetch_add_explicit(&task->next, 1, memory_order_relaxed);
            if (chunk >= task->n_chunks)
                break;
            task->run(pool->cpu, task, chunk, thread);
            if (atomic_fetch_add(&task->done, 1) + 1 == task->n_chunks &&
                atomic_load(&pool->sleepers) > 0)
                futex_wake(&task->done);
        }
        wait_done(pool, task);
    }
}

static bool enter(struct pool *pool)
{
    int32_t door = atomic_load(&pool->door);
    while (!(door & DOOR_CLOSED))
        if (atomic_compare_exchange_weak(&pool->door, &door, door + 1))
            return true;
    return false;
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct pool *pool = worker->pool;
    int32_t seen = 0;
    thread_begin("worker", THREAD_WORKER);
    for (;;) {
        wait_change(&pool->generation, seen);
        seen = atomic_load(&pool->generation);
        if (atomic_load(&pool->stop))
            return NULL;
        if (!enter(pool))
            continue;
        run_tasks(pool, worker->index);
        if (atomic_fetch_sub(&pool->door, 1) ==
            (DOOR_CLOSED | 1)) // the last one out of a closed door
            futex_wake(&pool->door);
    }
}

void pool_run(struct pool *pool, struct task *tasks, int32_t n_tasks)
{
    pool->tasks = tasks;
    pool->n_tasks = n_tasks;
    if (pool->n_threads > 1) {
        atomic_store(&pool->door, 0);
        atomic_fetch_add(&pool->generation, 1);
        futex_wake(&pool->generation);
    }
    run_tasks(pool, 0);
    if (pool->n_threads > 1) {
        int32_t door = atomic_fetch_or(&pool->door, DOOR_CLOSED) | DOOR_CLOSED;
        for (; door != DOOR_CLOSED; door = atomic_load(&pool->door))
            wait_change(&pool->door, door);
    }
}

static enum status worker_open(struct pool *pool, int32_t index, struct err *err)
{
    struct worker *worker = &pool->workers[index];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    *worker = (struct worker){.pool = pool, .index = index};
    int failed = pthread_create(&worker->thread, &attr, worker_main, worker);
    pthread_attr_destroy(&attr);
    if (failed)
        return err_set(err, NO_ROOM,
                       "CPU thread %d of %d could not be started (error %d): set `threads` lower",
                       index + 1, pool->n_threads, failed);
    return OK;
}

enum status pool_open(struct pool **out, struct cpu *cpu, int32_t n_threads, struct err *err)
{
    struct pool *pool = aligned_alloc(CPU_LINE, sizeof(*pool));
    if (!pool)
        die("out of memory for the thread pool");
    memset(pool, 0, sizeof(*pool));
    pool->cpu = cpu;
    pool->workers = mem_array((size_t)n_threads, sizeof(*pool->workers));
    pool->n_threads = 1;
    atomic_store(&pool->door, DOOR_CLOSED);
    for (int32_t i = 1; i < n_threads; i++) {
        enum status status = worker_open(pool, i, err);
        if (status != OK) {
            pool_close(pool);
            return status;
        }
        pool->n_threads = i + 1;
    }
    *out = pool;
    return OK;
}

void pool_close(struct pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->stop, true);
    atomic_fetch_add(&pool->generation, 1);
    futex_wake(&pool->generation);
    for (int32_t i = 1; i < pool->n_threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    free(pool->workers);
    free(pool);
}
