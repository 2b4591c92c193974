"""Backup, restore and reset: opened by a reading of the format that is not ours, put into another server, refused where it must be."""

import hashlib
import json
import shutil
import subprocess
import threading
from pathlib import Path

from settings import as_init, read_line
from tools import WORK, Server, check

PASSWORD = "correct horse battery ü"
FIELDS = ["object", "version", "hostname", "made", "iterations", "salt", "nonce", "sealed"]


def chacha20(key, counter, nonce, data):
    """By openssl, whose IV is the counter and the nonce."""
    return subprocess.run(["openssl", "enc", "-chacha20", "-K", key.hex(), "-iv", (counter.to_bytes(4, "little") + nonce).hex()],
                          input=data, capture_output=True, check=True).stdout


def poly1305(key, text):
    r = int.from_bytes(key[:16], "little") & 0x0ffffffc0ffffffc0ffffffc0fffffff
    sum_ = 0
    for i in range(0, len(text), 16):
        sum_ = (sum_ + int.from_bytes(text[i:i + 16] + b"\1", "little")) * r % ((1 << 130) - 5)
    return ((sum_ + int.from_bytes(key[16:], "little")) & ((1 << 128) - 1)).to_bytes(16, "little")


def opened(backup, password):
    """{name: bytes} by RFC 8018 and RFC 8439 as Python and openssl have them; None: the tag is wrong."""
    salt, nonce, sealed = (bytes.fromhex(backup[name]) for name in ("salt", "nonce", "sealed"))
    key = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, backup["iterations"], 32)
    beside = f"tawny.backup 1 {backup['made']} {backup['hostname']}".encode()
    text, tag = sealed[:-16], sealed[-16:]

    def whole(part):
        return part + bytes(-len(part) % 16)
    one_time = chacha20(key, 0, nonce, bytes(64))[:32]
    if poly1305(one_time, whole(beside) + whole(text) + len(beside).to_bytes(8, "little") + len(text).to_bytes(8, "little")) != tag:
        return None
    plain = chacha20(key, 1, nonce, text)
    head = b"tawny backup 1\n"
    check("backup: what is in it begins with its version", plain.startswith(head), plain[:40])
    files, plain = {}, plain[len(head):]
    while plain:
        line, plain = plain.split(b"\n", 1)
        name, n = line.decode().split(" ")
        files[name], plain = plain[:int(n)], plain[int(n):]
    return files


def refused(server, path, body, http, code, param=None, key=True):
    status, _, answer = server.ask("POST", path, body, key=key)
    error = answer.get("error", {}) if isinstance(answer, dict) else {}
    check("backup: refused: %s %.50s" % (path, body), (status, error.get("code")) == (http, code) and (not param or error.get("param") == param), (status, answer))


