"""Models that are sent to the box: by tus with curl and tus's own npm client, in one piece, as Ollama's blobs; cut at every
1 MB by a killed connection and by a killed engine; a full disk; wrong digests, names, offsets and bytes."""

import base64
import hashlib
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import time

import npm
from parts import split
from tools import Server, WORK, check, curl, skip

MB = 1 << 20
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = dict(TUS, **{"Content-Type": "application/offset+octet-stream"})


def meta(**fields):
    return ", ".join("%s %s" % (key, base64.b64encode(value.encode()).decode()) for key, value in fields.items())


def ids(server):
    return [m["id"] for m in server.ask("GET", "/v1/models")[2]["data"]]


def make(server, name, size, **fields):
    """(status, the upload's path, headers, body)"""
    answer = server.ask("POST", "/v1/uploads", headers=dict(TUS, **{"Upload-Length": str(size), "Upload-Metadata": meta(filename=name, **fields)}))
    return answer[0], answer[1].get("location", ""), answer[1], answer[2]


def offset(server, path):
    until = time.time() + 30
    while True:
        status, headers, _ = server.ask("HEAD", path, headers=TUS)
        if status != 423 or time.time() > until:
            return int(headers["upload-offset"]) if status == 200 else -status
        time.sleep(0.1)


def patch(server, path, at, data, **headers):
    return server.ask("PATCH", path, data, headers=dict(PIECE, **{"Upload-Offset": str(at)}, **headers))


def opened(server, method, path, size, headers):
    """A connection on which the head of a request has been sent."""
    tls = server.context().wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=30), server_hostname="127.0.0.1")
    lines = ["%s %s HTTP/1.1" % (method, path), "Host: 127.0.0.1", "Authorization: Bearer " + server.key(), "Content-Length: %d" % size]
    tls.sendall(("\r\n".join(lines + ["%s: %s" % pair for pair in headers.items()]) + "\r\n\r\n").encode())
    return tls


def cut(tls):
    """Ends it as a pulled cable would, as far as the other side can tell: with a reset."""
    tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    tls.close()


def written(folder):
    """Bytes of what arrives, on the disk."""
    try:
        return sum(f.stat().st_size for f in (folder / ".incoming").glob("*.part"))
    except FileNotFoundError:  # one was done with, or given up, between the two
        return -1


def straight(server, folder, data, digest):
    status, headers, _ = server.ask("OPTIONS", "/v1/uploads")
    check("uploads: what is spoken", status == 204 and headers["tus-version"] == "1.0.0" and "termination" in headers["tus-extension"], headers)
    status, path, headers, answer = make(server, "one.gguf", len(data), sha256=digest.upper())
    check("uploads: one is begun", status == 201 and path.startswith("/v1/uploads/") and headers["upload-offset"] == "0", (status, headers, answer))
    status, headers, _ = patch(server, path, 0, data[:3 * MB])
    check("uploads: a piece of it", status == 204 and headers["upload-offset"] == str(3 * MB), (status, headers))
    listed = server.ask("GET", "/v1/uploads")[2]["data"]
    check("uploads: it is listed", [(u["name"], u["bytes"], u["received"], u["status"]) for u in listed] ==
          [("one", len(data), 3 * MB, "arriving")] and "one" not in ids(server), listed)
    check("uploads: HEAD says from where to go on", offset(server, path) == 3 * MB)
    status, headers, answer = patch(server, path, 2 * MB, b"x" * 10)
    check("uploads: a wrong offset is a 409", status == 409 and "goes on at byte %d" % (3 * MB) in answer["error"]["message"], answer)
    status, headers, answer = patch(server, path, 3 * MB, data[3 * MB:])
    check("uploads: the rest", status == 204 and headers["upload-offset"] == str(len(data)), (status, headers, answer))
    model = server.ask("GET", "/v1/models/one")[2]
    check("uploads: it is a model, with its digest", model.get("sha256") == digest and (folder / "one.gguf").read_bytes() == data, model)
    tags = {m["name"]: m["digest"] for m in server.ask("GET", "/api/tags")[2]["models"]}
    check("uploads: Ollama's list has it too", tags.get("one:latest") == digest, tags)
    check("uploads: it answers", server.chat(model="one")[0] == 200)
    check("uploads: who asks late learns that it is done", offset(server, path) == len(data) and server.ask("GET", path)[2]["status"] == "done")


