"""What was computed of a conversation is kept: its second turn begins at least 20 times sooner than the first, in memory, after
an unload, after a restart and after a kill; with the built-in model, one that has recurrent layers and one that has windows; and whatever was read
from the disk, the answer is the one of an engine that computes all of it. Keys have nothing from each other.

Times are those of a client on a connection that stands: from the request to the first event with text. Each second turn is asked
with the first turn's text and something new behind it. A machine that does other things too may try each three times.
"""

import http.client
import json
import signal
import statistics
import sys
import threading
import time
from pathlib import Path

from tools import WORK, Server, check

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
sys.path.insert(0, str(GOLDEN))

SOONER = 20
WORDS = ("the box keeps what it has read and a reader goes on where the page was left in the middle of a long evening while rain "
         "falls on the roof and nobody counts the hours or asks what comes after the last line of the book").split()


def first_words(server, path, body, key=True):
    """(seconds to the first text, the whole text, usage, timings)"""
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=300, context=server.context())
    connection.connect()
    body = dict(body, stream=True, stream_options={"include_usage": True}, temperature=0)
    began, first, text, usage, timings = time.time(), None, "", {}, {}
    connection.request("POST", path, json.dumps(body), {"Authorization": "Bearer " + (server.key() if key is True else key)})
    for line in connection.getresponse():
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if "error" in event:
            raise RuntimeError(event["error"])
        for choice in event["choices"]:
            piece = choice["text"] if "text" in choice else choice["delta"].get("content", "")
            if piece and first is None:
                first = time.time() - began
            text += piece or ""
        usage, timings = event.get("usage") or usage, event.get("timings") or timings
    connection.close()
    return first, text, usage, timings


