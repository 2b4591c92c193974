// confine.h - floor 0: what this process may still ask the kernel for once it serves: a second wall
// behind every parser, for the day one of them is wrong.
//
// Two layers, each of which holds alone: Landlock says which files can be opened at all, seccomp
// which system calls each kind of thread may make. Both are for good, and cost no speed that can be
// measured: files are looked at when they are opened, and the kernel remembers which calls are
// always allowed. A kernel (or a container's own seccomp profile) that lacks a layer makes it
// UNSUPPORTED, with the reason: the caller says so and goes on.
//
// Order: confine_files and confine_calls in the main thread before any other is started (threads
// inherit); then each thread narrows itself with thread_begin.
#pragma once

#include "base.h"

enum thread_kind {
    THREAD_WORKER, // computes: memory, waiting, the log; opens nothing
    THREAD_FILES,  // and files: models, keys, the audit log, prompts
    THREAD_ENGINE, // and the GPU: the only one that may talk to its driver
    THREAD_NET,    // files and connections, no driver; it listens to nothing new
};

struct confine_path {
    const char *path; // "" or one that is not there: left out
    enum { CONFINE_READ, CONFINE_WRITE, CONFINE_DEVICE } may;
};

// Landlock: whatever is not below one of these paths cannot be opened, run, made or removed any
// more (what is open stays open), and no file at all can be run. Needs Linux 5.19, so that files
// can be moved between folders. abi: the kernel's version of Landlock.
MUST_USE enum status confine_files(const struct confine_path *paths, size_t n_paths, int *abi,
                                   struct err *err);
// No TCP port can be opened any more (the calling thread and those it starts). Linux 6.7.
MUST_USE enum status confine_ports(struct err *err);

struct confine_calls {
    bool fatal; // a call that is on no list ends the process, with a report; else it fails (EPERM)
    bool foreign; // code and drivers that are not ours run here (the system's Vulkan): they may
                  // make code at run time and use any driver's requests
};
// seccomp: from here on only the calls of all four kinds together.
MUST_USE enum status confine_calls(const struct confine_calls *how, struct err *err);

// Names the calling thread, for reports and for `top`, gives it a stack for crash reports, and
// leaves it the calls of its kind (nothing is taken away before confine_calls).
void thread_begin(const char *name, enum thread_kind kind);

// crash.c: from here on a signal that ends the process is told on stderr first, in one line: which,
// where (as an offset in the program, for addr2line), in which thread, of which build.
void crash_watch(void);
void crash_stack(void); // the calling thread gets a stack of its own for that
