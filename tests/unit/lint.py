#!/usr/bin/env python3
"""Keeps the house: which floor may include what, which functions are banned, how large things may grow.

    lint.py [FILE...]     all C files of the repository without arguments

Prints one line a finding, "file:line: what is wrong: what to do", then "lint: N passed, N failed" where
N counts files (scripts too: they must parse). The rules are the tables below; an exception is a line in them, with its reason.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# Floor -> the other floors whose header (FLOOR/FLOOR.h) it may include. Calls go down only.
FLOORS = {
    "base": [],
    "compute": ["base"],
    "doctor": ["base", "compute"],
    "text": ["base"],
    "net": ["base"],
    "store": ["base"],
    "model": ["base", "compute", "text"],
    "sched": ["base", "model", "text", "store", "doctor"],
    "api": ["base", "net", "sched", "store", "doctor"],
    "verb": ["base", "compute", "text", "net", "store", "doctor", "model", "sched", "api"],
}
# A floor's other headers that floors above may include.
SECOND_HEADERS = ["engine/compute/survey.h", "engine/base/confine.h", "engine/base/clock_trust.h",
                  "engine/base/relay.h", "engine/base/sensors.h"]

# Headers of libraries and of the kernel's networking -> the only places that may spell them.
PLACES = {
    r"bearssl.*\.h": ["engine/net/tls.c", "engine/net/tls_inside.h", "engine/net/tls_client.c", "engine/net/trust.h", "engine/net/cert.c", "engine/net/seal.c",
                       "init/bundle.c"],
    r"vulkan/.*": ["engine/compute/vulkan/"],
    r"llhttp\.h": ["engine/net/http.c", "engine/net/http.h", "engine/net/response.h"],
    r"qrencode\.h": ["engine/api/qr.c"],
    r"isocline\.h": ["engine/verb/lines.c"],
    r"pcre2\.h": ["engine/text/pretokenizer.c"],
    r"yaml\.h": ["init/cloud_yaml.c"],
    r"yyjson\.h": ["engine/api/", "engine/text/"],
    r"(sys/socket|sys/un|sys/epoll|netdb|ifaddrs|net/if|netinet/.*|arpa/inet|linux/.*netlink)\.h": [
        "engine/net/", "init/", "engine/base/settings_net.c"],  # which reads addresses, and opens nothing
}

# Function -> what to use instead.
BANNED = {
    "strcpy": "memcpy with a checked length", "stpcpy": "memcpy with a checked length",
    "strcat": "snprintf", "strncat": "snprintf", "strncpy": "memcpy with a checked length",
    "sprintf": "snprintf", "vsprintf": "vsnprintf",
    "strtok": "a {pointer, length} walk", "strtok_r": "a {pointer, length} walk",
    "atoi": "strtol with errno and end checked", "atol": "strtol with errno and end checked",
    "atoll": "strtoll with errno and end checked", "atof": "strtod with errno and end checked",
    "gets": "read", "scanf": "a parser", "sscanf": "a parser", "fscanf": "a parser",
    "alloca": "an arena", "setjmp": "a status", "longjmp": "a status",
    "system": "fork and execve with an argument vector", "popen": "fork and execve with an argument vector",
    "tmpnam": "mkstemp", "mktemp": "mkstemp", "rand": "the sampler's generator or getrandom",
    "srand": "the sampler's generator or getrandom", "gmtime": "gmtime_r", "localtime": "localtime_r",
    "ctime": "strftime", "asctime": "strftime", "strerror_r": "strerror (musl and glibc both keep it per thread)",
}

MAX_COLUMNS, MAX_FILE_LINES, MAX_FUNCTION_LINES = 100, 900, 80
# Straight-line functions that read better whole: file:function -> lines allowed.
LONG_FUNCTIONS = {}
MIN_HEAD, MAX_HEAD, SMALL_FILE = 3, 25, 60  # a small file's head may be one line
MAX_OVER_50 = 0.10  # share of all functions

CALL = {name: re.compile(r"(?<![\w.>])%s\s*\(" % name) for name in BANNED}
STRINGS = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'')
COMMENTS = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
FUNCTION = re.compile(r"^(?!typedef|struct \w+ \{|enum |union )[a-zA-Z_][^;={}#]*?\b(\w+)\([^;{}]*\)\s*\{", re.M)


def blank(match):
    """Keeps the line count and the columns, drops the text."""
    return re.sub(r"[^\n]", " ", match.group(0))


def code_only(text):
    """The text without comments and string contents; strings first hide // inside them."""
    out, i = [], 0
    token = re.compile(STRINGS.pattern + "|" + COMMENTS.pattern, re.S)
    for m in token.finditer(text):
        out.append(text[i:m.start()])
        if m.group(0)[0] == "/" or "\n" in m.group(0):
            out.append(blank(m))
        else:
            out.append(m.group(0)[0] + " " * (len(m.group(0)) - 2) + m.group(0)[0])
        i = m.end()
    return "".join(out) + text[i:]


