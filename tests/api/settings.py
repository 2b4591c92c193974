"""Settings over HTTP: listed, set, taken back, refused, kept over a restart; a wrong tawny.conf leaves a box that says so."""

import http.client
import json
import os
import select
import socket
import subprocess
import sys
import time

from tools import WORK, Server, check, free_ports, skip

PATH = "/v1/settings"
# Takes a port and becomes the program that is named behind it.
TAKES = """import os, socket, sys
taken = socket.create_server(("127.0.0.1", int(sys.argv[1])))
taken.set_inheritable(True)
os.execv(sys.argv[2], sys.argv[2:])"""


def listed(server):
    return {one["name"]: one for one in server.ask("GET", PATH)[2]["settings"]}


def reading(server):
    status, headers, answer = server.ask("GET", PATH)
    names = [one["name"] for one in answer["settings"]]
    check("settings: every one is listed once", status == 200 and len(names) == len(set(names)) > 20 and headers["cache-control"] == "no-store", (status, names))
    one = listed(server)
    check("settings: value, default, meaning, who set it", one["ctx"]["value"] == one["ctx"]["default"] == "auto" and one["ctx"]["set_by"] == "default" and
          one["ctx"]["help"] and one["device"]["set_by"] == "command line" and one["device"]["value"] == "cpu", (one["ctx"], one["device"]))
    check("settings: which need the box restarted", one["hostname"]["needs"] == "restart of the box" and one["ctx"]["needs"] == "restart", one["hostname"])
    chat = server.ask("POST", "/v1/keys", {"name": "phone"})[2]["secret"]
    check("settings: they are an administrator's", server.ask("GET", PATH, key=False)[0] == 401 and server.ask("GET", PATH, key=chat)[0] == 403 and
          server.ask("PUT", PATH, {"ctx": 512}, key=chat)[0] == 403)


def warned(server):
    """What may come later, or what stands beneath something else, is set, and said."""
    for body, said in (({"model": "nope"}, "model: the command line"), ({"pin": "nope, builtin"}, "no model 'nope'"), ({"alias": "a: b"}, "no model 'b'"), ({"draft": "/etc/passwd"}, "no model '/etc/passwd'"),
                       ({"ca": "/nonexist/x.pem"}, "/nonexist/x.pem cannot be read"), ({"models": "/nonexist"}, "/nonexist cannot be read"), ({"gateway": "9.9.9.9"}, "'address' has none"),
                       ({"address": "10.0.0.5/24", "gateway": "10.0.0.1"}, None), ({"address": "10.0.0.5/32", "gateway": "172.31.1.1"}, None), ({"alias": "a: builtin"}, None), ({"device": "banana"}, "command line sets it")):
        status, _, answer = server.ask("PUT", PATH, body)
        check("settings: warned: %s" % body, status == 200 and (len(answer["warnings"]) == 1 and said in answer["warnings"][0] if said else "warnings" not in answer), (status, answer))
    one = listed(server)
    check("settings: what comes is seen beside what is", (one["alias"]["value"], one["alias"]["next"], one["alias"]["waits_for"]) == (None, "a: builtin", "restart") and
          one["address"]["waits_for"] == "restart of the box" and "next" not in one["device"] and "next" not in one["parallel"] and "waits_for" not in one["parallel"], one)
    server.ask("PUT", PATH, dict.fromkeys(("model", "pin", "alias", "draft", "ca", "models", "gateway", "address", "device")))
    answer = server.ask("GET", PATH)[2]
    check("settings: nothing waits when all is as it runs", answer["waits_for_restart"] is False and not any("next" in one for one in answer["settings"]), answer)


def box(server):
    """The machine under it: whatever sensors there are, what is told of each is whole."""
    status, headers, answer = server.ask("GET", "/v1/box")
    sensors = answer["sensors"]
    check("box: where it is, its time", status == 200 and headers["cache-control"] == "no-store" and answer["hostname"] and abs(answer["time"] - time.time()) < 60 and
          0 < answer["serving_since"] <= answer["time"] and answer["up_s"] > 0 and any(one.startswith("https://") for one in answer["addresses"]), answer)
    check("box: its sensors", all(one["kind"] in ("temperature", "power", "clock", "fan", "busy") and one["unit"] and isinstance(one["value"], (int, float)) for one in sensors), sensors)
    chat = server.ask("POST", "/v1/keys", {"name": "box phone"})[2]["secret"]
    check("box: an administrator's", server.ask("GET", "/v1/box", key=False)[0] == 401 and server.ask("GET", "/v1/box", key=chat)[0] == 403)


