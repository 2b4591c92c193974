"""What the topics of tests/api share: checks and their count, the server, a client, curl, the root with node and Chromium.

Servers are started on free ports of 127.0.0.1 with a state directory of their own under build/test/api/TOPIC. The model is
engine/builtin/builtin.gguf, or what TAWNY_TEST_MODEL names, or else a small one made by tests/golden/mkgguf.py (then the
skills are skipped). Node and Chromium run in a root of their own, made once by engine/deps/root.sh.
"""

import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = ROOT / "tests" / "api"
WORK = ROOT / "build" / "test" / "api"  # the topic's own folder in it once `run` has said which
CLIENTS = WORK / "npm-clients"  # of all topics
FLAVOUR = os.environ.get("TAWNY_TEST_FLAVOUR", "host")
TEST_ROOT_PACKAGES = "nodejs npm chromium curl libnss3-tools python3 openssl ca-certificates".split()

# For a server whose context is filled to its end: with the built-in model's 32768 tokens that would take minutes.
SHORT = ("--ctx", "1024")

passed, failed, skipped = 0, 0, 0
port_marks = []  # of free_ports: held to the end


def add(found):
    """Adds (passed, failed[, skipped]) that a program of its own has counted."""
    global passed, failed, skipped
    passed, failed, skipped = passed + int(found[0]), failed + int(found[1]), skipped + int(found[2] if len(found) > 2 and found[2] else 0)


def check(name, good, detail=""):
    global passed, failed
    if good:
        passed += 1
        print("ok      %s" % name, flush=True)
    else:
        failed += 1
        print("FAILED  %s: %s" % (name, str(detail)[:600]), flush=True)
    return bool(good)


def skip(name, why):
    global skipped
    skipped += 1
    print("skipped %s: %s" % (name, why), flush=True)


def kept_port(port):
    """Keeps it for this topic, by a UDP socket of that number, which is in no TCP server's way; False: somebody has it."""
    mark = socket.socket(type=socket.SOCK_DGRAM)
    try:
        mark.bind(("127.0.0.1", port))
        with socket.socket() as s:
            s.bind(("127.0.0.1", port))
    except OSError:
        mark.close()
        return False
    port_marks.append(mark)
    return True


