"""A hostile client against the server under ASan and UBSan (the client: hostile.py)."""

import re
import subprocess
import sys

from tools import HERE, SHORT, Server, add, check


def run(model):
    script = HERE / "hostile.py"
    if not script.exists():
        check("hostile: tests/api/hostile.py exists", False, "it is missing")
        return
    server = Server("hostile", model, flavour="asan", options=SHORT)
    server.wait()
    done = subprocess.run([sys.executable, script, "--url", server.url, "--http", str(server.plain), "--ca", str(server.ca), "--key",
                           str(server.state / "api-key"), "--pid", str(server.process.pid)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", timeout=400)
    print(done.stdout, end="")
    found = re.findall(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", done.stdout)
    if not found:
        check("hostile: it ran to its end", False, done.stdout[-500:])
    else:
        add(found[-1])
        check("hostile: exit status", (done.returncode == 0) == (found[-1][1] == "0"), done.returncode)
    health = server.wait(seconds=5)
    check("hostile: the server still answers", health and health["status"] == "ready" and server.chat()[0] == 200, health)
    status = server.stop()
    log = server.log.read_text(errors="replace")
    report = re.search(r"ERROR: \w+Sanitizer.*|runtime error:.*|SUMMARY: .*", log)
    check("hostile: the server under ASan and UBSan stops cleanly, without a leak", status == 0 and not report,
          (status, report and report.group(0)))
