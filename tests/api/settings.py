"""Settings over HTTP: listed, set, taken back, refused, kept over a restart; a wrong tawny.conf leaves a box that says so."""

import os
import select

from tools import WORK, Server, check

PATH = "/v1/settings"


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


def refusals(server):
    bad = (({"ctx": "many"}, "ctx"), ({"ctx": [1]}, "ctx"), ({"ctxx": 5}, "ctxx"), ({"parallel": 0}, "parallel"), ({"hostname": "-x"}, "hostname"),
           ({"state": "/tmp"}, "state"), ({"cors": 'a"b'}, "cors"), ({"cors": "x\ny"}, "cors"), ({"address": "300.1.1.1/24"}, "address"),
           ({"listen": "nowhere"}, None), ({"pull-plain": "no port"}, None), ({"proxy": "x" * 5000}, "proxy"), ({"restart": True}, "restart"), ({"restart": "yes"}, "restart"))
    for body, param in bad:
        status, _, answer = server.ask("PUT", PATH, body)
        error = answer.get("error", {}) if isinstance(answer, dict) else {}
        check("settings: refused: %.60s" % body, status == 400 and error.get("param") == param and error.get("message"), (status, answer))
    status, _, answer = server.ask("PUT", PATH, {"ctx": 1024, "parallel": 99})
    check("settings: all of it or nothing", status == 400 and not (server.state / "settings.conf").exists(), (status, answer))


def changing(server, model):
    status, _, answer = server.ask("PUT", PATH, {"ctx": 1024, "tokens": "hf.co SECRET-OF-MINE", "open-metrics": True})
    check("settings: set", status == 200 and answer["changed"] == "ctx, tokens, open-metrics" and answer["needs"] == "restart", (status, answer))
    check("settings: what runs is what ran", listed(server)["ctx"]["value"] == "auto" and server.ask("GET", PATH)[2]["waits_for_restart"] is True)
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
    text = b""
    while select.select([fd], [], [], seconds)[0]:
        text += os.read(fd, 4096)
        if wanted in text.split(b"\n"):
            return True
    return False


def under_init(model):
    """As PID 1 starts it: a wrong line leaves a server that says so, also where it would otherwise not start at all."""
    conf = WORK / "settings-wrong.conf"
    conf.write_text("parallel = 3\nctxx = 5\nhf_SECRET\nctx = lots\npull-plain = no port\nctx = 2048\n")
    beats, writer = os.pipe()
    os.environ["TAWNY_HEARTBEAT_FD"] = str(writer)
    try:
        server = Server("settings-init", model, options=["--config", str(conf)], pass_fds=(writer,))
    finally:
        del os.environ["TAWNY_HEARTBEAT_FD"]
    health = server.wait()
    faults = health.get("settings_faults", [])
    check("settings: wrong lines, and it serves", health["status"] == "ready" and health["context"] == 2048 and len(faults) == 4, health)
    check("settings: each is told with its line", "line 2" in faults[0] and "ctxx" in faults[0] and "line 3" in faults[1] and "line 4" in faults[2] and
          "no port" in faults[3], faults)
    check("settings: what stands there is not", "SECRET" not in str(health), health)
    page = server.ask("GET", "/", key=False)[2].decode()
    check("settings: the page says it", "4 wrong in the settings" in page and "ctxx" in page, page[:500])
    status, _, answer = server.ask("PUT", PATH, {"hostname": "owl", "restart": True})
    check("settings: PID 1 is asked to restart the box", status == 200 and answer["restarting"] is True and read_line(beats, b"reboot"), (status, answer))
    status, _, answer = server.ask("PUT", PATH, {"log": "info", "restart": True})
    check("settings: a restart of the server alone", status == 200 and server.process.wait(20) == 0, (status, answer))
    os.close(writer)
    os.close(beats)


def run(model):
    server = Server("settings", model)
    server.wait()
    reading(server)
    refusals(server)
    server = changing(server, model)
    check("settings: stopped again", server.stop() == 0)
    under_init(model)
