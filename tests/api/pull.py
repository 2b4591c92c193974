"""Models that are pulled: from servers of this machine that act as a registry, a hub and a plain one over HTTPS, with
redirects, tokens, wrong digests, cut and slow answers, certificates that are not right, a killed engine and a full disk."""

import hashlib
import http.server
import json
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from pathlib import Path

import npm
from parts import split
from tools import SHORT, Server, WORK, check, free_ports, skip

FOLDER = WORK / "pull"
MB = 1 << 20
NAMES = ["localhost", "registry.localhost", "hub.localhost", "cdn.localhost"]


# ---- certificates --------------------------------------------------------------------------------

def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=FOLDER)


def make_ca(name):
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out", name + ".crt", "-days", 30, "-subj", "/CN=" + name)


def make_cert(name, ca, hosts, key="rsa:2048", dates=("-days", "10")):
    (FOLDER / (name + ".ext")).write_text("subjectAltName=%s\n" % ",".join("DNS:" + h for h in hosts))
    extra = ("-pkeyopt", "ec_paramgen_curve:P-256") if key == "ec" else ()
    openssl("req", "-newkey", key, *extra, "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + hosts[0])
    openssl("x509", "-req", "-in", name + ".csr", "-CA", ca + ".crt", "-CAkey", ca + ".key", "-CAcreateserial", "-out", name + ".crt",
            "-extfile", name + ".ext", *dates)
    return FOLDER / (name + ".crt"), FOLDER / (name + ".key")


# ---- the servers ---------------------------------------------------------------------------------

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site = None  # the Site of all of them

    def log_message(self, *_):
        pass

    def send(self, code, body=b"", **fields):
        self.send_response(code)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.close_connection = True
        path, _, query = self.path.partition("?")
        self.site.seen.append((self.command, self.headers["Host"], self.path, self.headers.get("Authorization"), self.headers.get("Range")))
        try:
            self.site.answer(self, path, query)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass

    def file(self, data, cut=None, ranges=True, pace=None, length=True, etag=None):
        """A file, from where it is asked for; cut: the connection breaks after so many bytes; pace: (bytes, seconds) again and again."""
        start = 0
        asked = self.headers.get("Range")
        good = ranges and asked and (self.headers.get("If-Range") in (None, etag))
        if good:
            start = int(asked[len("bytes="):-1])
        self.send_response(206 if good else 200)
        if good:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(data) - 1, len(data)))
        if etag:
            self.send_header("ETag", etag)
        if length:
            self.send_header("Content-Length", str(len(data) - start))
        elif length is None:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        if length is None:
            for at in range(0, len(data), 100000):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data[at:at + 100000]), data[at:at + 100000]))
            self.wfile.write(b"0\r\n\r\n")
            return
        piece = data[start:] if cut is None else data[start:start + cut]
        step, seconds = pace or (len(piece) or 1, 0)
        for at in range(0, len(piece), step):
            self.wfile.write(piece[at:at + step])
            time.sleep(seconds)
        if cut is not None and start + cut < len(data):
            self.connection.close()