def at_once(server):
    answers = []
    both = [threading.Thread(target=lambda: answers.append(server.ask("POST", "/v1/backup", {"password": PASSWORD})[0])) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    return sorted(answers)


def made(server):
    server.ask("PUT", "/v1/settings", {"parallel": 3, "hostname": "owl"})
    secret = server.ask("POST", "/v1/keys", {"name": "phone", "scopes": ["chat"]})[2]["secret"]
    status, headers, backup = server.ask("POST", "/v1/backup", {"password": PASSWORD})
    check("backup: a file", status == 200 and list(backup) == FIELDS and headers["content-disposition"].startswith('attachment; filename="tawny-backup-'),
          (status, headers))
    files = opened(backup, PASSWORD)
    check("backup: opened by others", files is not None and opened(backup, PASSWORD + "x") is None)
    wanted = {name: (server.state / name).read_bytes() for name in ("api-key", "keys.json", "settings.conf", "tls/ca.crt", "tls/ca.key")}
    check("backup: the files are those of the disk", all(files.get(name) == text for name, text in wanted.items()), {name: len(text) for name, text in files.items()})
    check("backup: nothing of it is told in plain", not any(word in json.dumps(backup) for word in (secret, server.key(), "PRIVATE", "parallel")))
    again = server.ask("POST", "/v1/backup", {"password": PASSWORD})[2]
    check("backup: no two are alike", again["salt"] != backup["salt"] and again["nonce"] != backup["nonce"] and again["sealed"] != backup["sealed"])
    rounds = []
    while len(rounds) < 10 and [200, 409] not in rounds:  # on a loaded machine one may be over before the other comes
        rounds.append(at_once(server))
    check("backup: one at a time", rounds[-1] == [200, 409] and all(one == [200, 200] for one in rounds[:-1]), rounds)
    for path in ("/v1/backup", "/v1/restore", "/v1/reset"):
        refused(server, path, {}, 403, "missing_scope", key=secret)
        refused(server, path, {}, 401, "missing_api_key", key=False)
    refused(server, "/v1/backup", {}, 400, "missing_parameter", "password")
    refused(server, "/v1/backup", {"password": "too short"}, 400, "invalid_value", "password")
    refused(server, "/v1/backup", {"password": "x" * 201}, 400, "invalid_value", "password")
    refused(server, "/v1/backup", {"password": PASSWORD, "backup": {}}, 400, "unknown_parameter", "backup")
    refused(server, "/v1/reset", {"confirm": "erase"}, 501, "unsupported_value")
    (server.state / "aliases").write_text("no pair\n")  # as only a hand can write it
    refused(server, "/v1/backup", {"password": PASSWORD}, 500, "not_kept")
    (server.state / "aliases").unlink()
    return backup, secret, wanted


def damaged(server, backup):
    def other(**fields):
        return {"password": PASSWORD, "backup": {**backup, **fields}}
    flipped = "%02x" % (int(backup["sealed"][:2], 16) ^ 1) + backup["sealed"][2:]
    for body in (other(sealed=flipped), other(hostname="other", iterations=100000), {"password": PASSWORD + "x", "backup": backup}):
        refused(server, "/v1/restore", body, 400, "wrong_password", "password")
    for body in (other(object="backup"), other(version=2), other(salt="00"), other(nonce=backup["nonce"].upper() + "zz"), other(sealed="xy"), other(sealed=None),
                 other(iterations=1000001), other(iterations=1), {"password": PASSWORD, "backup": []}):
        refused(server, "/v1/restore", body, 400, "invalid_value")
    refused(server, "/v1/restore", {"password": PASSWORD}, 400, "missing_parameter", "backup")
    check("backup: what is refused leaves nothing behind", not (server.state / "restore.pending").exists())


def sealed(backup, files):
    """A backup of these files under the same password, made by what is not ours."""
    salt, nonce = (bytes.fromhex(backup[name]) for name in ("salt", "nonce"))
    key = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, 100000, 32)
    beside = f"tawny.backup 1 {backup['made']} {backup['hostname']}".encode()
    text = chacha20(key, 1, nonce, b"tawny backup 1\n" + b"".join(b"%s %d\n%s" % (name.encode(), len(one), one) for name, one in files.items()))

    def whole(part):
        return part + bytes(-len(part) % 16)
    tag = poly1305(chacha20(key, 0, nonce, bytes(64))[:32], whole(beside) + whole(text) + len(beside).to_bytes(8, "little") + len(text).to_bytes(8, "little"))
    return {**backup, "iterations": 100000, "sealed": (text + tag).hex()}


def of_no_use(server, backup):
    """Under the right password, and yet no server would start from it."""
    files = opened(backup, PASSWORD)
    for other in ({"api-key": b"short\n"}, {"api-key": b"two words that are long enough\n"}, {"tls/ca.crt": files["tls/server.crt"]}, {"tls/ca.key": None}, {"tls/ca.crt": None},
                  {"tls/server.key": files["tls/ca.key"]}, {"tls/server.crt": b"-----BEGIN CERTIFICATE-----\n"}, {"settings.conf": b'ctx = "512"\nstate = "/tmp/x"\n'},
                  {"keys.json": b"{}"}, {"keys.json": b'{"keys":[{"id":"box","name":"x","sha256":"%s"}]}' % (b"0" * 64)}, {"keys.json": files["keys.json"][:-1]},
                  {"aliases": b"no pair\n"}, {"aliases": b"a: builtin\na: builtin\n"}, {"aliases": b"".join(b"a%d: b\n" % i for i in range(129))}):
        forged = {name: text for name, text in {**files, **other}.items() if text is not None}
        refused(server, "/v1/restore", {"password": PASSWORD, "backup": sealed(backup, forged)}, 400, "invalid_value", "backup")
    check("backup: what is of no use is not kept", not (server.state / "restore.pending").exists())


def waits(server):
    """Until the restart nothing is changed that the restore would undo."""
    for method, path, body in (("PUT", "/v1/settings", {"ctx": 1024}), ("POST", "/v1/keys", {"name": "lost"}), ("POST", "/v1/models/defaults", {"model": "builtin", "top_k": 5}),
                               ("POST", "/v1/models/alias", {"model": "builtin", "alias": "lost"})):
        status, _, answer = server.ask(method, path, body)
        check("backup: waits for a restart: " + path, status == 409 and answer["error"]["code"] == "restore_waits", (status, answer))
    check("backup: and the settings say so", server.ask("GET", "/v1/settings")[2]["waits_for_restart"] is True)


def halfway(server, model):
    """A restore that cannot be done whole is not done at all, and the start fails; the next one does it."""
    before = {path: path.read_bytes() for path in server.state.rglob("*") if path.is_file() and path.suffix not in (".log",)}
    (server.state / "tls/server.key.restore" / "in the way").mkdir(parents=True)
    again = Server("backup-other", model, fresh=False)
    code = again.process.wait(60)
    check("backup: where it fails halfway, the start fails", code == 1 and "not restored" in again.log.read_text(), code)
    check("backup: and nothing has changed", all(path.read_bytes() == text for path, text in before.items()) and
          [path.name for path in server.state.rglob("*.restore")] == ["server.key.restore"], list(server.state.rglob("*")))
    (server.state / "tls/server.key.restore" / "in the way").rmdir()
    (server.state / "tls/server.key.restore").rmdir()


