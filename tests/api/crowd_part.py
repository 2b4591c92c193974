"""A crowd of clients without a key beside one with it (the crowd: crowd.py)."""

import os
import re
import subprocess
import sys

from tools import HERE, SHORT, Server, add, check


def run(model):
    """48 connections for 4 s each; with TAWNY_TEST_FULL=1, 320 for a minute."""
    full = os.environ.get("TAWNY_TEST_FULL") == "1"
    server = Server("crowd", model, options=SHORT)
    server.wait()
    done = subprocess.run([sys.executable, HERE / "crowd.py", "--url", server.url, "--ca", str(server.ca), "--key",
                           str(server.state / "api-key"), "--pid", str(server.process.pid), "--connections", "320" if full else "48",
                           "--seconds", "60" if full else "4"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=900)
    print(done.stdout, end="")
    found = re.findall(r"crowd: (\d+) passed, (\d+) failed", done.stdout)
    if check("crowd: it ran to its end", found, done.stdout[-500:]):
        add(found[-1])
    check("crowd: the server stops cleanly", server.stop() == 0, server.log.read_text()[-500:])
