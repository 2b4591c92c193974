"""Starting, stopping, failing: keys, signals, models that cannot be loaded, what PID 1 is told."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from tools import FLAVOUR, ROOT, Server, WORK, check, free_ports, run_verb, stream


def heartbeat(model, **env):
    """what the engine tells PID 1 in its first seconds"""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    beating = subprocess.Popen([str(ROOT / "build" / FLAVOUR / "tawny"), "serve", "--model", str(model), "--state", str(WORK / "beat-state"),
                                "--device", "cpu",
                                "--listen", "127.0.0.1:%d" % free_ports(1)[0], "--listen-http", ""], pass_fds=(writer,),
                               env=dict(os.environ, TAWNY_HEARTBEAT_FD=str(writer), **env), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    os.close(writer)
    time.sleep(6.5)
    beating.terminate()
    said = beating.communicate(timeout=10)[0]
    beats = os.read(reader, 4096).decode()
    os.close(reader)
    return beats, said


def handed_over(model):
    """sockets as systemd hands them over: one that `listen` names, one that nothing does"""
    wanted, unnamed = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    ports = wanted.getsockname()[1], unnamed.getsockname()[1]
    reader, writer = os.pipe()
    passed = unnamed.fileno(), wanted.fileno(), writer
    prefix = ("python3", "-c", "import os, sys; os.dup2(%d, 52); os.dup2(%d, 53); os.dup2(%d, 54); os.dup2(52, 3); os.dup2(53, 4); os.dup2(54, 5); "
              "os.closerange(6, 64); os.environ.update(LISTEN_FDS='2', LISTEN_PID=str(os.getpid()), TAWNY_HEARTBEAT_FD='5'); "
              "os.execv(sys.argv[1], sys.argv[1:])" % passed)
    server = Server("handed", model, prefix=prefix, listen_http="", ports=(ports[0], 0), pass_fds=passed)
    wanted.close(), unnamed.close(), os.close(writer)
    health = server.wait()
    check("life: who handed them over is told which are served", b"serves 1\n" in os.read(reader, 4096))
    os.close(reader)
    check("life: a socket that was handed over answers", health and health["status"] == "ready", health)
    log = server.log.read_text()
    with socket.socket() as client:
        refused = client.connect_ex(("127.0.0.1", ports[1])) != 0
    check("life: of one that no setting names nobody takes a connection, with a line", refused and
          "a socket for 127.0.0.1:%d was handed over, and neither listen nor listen-http names it" % ports[1] in log, log[-600:])
    server.stop()


def told_by_init(model):
    """what PID 1 says of its own is in the log, with its level; what it tells of the start page is a QR code"""
    reader, writer = os.pipe()
    beats, beat = os.pipe()
    prefix = ("env", "TAWNY_LOG_FD=%d" % reader, "TAWNY_HEARTBEAT_FD=%d" % beat)
    os.write(writer, b"6net: eth0 has 192.0.2.7\n4data: no partition was f")
    server = Server("relay", model, prefix=prefix, pass_fds=(reader, beat))
    os.close(reader), os.close(beat)
    server.wait()
    os.write(writer, b"ound\nnonsense\n\n6\n4" + b"x" * 5000 + b"\n6clock: \x1b[2J is right\n")
    lines = []
    for _ in range(100):
        lines = [(line["level"], line["text"]) for line in server.ask("GET", "/v1/logs")[2]["data"]]
        if any("clock:" in text for _, text in lines):
            break
        time.sleep(0.1)
    check("life: what PID 1 says is in /v1/logs, with its level", ("info", "net: eth0 has 192.0.2.7") in lines and
          ("warn", "data: no partition was found") in lines and ("info", "clock:  [2J is right") in lines, lines[-6:])
    check("life: ... and nothing that it does not say so", not any("nonsense" in text or len(text) > 1000 for _, text in lines), lines[-6:])
    server.stop()
    said = os.read(beats, 65536).decode()
    check("life: under PID 1 a server that nobody can reach has no QR code", "qr 0\n" in said and "qr 2" not in said, said[:200])
    os.close(writer), os.close(beats)


def run(model):
    handed_over(model)
    told_by_init(model)
    first = Server("life", model)
    first.wait()
    key, ca, printed = first.key(), first.ca.read_text(), first.stdout()
    modes = {p.name: p.stat().st_mode & 0o777 for p in (first.state / "api-key", first.state / "tls" / "ca.key",
                                                        first.state / "tls" / "server.key")}
    check("life: secrets have mode 0600", set(modes.values()) == {0o600}, modes)
    check("life: the console gets url, fingerprint and key", "url https://" in printed and "API key " + key in printed and
          re.search(r"^CA fingerprint SHA-256 (?:[0-9A-F]{2}:){31}[0-9A-F]{2}$", printed, re.M), printed)
    check("life: a key has 200 random bits", re.fullmatch(r"tawny-[0-9a-z]{40}", key), key)
    check("life: SIGINT stops it too", first.stop(signal.SIGINT) == 0)
    second = Server("life", model, fresh=False)
    second.wait()
    check("life: key and CA stay", second.key() == key and second.ca.read_text() == ca)
    long = threading.Thread(target=lambda: server_answers.append(stream(second, "Count", 900, temperature=1.5)))
    server_answers = []
    long.start()
    time.sleep(0.5)
    check("life: stops within seconds under a stream", second.stop() == 0)
    long.join(10)
    (second.state / "api-key").unlink()
    third = Server("life", model, fresh=False)
    third.wait()
    check("life: a removed key file means a new key", third.key() != key and len(third.key()) == len(key))
    twice = run_verb("serve", "--model", model, "--state", third.state, "--listen", "127.0.0.1:%d" % free_ports(1)[0], "--listen-http", "")
    check("life: a second server on one state folder is refused, and says who has it", twice[0] == 1 and "another server (process %d) has the state directory %s" % (third.process.pid, third.state) in twice[2], twice)
    clash = run_verb("serve", "--model", model, "--state", WORK / "clash-state", "--listen", "127.0.0.1:%d" % third.port,
                     "--listen-http", "")
    check("life: a port in use is said", clash[0] == 1 and "in use" in clash[2], clash)
    third.stop()
    broken = WORK / "broken.gguf"
    broken.write_bytes(Path(model).read_bytes()[:5000])
    for name, path in (("cut off", broken), ("missing", WORK / "missing.gguf")):
        server = Server("broken", path)
        health = server.wait()
        check("life: a model that is %s: /health says failed, and why" % name, health and health["status"] == "failed" and
              path.name in health["error"], health)
        status, headers, answer = server.chat()
        check("life: ... and requests get a 500 with the reason, and no invitation to try again", status == 500 and
              "retry-after" not in headers and headers.get("x-should-retry") == "false" and path.name in answer["error"]["message"], answer)
        server.stop()
    beats, said = heartbeat(model)
    check("life: heartbeats of both threads and ready reach the pipe", beats.count("beat net\n") >= 2 and
          beats.count("beat compute\n") >= 2 and beats.count("ready\n") == 1, repr(beats))
    check("life: loading is told before ready", 0 <= beats.find("loading\n") < beats.find("ready\n"), repr(beats))
    check("life: under PID 1 no url that only this machine can open", "no url yet" in said and "url https" not in said, said)
    beats, said = heartbeat(model, TAWNY_SKIP_MODEL="loading it ended the engine 2 times")
    check("life: a model that PID 1 leaves out is not loaded", "failed\n" in beats and "ready\n" not in beats, repr(beats))
    check("life: ... and why is told", re.search(r"no model is loaded: the model .*: loading it ended the engine 2 times", said), said)
    config = WORK / "bad.conf"
    config.write_bytes(b"\xef\xbb\xbf# made on another system\r\nmodle = x\r\n")
    bad = run_verb("serve", "--config", config)
    check("life: a misspelt setting is named with its line", bad[0] == 2 and "line 2" in bad[2] and '"modle"' in bad[2], bad)