def by_curl(server, data, digest):
    file, key = WORK / "uploads.gguf", "Authorization: Bearer " + server.key()
    file.write_bytes(data)
    code, text = curl(server, "-H", key, "-T", file, server.url + "/v1/models/two?sha256=" + digest)
    check("uploads: curl -T", code == 0 and json.loads(text[text.index("{"):])["status"] == "done" and "two" in ids(server), text[-300:])
    code, text = curl(server, "-H", key, "-T", file, server.url + "/v1/models/")
    check("uploads: curl -T into the folder takes the file's name", code == 0 and "uploads" in ids(server), text[-300:])
    code, text = curl(server, "-H", key, "-H", "Transfer-Encoding: chunked", "-T", file, server.url + "/v1/models/three")
    check("uploads: curl -T of unknown length", code == 0 and "three" in ids(server), text[-300:])
    code, text = curl(server, "-i", "-H", key, "-T", file, server.url + "/v1/models/two")
    check("uploads: a name that is taken is a 409", "409" in text and "there is a model 'two' already" in text, text[-300:])
    for name in ("two", "three", "uploads"):
        server.ask("DELETE", "/v1/models/" + name)


def connection_killed(server, folder, data, digest):
    """At every 1 MB; what was sent is there, but for what was on its way."""
    status, path, _, answer = make(server, "cut.gguf", len(data), sha256=digest)
    at, lost, least = 0, [], True
    for end in range(MB, len(data), MB):
        tls = opened(server, "PATCH", path, len(data) - at, dict(PIECE, **{"Upload-Offset": at}))
        tls.sendall(data[at:end])
        until = time.time() + 10
        while written(folder) < end - 256 * 1024 and time.time() < until:
            time.sleep(0.02)
        cut(tls)
        now = offset(server, path)
        least &= at <= now <= end and now >= end - 256 * 1024
        lost.append(end - now)
        at = now
        if "cut" in ids(server) or (folder / "cut.gguf").exists():
            break
    check("uploads: connection killed at every 1 MB: it goes on, and is not visible", least and len(lost) == (len(data) - 1) // MB, lost)
    status, headers, answer = patch(server, path, at, data[at:])
    check("uploads: killed connections: then it is whole", status == 204 and (folder / "cut.gguf").read_bytes() == data, (status, answer))
    server.ask("DELETE", "/v1/models/cut")


def refused_beside(server, data):
    """Pieces that are refused while another request sends: it goes on."""
    _, path, _, _ = make(server, "beside.gguf", len(data))
    tls = opened(server, "PATCH", path, len(data), dict(PIECE, **{"Upload-Offset": 0}))
    tls.sendall(data[:MB])
    time.sleep(0.3)
    seen = []
    for at, piece, headers in ((0, b"x" * 10, {}), (len(data) - 5, b"x" * 5, {}), (3, b"", {}), (MB, b"x" * len(data), {}), (MB, b"x", {"Tus-Resumable": "9"})):
        status, _, answer = patch(server, path, at, piece, **headers)
        seen.append(status)
    tls.sendall(data[MB:])
    said = tls.recv(4096).decode(errors="replace")
    tls.close()
    check("uploads: refused pieces leave alone the request that sends", seen == [409, 409, 409, 413, 412] and " 204 " in said.splitlines()[0], (seen, said[:300]))
    check("uploads: and it is whole", "beside" in ids(server), ids(server))
    server.ask("DELETE", "/v1/models/beside")


def name_taken(server, folder, data):
    """Its name is given to another file before it is whole: it is kept, HEAD says so, and it may have another."""
    _, path, _, _ = make(server, "late.gguf", len(data))
    patch(server, path, 0, data[:MB])
    (folder / "late.gguf").write_bytes(data)
    last = patch(server, path, MB, data[MB:])
    head, get = server.ask("HEAD", path, headers=TUS)[0], server.ask("GET", path)[2]
    check("uploads: a name that was taken meanwhile is a 409, also when it is asked late", last[0] == 409 and head == 409 and
          get["status"] == "waiting" and get["name"] is None and "of that name" in get["error"], (last, head, get))
    check("uploads: no path of the box's is told", str(folder) not in json.dumps([last[2], get]), (last[2], get))
    again = patch(server, path, len(data), b"")
    check("uploads: and a last empty piece says what to do", again[0] == 409 and "/v1/uploads/upload-" in again[2]["error"]["message"], again)
    bad = [server.ask("POST", path, body) for body in ({"name": "late"}, {"name": 5}, {}, {"name": "a/b"})]
    check("uploads: names that cannot be are refused", [b[0] for b in bad] == [409, 400, 400, 400], bad)
    named = server.ask("POST", path, {"name": "later.gguf"})
    check("uploads: it gets another name", named[0] == 200 and named[2]["id"] == "later" and (folder / "later.gguf").read_bytes() == data, named)
    check("uploads: once", server.ask("POST", path, {"name": "third"})[0] == 404)
    for name in ("late", "later"):
        server.ask("DELETE", "/v1/models/" + name)


def engine_killed(server, folder, data, digest, restart):
    """kill -9 in the middle of a piece, at every 1 MB: whatever was acknowledged is there, and it goes on."""
    status, path, _, answer = make(server, "kill.gguf", len(data), sha256=digest)
    at, good, n = 0, True, 0
    while at < len(data) - MB:
        acknowledged = at
        tls = opened(server, "PATCH", path, len(data) - at, dict(PIECE, **{"Upload-Offset": at}))
        tls.sendall(data[at:min(at + MB + 300000, len(data) - 1000)])
        until = time.time() + 10
        while written(folder) < min(at + MB, len(data) - 256 * 1024) and time.time() < until:
            time.sleep(0.01)
        server.process.kill()
        server.process.wait()
        server.process.stdout.close()
        tls.close()
        good &= not (folder / "kill.gguf").exists()
        server = restart()
        at = offset(server, path)
        good &= at >= min(acknowledged + MB, len(data)) - 256 * 1024 and "kill" not in ids(server)
        n += 1
        if not good or n > 20:
            break
    check("uploads: engine killed at every 1 MB: it goes on, and is not visible", good and n >= 6, (n, at))
    status, headers, answer = patch(server, path, at, data[at:])
    check("uploads: killed engines: then it is whole", status == 204 and (folder / "kill.gguf").read_bytes() == data, (status, answer))
    check("uploads: nothing is left of it", written(folder) == 0 and not list((folder / ".incoming").iterdir()), list((folder / ".incoming").iterdir()))
    server.ask("DELETE", "/v1/models/kill")
    tls = opened(server, "PUT", "/v1/models/kill", len(data), {})
    tls.sendall(data[:2 * MB])
    until = time.time() + 10
    while written(folder) < MB and time.time() < until:
        time.sleep(0.01)
    server.process.kill()
    server.process.wait()
    server.process.stdout.close()
    tls.close()
    server = restart()
    until, status = time.time() + 10, 0
    while status != 201 and time.time() < until:
        time.sleep(0.2)
        status, _, answer = server.ask("PUT", "/v1/models/kill", data)
    check("uploads: what came in one piece when the engine was killed is not in the way of the next try", status == 201, answer)
    server.ask("DELETE", "/v1/models/kill")
    return server


def taken_over(server, data):
    """A client whose connection hangs comes again: the old one is ended, and the new one goes on."""
    _, path, _, _ = make(server, "again.gguf", len(data))
    tls = opened(server, "PATCH", path, len(data), dict(PIECE, **{"Upload-Offset": 0}))
    tls.sendall(data[:MB])
    time.sleep(0.3)
    at = offset(server, path)
    old = tls.recv(4096).decode(errors="replace")
    check("uploads: HEAD takes it from a connection that hangs", 0 < at <= MB and " 409 " in old.splitlines()[0], (at, old[:200]))
    tls.close()
    status, headers, _ = patch(server, path, at, data[at:at + 1000])
    check("uploads: and it goes on there", status == 204 and headers["upload-offset"] == str(at + 1000))
    tls = opened(server, "PATCH", path, len(data) - at - 1000, dict(PIECE, **{"Upload-Offset": at + 1000}))
    tls.sendall(data[at + 1000:at + 2000])
    time.sleep(0.2)
    status, _, _ = server.ask("DELETE", path, headers=TUS)
    check("uploads: deleted while it is sent", status == 204 and offset(server, path) == -404, status)
    tls.close()


def broken(server, folder, data):
    """A body that breaks its format ends the upload's request: what came in front of it stays, or goes with the request."""
    for method, path, wanted in (("PUT", "/v1/models/broken", 0), ("PATCH", make(server, "broken2.gguf", len(data))[1], 1000)):
        tls = server.context().wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=30), server_hostname="127.0.0.1")
        fields = "".join("%s: %s\r\n" % pair for pair in dict(PIECE, **{"Upload-Offset": "0"}).items())
        tls.sendall(("%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n%s\r\n" %
                     (method, path, server.key(), fields)).encode() + b"3e8\r\n" + data[:1000] + b"\r\n")
        time.sleep(0.3)
        tls.sendall(b"nonsense\r\n")
        said = tls.recv(4096).decode(errors="replace")
        tls.close()
        until = time.time() + 10
        while written(folder) != wanted and time.time() < until:
            time.sleep(0.05)
        check("uploads: %s with a broken body is a 400" % method, " 400 " in said.splitlines()[0] and written(folder) == wanted, (said[:300], written(folder)))
        if method == "PATCH":
            check("uploads: and goes on behind what was right", offset(server, path) == 1000)
            server.ask("DELETE", path, headers=TUS)


