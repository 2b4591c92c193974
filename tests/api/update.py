"""/v1/update: a bundle is received whole, handed over on the heartbeat pipe, and what PID 1 says of it is told. PID 1 is this
test here: it reads the pipe and writes the file; tests/boot/update.py has the real one."""

import os
import random
import time

import uploads
from tools import Server, WORK, check

UPDATE = "/v1/update"


class Init:
    """The two things that PID 1 and the engine share for updates: a pipe and a file."""

    def __init__(self):
        self.status = WORK / "update-status"
        self.read, self.write = os.pipe()
        os.set_blocking(self.read, False)
        self.heard = b""

    def says(self, **values):
        new = self.status.with_suffix(".new")
        new.write_text("".join("%s=%s\n" % pair for pair in values.items()))
        new.rename(self.status)

    def line(self, start, seconds=20):
        """The first line that begins so, and what came before it is forgotten."""
        until = time.time() + seconds
        while time.time() < until:
            try:
                self.heard += os.read(self.read, 4096)
            except BlockingIOError:
                pass
            lines = self.heard.split(b"\n")
            for i, line in enumerate(lines[:-1]):
                if line.startswith(start.encode()):
                    self.heard = b"\n".join(lines[i + 1:])
                    return line.decode()
            time.sleep(0.05)
        return ""

    def server(self, model, fresh=True):
        os.environ.update(TAWNY_UPDATE=str(self.status), TAWNY_HEARTBEAT_FD=str(self.write))
        try:
            return Server("update", model, fresh=fresh, pass_fds=(self.write,))
        finally:
            del os.environ["TAWNY_UPDATE"], os.environ["TAWNY_HEARTBEAT_FD"]


def state(server):
    return server.ask("GET", UPDATE)[2]


def soon(answer, seconds=20):
    until = time.time() + seconds
    while time.time() < until:
        if answer():
            return True
        time.sleep(0.05)
    return False


def arrivals(server):
    folder = server.state / "models/.incoming"
    return sorted(p.name for p in folder.glob("update-*")) if folder.is_dir() else []


def without(model):
    server = Server("no-update", model)
    server.wait()
    status, _, answer = server.ask("GET", UPDATE)
    check("update: without PID 1 none is supported", status == 200 and answer == {"object": "update", "supported": False, "state": "none"}, answer)
    status, _, answer = server.ask("POST", UPDATE, b"x" * 100)
    check("update: and none is taken", status == 501 and "by hand" in answer["error"]["message"], (status, answer))
    server.stop()


def refusals(server, init):
    secret = server.ask("POST", "/v1/keys", {"name": "chat"})[2]["secret"]
    codes = [server.ask(method, UPDATE, body, key=key)[0] for method, body in (("GET", None), ("POST", b"x")) for key in (False, secret)]
    check("update: it wants a key, and one that may administer", codes == [401, 403, 401, 403], codes)
    for query, body, headers, wanted in (("?newer", b"x", {}, 400), ("", None, {}, 411), ("", b"", {"Content-Length": "300000000"}, 413)):
        status = server.ask("POST", UPDATE + query, body, headers=headers)[0]
        check("update: POST%s with %s is refused with %d" % (query, headers or body, wanted), status == wanted, status)
    init.says(state="trying", running="v2", running_built=7)
    status, _, answer = server.ask("POST", UPDATE, b"x" * 100)
    check("update: none is taken while one is on trial", status == 409 and answer["error"]["code"] == "update_under_way", (status, answer))


def taken(server, init):
    random.seed(5)
    data = random.randbytes(3 << 20)
    init.says(state="none", running="v1", running_built=1790000000)
    status, _, answer = server.ask("POST", UPDATE, data)
    check("update: it is taken, and is being checked", status == 202 and answer["state"] == "checking" and
          answer["running"] == {"version": "v1", "built": 1790000000}, (status, answer))
    line = init.line("update")
    name = line.partition(" ")[2]
    file = server.state / "models/.incoming" / (name + ".part")
    check("update: PID 1 hears of it", line.startswith("update update-") and len(name) == 31, line)
    listed = server.ask("GET", "/v1/uploads")[2]["data"]
    gone = server.ask("DELETE", "/v1/uploads/" + name, headers={"Tus-Resumable": "1.0.0"})[0]
    check("update: it is no upload of a model, neither listed nor given up", listed == [] and gone == 404, (listed, gone))
    check("update: the file is whole", file.exists() and file.read_bytes() == data, file)
    check("update: what PID 1 has not begun is still being checked", state(server)["state"] == "checking", state(server))
    check("update: it is no model", server.ask("GET", "/v1/models/" + name)[0] == 404 and
          all(name not in str(m) for m in server.ask("GET", "/v1/models")[2]["data"]))
    init.says(state="refused", version="v2", why="it is signed by nobody", running="v1", running_built=1790000000)
    answer = state(server)
    check("update: a refusal is told with its reason", answer["state"] == "refused" and answer["why"] == "it is signed by nobody" and
          answer["version"] == "v2", answer)
    status, _, answer = server.ask("POST", UPDATE + "?older=yes", data[:1 << 20])
    line = init.line("update")
    check("update: an older one is asked for as such", status == 202 and line.startswith("update-older update-older-"), (status, line))
    check("update: the file before it is gone", soon(lambda: not file.exists()), arrivals(server))
    init.says(state="verified", version="v0", running="v1", running_built=1790000000, other="v0", other_built=5)
    answer = state(server)
    check("update: both systems are named", answer["state"] == "verified" and answer["other"] == {"version": "v0", "built": 5}, answer)
    check("update: none is taken before that was tried", server.ask("POST", UPDATE, data)[0] == 409)


def cut(server, init):
    init.says(state="none", running="v1", running_built=1)
    tls = uploads.opened(server, "POST", UPDATE, 2 << 20, {})
    tls.sendall(bytes(1 << 20))
    check("update: it is being received", soon(lambda: state(server)["state"] == "receiving" and state(server)["received"] == 1 << 20), state(server))
    uploads.cut(tls)
    check("update: one that was cut is forgotten", soon(lambda: state(server)["state"] == "none" and not arrivals(server)), arrivals(server))
    check("update: and PID 1 hears nothing of it", not init.line("update", 0.5))


def run(model):
    without(model)
    init = Init()
    init.says(state="none", running="v1", running_built=1790000000)
    server = init.server(model)
    server.wait()
    refusals(server, init)
    taken(server, init)
    check("update: a whole one lies there", len(arrivals(server)) == 2, arrivals(server))
    server.stop()
    server = init.server(model, fresh=False)
    server.wait()
    check("update: after a restart it does not", not arrivals(server), arrivals(server))
    cut(server, init)
    status = server.stop()
    check("update: it ends cleanly", status == 0, status)