class Proxy(socketserver.ThreadingTCPServer):
    """CONNECT as RFC 9110 (9.3.6) has it, to ports that it knows; remembers each head."""
    daemon_threads = allow_reuse_address = True

    class handler(socketserver.BaseRequestHandler):
        def handle(self):
            head, there = b"", None
            while b"\r\n\r\n" not in head and len(head) < 8192:
                piece = self.request.recv(4096)
                if not piece:
                    return
                head += piece
            self.server.seen.append(head.decode())
            method, target, _ = head.split(b" ", 2)
            port = int(target.rpartition(b":")[2])
            if method != b"CONNECT" or port not in self.server.allowed:
                self.request.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nnot there")
                return
            there = socket.create_connection(("127.0.0.1", port))
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\nVia: a test\r\n\r\n")
            back = threading.Thread(target=self.relay, args=(there, self.request), daemon=True)
            back.start()
            self.relay(self.request, there)
            back.join()

        def relay(self, source, sink):
            try:
                while piece := source.recv(65536):
                    sink.sendall(piece)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def __init__(self, allowed):
        super().__init__(("127.0.0.1", 0), self.handler)
        self.allowed, self.seen = allowed, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Site:
    def __init__(self, model):
        self.data = model.read_bytes()
        self.digest = hashlib.sha256(self.data).hexdigest()
        self.other = self.data[:-1] + b"x"
        self.seen, self.slow, self.fails = [], (256 << 10, 0.15), 0
        self.parts = {p.name: p.read_bytes() for p in split(model, FOLDER, "owl-Q4_K_M", 3)}
        make_ca("good")
        make_ca("bad")
        old = ("-not_before", "20200101000000Z", "-not_after", "20200201000000Z")
        kinds = {"rsa": make_cert("rsa", "good", NAMES), "ec": make_cert("ec", "good", NAMES, "ec"),
                 "expired": make_cert("expired", "good", NAMES, dates=old), "wrong": make_cert("wrong", "good", ["elsewhere.localhost"]),
                 "untrusted": make_cert("untrusted", "bad", NAMES), "plain": None}
        self.ports = dict(zip(kinds, free_ports(len(kinds))))
        handler = type("OfSite", (Handler,), {"site": self})
        self.servers = []
        for kind, files in kinds.items():
            server = http.server.ThreadingHTTPServer(("127.0.0.1", self.ports[kind]), handler)
            server.daemon_threads = True
            server.handle_error = lambda *_: None  # clients that refuse the certificate
            if files:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*files)
                # the handshake is the thread's, not the listener's
                server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.servers.append(server)

    def url(self, kind, path, host="localhost"):
        return "http%s://%s:%d%s" % ("" if kind == "plain" else "s", host, self.ports[kind], path)

    def registry(self, request, path, host):
        if path == "/token":
            request.send(200, b'{"token": "anonymous"}')
        elif path.endswith("/private/manifests/latest"):
            request.send(401, WWW_Authenticate='Basic realm="x"')
        elif request.headers.get("Authorization") != "Bearer anonymous":
            request.send(401, WWW_Authenticate='Bearer realm="https://registry.localhost:%d/token",service="a b",scope="repository:x:pull"' % self.ports["rsa"])
        elif "/manifests/" in path:
            name = path.split("/")[3]
            if name not in ("tiny", "wrong", "slow"):
                request.send(404, b'{"errors":[]}')
                return
            layers = [{"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + "0" * 64, "size": 5},
                      {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:" + self.digest, "size": len(self.data)}]
            request.send(200, json.dumps({"schemaVersion": 2, "layers": layers}).encode())
        else:
            request.send(307, Location=self.url("ec", "/cdn/%s?signature=1" % path.split("/")[3], "cdn.localhost"))

    def hub(self, request, path):
        if path.startswith("/api/"):
            tree = [{"type": "file", "path": name, "size": len(data), "lfs": {"oid": hashlib.sha256(data).hexdigest()}} for name, data in self.parts.items()]
            tree += [{"type": "file", "path": "x-Q8_0.gguf", "size": len(self.data), "lfs": {"oid": self.digest}}, {"type": "file", "path": "README.md", "size": 3}]
            request.send(200, json.dumps(tree).encode())
        else:
            request.send(302, Location=self.url("ec", "/cdn/" + path.rsplit("/", 1)[1], "cdn.localhost"), X_Linked_Etag='"%s"' % self.digest)

    def answer(self, request, path, query):
        host = request.headers["Host"].split(":")[0]
        name = path.rsplit("/", 1)[-1]
        if host == "registry.localhost":
            self.registry(request, path, host)
        elif host == "hub.localhost":
            self.hub(request, path)
        elif name == "wrong":
            request.file(self.other)
        elif name in ("slow", "slow.gguf"):
            request.file(self.data, pace=self.slow, etag='"one"')
        elif name in ("cut.gguf", "cut-again.gguf"):  # every connection breaks after 1 MB
            request.file(self.data, cut=MB, ranges=name == "cut.gguf", etag='"one"')
        elif name == "stuck.gguf":
            request.file(self.data, pace=(3 * MB, 300), etag='"one"')
        elif name == "down.gguf":
            request.send(302, Location=self.url("plain", "/whole.gguf"))
        elif name == "loop.gguf":
            request.send(302, Location="/loop.gguf")
        elif name == "token.gguf":
            request.send(302, Location=self.url("ec", "/whole.gguf", "cdn.localhost"))
        elif name == "busy.gguf" and self.fails < 2:
            self.fails += 1
            request.send(503)
        elif name == "page.gguf":
            request.send(200, b"<html>this is no model</html>")
        elif name == "untold.gguf":
            request.file(self.data, length=None)
        elif name == "unending.gguf":  # neither a length nor an end of TLS: nobody knows whether that was all
            request.file(self.data, length=False)
        elif name in self.parts:
            request.file(self.parts[name])
        elif name in ("tiny", "x-Q8_0.gguf", "whole.gguf", "busy.gguf", "far.gguf"):
            request.file(self.data)
        else:
            request.send(404, b"not here")

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()


# ---- asking ----------------------------------------------------------------------------------------

def begin(server, source, **fields):
    status, _, answer = server.ask("POST", "/v1/models/pull", dict(fields, source=source))
    return answer if status == 202 else {"status": status, "error": answer["error"]["message"]}


def wait(server, one, states=("done", "failed", "cancelled"), seconds=90):
    until = time.time() + seconds
    while one.get("id") and one["status"] not in states and time.time() < until:
        time.sleep(0.1)
        status, _, answer = server.ask("GET", "/v1/downloads/" + one["id"])
        one = answer if status == 200 else {"status": "forgotten"}
    return one


def pull(server, source, **fields):
    return wait(server, begin(server, source, **fields))


def whole(server, site, name):
    file = server.state / "models" / (name + ".gguf")
    return file.exists() and file.read_bytes() == site.data


def listed(server, name):
    until = time.time() + 10
    while time.time() < until:
        if name in [m["id"] for m in server.ask("GET", "/v1/models")[2]["data"]]:
            return True
        time.sleep(0.1)
    return False


def left(server):
    """Files that are not whole."""
    return [p.name for p in (server.state / "models" / ".incoming").glob("*")]


# ---- what is checked -------------------------------------------------------------------------------

def sources(server, site):
    one = pull(server, "tiny")
    check("pull: from the registry, by a token that it gives to everybody", one["status"] == "done" and whole(server, site, "tiny") and
          one["bytes"] == one["of_bytes"] == len(site.data), one)
    asked = [s for s in site.seen if "/cdn/tiny" in s[2]]
    check("pull: no token went where the registry led", asked and all(s[3] is None for s in asked) and any(s[3] == "Bearer anonymous" for s in site.seen), asked)
    check("pull: it is listed, and answers", listed(server, "tiny") and server.chat(model="tiny")[0] == 200)
    one = pull(server, "hf.co/own/repo")
    names = ["repo-%05d-of-00003.gguf" % n for n in (1, 2, 3)]
    check("pull: from the hub, all parts of the usual quantisation", one["status"] == "done" and one["files"] == 3 and
          all((server.state / "models" / n).read_bytes() == d for n, d in zip(names, site.parts.values())), one)
    listed(server, "repo")
    check("pull: it answers by the name it was pulled by", server.chat(model="hf.co/own/repo")[0] == 200)
    one = pull(server, "https://hub.localhost:%d/own/repo/blob/main/x-Q8_0.gguf" % site.ports["rsa"])
    check("pull: a file of the hub's page", one["status"] == "done" and whole(server, site, "x-Q8_0"), one)
    asked = {(s[1].split(":")[0], s[3]) for s in site.seen if "hub." in s[1] or "x-Q8_0" in s[2]}
    check("pull: the setting's token went to the hub alone", asked == {("hub.localhost", "Bearer hub-secret"), ("cdn.localhost", None)}, asked)
    one = pull(server, site.url("ec", "/token.gguf"), name="mine")
    asked = [s[1] for s in site.seen if s[3] and "own-secret" in s[3]]
    check("pull: by an address, under a name of one's own", one["status"] == "done" and whole(server, site, "mine") and
          asked and set(asked) == {"localhost:%d" % site.ports["ec"]}, (one, asked))
    one = pull(server, site.url("plain", "/far.gguf"))
    check("pull: by plain http where a setting allows it", one["status"] == "done" and whole(server, site, "far"), one)
    one = pull(server, site.url("rsa", "/untold.gguf"))
    check("pull: from a server that does not say how long it is", one["status"] == "done" and whole(server, site, "untold"), one)
    again = pull(server, site.url("rsa", "/whole.gguf") + "#sha256=" + site.digest, name="mine")
    check("pull: what is here already is not fetched", again["status"] == "done" and not any(s[0] == "GET" and s[2] == "/whole.gguf" and
          str(site.ports["rsa"]) in s[1] for s in site.seen), again)


def catalogue(model):
    """What the box tells of models that are not here; with the context it finds itself."""
    server = Server("catalogue", model)
    server.wait()
    status, _, answer = server.ask("GET", "/v1/catalogue")
    small = {e["name"]: e for e in answer["data"]}.get("embeddinggemma-300M-GGUF:Q8_0", {})
    total = int(next(line for line in open("/proc/meminfo") if line.startswith("MemTotal")).split()[1]) * 1024
    check("pull: the catalogue says what fits", status == 200 and 12 <= len(answer["data"]) <= 20 and 0 < answer["memory"] <= total and
          all(e["fits_disk"] == (e["bytes_about"] <= answer["disk_free"]) and e["source"].startswith("hf.co/") and e["what"] and
              not e["here"] for e in answer["data"]) and small.get("fits_memory"), answer)
    # by the plan: what fits with the usual context is told to fit, with that context at least
    free = answer["memory"] - min(answer["memory"] // 16, 4 << 30)
    check("pull: the catalogue is planned", all(e["memory_about"] > e["bytes_about"] and (
        1024 <= e["context"] <= 131072 and (e["context"] >= 16384 or e["memory_about"] > free * 0.8) if e["fits_memory"] else
        e["context"] is None and e["bytes_about"] + (150 << 20) > free * 0.5) for e in answer["data"] if e["name"] != small.get("name")) and
          small.get("context") == 2048, answer)
    check("pull: the catalogue's server stops", server.stop() == 0)


def refusals(server, site):
    log = server.log
    for source, said in (
            ("nothing", "404"), ("private", "401"), ("wrong", "SHA-256"), (site.url("rsa", "/none.gguf"), "404"),
            ("hf.co/own/repo:Q2_K", "there is no Q2_K"), (site.url("rsa", "/page.gguf"), "GGUF"),
            (site.url("rsa", "/whole.gguf") + "#sha256=" + "0" * 64, "SHA-256"),
            (site.url("rsa", "/loop.gguf"), "redirects"), (site.url("rsa", "/down.gguf"), "from https to http"),
            (site.url("expired", "/x.gguf"), "expired"), (site.url("wrong", "/x.gguf"), "another name"),
            (site.url("untrusted", "/x.gguf"), "trusted authority"), (site.url("plain", "/x.gguf", "cdn.localhost"), "not encrypted"),
            ("https://localhost:1/x.gguf", "cannot be reached"), ("https://nowhere.invalid/x.gguf", "not found"),
            ("https://127.0.0.1:%d/x.gguf" % site.ports["rsa"], "address"), ("https://localhost:%d/x.gguf" % site.ports["plain"], "TLS")):
        one = pull(server, source)
        check("pull: refused with why: %s" % said, one["status"] == "failed" and said in one["error"], one)
    for body, said in (({"source": "a b"}, "NAME:TAG"), ({"source": 5}, "string"), ({}, "source"), ({"source": "x", "name": "a/b"}, "name")):
        status, _, answer = server.ask("POST", "/v1/models/pull", body)
        check("pull: a request that makes no sense: %s" % body, status == 400 and said in answer["error"]["message"], answer)
    one = pull(server, "hf.co/own/repo:Q8_0", name="tiny2")
    other = pull(server, site.url("rsa", "/owl-Q4_K_M-00001-of-00003.gguf"), name="tiny2")
    check("pull: another file under a name that is taken", one["status"] == "done" and other["status"] == "failed" and "already" in other["error"], (one, other))
    check("pull: nothing of what was refused is kept", len(left(server)) <= 4, left(server))  # the two that are under way
    names = [m["id"] for m in server.ask("GET", "/v1/models")[2]["data"]]
    check("pull: nor listed", not {"x", "nothing", "wrong", "page", "down", "loop"} & set(names), names)
    text = log.read_text()
    check("pull: no token is in the log, or in an answer", "hub-secret" not in text and "own-secret" not in text and "anonymous" not in text and
          "secret" not in json.dumps(server.ask("GET", "/v1/downloads")[2]))
    check("pull: a key without the scope may not", server.ask("POST", "/v1/models/pull", {"source": "tiny"}, key=False)[0] == 401)


def cuts(server, site):
    site.seen.clear()
    one = pull(server, site.url("rsa", "/cut.gguf"))
    ranges = [s[4] for s in site.seen if s[0] == "GET" and s[2] == "/cut.gguf"]
    check("pull: cut at every 1 MB it goes on where it was", one["status"] == "done" and whole(server, site, "cut") and
          ranges == [None] + ["bytes=%d-" % (n * MB) for n in range(1, len(site.data) // MB + 1)], (one, ranges))
    before = set(left(server))
    one = begin(server, site.url("rsa", "/cut-again.gguf"))
    time.sleep(3)
    now = server.ask("GET", "/v1/downloads/" + one["id"])[2]
    check("pull: a server without ranges that breaks off never gives more: it is told so", now["status"] in ("waiting", "fetching") and
          now["bytes"] <= MB and not (server.state / "models" / "cut-again.gguf").exists(), now)
    mine = set(left(server)) - before
    gone = server.ask("DELETE", "/v1/downloads/" + one["id"])[2]
    time.sleep(0.5)
    check("pull: cancelled, and what came is deleted", gone["status"] == "cancelled" and mine and not mine & set(left(server)), (gone, left(server)))
    again = server.ask("DELETE", "/v1/downloads/" + one["id"])[2]
    check("pull: a second DELETE changes nothing", again["status"] == "cancelled", again)
    one = pull(server, "wrong")
    gone = server.ask("DELETE", "/v1/downloads/" + one["id"])[2]
    check("pull: one that failed stays failed, with its reason", gone["status"] == "failed" and gone["error"] == one["error"], (one, gone))
    site.fails = 0
    one = pull(server, site.url("rsa", "/busy.gguf"))
    check("pull: a server that is busy at first is not there for a pull that has not begun", one["status"] == "failed" and "503" in one["error"], one)


def killed(server, model, site, options):
    """The engine is killed in the middle: what has come is gone on with, by itself."""
    source = site.url("rsa", "/slow.gguf")
    for i in range(6):  # as many as may run at once
        wait(server, begin(server, site.url("rsa", "/nothing.gguf"), name="dead%d" % i))
    one = begin(server, source, name="survivor")
    for n in (1, 2, 3):
        until = time.time() + 30
        while time.time() < until and one.get("bytes", 0) < n * MB and one["status"] in ("listing", "fetching", "waiting"):
            time.sleep(0.05)
            one = server.ask("GET", "/v1/downloads/" + one["id"])[2]
        server.stop(signal.SIGKILL)
        check("pull: killed at %d MB, it is absent" % n, not (server.state / "models" / "survivor.gguf").exists() and one["bytes"] >= n * MB, one)
        site.seen.clear()
        server = Server("pull", model, options=options, fresh=False)
        server.wait()
        until, one = time.time() + 20, {"status": "none"}
        while time.time() < until and one["status"] == "none":
            time.sleep(0.1)
            one = next((d for d in server.ask("GET", "/v1/downloads")[2]["data"] if d["name"] == "survivor"), one)
    one = wait(server, one)
    asked = [s[4] for s in site.seen if s[0] == "GET" and "slow" in s[2]]
    check("pull: after three kills it is whole, and what was there was not fetched again", one["status"] == "done" and whole(server, site, "survivor") and
          asked and all(a and int(a[6:-1]) > MB for a in asked), (one, asked))
    return server


def ollama(server, site):
    answer = server.ask("POST", "/api/pull", {"model": "slow"})
    lines = [json.loads(line) for line in answer[2].decode().splitlines()]
    status = [line.get("status") for line in lines]
    progress = [line for line in lines if "completed" in line]
    check("pull: Ollama's lines", status[0] == "pulling manifest" and status[-3:] == ["verifying sha256 digest", "writing manifest", "success"] and
          len(progress) >= 3 and all(p["digest"] == "sha256:" + site.digest and p["total"] == len(site.data) and p["status"] == "pulling " + site.digest[:12]
          for p in progress) and [p["completed"] for p in progress] == sorted(p["completed"] for p in progress) and
          progress[-1]["completed"] == len(site.data), lines)
    answer = server.ask("POST", "/api/pull", {"model": "slow:latest", "stream": False})
    check("pull: what is here has nothing to do", answer[0] == 200 and answer[2] == {"status": "success"}, answer)
    answer = server.ask("POST", "/api/pull", {"model": "nothing"})
    check("pull: an error is a line", answer[0] == 200 and "404" in json.loads(answer[2].decode().splitlines()[-1])["error"], answer)
    answer = server.ask("POST", "/api/pull", {"model": "nothing", "stream": False})
    check("pull: or an answer", answer[0] == 404 and "404" in answer[2]["error"], answer)
    npm.client("pull by ollama's client", "ollama_pull.mjs", server, 3)


def full(model, site, options):
    """A disk of 16 MB: what does not fit is refused first; one that fills up meanwhile ends the pull, which goes on later."""
    state = WORK / "pull-full-state"
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(state)], capture_output=True).returncode:
        skip("pull: a full disk", "no file system can be mounted here")
        return
    server = Server("pull-full", model, options=options, fresh=False)
    try:
        server.wait()
        fill = state / "fill"
        fill.write_bytes(bytes(12 * MB))
        one = pull(server, site.url("rsa", "/whole.gguf"))
        check("pull: no room is said before a byte is fetched", one["status"] == "failed" and "room" in one["error"] and not left(server), one)
        fill.write_bytes(bytes(4 * MB))
        one = begin(server, site.url("rsa", "/slow.gguf"))
        one = wait(server, one, ("fetching", "failed"))
        time.sleep(0.6)
        try:
            (state / "more").write_bytes(bytes(16 * MB))
        except OSError:
            pass
        one = wait(server, one)
        check("pull: the disk fills up: it ends, and is absent", one["status"] in ("failed", "done") and
              (one["status"] == "done" or not (state / "models" / "slow.gguf").exists()), one)
        (state / "more").unlink()
        fill.unlink()
        one = pull(server, site.url("rsa", "/slow.gguf"))
        check("pull: with room again it becomes whole", one["status"] == "done" and whole(server, site, "slow"), one)
        check("pull: the server of the full disk stops", server.stop() == 0)
    finally:
        if server.process.poll() is None:
            server.stop()
        subprocess.run(["umount", "-l", str(state)], capture_output=True)


def proxied(model, site, options):
    """By a proxy: it is asked for every host, with no token; what it refuses, and that it is not there, is said."""
    proxy = Proxy({site.ports["rsa"], site.ports["ec"]})
    port = proxy.server_address[1]
    server = Server("pull-proxy", model, options=(*options, "--proxy", "localhost:%d" % port))
    server.wait()
    one = pull(server, "tiny")
    check("pull: through a proxy", one["status"] == "done" and whole(server, site, "tiny"), one)
    lines = {head.splitlines()[0] for head in proxy.seen}
    wanted = {"CONNECT registry.localhost:%d HTTP/1.1" % site.ports["rsa"], "CONNECT cdn.localhost:%d HTTP/1.1" % site.ports["ec"]}
    check("pull: the proxy was asked to connect, also where it is redirected to, and shown no token", wanted <= lines and
          all(line.startswith("CONNECT ") for line in lines) and not any("uthorization" in head or "ecret" in head for head in proxy.seen), proxy.seen)
    one = pull(server, site.url("expired", "/x.gguf"))
    check("pull: what the proxy refuses", one["status"] == "failed" and "proxy" in one["error"] and "403" in one["error"], one)
    proxy.shutdown()
    proxy.server_close()
    one = pull(server, site.url("ec", "/token.gguf"))
    check("pull: a proxy that is not there", one["status"] == "failed" and "localhost:%d" % port in one["error"], one)
    check("pull: the server behind a proxy stops", server.stop() == 0)


def run(model):
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    site = Site(Path(model))
    plain = "localhost:%d" % site.ports["plain"]
    options = (*SHORT, "--ca", str(FOLDER / "good.crt"), "--registry", "registry.localhost:%d" % site.ports["rsa"],
               "--hub", "hub.localhost:%d" % site.ports["rsa"], "--pull-plain", plain,
               "--tokens", "hub.localhost:%d hub-secret, localhost:%d own-secret" % (site.ports["rsa"], site.ports["ec"]))
    server = Server("pull", model, options=options)
    server.wait()
    stuck, unending = (begin(server, site.url("rsa", "/%s.gguf" % name)) for name in ("stuck", "unending"))
    sources(server, site)
    catalogue(model)
    refusals(server, site)
    cuts(server, site)
    ollama(server, site)
    until = time.time() + 60
    while time.time() < until and not whole(server, site, "stuck"):
        time.sleep(0.2)
    check("pull: a server that falls silent is given up after a while, and asked for the rest", whole(server, site, "stuck") and
          "has sent nothing for 30 s" in server.log.read_text())
    check("pull: one that never says its end is given up", wait(server, unending)["status"] in ("failed", "forgotten") and
          "unending.gguf: localhost:%d broke the connection off" % site.ports["rsa"] in server.log.read_text() and
          not (server.state / "models" / "unending.gguf").exists(), unending)
    server = killed(server, model, site, options)
    check("pull: the server stops", server.stop() == 0)
    full(model, site, options)
    proxied(model, site, options)
    site.close()