def stopped(server, folder, data):
    """The server is stopped in the middle of a piece: it ends as it should, and what was sent is there at the next start."""
    _, path, _, _ = make(server, "stop.gguf", len(data))
    tls = opened(server, "PATCH", path, len(data), dict(PIECE, **{"Upload-Offset": 0}))
    tls.sendall(data[:2 * MB])
    until = time.time() + 10
    while written(folder) < 2 * MB - 256 * 1024 and time.time() < until:
        time.sleep(0.02)
    check("uploads: the server stops cleanly in the middle of one", server.stop() == 0, server.log.read_text()[-500:])
    tls.close()
    check("uploads: and what was sent is written", written(folder) >= 2 * MB - 20000, written(folder))


def refusals(server, folder, data, digest):
    def is_(name, answer, code, words):
        text = answer[2]["error"]["message"] if isinstance(answer[2], dict) else str(answer[2])
        check("uploads: %s is a %d" % (name, code), answer[0] == code and words in text, answer)

    def begin(headers, **more):
        return server.ask("POST", "/v1/uploads", headers=dict(TUS, **headers), **more)
    named = {"Upload-Metadata": meta(filename="x.gguf")}
    is_("no length", begin(named), 400, "Upload-Length is missing")
    is_("a length that is none", begin(dict(named, **{"Upload-Length": "-5"})), 400, "Upload-Length is not right")
    is_("no name", begin({"Upload-Length": "5"}), 400, "'filename'")
    is_("metadata that is no base64", begin({"Upload-Length": "5", "Upload-Metadata": "filename %%%"}), 400, "not base64")
    is_("a name with a slash", begin({"Upload-Length": "5", "Upload-Metadata": meta(filename="../x")}), 400, "cannot be a model's name")
    is_("a digest that is none", begin({"Upload-Length": "5", "Upload-Metadata": meta(filename="x", sha256="abc")}), 400, "64 hexadecimal digits")
    is_("an empty file", begin(dict(named, **{"Upload-Length": "0"})), 400, "empty")
    is_("no version of tus", server.ask("POST", "/v1/uploads", headers=dict(named, **{"Upload-Length": "5"})), 412, "Tus-Resumable: 1.0.0")
    is_("another version of tus", begin(dict(named, **{"Upload-Length": "5", "Tus-Resumable": "0.2.2"})), 412, "version 1.0.0")
    is_("a file larger than the disk", begin(dict(named, **{"Upload-Length": str(1 << 55)})), 507, "the disk has no room for it")
    is_("a name that is taken", begin({"Upload-Length": "5", "Upload-Metadata": meta(filename="builtin.gguf")}), 409, "there is a model 'builtin' already")
    is_("a name that stands for any", server.ask("PUT", "/v1/models/*", data), 400, "'*' stands for any")
    is_("a name that is another's with a tag", server.ask("PUT", "/v1/models/builtin:latest", data), 400, "':latest' may be added")
    server.ask("POST", "/v1/models/alias", {"alias": "other", "model": "builtin"})
    is_("an alias's name", server.ask("PUT", "/v1/models/other", data), 409, "is an alias of builtin")
    server.ask("POST", "/v1/models/alias", {"alias": "other", "model": None})
    is_("an unknown upload", patch(server, "/v1/uploads/upload-nothing", 0, b"x"), 404, "There is no upload")
    status, path, _, _ = make(server, "x.gguf", 100)
    for method in ("HEAD", "PATCH"):
        status = server.ask(method, path, b"GGUF" if method == "PATCH" else None)[0]
        check("uploads: %s without Tus-Resumable is a 412" % method, status == 412, status)
    is_("the same name twice", begin({"Upload-Length": "5", "Upload-Metadata": meta(filename="x.gguf")}), 409, "is arriving already")
    is_("another content type", server.ask("PATCH", path, b"x", headers=dict(TUS, **{"Upload-Offset": "0"})), 415, "application/offset+octet-stream")
    is_("no offset", server.ask("PATCH", path, b"x", headers=PIECE), 400, "Upload-Offset is missing")
    is_("more than the file has", patch(server, path, 0, b"x" * 101), 413, "101 bytes")
    is_("a file that is no GGUF", patch(server, path, 0, b"this is no model"), 400, "no GGUF file")
    is_("its second piece", patch(server, path, 16, b"x"), 410, "no GGUF file")
    wrong = ("0" if digest[0] != "0" else "1") + digest[1:]
    status, path, _, _ = make(server, "x.gguf", len(data), sha256=wrong)
    is_("a wrong digest", patch(server, path, 0, data), 400, wrong + " was expected")
    whole = server.ask("PUT", "/v1/models/x", b"GGUF\3\0\0\0" + b"\xff" * 5000)
    for version, words in ((b"\4\0\0\0", "of version 4"), (b"\0\0\0\3", "big-endian"), (b"\0\0\0\0", "of version 0")):
        is_("a GGUF file: " + words, server.ask("PUT", "/v1/models/x", b"GGUF" + version + data[8:]), 400, words)
    is_("a spoilt GGUF file", whole, 400, "cannot be a model")
    is_("PUT without a body", server.ask("PUT", "/v1/models/x"), 411, "Content-Length")
    is_("PUT with another question", server.ask("PUT", "/v1/models/x?a=b", b"x"), 400, "sha256=")
    check("uploads: nothing is left of what was refused", "x" not in ids(server) and not (folder / "x.gguf").exists() and written(folder) == 0)
    chat = server.ask("POST", "/v1/keys", {"name": "chat", "scopes": ["chat"]})[2]["secret"]
    is_("a key without the scope", server.ask("POST", "/v1/uploads", key=chat, headers=named), 403, "scope models")
    is_("no key", server.ask("PUT", "/v1/models/x", b"x" * 10, key=False), 401, "API key")
    entries = [e for e in server.ask("GET", "/v1/audit")[2]["data"] if e.get("path") == "/v1/uploads"]
    check("uploads: what was begun is in the audit", any("one, %d bytes" % len(data) in json.dumps(e) for e in entries), entries[:3])