class Chat:
    """Turns of the built-in model's chat; each has `n` words."""

    name, path = "built-in", "/v1/chat/completions"

    def __init__(self, seed, n=2800):
        text = " ".join(WORDS[(i * i + seed * 7 + i // 11) % len(WORDS)] for i in range(n))
        self.messages = [{"role": "system", "content": "You are a reader. Number %d." % seed}, {"role": "user", "content": text}]

    def first(self):
        return {"messages": self.messages, "max_tokens": 8}

    def second(self, answer, i):
        return {"messages": self.messages + [{"role": "assistant", "content": answer}, {"role": "user", "content": "And %d?" % i}],
                "max_tokens": 8}


class Hybrid:
    """The same of ids, of a model of random numbers whose words mean nothing; END ends a message."""

    name, path, END = "hybrid", "/v1/completions", 511  # <|im_end|>

    def __init__(self, seed, n=4000):
        self.ids = [(i * i + seed * 31 + i // 7) % 300 + 40 for i in range(n)]
        self.ids[60] = self.ids[n - 40] = self.ids[n - 2] = self.END

    def first(self):
        return {"prompt": self.ids, "max_tokens": 8, "ignore_eos": True}

    def second(self, answer, i):
        return {"prompt": self.ids + [50 + i, self.END, 60 + i, 61], "max_tokens": 8, "ignore_eos": True}


class Windows(Hybrid):
    name = "windows"


def kept(server):
    """numbers of /metrics by name"""
    text = server.ask("GET", "/metrics")[2]
    text = text.decode() if isinstance(text, bytes) else text
    return {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("tawny_kept")}


def wait_kept(server, n, seconds=60):
    until = time.time() + seconds
    while kept(server)["tawny_kept_texts"] < n and time.time() < until:
        time.sleep(0.1)
    return kept(server)


def sooner(kind, what, turn1, turn2, disk):
    first, _, usage, _ = turn1
    took, _, again, timings = turn2
    n_cached = again["prompt_tokens_details"]["cached_tokens"]
    check("prefix: %s, %s: %d of %d tokens were there, the first word after %.1f ms instead of %.0f: %.0f times sooner" % (
        kind.name, what, n_cached, again["prompt_tokens"], 1000 * took, 1000 * first, first / took),
        first / took >= SOONER and usage["prompt_tokens"] >= 3900 and n_cached >= usage["prompt_tokens"] - 60, (turn1, turn2))
    check("prefix: %s, %s: timings say what came from the disk" % (kind.name, what),
          timings["cache_n"] == n_cached and timings["cache_disk_n"] == (n_cached if disk else 0), timings)


def conversation(kind, model, seed):
    """The first turn, and second ones after each way of losing the memory, each against an engine that computes them."""
    make = kind(seed)
    options = ("--ctx", "6144", "--parallel", "2")
    name = "prefix-" + kind.name
    server = Server(name, model, options=options)
    server.wait()
    first_words(server, kind.path, kind(seed + 50, n=600).first())  # what is made once is made
    turn1 = first_words(server, kind.path, make.first())
    wanted = {}

    def second(what, numbers, disk, tries=1):
        """disk: each time is that of a server which has just begun: further ones would find it in memory"""
        turns = []
        for i in numbers:
            body = make.second(turn1[1], i)
            turns.append(first_words(server, kind.path, body))
            wanted[i] = (body, turns[-1][1])
        soonest = min(turns, key=lambda t: t[0])
        if turn1[0] / soonest[0] < SOONER and tries < 3:
            return False
        sooner(kind, what, turn1, soonest, disk)
        return True

    second("in memory", (1, 2, 3), False, 3)
    n = wait_kept(server, 2)  # the one that came before, and this
    check("prefix: %s: it is on the disk a while later" % kind.name, n["tawny_kept_texts"] >= 2 and
          n["tawny_kept_bytes"] > 0 and n["tawny_kept_written_bytes_total"] >= n["tawny_kept_bytes"], n)
    files = list((server.state / "prefixes").iterdir())
    check("prefix: %s: nobody else may read it" % kind.name, files and all(f.stat().st_mode & 0o777 == 0o600 for f in files) and
          (server.state / "prefixes").stat().st_mode & 0o777 == 0o700, files)
    server.stop(signal.SIGKILL)
    for what, number, more in (("after a kill", 4, ()), ("after a restart", 5, ()), ("by itself", 6, ("--keep-alive", "1s"))):
        for tries in (1, 2, 3):
            server = Server(name, model, fresh=False, options=options + more)
            server.wait()
            first_words(server, kind.path, kind(seed + 60, n=600).first())
            if second(what, (number,), True, tries):
                break
            server.stop(signal.SIGKILL)
        if not more:
            began = time.time()
            check("prefix: %s: it stops within seconds" % kind.name, server.stop() == 0 and time.time() - began < 9)
    loaded, until = True, time.time() + 30
    while loaded and time.time() < until:
        time.sleep(0.2)
        loaded = any(m["status"] == "ready" for m in server.ask("GET", "/health", key=False)[2].get("models", []))
    check("prefix: %s: it is unloaded" % kind.name, not loaded)
    began = first_words(server, kind.path, make.second(turn1[1], 7))
    check("prefix: %s: after an unload %d of %d tokens came from the disk, the first word after %.1f ms, the model's loading included" % (
        kind.name, began[3]["cache_disk_n"], began[2]["prompt_tokens"], 1000 * began[0]),
        began[3]["cache_disk_n"] >= turn1[2]["prompt_tokens"] - 60, began)
    server.stop()
    scratch = Server(name + "-scratch", model, options=options + ("--keep-prefixes", "0"))
    scratch.wait()
    for i, (body, text) in wanted.items():
        if i in (1, 4, 5):
            took, want, usage, timings = first_words(scratch, kind.path, body)
            check("prefix: %s: turn %d is as computed" % (kind.name, i), text == want and want, (text, want))
    check("prefix: %s: off, nothing is written" % kind.name, not list((scratch.state / "prefixes").iterdir()))
    scratch.stop()


def strangers(model):
    """A prompt that another key has sent, also one that is on the disk, is answered as late as one that nobody has."""
    options = ("--ctx", "6144", "--parallel", "2")
    server = Server("prefix-strangers", model, options=options)
    server.wait()
    keys = [server.ask("POST", "/v1/keys", {"name": n})[2] for n in ("a", "b")]
    a, b = (key["secret"] for key in keys)
    texts = [Chat(100 + i, n=800) for i in range(6)]
    for text in texts[:3]:
        first_words(server, Chat.path, text.first(), key=a)
    wait_kept(server, 3)
    server.stop()
    server = Server("prefix-strangers", model, fresh=False, options=options)
    server.wait()
    first_words(server, Chat.path, Chat(150, n=300).first(), key=b)
    known = [first_words(server, Chat.path, text.first(), key=b) for text in texts[:3]]
    new = [first_words(server, Chat.path, text.first(), key=b) for text in texts[3:]]
    own = [first_words(server, Chat.path, text.first(), key=a) for text in texts[:3]]
    times = [statistics.median(t[0] for t in turns) for turns in (known, new, own)]
    cached = [max(t[2]["prompt_tokens_details"]["cached_tokens"] for t in turns) for turns in (known, new, own)]
    check("prefix: what another key has on the disk takes %.0f ms, what nobody has %.0f, the own %.0f" % tuple(1000 * t for t in times),
          0.5 < times[0] / times[1] < 2 and times[2] < times[0] / 4 and cached[0] <= cached[1] < 100 < cached[2], (times, cached))
    there = set((server.state / "prefixes").iterdir())  # those of the last turns may still be on their way
    server.ask("DELETE", "/v1/keys/" + keys[0]["id"])
    until = time.time() + 20
    while len(there - set((server.state / "prefixes").iterdir())) < 3 and time.time() < until:
        time.sleep(0.1)
    gone = there - set((server.state / "prefixes").iterdir())
    check("prefix: a revoked key's texts are deleted", len(gone) >= 3, (len(there), len(gone)))
    server.stop()


def busy(server, seed):
    """Begins a text whose reading takes the only sequence for the whole turn of its work, 4096 tokens; the thread that asks."""
    thread = threading.Thread(target=lambda: first_words(server, Chat.path, Chat(seed, n=3200).first()))
    thread.start()
    while server.ask("GET", "/health", key=False)[2]["running"] == 0 and thread.is_alive():
        time.sleep(0.01)
    return thread


def too_late(model):
    """A request that says how long it waits is refused when its turn has not come by then; a stream has its head and waits."""
    server = Server("prefix-late", model, options=("--parallel", "1", "--speculation", "off"))
    server.wait()
    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2, "temperature": 0}
    for seed, header in enumerate(("X-Request-Timeout", "X-Stainless-Timeout")):
        other = busy(server, 200 + seed)
        began = time.time()
        status, headers, answer = server.ask("POST", "/v1/chat/completions", body, headers={header: "0.1"})
        check("late: %s: refused after %.1f s" % (header, time.time() - began), status == 503 and "retry-after" in headers and
              "within the 0.1 s" in answer["error"]["message"] and 0.1 < time.time() - began < 5, (status, headers, answer))
        other.join()
    other = busy(server, 202)
    status, _, answer = server.ask("POST", "/v1/chat/completions", dict(body, stream=True), headers={"X-Stainless-Timeout": "0.1"}, timeout=300)
    check("late: a stream waits", status == 200 and b"[DONE]" in answer and b'"error"' not in answer, answer)
    other.join()
    status, _, answer = server.ask("POST", "/v1/chat/completions", body, headers={"X-Request-Timeout": "soon"})
    check("late: what is no number says nothing", status == 200, answer)
    server.stop()


def run(model):
    too_late(model)
    import cases
    conversation(Chat, model, 1)
    for kind, arch, seed in ((Hybrid, "qwen35", 2), (Windows, "gemma3", 3)):
        made = WORK / ("prefix-%s.gguf" % arch)
        cases.make_arch(made, arch, ctx=8192)
        conversation(kind, made, seed)
    strangers(model)