def refusals(server):
    bad = (({"ctx": "many"}, "ctx"), ({"ctx": [1]}, "ctx"), ({"ctxx": 5}, "ctxx"), ({"parallel": 0}, "parallel"), ({"hostname": "-x"}, "hostname"),
           ({"state": "/tmp"}, "state"), ({"cors": 'a"b'}, "cors"), ({"cors": "x\ny"}, "cors"), ({"address": "300.1.1.1/24"}, "address"),
           ({"hostname": "localhost"}, "hostname"), ({"hostname": "123"}, "hostname"), ({"address": "10.0.0.0/24"}, "address"), ({"address": "10.0.0.255/24"}, "address"),
           ({"address": "10.0.0.5/24", "gateway": "9.9.9.9"}, "gateway"), ({"model": "x\u202eflugg.x"}, "model"),
           ({"cors": "https://chat.example/"}, None), ({"alias": "x"}, None), ({"models": "stick"}, None), ({"listen": "nowhere"}, None), ({"listen": "192.0.2.77:8443, [2001:db8::77]:8443"}, "listen"), ({"pull-plain": "no port"}, None), ({"proxy": "x" * 5000}, "proxy"), ({"restart": True}, "restart"), ({"restart": "yes"}, "restart"))
    for body, param in bad:
        status, _, answer = server.ask("PUT", PATH, body)
        error = answer.get("error", {}) if isinstance(answer, dict) else {}
        check("settings: refused: %.60s" % body, status == 400 and error.get("param") == param and error.get("message"), (status, answer))
    status, _, answer = server.ask("PUT", PATH, {"ctx": 1024, "parallel": 99})
    check("settings: all of it or nothing", status == 400 and not (server.state / "settings.conf").exists(), (status, answer))


def changing(server, model):
    status, _, answer = server.ask("PUT", PATH, {"ctx": 1024, "tokens": "hf.co SECRET-OF-MINE", "open-metrics": True})
    check("settings: set", status == 200 and answer["changed"] == "ctx, tokens, open-metrics" and answer["needs"] == "restart", (status, answer))
    check("settings: what runs is what ran", listed(server)["ctx"]["value"] == "auto" and server.ask("GET", PATH)[2]["waits_for_restart"] is True and
          server.ask("GET", "/health", key=False)[2]["settings_wait_for"] == "restart")
    file = server.state / "settings.conf"
    check("settings: the file is its owner's", file.stat().st_mode & 0o777 == 0o600 and 'ctx = "1024"' in file.read_text(), file.read_text())
    status, _, answer = server.ask("PUT", PATH, {"parallel": 2})
    check("settings: others stay", status == 200 and 'ctx = "1024"' in file.read_text() and 'parallel = "2"' in file.read_text(), file.read_text())
    entry = server.ask("GET", "/v1/audit")[2]["data"][-1]
    check("settings: the audit log has it", "parallel" in str(entry) and "SECRET" not in str(server.ask("GET", "/v1/audit")[2]), entry)
    check("settings: stopped", server.stop() == 0)
    server = Server("settings", model, fresh=False)
    check("settings: after a restart they count", server.wait()["context"] == 1024, server.wait())
    one = listed(server)
    check("settings: who set them", one["ctx"]["set_by"] == "api" and one["parallel"]["value"] == "2", one["ctx"])
    check("settings: tokens are not told", one["tokens"]["value"] == "(set)" and "SECRET" not in str(server.ask("GET", PATH)[2]), one["tokens"])
    check("settings: /metrics without a key, as was set", server.ask("GET", "/metrics", key=False)[0] == 200)
    server.ask("PUT", PATH, {"ctx": None, "tokens": None})
    check("settings: taken back", "ctx" not in file.read_text() and 'parallel = "2"' in file.read_text(), file.read_text())
    return server


def read_line(fd, wanted, seconds=30):
    text, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and select.select([fd], [], [], left)[0]:
        text += os.read(fd, 4096)
        if wanted in text.split(b"\n"):
            return True
    return False


