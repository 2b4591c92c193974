// crash.c - the last words of a process that a signal ends: one line on stderr.
//
//   crash: SIGSEGV at address 0x10, code at 0x1a2b3c of build 0123456789abcdef, thread engine
//   crash: SIGSYS: system call 59 (execve) is not allowed, code at ..., thread net
//
// "code at" is an offset in the program: addr2line -e tawny.debug 0x1a2b3c says the line. Whoever
// reads our output (PID 1) keeps it. A handler may only call what is safe in one: the line is put
// together by hand and leaves with one write. Then the signal takes its usual course, so that the
// exit status is that of the signal.
#include "confine.h"

#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { STACK_BYTES = 32768, BUILD_BYTES = 20 };

static struct {
    uintptr_t base, end; // of the program
    char build[2 * BUILD_BYTES + 1];
} program = {.build = "unknown"};

static const struct {
    int number;
    const char *name;
} signals[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGILL, "SIGILL"}, {SIGFPE, "SIGFPE"},
    {SIGABRT, "SIGABRT"}, {SIGTRAP, "SIGTRAP"}, {SIGSYS, "SIGSYS"},
};

// What somebody who has taken the process over would try.
static const struct {
    int number;
    const char *name;
} calls[] = {
    {SYS_execve, "execve"},
    {SYS_execveat, "execveat"},
    {SYS_fork, "fork"},
    {SYS_vfork, "vfork"},
    {SYS_clone, "clone"},
    {SYS_ptrace, "ptrace"},
    {SYS_mmap, "mmap"},
    {SYS_mprotect, "mprotect"},
    {SYS_init_module, "init_module"},
    {SYS_finit_module, "finit_module"},
    {SYS_bpf, "bpf"},
    {SYS_mount, "mount"},
    {SYS_unshare, "unshare"},
    {SYS_setns, "setns"},
    {SYS_socket, "socket"},
    {SYS_listen, "listen"},
    {SYS_bind, "bind"},
    {SYS_connect, "connect"},
    {SYS_perf_event_open, "perf_event_open"},
};

// ---- a line, by hand ----------------------------------------------------------------------------

struct text {
    char p[400];
    size_t n;
};

static void put(struct text *text, const char *word)
{
    for (; *word && text->n < sizeof(text->p); word++)
        text->p[text->n++] = *word;
}

static void put_number(struct text *text, uint64_t value, unsigned base)
{
    char digits[24];
    size_t at = sizeof(digits) - 1;
    digits[at] = 0;
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    put(text, base == 16 ? "0x" : "");
    put(text, digits + at);
}

static void put_call(struct text *text, int number)
{
    put(text, ": system call ");
    put_number(text, (uint64_t)number, 10);
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        if (calls[i].number != number)
            continue;
        put(text, " (");
        put(text, calls[i].name);
        put(text, ")");
    }
    put(text, " is not allowed");
}

static void put_place(struct text *text, uintptr_t code)
{
    put(text, ", code at ");
    bool ours = code >= program.base && code < program.end;
    put_number(text, ours ? code - program.base : code, 16);
    put(text, ours ? " of build " : " outside of the program, build ");
    put(text, program.build);
}

static void tell(int number, siginfo_t *info, void *context)
{
    const ucontext_t *where = context;
    char thread[17] = "";
    struct text text = {.n = 0};
    put(&text, "crash: ");
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        put(&text, signals[i].number == number ? signals[i].name : "");
    if (number == SIGSYS) {
        put_call(&text, info->si_syscall);
    } else if (number != SIGABRT && info->si_code > 0) {
        put(&text, " at address ");
        put_number(&text, (uintptr_t)info->si_addr, 16);
    }
    put_place(&text, (uintptr_t)where->uc_mcontext.gregs[REG_RIP]);
    prctl(PR_GET_NAME, thread, 0, 0, 0);
    put(&text, ", thread ");
    put(&text, thread);
    put(&text, "\n");
    (void)!write(STDERR_FILENO, text.p, text.n);
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number); // now with its usual effect
}

// ---- what is known beforehand -------------------------------------------------------------------

static void read_notes(const uint8_t *p, size_t n)
{
    for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= n;) {
        ElfW(Nhdr) note;
        memcpy(&note, p + at, sizeof(note));
        size_t name = at + sizeof(note), bytes = name + ((note.n_namesz + 3u) & ~3u);
        at = bytes + ((note.n_descsz + 3u) & ~3u);
        if (at > n)
            return;
        if (note.n_type != NT_GNU_BUILD_ID || note.n_namesz != 4 || note.n_descsz > BUILD_BYTES ||
            memcmp(p + name, "GNU", 4) != 0)
            continue;
        for (size_t i = 0; i < note.n_descsz; i++) {
            program.build[2 * i] = "0123456789abcdef"[p[bytes + i] >> 4];
            program.build[2 * i + 1] = "0123456789abcdef"[p[bytes + i] & 15];
        }
        program.build[2 * note.n_descsz] = 0;
    }
}

static int first_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    program.base = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        const uintptr_t begin = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_LOAD && begin + part->p_memsz > program.end)
            program.end = begin + part->p_memsz;
        if (part->p_type == PT_NOTE)
            read_notes((const uint8_t *)begin, part->p_memsz);
    }
    return 1; // the program itself comes first
}

// A thread that ends gives its stack back.
static pthread_key_t stack_key;

static void give_stack_back(void *stack)
{
    const stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    free(stack);
}

void crash_stack(void)
{
    stack_t now, own = {.ss_size = STACK_BYTES};
    sigset_t ours; // a thread may have all signals blocked; these would end it without a word
    sigemptyset(&ours);
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        sigaddset(&ours, signals[i].number);
    pthread_sigmask(SIG_UNBLOCK, &ours, NULL); // SIGBUS counts in any case: mapped.c
    if (!program.end)
        return; // nobody watches
    if (sigaltstack(NULL, &now) == 0 && !(now.ss_flags & SS_DISABLE))
        return; // there is one
    own.ss_sp = mem_alloc(STACK_BYTES);
    sigaltstack(&own, NULL);
    pthread_setspecific(stack_key, own.ss_sp);
}

void crash_watch(void)
{
    struct sigaction action = {.sa_sigaction = tell,
                               .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND)};
    pthread_key_create(&stack_key, give_stack_back);
    dl_iterate_phdr(first_object, NULL);
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        sigaction(signals[i].number, &action, NULL);
    crash_stack();
}