def floor_of(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "engine" and len(parts) > 2 else None


def includes(path, text, say):
    floor = floor_of(path)
    for m in re.finditer(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"]+)[>"]', text, re.M):
        line, name = text.count("\n", 0, m.start()) + 1, m.group(2)
        if m.group(1) == '"':
            local(path, floor, name, line, say)
            continue
        for pattern, places in PLACES.items():
            if re.fullmatch(pattern, name) and not path.startswith("tests/"):
                if not any(path.startswith(p) or path == p for p in places):
                    say(line, "<%s> belongs to %s alone: call what that file offers" % (name, ", ".join(places)))


def local(path, floor, name, line, say):
    """An include in quotes: found beside the file, in engine/ or in the repository's root."""
    for base in (ROOT / path).parent, ROOT / "engine", ROOT:
        target = (base / name).resolve()
        if target.exists():
            break
    else:
        return  # the compiler reports it
    target = target.relative_to(ROOT).as_posix()
    other = floor_of(target)
    if path.startswith("init/") and not target.startswith("init/"):
        say(line, "%s: init/ shares nothing with the engine but the pipe and the settings file" % name)
    if floor is None or other == floor:
        return
    if target.startswith("kernels/") and path.startswith(("engine/compute/vulkan/", "engine/compute/grids.c")):
        return  # the push constants that C and GLSL share
    if other is None:
        if floor == "verb" and target == "engine/version.h":
            return
        say(line, "%s: a floor does not see what stands above the floors" % name)
    elif other not in FLOORS.get(floor, []):
        say(line, "%s: floor %s may use %s, not %s" % (name, floor, ", ".join(FLOORS[floor]) or "libc only", other))
    elif target != "engine/%s/%s.h" % (other, other) and target not in SECOND_HEADERS:
        say(line, "%s: a floor is used through its one header, %s/%s.h" % (name, other, other))


def functions(code):
    """(name, first line, lines) of each function: from its signature to the } in column 0."""
    for m in FUNCTION.finditer(code):
        end = code.find("\n}", m.end())
        if end > 0:
            first = code.count("\n", 0, m.start()) + 1
            yield m.group(1), first, code.count("\n", 0, end + 1) + 2 - first


def head_lines(text):
    if text.startswith("/*"):
        return text[:text.find("*/")].count("\n") + 1
    n = 0
    for line in text.split("\n"):
        if not line.startswith("//"):
            break
        n += 1
    return n


def check(path, sizes):
    text = (ROOT / path).read_text()
    code = code_only(text)
    found = []

    def say(line, what):
        found.append("%s:%d: %s" % (path, line, what))

    includes(path, text, say)
    lines = text.split("\n")
    for i, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            say(i, "%d columns, at most %d: `make format`" % (len(line), MAX_COLUMNS))
        if line != line.rstrip() or "\t" in line:
            say(i, "a tab or trailing blanks: `make format`")
    for i, line in enumerate(code.split("\n"), 1):
        for name, pattern in CALL.items():
            if pattern.search(line):
                say(i, "%s is banned: use %s" % (name, BANNED[name]))
        if re.search(r"\btypedef\s+(struct|union|enum)\b", line):
            say(i, "a struct keeps its name: no typedef")
    if len(lines) - 1 > MAX_FILE_LINES:
        say(1, "%d lines, at most %d: split the file by what it owns" % (len(lines) - 1, MAX_FILE_LINES))
    head = head_lines(text)
    if not path.startswith("tests/") and head > MAX_HEAD:
        say(1, "the file's head has %d lines, at most %d" % (head, MAX_HEAD))
    elif not path.startswith("tests/") and head < MIN_HEAD and len(lines) > SMALL_FILE:
        say(1, "the file's head has %d lines; at least %d say what it owns and what it keeps true" % (head, MIN_HEAD))
    elif head == 0:
        say(1, "no head comment: the first lines say what the file is for")
    for name, first, n in functions(code):
        sizes.append(n)
        if n > LONG_FUNCTIONS.get("%s:%s" % (path, name), MAX_FUNCTION_LINES):
            say(first, "%s has %d lines, at most %d: split it by its steps" % (name, n, MAX_FUNCTION_LINES))
    return found


def scripts():
    """(number of scripts, findings): every shell and Python script must at least parse."""
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                           capture_output=True, text=True).stdout.splitlines()
    n, found = 0, []
    for name in names:
        path = ROOT / name
        if not path.is_file() or path.is_symlink() or path.stat().st_size > 1 << 20:
            continue
        with open(path, "rb") as f:
            first = f.readline(80)
        if name.endswith(".py") or first.startswith(b"#!") and b"python" in first:
            n += 1
            try:
                compile(path.read_bytes(), name, "exec")
            except SyntaxError as e:
                found.append("%s:%s: does not parse: %s" % (name, e.lineno, e.msg))
        elif name.endswith(".sh") or first.startswith((b"#!/bin/bash", b"#!/bin/sh")):
            n += 1
            done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
            if done.returncode != 0:
                found.append("%s: does not parse: %s" % (name, done.stderr.strip()))
    return n, found