def as_init(model, conf, **how):
    """As PID 1 starts it: the server, the end of its heartbeat that PID 1 reads, and what closes both ends."""
    beats, writer = os.pipe()
    os.environ["TAWNY_HEARTBEAT_FD"] = str(writer)
    try:
        server = Server("settings-init", model, options=["--config", str(conf)] if conf else [], pass_fds=(writer,), **how)
    finally:
        del os.environ["TAWNY_HEARTBEAT_FD"]

    def close():
        os.close(writer)
        os.close(beats)
    return server, beats, close


def under_init(model):
    """A wrong line leaves a server that says so, also where it would otherwise not start at all."""
    conf = WORK / "settings-wrong.conf"
    conf.write_text("parallel = 3\nctxx = 5\nhf_SECRET\nctx = lots\nproxy = me:SECRET@host:3128\nhub = hub.example\n"
                    "cors = https://chat.example/\nctx = 2048\n")
    cloud = WORK / "settings-cloud.conf"  # what a hypervisor has said to PID 1
    cloud.write_text("hostname = owl-box\naddress = eth0 192.0.2.7/24\nhub = cloud.example\n# ignored: user-data: password, users; network-config: eth0 mtu\n")
    os.environ["TAWNY_HOSTNAME"], os.environ["TAWNY_CLOUD"] = "owl-box", str(cloud)
    told = WORK / "told" / "box"  # what PID 1 says while the engine runs
    told.parent.mkdir(exist_ok=True)
    told.write_text("data_fault=The disk is \"old\".\nlisten_waits=192.0.2.7:443\n")
    os.environ["TAWNY_TOLD"] = str(told)
    server, _, ours = as_init(model, conf)
    del os.environ["TAWNY_HOSTNAME"], os.environ["TAWNY_CLOUD"], os.environ["TAWNY_TOLD"]
    health = server.wait()
    check("settings: anybody is told what is wrong with the disk", health["data_fault"] == "The disk is \"old\".", health)
    check("settings: and which address is not there yet", health["listen_waits"] == "192.0.2.7:443" and "settings_wait_for" not in health, health)
    told.with_name("new").write_text("data_fault=It is whole.\n")
    told.with_name("new").rename(told)
    health = server.ask("GET", "/health", key=False)[2]
    check("settings: as it stands now", health["data_fault"] == "It is whole." and "listen_waits" not in health, health)
    by = {name: (one["value"], one["set_by"]) for name, one in listed(server).items()}
    check("settings: a hypervisor's name counts where no file says one", by["hostname"] == ("owl-box", "cloud-init") and
          "a server certificate was issued (there was none): owl-box" in server.log.read_text(), by["hostname"])
    check("settings: what a hypervisor says stands beneath the file", by["address"] == ("eth0 192.0.2.7/24", "cloud-init") and by["hub"] == ("hub.example", "tawny.conf"), by)
    check("settings: what is refused is nobody's", by["proxy"] == (None, "default"), by["proxy"])
    told = server.ask("GET", PATH)[2]["cloud_ignored"]
    check("settings: what is ignored of it is named", told == ["user-data: password, users", "network-config: eth0 mtu"], told)
    faults = health.get("settings_faults", [])
    check("settings: wrong lines, and it serves", health["status"] == "ready" and health["context"] == 2048 and len(faults) == 5, health)
    check("settings: anybody is told the line and the setting", [one.split("/")[-1] for one in faults] ==
          [conf.name + " line 2", conf.name + " line 3", conf.name + " line 4: ctx", "proxy", "cors"], faults)
    page = server.ask("GET", "/", key=False)[2].decode()
    check("settings: the page says it", "5 wrong in the settings" in page and "line 2" in page, page[:500])
    check("settings: and not what stands there", "SECRET" not in str(health) + page and "ctxx" not in page and str(WORK) not in str(faults), (faults, page[:500]))
    told = server.ask("GET", PATH)[2]["settings_faults"]
    check("settings: an administrator is told all of it", len(told) == 5 and "ctxx" in told[0] and "lots" in told[2] and "chat.example/" in told[4], told)
    check("settings: what is right beside them counts", listed(server)["hub"]["value"] == "hub.example", listed(server)["hub"])
    status, _, answer = server.ask("PUT", PATH, {"cors": "*", "log": "info"})
    check("settings: set over what the file says", status == 200 and answer["needs"] == "restart", (status, answer))
    status, _, answer = server.ask("PUT", PATH, {"restart": True})
    check("settings: a restart of the server alone", status == 200 and server.process.wait(20) == 0, (status, answer))
    ours()
    return conf