def free_ports(n):
    """Ports of 127.0.0.1 that no other topic is given while this one runs; where there is room beside them, none of those
    that connections are given, which would have to be let go before the server takes it."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    among = range(10000, first) if first > 12000 else range(last + 1, 65000) if last < 60000 else range(10000, 32768)
    ports = []
    while len(ports) < n:
        port = random.choice(among)
        if kept_port(port):
            ports.append(port)
    return ports


class Server:
    """tawny serve, in a flavour, behind a prefix of words; .stop() gives its exit status. On the processor, unless told
    otherwise: a GPU of this machine is the device tier's."""

    def __init__(self, name, model, flavour=FLAVOUR, fresh=True, options=(), device="cpu", prefix=(), listen_http=None, ports=None, pass_fds=(), state=None, program="tawny"):
        self.state = state or WORK / (name + "-state")
        if fresh:
            shutil.rmtree(self.state, ignore_errors=True)
        self.port, self.plain = ports or free_ports(2)
        self.url = "https://127.0.0.1:%d" % self.port
        self.log = WORK / (name + ".log")
        command = [*prefix, str(ROOT / "build" / flavour / program), "serve", "--model", str(model), "--state", str(self.state),
                   "--device", device,
                   "--listen", "127.0.0.1:%d" % self.port, "--listen-http",
                   "127.0.0.1:%d" % self.plain if listen_http is None else listen_http,
                   "--log", "debug", *options]
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=1:abort_on_error=0")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment, pass_fds=pass_fds)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.printed = ""
        self.ca = self.state / "tls" / "ca.crt"

    def key(self):
        return (self.state / "api-key").read_text().strip()

    def stdout(self):
        data = self.process.stdout.read()
        self.printed += data.decode() if data else ""
        return self.printed

    def context(self):
        return ssl.create_default_context(cafile=str(self.ca))

    def ask(self, method, path, body=None, key=True, headers=None, timeout=60):
        """(status, headers, parsed body or bytes)"""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.context())
        try:
            headers = dict(headers or {})
            if key:
                headers["Authorization"] = "Bearer " + (self.key() if key is True else key)
            data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read()
            if text and (answer.getheader("Content-Type") or "").startswith("application/json"):
                text = json.loads(text)
            return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), text
        finally:
            connection.close()

    def chat(self, text="hello", **fields):
        body = {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 16}
        return self.ask("POST", "/v1/chat/completions", dict(body, **fields))

    def wait(self, wanted=("ready", "failed"), seconds=60):
        """/health's last answer, once its status is one of those wanted."""
        until, answer = time.time() + seconds, None
        while time.time() < until and self.process.poll() is None:
            try:
                answer = self.ask("GET", "/health", key=False, timeout=5)[2]
                if answer["status"] in wanted:
                    return answer
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.1)
        return answer

    def stop(self, signal_number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = "it did not stop within 20 s"
            self.process.wait()
        self.stdout()
        self.process.stdout.close()
        return status


def find_model():
    """(path, whether it is the built-in one)"""
    builtin = ROOT / "engine" / "builtin" / "builtin.gguf"
    if os.environ.get("TAWNY_TEST_MODEL"):
        return Path(os.environ["TAWNY_TEST_MODEL"]), Path(os.environ["TAWNY_TEST_MODEL"]).name == "builtin.gguf"
    if builtin.exists():
        return builtin, True
    made = WORK / "tiny.gguf"
    if not made.exists():
        subprocess.run([ROOT / "tests" / "golden" / "mkgguf.py", "tiny", made, "--type", "q8_0"], check=True)
    return made, False


def curl(server, *arguments):
    """curl with the CA: (exit status, output)"""
    command = ["curl", "-sS", "--max-time", "60", "--cacert", str(server.ca), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return done.returncode, done.stdout


def events_of(text):
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def stream(server, text, n_tokens, slow=0.0, leave_after=None, **fields):
    """(text, finish_reason, largest pause between two pieces in s)"""
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=120, context=server.context())
    body = dict({"messages": [{"role": "user", "content": text}], "stream": True, "temperature": 0, "max_tokens": n_tokens}, **fields)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": "Bearer " + server.key()})
    answer = connection.getresponse()
    got, finish, pause, last, n = "", None, 0.0, time.time(), 0
    for line in answer:
        if not line.startswith(b"data: {"):
            continue
        now = time.time()
        pause, last, n = max(pause, now - last), now, n + 1
        event = json.loads(line[6:])
        if "error" in event:
            return event["error"]["message"], "error", pause
        if event["choices"]:
            got += event["choices"][0]["delta"].get("content", "")
            finish = event["choices"][0]["finish_reason"] or finish
        if leave_after and n >= leave_after:
            connection.close()
            return got, "left", pause
        time.sleep(slow)
    connection.close()
    return got, finish, pause


def run_verb(*arguments, text=None):
    if arguments and arguments[0] in ("chat", "bench"):
        arguments = (*arguments, "--device", "cpu")
    done = subprocess.run([str(ROOT / "build" / FLAVOUR / "tawny"), *map(str, arguments)], input=text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, errors="replace")
    return done.returncode, done.stdout, done.stderr


def test_root():
    """The root with node and chromium, or why there is none."""
    done = subprocess.run([ROOT / "engine/deps/root.sh", "test", "trixie", *TEST_ROOT_PACKAGES], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        return None, "its root cannot be made: %s" % done.stderr.strip().splitlines()[-1:]
    return done.stdout.strip(), None


def in_test_root(root, *command, timeout=180, cwd=ROOT):
    done = subprocess.run([ROOT / "engine/deps/enter.sh", "--in", root, *map(str, command)], stdout=subprocess.PIPE, cwd=cwd,
                          stderr=subprocess.STDOUT, text=True, timeout=timeout, errors="replace")
    return done.returncode, done.stdout
