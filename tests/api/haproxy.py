"""Debian's HAProxy with boot/haproxy/haproxy.cfg over three engines: a conversation stays where its beginning is, one engine is
killed under load, and no request is lost that had not begun to stream."""

import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import threading
import time

from tools import ROOT, WORK, Server, check, free_ports, in_test_root, skip

PLACE = WORK / "haproxy"
KEY = "tawny-three-boxes-one-key"
PARALLEL, CLIENTS = 3, 36
HOSTNAMES = {"box1": "tawny", "box2": "tawny-2", "box3": "owl"}
BOXES = {"box1": "192.0.2.11", "box2": "192.0.2.12", "box3": "192.0.2.13"}


def engine(model, name, ports=None):
    """A box with the key of all; its state stays when it comes again."""
    state = WORK / ("haproxy-%s-state" % name)
    if not ports:
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir(parents=True)
        (state / "api-key").write_text(KEY + "\n")
    return Server("haproxy-" + name, model, fresh=False, ports=ports, options=("--parallel", str(PARALLEL), "--ctx", "2048", "--hostname", HOSTNAMES[name]))


class Balancer:
    """HAProxy with the recipe, in which only addresses and places are changed."""

    def __init__(self, root, engines):
        self.port, self.stats = free_ports(2)
        self.pid = PLACE / "haproxy.pid"
        text = (ROOT / "boot/haproxy/haproxy.cfg").read_text()
        pem = PLACE / "tawny.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", PLACE / "key.pem", "-out", PLACE / "cert.pem"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.ca = PLACE / "cert.pem"
        pem.write_text(self.ca.read_text() + (PLACE / "key.pem").read_text())
        (PLACE / "tawny-ca.pem").write_text("".join(e.ca.read_text() for e in engines.values()))
        for name, address in BOXES.items():
            text = text.replace("%s:443" % address, "127.0.0.1:%d" % engines[name].port)
        for old, new in (("bind :443", "bind 127.0.0.1:%d" % self.port), ("/etc/haproxy", str(PLACE)), ("maxconn 4 ", "maxconn %d " % PARALLEL),
                         ("    log /dev/log local0\n", "    log 127.0.0.1:9 local0\n"), ("    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n", "")):
            assert old in text, old
            text = text.replace(old, new)
        text += "\nfrontend stats\n    bind 127.0.0.1:%d\n    stats enable\n    stats uri /stats\n    no option http-buffer-request\n" % self.stats
        (PLACE / "haproxy.cfg").write_text(text)
        code, self.said = in_test_root(root, "haproxy", "-D", "-f", PLACE / "haproxy.cfg", "-p", self.pid)
        self.good = code == 0

    def table(self):
        """name -> its row of the statistics"""
        connection = http.client.HTTPConnection("127.0.0.1", self.stats, timeout=10)
        connection.request("GET", "/stats;csv")
        lines = connection.getresponse().read().decode().lstrip("# ").splitlines()
        connection.close()
        names = lines[0].split(",")
        rows = [dict(zip(names, line.split(","))) for line in lines[1:]]
        return {row["svname"]: row for row in rows if row["pxname"] == "engines"}

    def wait(self, n_up, seconds=30):
        until = time.time() + seconds
        while time.time() < until:
            if sum(row["status"].startswith("UP") for name, row in self.table().items() if name in BOXES) == n_up:
                return True
            time.sleep(0.2)
        return False

    def stop(self):
        if self.pid.exists():
            for pid in self.pid.read_text().split():
                os.kill(int(pid), signal.SIGTERM)


def ask(balancer, context, body, path="/v1/chat/completions", key=KEY, method="POST", headers=None):
    """(status, headers, body, whether the body came to its end) of one request; status None: there was no answer."""
    connection = http.client.HTTPSConnection("127.0.0.1", balancer.port, timeout=120, context=context)
    status, fields, text = None, {}, b""
    try:
        headers = dict(headers or {}, **({"Authorization": "Bearer " + key} if key else {}))
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        status, fields = answer.status, {k.lower(): v for k, v in answer.getheaders()}
        while True:
            piece = answer.read1(65536)
            if not piece:
                return status, fields, text, answer.isclosed()
            text += piece
    except (OSError, http.client.HTTPException):
        return status, fields, text, False
    finally:
        connection.close()