def again_under_init(model, conf):
    """What was changed needs the box restarted, whoever asks for it; what is taken back is checked as what the file says."""
    told = WORK / "told" / "box"  # a change of before the engine's last start
    told.write_text("box_waits=hostname, ntp\n")
    os.environ["TAWNY_TOLD"] = str(told)
    server, beats, ours = as_init(model, conf, fresh=False)
    del os.environ["TAWNY_TOLD"]
    answer = server.wait() and server.ask("GET", PATH)[2]
    check("settings: a restart of the box waits over one of the engine", answer["waits_for_restart"] is True and answer["settings_wait_for"] == "restart of the box" and
          server.ask("GET", "/health", key=False)[2]["settings_wait_for"] == "restart of the box", answer["waits_for_restart"])
    check("settings: whatever is changed then", server.ask("PUT", PATH, {"threads": 7})[2]["needs"] == "restart of the box")
    told.write_text("")
    check("settings: until the box has restarted", server.ask("GET", PATH)[2]["settings_wait_for"] == "restart")
    check("settings: set here, it is wrong no more", "cors" not in server.wait()["settings_faults"], server.wait())
    status, _, answer = server.ask("PUT", PATH, {"cors": None})
    check("settings: taken back, the file's counts", status == 400 and "chat.example/" in answer["error"]["message"], (status, answer))
    status, _, answer = server.ask("PUT", PATH, {"hostname": "owl"})
    check("settings: needs the box restarted", status == 200 and answer["needs"] == "restart of the box", (status, answer))
    status, _, answer = server.ask("PUT", PATH, {"restart": True})
    check("settings: PID 1 is asked to restart the box", status == 200 and answer["restarting"] is True and
          answer["needs"] == "restart of the box" and read_line(beats, b"reboot"), (status, answer))
    check("settings: it stopped", server.stop() == 0)
    ours()


def nowhere(model):
    """The plain port cannot be had: a box does without; nor the other: it listens where it usually does."""
    taken = socket.create_server(("127.0.0.1", 0))
    server, _, ours = as_init(model, None, listen_http="127.0.0.1:%d" % taken.getsockname()[1])
    health = server.wait()
    check("settings: a port that is taken", health["status"] == "ready" and health["settings_faults"] == ["listen-http"], health)
    check("settings: stopped without it", server.stop() == 0)
    ours()
    taken.close()
    alone = ("unshare", "--user", "--map-root-user", "--net")  # every port there is free
    if subprocess.run([*alone, "true"], capture_output=True).returncode != 0:
        skip("settings: nothing to be had of listen", "this machine gives nobody a network of his own")
        return
    ports = free_ports(2)
    server, beats, ours = as_init(model, None, prefix=(*alone, sys.executable, "-c", TAKES, str(ports[0])), ports=ports)
    check("settings: nothing to be had of listen, and it serves", read_line(beats, b"beat net"), server.log.read_text())
    check("settings: which it says", "settings: listen: cannot listen on 127.0.0.1:%d" % server.port in server.log.read_text(), server.log.read_text())
    check("settings: stopped there", server.stop() == 0)
    ours()