def blobs(server, folder, data, digest):
    blob = "/api/blobs/sha256:" + digest
    check("uploads: HEAD of a blob that is not there", server.ask("HEAD", blob)[0] == 404)
    wrong = server.ask("POST", "/api/blobs/sha256:" + "0" * 64, data)
    check("uploads: a blob of another digest is a 400", wrong[0] == 400 and "was expected" in wrong[2]["error"], wrong)
    tls = opened(server, "POST", blob, len(data), {})
    tls.sendall(data[:2 * MB])
    time.sleep(0.3)
    cut(tls)
    check("uploads: a blob that is cut is not there", server.ask("HEAD", blob)[0] == 404)
    status, _, answer = server.ask("POST", blob, data)
    check("uploads: a blob", status == 201 and server.ask("HEAD", blob)[0] == 200 and "blob" not in ids(server), (status, answer))
    check("uploads: the same again is here already", server.ask("POST", blob, b"x")[0] == 200)
    for body, words in (({"files": {"a.gguf": "sha256:" + "1" * 64}}, "There is no blob"), ({"files": {"a.gguf": 5}}, "digest"), ({"files": [1]}, "object"),
                        ({"files": {"a.gguf": "sha256:" + digest}, "quantize": "q4_0"}, "'quantize' is not supported")):
        answer = server.ask("POST", "/api/create", dict(body, model="blob"))
        check("uploads: create with %s is refused" % json.dumps(body)[:40], answer[0] == 400 and words in answer[2]["error"], answer)
    npm.client("uploads: ollama npm", "uploads_ollama.mjs", server, 4, TAWNY_DIGEST=digest)
    check("uploads: created of a blob", (folder / "blob.gguf").exists() and (folder / "blob.gguf").read_bytes() == data, list(folder.iterdir()))
    for name in ("blob", "blob2"):
        server.ask("DELETE", "/v1/models/" + name)