def chat(text, **fields):
    return dict({"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 12}, **fields)


def affinity(balancer, context):
    where, cached = {}, []
    for turn in range(2):
        for i in range(9):
            status, fields, text, _ = ask(balancer, context, chat("I am client %d. " % i + "Once upon a time. " * 20, prompt_cache_key="talk-%d" % i, max_tokens=2))
            where.setdefault(i, []).append(fields.get("x-tawny-box"))
            if turn and status == 200:
                usage = json.loads(text)["usage"]
                cached.append(usage["prompt_tokens_details"]["cached_tokens"] / usage["prompt_tokens"])
    check("haproxy: a conversation goes to the box that has its beginning", all(a == b and a for a, b in where.values()) and len(cached) == 9 and
          min(cached) > 0.9, (where, cached))
    check("haproxy: and conversations to all boxes", len({a for a, _ in where.values()}) >= 2, where)


def refusals(balancer, context):
    status, _, text, _ = ask(balancer, context, chat("hello"), key=None)
    check("haproxy: without a key nothing reaches a box", status == 401 and b"missing_api_key" in text, (status, text))
    check("haproxy: a wrong key is the box's to refuse", ask(balancer, context, chat("hello"), key="wrong" * 5)[0] == 401)
    # All paths that one box alone can answer, off the boxes' own table, and ways to write them that a box would understand.
    table = re.findall(r'\{"([A-Z]+)", "(/[^"]*)", (?:true|false), ', (ROOT / "engine/api/route.c").read_text())
    alike = re.compile("/(v1/(chat/completions|completions|responses/?|messages(/count_tokens)?|embeddings|rerank|reranking|models/?|reference)|completions?|infill|"
                       "apply-template|tokenize|detokenize|props|health|api/(chat|generate|embed|embeddings|tags|show|version))")
    own = [(method, path) for method, path in table if not alike.fullmatch(path)]
    own += [(method, "/" + path) for method, path in own]
    own += [("GET", path) for path in ("/v1/v1/keys", "/v1//keys", "/v1/%6beys", "/v1/models/x", "/v1/chat/../keys", "/v1/keys?/v1/models", "/metrics/")]
    seen = [(method, path, ask(balancer, context, None, path=path, method=method, key=key)[0]) for method, path in own for key in (KEY, None)]
    check("haproxy: what belongs to one box is not asked here", len(own) > 80 and all(one[2] == 404 for one in seen), [one for one in seen if one[2] != 404])
    seen = [(path, ask(balancer, context, None, path=path, method="GET")[0]) for path in ("/health", "//v1/models/", "/api/tags", "/v1/reference")]
    check("haproxy: what all boxes answer alike is", all(status == 200 for _, status in seen), seen)
    status, _, text, _ = ask(balancer, context, None, path="/v1/models", method="GET")
    check("haproxy: the list of models is", status == 200 and json.loads(text)["data"], (status, text))
    big = chat("x" * 400000)
    status, _, text, _ = ask(balancer, context, big)
    check("haproxy: a body larger than its buffer arrives whole", status == 400 and b"context_length_exceeded" in text, (status, text[:200]))


def whole(status, fields, text, ended):
    if status != 200 or not ended:
        return False
    if fields.get("content-type", "").startswith("text/event-stream"):
        return text.rstrip().endswith(b"data: [DONE]") and b'"error"' not in text
    return json.loads(text)["choices"][0]["finish_reason"] in ("stop", "length")


def killed(balancer, context, engines, model):
    """Half of the clients stream; all answers are long enough that the boxes are busy when one is killed."""
    answers, go_on = [], threading.Event()
    lock = threading.Lock()

    def client(i):
        n = 0
        while n < 2 or not go_on.is_set():
            body = chat("Client %d asks for the %d. time." % (i, n), max_tokens=150, ignore_eos=True, temperature=1.2, seed=i, stream=bool(i % 2),
                        prompt_cache_key="client-%d" % i)
            found = ask(balancer, context, body)
            with lock:
                answers.append((time.time(), i % 2 == 1, found))
            n += 1

    threads = [threading.Thread(target=client, args=(i,)) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    before = balancer.table()
    victim = max(BOXES, key=lambda name: int(before[name]["scur"]))
    at = time.time()
    engines[victim].process.kill()
    engines[victim].process.wait()
    out = balancer.wait(2)
    took = time.time() - at
    time.sleep(2)
    again = engine(model, victim, (engines[victim].port, engines[victim].plain))
    engines[victim].stop()
    engines[victim] = again
    again.wait()
    back = balancer.wait(3, 60)
    served = int(balancer.table()[victim]["stot"])
    until = time.time() + 60
    while time.time() < until and int(balancer.table()[victim]["stot"]) < served + 5:
        time.sleep(0.2)
    used = int(balancer.table()[victim]["stot"])
    go_on.set()
    for thread in threads:
        thread.join()
    after = balancer.table()
    lost = [(t - at, streams, status, len(text)) for t, streams, (status, fields, text, ended) in answers if not whole(status, fields, text, ended)]
    begun = [one for one in lost if one[1] and one[2] == 200]
    again = sum(int(after[name]["wretr"]) + int(after[name]["wredis"]) - int(before[name]["wretr"]) - int(before[name]["wredis"]) for name in BOXES)
    print("        %d answers; %s had %s under way when it was killed, was out after %.1f s; %d sent again; %d streams that had begun were cut" %
          (len(answers), victim, before[victim]["scur"], took, again, len(begun)))
    check("haproxy: the box was killed at work", int(before[victim]["scur"]) == PARALLEL and again > 0 and out, (before[victim], again))
    check("haproxy: no request is lost that had not begun to stream", len(lost) == len(begun) <= PARALLEL and len(answers) > 2 * CLIENTS - 1, lost)
    check("haproxy: the box comes back and is used again", back and used >= served + 5, (back, served, used))


def run(model):
    done = subprocess.run([ROOT / "engine/deps/root.sh", "haproxy", "trixie", "haproxy", "openssl", "ca-certificates"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        skip("haproxy", "its root cannot be made: %s" % done.stderr.strip().splitlines()[-1:])
        return
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    engines = {name: engine(model, name) for name in BOXES}
    for one in engines.values():
        one.wait()
    balancer = Balancer(done.stdout.strip(), engines)
    try:
        if check("haproxy: it takes the recipe, without a warning", balancer.good and "WARNING" not in balancer.said, balancer.said[-600:]) and \
                check("haproxy: all three boxes are well", balancer.wait(3), balancer.good and balancer.table()):
            context = ssl.create_default_context(cafile=str(balancer.ca))
            affinity(balancer, context)
            refusals(balancer, context)
            killed(balancer, context, engines, model)
    finally:
        balancer.stop()
        for one in engines.values():
            one.stop()