def file_alone(model):
    """The way out of a setting that was sent and is wrong: the file says that nothing of that counts."""
    conf = WORK / "settings-alone.conf"
    conf.write_text("api-settings = no\nparallel = 3\n")
    server = Server("settings-alone", model)
    server.wait()
    check("settings: whether they count is not theirs", server.ask("PUT", PATH, {"api-settings": True})[2]["error"]["param"] == "api-settings")
    check("settings: sent", server.ask("PUT", PATH, {"ctx": 1024, "parallel": 2, "listen": "127.0.0.1:1"})[0] == 200 and server.stop() == 0)
    file = server.state / "settings.conf"
    file.write_text(file.read_text().replace("127.0.0.1:1", "192.0.2.77:1") + 'api-settings = "yes"\n')  # an address that nobody has
    server = Server("settings-alone", model, fresh=False, options=["--config", str(conf)])
    check("settings: left out, all of them", server.wait()["context"] != 1024)
    one = listed(server)
    check("settings: the file's count", (one["parallel"]["value"], one["parallel"]["set_by"], one["ctx"]["set_by"]) == ("3", "tawny.conf", "default"), (one["parallel"], one["ctx"]))
    check("settings: one that is right can be taken back though another is not", server.ask("PUT", PATH, {"dns": None})[0] == 200)
    check("settings: they can be mended meanwhile", server.ask("PUT", PATH, {"listen": None, "parallel": None})[0] == 200 and "listen" not in file.read_text() and
          'ctx = "1024"' in file.read_text(), file.read_text())
    check("settings: stopped as the file has it", server.stop() == 0)
    file.write_text(file.read_text() + 'api-settings = "no"\n')
    server = Server("settings-alone", model, fresh=False)
    check("settings: then they count again, and have no say in that", server.wait()["context"] == 1024)
    check("settings: which is said", "api-settings is set by tawny.conf or the command line alone" in server.log.read_text(), server.log.read_text())
    check("settings: stopped alone", server.stop() == 0)


def asked(server, body):
    """Sends a PUT; what is returned waits for its answer when it is called."""
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60, context=server.context())
    connection.request("PUT", PATH, json.dumps(body), {"Authorization": "Bearer " + server.key()})
    server.ask("GET", "/health", key=False)  # what was sent before is read before

    def answer():
        got = connection.getresponse()
        return got.status, json.loads(got.read())
    return answer


def disk(server):
    """A file that cannot be read or written: nothing is lost, and who is told no has not changed anything."""
    file, new, audit = (server.state / name for name in ("settings.conf", "settings.conf.new", "audit.log"))
    kept = file.read_text()
    file.rename(server.state / "aside")
    file.mkdir()
    # in a server that has written it, what it wrote counts: the directory is in its way when it writes
    status, _, answer = server.ask("PUT", PATH, {"threads": 3})
    check("settings: not written", status == 500 and answer["error"]["code"] == "not_kept", (status, answer))
    status, _, answer = server.ask("PUT", PATH, {"threads": 3})
    check("settings: what cannot be read is not taken for empty", status == 500 and answer["error"]["code"] == "not_kept" and file.is_dir(), (status, answer))
    file.rmdir()
    (server.state / "aside").rename(file)
    # The thread that writes waits for a reader of each of these: so two changes are under way when the first one fails.
    first, second = server.state / "first.fifo", server.state / "second.fifo"
    until = time.time() + 60
    while time.time() < until and audit.read_text().count('"status":500') < 2:
        time.sleep(0.05)
    new.mkdir()
    os.mkfifo(second)
    second.rename(audit)
    server.ask("PUT", PATH, {"ctx": "many"})
    one = asked(server, {"threads": 5})
    server.ask("PUT", PATH, {"ctx": "many"})
    audit.rename(first)
    os.mkfifo(audit)
    two = asked(server, {"keep-alive": "7m"})
    os.close(os.open(first, os.O_RDONLY | os.O_NONBLOCK))
    until = time.time() + 60
    while time.time() < until and b"not kept: cannot remove" not in server.log.read_bytes():
        time.sleep(0.05)
    check("settings: the first is not written", b"not kept: cannot remove" in server.log.read_bytes())
    new.rmdir()
    audit.rename(second)
    os.close(os.open(second, os.O_RDONLY | os.O_NONBLOCK))
    answers = one(), two()
    text = file.read_text()
    check("settings: the next has the change of the one before", [status for status, _ in answers] == [200, 200] and
          'threads = "5"' in text and 'keep-alive = "420"' in text and 'parallel = "2"' in text and 'threads = "3"' not in text, (answers, text))
    check("settings: and all that was there", all(line in text for line in kept.splitlines()), (kept, text))


def run(model):
    server = Server("settings", model)
    server.wait()
    reading(server)
    box(server)
    refusals(server)
    warned(server)
    server = changing(server, model)
    disk(server)
    check("settings: stopped again", server.stop() == 0)
    again_under_init(model, under_init(model))
    nowhere(model)
    file_alone(model)