def kernels():
    """(number of kernels, findings): the layout of a workgroup stands before what uses gl_WorkGroupSize, which is 1 until then."""
    n, found = 0, []
    for path in sorted((ROOT / "kernels").glob("*.comp")):
        n += 1
        text = re.sub(r'^#include "(.*)"$', lambda m: (path.parent / m[1]).read_text(), path.read_text(), flags=re.M)
        for _ in range(3):  # what an included file includes
            text = re.sub(r'^#include "(.*)"$', lambda m: (path.parent / m[1]).read_text(), text, flags=re.M)
        code = re.sub(r"//[^\n]*", "", text)
        layout, used = code.find("layout(local_size"), code.find("gl_WorkGroupSize")
        if layout < 0 or 0 <= used < layout:
            found.append("kernels/%s: gl_WorkGroupSize is used before layout(local_size...) is given: it is 1 there" % path.name)
    return n, found


def main():
    paths = sys.argv[1:] or subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "engine/*.[ch]", "init/*.[ch]", "tests/*.[ch]"],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    paths = [p for p in paths if (ROOT / p).exists()]
    sizes, failed = [], 0
    for path in paths:
        found = check(path, sizes)
        failed += bool(found)
        for line in found:
            print(line)
    sizes.sort()
    if sizes and not sys.argv[1:]:
        over = sum(n > 50 for n in sizes)
        print("lint: %d functions, median %d lines, %d over 50" % (len(sizes), sizes[len(sizes) // 2], over))
        for n_others, found in (scripts(), kernels()):
            for line in found:
                print(line)
            failed += len(found)
            paths = paths + ["other"] * n_others
        if over > MAX_OVER_50 * len(sizes):
            print("lint: more than %d %% of the functions are over 50 lines" % (100 * MAX_OVER_50))
            failed += 1
    if not paths:
        print("lint: no C file found: was it run in the repository?")
        failed = 1
    print("lint: %d passed, %d failed" % (max(len(paths) - failed, 0), failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
