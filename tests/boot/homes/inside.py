"""What the tests of containers share: they run as root, in a root of their own that has LXC and Podman (../homes.py), in a
mount and a network namespace that end with them.

A test ends with 0 and its note on the last line of its output, with 77 and the reason why this machine cannot run it, or
with anything else: a failure.
"""

import http.client
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent.parent.parent
BUILD = SOURCE / "build"
LIMIT = int(os.environ.get("TAWNY_TEST_LIMIT", 120))  # seconds for anything that should take five
GPU_SLOT = "0000:c5:00.0"


def skip(why):
    print(why)
    sys.exit(77)


def check(truth, text):
    if not truth:
        raise AssertionError(text)


def sh(*command, good=True, **more):
    done = subprocess.run(list(map(str, command)), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)
    check(done.returncode == 0 or not good, f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout[-2000:]}")
    return done.stdout


def plain_sys():
    """This namespace's own view of devices of the network and of control groups, version 2 alone: what LXC and crun of today
    want."""
    sh("mount", "-t", "sysfs", "sysfs", "/sys")
    if subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], stderr=subprocess.DEVNULL).returncode:
        skip("this machine does not let version 2 of control groups be mounted")


def fake_pci(folder):
    """A folder to be bound over /sys/bus/pci/devices: Strix Halo's GPU, with amdgpu bound to it."""
    device = folder / GPU_SLOT
    device.mkdir(parents=True)
    for name, text in (("class", "0x030000"), ("vendor", "0x1002"), ("device", "0x1586")):
        (device / name).write_text(text + "\n")
    (device / "driver").symlink_to("../../../bus/pci/drivers/amdgpu")


def fake_node(path, gid, mode=0o660):
    """A render node with the right numbers; nothing stands behind it: opening one that we may use says ENXIO."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mknod(path, 0o020600, os.makedev(226, 128))
    os.chown(path, 0, gid)
    path.chmod(mode)


class Console:
    """What a container says: to us, or, where its console is a terminal of its own, into FILE."""

    def __init__(self, command, file=None, **more):
        self.lines, self.file = [], file
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors="replace", **more)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def text(self):
        told = "\n".join(self.lines)
        if self.file and self.file.exists():
            told += self.file.read_text(errors="replace").replace("\r\n", "\n")
        return told

    def wait(self, pattern, seconds=LIMIT):
        end, found = time.monotonic() + seconds, None
        while not (found := re.search(pattern, self.text())):
            check(self.process.poll() is None or re.search(pattern, self.text()),
                  f"it ended (status {self.process.returncode}) without saying {pattern!r}:\n{self.text()[-3000:]}")
            check(time.monotonic() < end, f"{seconds} s without {pattern!r}:\n{self.text()[-3000:]}")
            time.sleep(0.1)
        return found

    def ended(self, seconds=30):
        """Its exit status, and after how many seconds."""
        start = time.monotonic()
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.text()[-2000:]}") from None
        time.sleep(0.2)
        return status, time.monotonic() - start


def health(address, https=443, http_port=80):
    """(status, what /health says) over TLS, verified with the authority that the plain port hands out; a new address is in
    the certificate a moment after it is there."""
    end = time.monotonic() + LIMIT
    while True:
        try:
            status, said = ask_health(address, https, http_port)
            if said["status"] != "loading" or time.monotonic() > end:
                return status, said
        except OSError as e:
            check(time.monotonic() < end, f"no verified answer from {address} within {LIMIT} s: {e}")
        time.sleep(0.3)


def ask_health(address, https, http_port):
    return call(address, "GET", "/health", https=https, http_port=http_port)


def call(address, method, path, key=None, body=None, https=443, http_port=80):
    """(status, what a request is answered) over TLS, verified likewise."""
    connection = http.client.HTTPConnection(address, http_port, timeout=10)
    connection.request("GET", "/ca.crt")
    ca = connection.getresponse().read().decode()
    context = ssl.create_default_context(cadata=ca)
    connection = http.client.HTTPSConnection(address, https, timeout=10, context=context)
    connection.request(method, path, body and json.dumps(body), {"Authorization": "Bearer " + key} if key else {})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def printed_lines(console):
    """The lines to write and type that the engine printed: indented by four in its log."""
    return [m.group(1) for m in re.finditer(r"engine: \S+ error {5}(\S.*)$", console.text(), re.M)]


class Dhcp:
    """One address for whoever asks (RFC 2131: op, ..., yiaddr at 16, chaddr at 28, magic at 236, options)."""

    def __init__(self, bridge, server, address):
        self.server, self.address = socket.inet_aton(server), socket.inet_aton(address)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bridge.encode())
        self.socket.bind(("", 67))
        self.names = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            asked = self.socket.recv(1500)
            options, at = {}, 240
            while at < len(asked) and asked[at] != 255:
                if asked[at] == 0:
                    at += 1
                    continue
                options[asked[at]] = asked[at + 2:at + 2 + asked[at + 1]]
                at += 2 + asked[at + 1]
            self.names.append(options.get(12, b"").decode())
            kind = {1: 2, 3: 5}.get(options[53][0])  # DISCOVER: OFFER, REQUEST: ACK
            if not kind:
                continue
            head = struct.pack("!BBBB4sHH4s4s4s4s16s192x", 2, 1, 6, 0, asked[4:8], 0, 0x8000, bytes(4), self.address,
                               self.server, bytes(4), asked[28:44])
            body = bytes([53, 1, kind, 54, 4]) + self.server + bytes([51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0, 3, 4]) + self.server
            self.socket.sendto(head + b"\x63\x82\x53\x63" + body + b"\xff", ("255.255.255.255", 68))
