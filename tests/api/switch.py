"""Two further models, asked in turn, while a stream of the built-in one runs: the streams say all the while what they say alone,
their pauses keep to what README says, and memory comes back.

With TAWNY_TEST_FULL=1 the two have the shape of a 3B model (36 layers, 1.8 GB each). Times and memory are told.
"""

import os
import shutil
import subprocess
import threading
import time

from tools import ROOT, WORK, Server, check, stream

FULL = os.environ.get("TAWNY_TEST_FULL") == "1"
SHAPE = ("qwen3b", "q4_0") if FULL else ("small", "q8_0")
NAMES = ("one", "two")
# A pass of each model, 150 ms of its prompt (or three passes of it, on a slow machine), 20 ms of loading: 0.45 s of a 3B model on two cores; and room for others on this machine.
MOST_S = 2.0


def megabytes(server):
    text = open("/proc/%d/status" % server.process.pid).read()
    return {k: int(text.split(k + ":")[1].split()[0]) // 1024 for k in ("RssAnon", "RssFile")}


def make(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(NAMES):
        path = folder / (name + ".gguf")
        if seed and FULL:
            shutil.copyfile(folder / (NAMES[0] + ".gguf"), path)  # another file all the same: nothing of it is shared
        else:
            subprocess.run([ROOT / "tests/golden/mkgguf.py", SHAPE[0], path, "--type", SHAPE[1], "--seed", str(seed)], check=True, stderr=subprocess.DEVNULL)


class Streams:
    """One stream after the other, until it is left."""

    def __init__(self, server, said):
        self.server, self.said, self.pauses, self.wrong, self.done = server, said, [], [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def one(self):
        return stream(self.server, "Count", 200, temperature=1.5, seed=1, ignore_eos=True)

    def run(self):
        while not self.done.is_set():
            text, finish, pause = self.one()
            self.pauses.append(pause)
            if (text, finish) != self.said:
                self.wrong.append((text[:100], finish))

    def __enter__(self):
        self.thread.start()
        time.sleep(0.2)
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def ask(server, model):
    began = time.time()
    status, _, answer = server.ask("POST", "/v1/chat/completions", {"model": model, "max_tokens": 4, "temperature": 0, "messages": [
        {"role": "user", "content": "hello " * 40}]}, timeout=300)
    return time.time() - began, status, answer


def run(model):
    state = WORK / "switch-state"
    shutil.rmtree(state, ignore_errors=True)
    make(state / "models")
    server = Server("switch", model, fresh=False, options=("--ctx", "2048", "--speculation", "off", "--keep-prefixes", "0"))
    server.wait()
    try:
        alone = stream(server, "Count", 200, temperature=1.5, seed=1, ignore_eos=True)
        before, told = megabytes(server), []
        with Streams(server, alone[:2]) as streams:
            for turn in range(2):
                for name in NAMES:
                    first, again = ask(server, name), ask(server, name)
                    check("switch: %s answers, turn %d" % (name, turn), first[1] == again[1] == 200 and first[2]["choices"] == again[2]["choices"], (first, again))
                    told.append("%s %.2f s, then %.2f s" % (name, first[0], again[0]))
        loaded = megabytes(server)
        print("        %s; alone the stream's longest pause is %.3f s, beside these %.3f s (%d streams); %s MB before, %s MB with both" % (
            "; ".join(told), alone[2], max(streams.pauses), len(streams.pauses), before, loaded))
        check("switch: streams beside it say what they say alone", not streams.wrong and len(streams.pauses) > 1, streams.wrong[:3])
        check("switch: and are not held up", max(streams.pauses) < MOST_S, "%.2f s" % max(streams.pauses))
        for name in NAMES:
            status, _, answer = server.ask("POST", "/v1/models/unload", {"model": name})
            check("switch: %s is unloaded" % name, status == 200, answer)
        after = megabytes(server)
        check("switch: its memory comes back", after["RssAnon"] <= before["RssAnon"] + 64 and after["RssFile"] <= before["RssFile"] + 64, (before, loaded, after))
    finally:
        check("switch: stops cleanly", server.stop() == 0, server.log.read_text()[-500:])
        if FULL:
            shutil.rmtree(state, ignore_errors=True)