def brought_back(model, backup, secret, wanted):
    """Into a server that has been another one."""
    server = Server("backup-other", model)
    server.wait()
    server.ask("PUT", "/v1/settings", {"ctx": 512})
    damaged(server, backup)
    of_no_use(server, backup)
    status, _, answer = server.ask("POST", "/v1/restore", {"password": PASSWORD, "backup": backup})
    check("backup: restored", status == 200 and answer["restarting"] is False and {"api-key", "keys.json", "settings.conf"} <= set(answer["restored"]) and
          answer["made"] == backup["made"], (status, answer))
    check("backup: what runs is what ran", server.ask("GET", "/v1/keys")[0] == 200)
    pending = server.state / "restore.pending"
    check("backup: it lies there for its owner alone", pending.stat().st_mode & 0o777 == 0o600)
    waits(server)
    server.stop()
    kept = pending.read_bytes()
    halfway(server, model)
    server = Server("backup-other", model, fresh=False)
    health = server.wait()
    check("backup: after the start the files are those of the backup",
          all((server.state / name).read_bytes() == text for name, text in wanted.items() if name != "keys.json") and not pending.exists(), health)
    check("backup: its keys are taken", server.ask("GET", "/v1/models", key=secret)[0] == 200 and server.ask("GET", "/v1/keys")[0] == 200)
    one = {one["name"]: one for one in server.ask("GET", "/v1/settings")[2]["settings"]}
    check("backup: its settings count, others are gone", one["parallel"]["value"] == "3" and one["ctx"]["set_by"] == "default", (one["parallel"], one["ctx"]))
    server.stop()
    with open(server.state / "settings.conf", "a") as file:  # as only a hand can write it
        file.write('state = "build/elsewhere"\n')
    pending.write_bytes(kept[:-1])  # half of it, as no server leaves it: nothing changes, and it goes
    server = Server("backup-other", model, fresh=False)
    server.wait()
    check("backup: what is not whole is left out and said", not pending.exists() and "was not restored" in server.log.read_text() and
          server.ask("GET", "/v1/models", key=secret)[0] == 200)
    faults = server.ask("GET", "/v1/settings")[2].get("settings_faults", [])
    by = [one["set_by"] for one in server.ask("GET", "/v1/settings")[2]["settings"] if one["name"] == "state"]
    check("backup: where the state is kept is not said there", any("state" in one for one in faults) and by == ["command line"], (faults, by))
    server.stop()


def under_init(model, backup):
    server, beats, ours = as_init(model, None)
    server.wait()
    status, _, answer = server.ask("POST", "/v1/restore", {"password": PASSWORD, "backup": backup})
    check("backup: under PID 1 the server starts again", status == 200 and answer["restarting"] is True and read_line(beats, b"restart") and
          server.process.wait(20) == 0, (status, answer))
    ours()
    server, beats, ours = as_init(model, None, fresh=False)
    check("backup: and the box, where PID 1 reads what has changed", read_line(beats, b"reboot"))
    server.wait()
    refused(server, "/v1/reset", {}, 400, "invalid_value", "confirm")
    refused(server, "/v1/reset", {"confirm": "yes"}, 400, "invalid_value", "confirm")
    refused(server, "/v1/reset", {"confirm": "erase", "keep_models": "x"}, 400, "invalid_type", "keep_models")
    check("backup: nothing is marked", not (server.state / "reset.pending").exists())
    status, _, answer = server.ask("POST", "/v1/reset", {"confirm": "erase", "keep_models": True})
    check("backup: a reset is marked for PID 1", status == 202 and answer == {"object": "reset", "keep_models": True, "restarting": True} and
          (server.state / "reset.pending").read_text() == "erase but models\n" and read_line(beats, b"reboot"), (status, answer))
    server.stop()
    ours()


def in_memory(model):
    """The folder that PID 1 names where no data partition can be written: it holds nothing to erase."""
    state = Path("/run/tawny")
    before = set(state.iterdir()) if state.exists() else set()
    server, beats, ours = as_init(model, None, fresh=False, state=state)
    server.wait()
    refused(server, "/v1/reset", {"confirm": "erase"}, 409, "in_memory")
    check("backup: nothing is marked in memory", not (state / "reset.pending").exists())
    server.stop()
    ours()
    for one in set(state.iterdir()) - before:
        shutil.rmtree(one) if one.is_dir() else one.unlink()


def run(model):
    server = Server("backup", model)
    server.wait()
    backup, secret, wanted = made(server)
    (WORK / "backup.json").write_text(json.dumps(backup))
    server.stop()
    brought_back(model, backup, secret, wanted)
    under_init(model, backup)
    in_memory(model)