def parts(server, folder, model):
    """A model in three parts, the last one first: it is there when all are, and each is a part of it."""
    pieces = WORK / "split"
    shutil.rmtree(pieces, ignore_errors=True)
    pieces.mkdir()
    files = split(model, pieces, "big", 3)[::-1]
    whole = model.read_bytes()
    bad = [server.ask("PUT", "/v1/models/big-00002-of-00003.gguf", data) for data in (b"GGUF\3\0\0\0" + random.randbytes(5000), whole, files[0].read_bytes())]
    check("uploads: what is no part, or another one, is refused", [b[0] for b in bad] == [400] * 3 and all("cannot be a model" in b[2]["error"]["message"] for b in bad), bad)
    seen = []
    for file in files:
        status, _, answer = server.ask("PUT", "/v1/models/" + file.name, file.read_bytes())
        seen.append((status, "big" in ids(server), (folder / file.name).exists()))
    check("uploads: the parts of a model are visible together", seen == [(202, False, False), (202, False, False), (201, True, True)], (seen, answer))
    check("uploads: and answer", server.chat(model="big")[0] == 200 and not list((folder / ".incoming").iterdir()))
    server.ask("DELETE", "/v1/models/big")
    digests = {file.name: "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest().upper() for file in files}
    sent = [server.ask("POST", "/api/blobs/" + digests[file.name], file.read_bytes())[0] for file in files]
    few = server.ask("POST", "/api/create", {"model": "made", "files": dict(list(digests.items())[:1]), "from": "big"})
    check("uploads: 'from' beside 'files' is refused", few[0] == 400 and "'from' and 'files'" in few[2]["error"], few)
    made = server.ask("POST", "/api/create", {"model": "made", "files": digests})
    check("uploads: a model of blobs that are parts, digests in capitals", sent == [201] * 3 and made[0] == 200 and server.chat(model="made")[0] == 200, (sent, made))
    server.ask("DELETE", "/v1/models/made")


def full_disk(model, data):
    """A file system of 12 MB for the models: what cannot fit is refused first; what grows until it is full goes."""
    state = WORK / "uploads-full-state"
    folder = state / "models"
    shutil.rmtree(state, ignore_errors=True)
    folder.mkdir(parents=True)
    sudo = [] if os.getuid() == 0 else ["sudo"]
    if subprocess.run([*sudo, "mount", "-t", "tmpfs", "-o", "size=12m,mode=777", "tmpfs", folder], stderr=subprocess.DEVNULL).returncode:
        skip("uploads: a full disk", "no file system can be mounted here")
        return
    server = Server("uploads-full", model, fresh=False)
    try:
        server.wait()
        status, _, _, answer = make(server, "large.gguf", 13 * MB)
        check("uploads: a file that does not fit is refused first", status == 507 and "no room" in answer["error"]["message"], (status, answer))
        status, path, _, answer = make(server, "first.gguf", len(data))
        check("uploads: one that fits is begun", status == 201, answer)
        status, _, _, answer = make(server, "second.gguf", 6 * MB)
        check("uploads: what is promised is not promised twice", status == 507, (status, answer))
        patch(server, path, 0, data[:MB])
        try:
            (folder / "other").write_bytes(b"x" * 8 * MB)  # somebody else fills the disk
        except OSError:
            pass
        status, _, answer = patch(server, path, MB, data[MB:])
        check("uploads: what was set aside holds when others fill the disk", status == 204 and "first" in ids(server), (status, answer))
        server.ask("DELETE", "/v1/models/first")
        endless = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (data[i:i + 65536] for i in range(0, len(data), 65536))) * 2 + b"0\r\n\r\n"
        tls = server.context().wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=30), server_hostname="127.0.0.1")
        tls.sendall(("PUT /v1/models/endless HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n" % server.key()).encode())
        try:
            tls.sendall(endless)
        except OSError:
            pass
        said = tls.recv(65536).decode(errors="replace")
        tls.close()
        until = time.time() + 10
        while written(folder) and time.time() < until:
            time.sleep(0.05)
        check("uploads: a disk that is full in the middle is a 507, and nothing stays", " 507 " in said.splitlines()[0] and "the disk is full" in said and
              written(folder) == 0 and "endless" not in ids(server), said[:400])
        (folder / "other").unlink()
        status, path, _, _ = make(server, "later.gguf", len(data))
        status, _, answer = patch(server, path, 0, data)
        check("uploads: with room again it goes on", status == 204 and "later" in ids(server), (status, answer))
        check("uploads: that server stops cleanly", server.stop() == 0, server.log.read_text()[-500:])
    finally:
        server.process.kill()
        subprocess.run([*sudo, "umount", folder], check=False)


