#!/usr/bin/env python3
"""The systemd unit: systemd-analyze reads it and finds little open; ports below 1024 are answered by a user without rights,
to whom they were handed over by systemd's own tool.
"""

import re
import shutil
import subprocess
from pathlib import Path

from inside import BUILD, SOURCE, Console, check, health, sh

UNITS = SOURCE / "boot/systemd"
MOST_EXPOSED = 2.0  # of 10; Debian's services without such lines have 9.2 and more
PLACE = Path("/tmp/homes")
USER = ["setpriv", "--reuid", "2000", "--regid", "2000", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]


def units():
    """How exposed systemd-analyze finds it."""
    sh("mount", "-t", "tmpfs", "tmpfs", "/usr/local/bin")
    sh("install", "-m", "755", BUILD / "appliance/tawny", "/usr/local/bin/tawny")
    said = sh("systemd-analyze", "verify", "--recursive-errors=no", UNITS / "tawny.service", UNITS / "tawny.socket")
    check("tawny" not in said, f"systemd-analyze verify says:\n{said}")
    said = sh("systemd-analyze", "security", "--no-pager", "--offline=true", UNITS / "tawny.service")
    found = re.search(r"Overall exposure level for tawny.service: ([\d.]+)", said)
    check(found and float(found.group(1)) <= MOST_EXPOSED, f"exposed more than {MOST_EXPOSED}:\n{said}")
    return float(found.group(1))


def ports():
    """443 and 80 below the mark for users, answered as user 2000."""
    sh("ip", "link", "set", "lo", "up")
    check(int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) == 1024, "ports below 1024 are free to all here")
    state = PLACE / "state"
    state.mkdir(parents=True)
    sh("chown", "2000:2000", state)
    conf = shutil.copy(SOURCE / "rootfs-overlay/etc/tawny.conf", PLACE)  # where any user may read it
    listens = [f"--listen={at}" for at in re.findall(r"ListenStream=(\S+)", (UNITS / "tawny.socket").read_text())]
    console = Console(["systemd-socket-activate", *listens, *USER, "/usr/local/bin/tawny", "serve", "--config", conf, "--state", state], cwd="/")
    try:
        status, said = health("127.0.0.1")
    except AssertionError as e:
        raise AssertionError(f"{e}\n{console.text()}") from None
    check(status == 200 and said["status"] == "ready", f"/health says {status} {said}")
    console.process.terminate()
    check(console.ended()[0] == 0, console.text())


def bad_line():
    """What ends it for a line of tawny.conf is what the unit does not start again for."""
    conf = PLACE / "bad.conf"
    conf.write_text("parallell = 4\n")
    done = subprocess.run(["/usr/local/bin/tawny", "serve", "--config", conf, "--state", PLACE / "state"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=60)
    never = re.search(r"^RestartPreventExitStatus=(\d+)$", (UNITS / "tawny.service").read_text(), re.M)
    check(never and done.returncode == int(never.group(1)) and "parallell" in done.stdout, f"a bad line: status {done.returncode}, {done.stdout}")


def main():
    exposed = units()
    ports()
    bad_line()
    print(f"systemd-analyze: exposed {exposed} of 10; 443 and 80 answered by a user without rights; a bad line is no loop")


main()