def digests(server, folder, data, digest):
    """The digest of a file that somebody put there is made when there is time."""
    (folder / "put.gguf").write_bytes(data)
    until = time.time() + 60
    while time.time() < until and server.ask("GET", "/v1/models/put")[2].get("sha256") != digest:
        time.sleep(0.3)
    check("uploads: the digest of a file that was put there", server.ask("GET", "/v1/models/put")[2].get("sha256") == digest)
    check("uploads: it is kept", digest in (folder.parent / "digests").read_text())


def run(model):
    random.seed(1)
    data = model.read_bytes()
    data += random.randbytes(max(0, 8 * MB - len(data)))
    digest = hashlib.sha256(data).hexdigest()
    server = Server("uploads", model)
    folder = server.state / "models"
    server.wait()
    straight(server, folder, data, digest)
    by_curl(server, data, digest)
    server.ask("DELETE", "/v1/models/one")
    connection_killed(server, folder, data, digest)
    taken_over(server, data)
    refused_beside(server, data)
    name_taken(server, folder, data)

    def restart():
        again = Server("uploads", model, fresh=False)
        again.wait()
        return again
    server = engine_killed(server, folder, data, digest, restart)
    broken(server, folder, data)
    refusals(server, folder, data, digest)
    parts(server, folder, model)
    blobs(server, folder, data, digest)
    npm.client("uploads: tus npm", "uploads_tus.mjs", server, 5, TAWNY_FILE=str(WORK / "uploads.gguf"))
    check("uploads: what tus sent", (folder / "tus.gguf").exists() and (folder / "tus.gguf").read_bytes() == data, list(folder.iterdir()))
    digests(server, folder, data, digest)
    stopped(server, folder, data)
    full_disk(model, data)
