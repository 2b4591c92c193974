"""A virtual machine that boots the image: used by boot/run and tests/boot/run.

    with VM(folder, disk, accel=choose_accel(kernel, say)) as vm:
        vm.wait("engine is ready", 60)

One VM = one QEMU process, its console (every line with the moment it arrived, also kept in
FOLDER/console.log), its QMP socket and its forwarded ports. The caller owns the disk file: QEMU
writes to it. A VM that goes out of scope is killed, which is a power cut for the guest.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

OVMF = Path("/usr/share/OVMF")
# How the disk is attached: QEMU's devices, {d} is the drive's id.
BUSES = {
    "virtio-scsi": ["virtio-scsi-pci,id=scsi", "scsi-hd,drive={d},bus=scsi.0,bootindex=1"],
    "virtio-blk": ["virtio-blk-pci,drive={d},bootindex=1"],
    "ahci": ["ide-hd,drive={d},bus=ide.0,bootindex=1"],
    "nvme": ["nvme,drive={d},serial=tawny,bootindex=1"],
    "usb": ["qemu-xhci,id=xhci", "usb-storage,drive={d},bus=xhci.0,removable=on,bootindex=1"],
}
# For `net`: a network with nobody else in it. What the guest sends goes to a port of this machine that nobody reads.
ALONE = "socket,id=n,udp=127.0.0.1:9,localaddr=127.0.0.1:0"
GUEST_PORTS = (443, 11434, 80)


def free_port(wish=0):
    """A free TCP port of localhost: WISH when it is free, else any."""
    for port in (wish, 0):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return s.getsockname()[1]
    raise OSError("no free TCP port on localhost")


def probe_kvm(kernel):
    """(works, why): boots KERNEL without a disk under KVM and waits until it looks for one.

    That /dev/kvm opens says little: on some rented machines KVM starts and the guest dies in the
    kernel's decompressor, or never gets there.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False, "/dev/kvm is not there or not open to this user"
    command = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "512", "-nodefaults",
               "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", str(kernel),
               "-append", "console=ttyS0 panic=-1"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    except subprocess.TimeoutExpired:
        return False, "a kernel booted under KVM hung for 20 s"
    if b"Unable to mount root" in done.stdout:
        return True, "a kernel booted under KVM"
    return False, "a kernel booted under KVM died before it looked for its disk"


def choose_accel(kernel, say):
    """"kvm" or "tcg": what TAWNY_ACCEL says, else what the probe finds; its answer is kept until this machine is
    started again."""
    if wish := os.environ.get("TAWNY_ACCEL"):
        if wish not in ("kvm", "tcg"):
            raise ValueError(f"TAWNY_ACCEL is {wish!r}; it is kvm or tcg")
        say(f"{wish}, as TAWNY_ACCEL says")
        return wish
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    cache = Path(os.environ["TAWNY_CACHE"]) / "kvm-probe"
    try:
        known, answer, why = cache.read_text().split("\n", 2)
    except (OSError, ValueError):
        known = None
    if known != boot:
        works, why = probe_kvm(kernel)
        answer = "kvm" if works else "tcg"
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(f"{boot}\n{answer}\n{why}")
    say(f"{'KVM' if answer == 'kvm' else 'emulation (no KVM)'}: {why.strip()}")
    return answer


class VM:
    def __init__(self, folder, disk, *, accel, firmware="uefi", bus="virtio-scsi", memory=1024, processors=2,
                 format="raw", ports=None, smbios=(), net="net=10.0.2.0/24", drive="", devices=(),
                 nic="virtio-net-pci,netdev=n,romfile=,id=nic", cable=True, more=(), forward=True,
                 serial=True):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ports = {guest: free_port() for guest in GUEST_PORTS} if ports is None else ports
        self.cable, self.forward = cable, forward  # forward=False: `net` says itself which ports are
        self.lines = []  # (seconds since start, text)
        self.changed = threading.Condition()
        self.run_dir = tempfile.mkdtemp(prefix="tawny-vm-")  # a socket's path is short
        # Killed with us, however we end.
        self.command = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-machine", "q35",
                        "-nodefaults", "-display", "none", "-m", str(memory), "-smp", str(processors),
                        *self._accel(accel), *self._firmware(firmware),
                        "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console" if serial else "none",
                        "-qmp", f"unix:{self.run_dir}/qmp,server=on,wait=off",
                        "-drive", f"if=none,id=d,file={disk},format={format},discard=unmap{drive}",
                        "-netdev", self._forwards(net), "-device", "virtio-rng-pci"]
        for device in [*BUSES[bus], *devices, nic]:
            self.command += ["-device", device.format(d="d")]
        self.command += more  # further words of QEMU's command line
        for value in smbios:
            self.command += ["-smbios", f"type=11,value={value}"]

    def _accel(self, accel):
        if accel == "kvm":
            return ["-accel", "kvm", "-cpu", "host"]
        return ["-accel", "tcg,thread=multi", "-cpu", "max"]

    def _firmware(self, firmware):
        if firmware == "bios":
            return []  # SeaBIOS is QEMU's default
        # "secure": Secure Boot is on, and only Debian's test key ("snakeoil") counts.
        code, start = ("secboot", "VARS_4M.snakeoil") if firmware == "secure" else ("", "VARS_4M")
        variables = Path(self.run_dir) / "vars.fd"
        shutil.copy(OVMF / f"OVMF_{start}.fd", variables)
        smm = ["-machine", "smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on"] if code else []
        return [*smm, "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF}/OVMF_CODE_4M{code and '.' + code}.fd",
                "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]

    def _forwards(self, net):
        if net.startswith("socket,"):
            return net
        if not self.forward:
            return f"user,id=n,{net}"
        pairs = "".join(f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for guest, host in self.ports.items())
        return f"user,id=n,{net}{pairs}"

    def __enter__(self):
        self.log = open(self.folder / "console.log", "w")
        self.started = time.monotonic()
        # Its own session: Ctrl-C in the terminal is for us, QEMU is told by QMP.
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.delays = [(0.0, 0.0)]
        threading.Thread(target=self._sample, daemon=True).start()
        while self.running():
            try:
                self.qmp("query-status")
                break
            except OSError:
                time.sleep(0.02)  # QEMU does not listen yet
        if not self.cable:
            self.qmp("set_link", name="nic", up=False)  # the firmware still runs: nobody has looked
        return self

    def __exit__(self, *_):
        self.cut_power()
        self.reader.join(5)
        self.log.close()
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def _read(self):
        for raw in self.process.stdout:
            # Firmware paints the screen with escape sequences; they are no text.
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()=][A-Z0-9]?|[\r\0]", "", raw.decode("utf-8", "replace"))
            at = time.monotonic() - self.started
            self.log.write(f"{at:8.2f} {text}")
            self.log.flush()
            with self.changed:
                self.lines.append((at, text.rstrip("\n")))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def _sample(self):
        """Notes five times a second how long QEMU's threads have waited for a processor so far."""
        while self.running():
            waited = [0]
            for task in Path(f"/proc/{self.process.pid}/task").glob("*/schedstat"):
                try:
                    waited.append(int(task.read_text().split()[1]))
                except (OSError, IndexError):
                    pass  # the thread has ended
            self.delays.append((time.monotonic() - self.started, max(waited) / 1e9))
            time.sleep(0.2)

    def waited(self, since, until):
        """Seconds between two moments that a processor of the guest stood ready to run and was not let:
        the part of a duration that other work on this machine is to blame for."""
        def at(moment):
            return max(delay for t, delay in self.delays if t <= moment)
        return at(until) - at(since)

    def running(self):
        return self.process.poll() is None

    def wait(self, pattern, seconds, since=0):
        """(moment, match) of the first console line from index SINCE on that PATTERN is found in."""
        end, at = time.monotonic() + seconds, since
        with self.changed:
            while True:
                while at < len(self.lines):
                    moment, text = self.lines[at]
                    if match := re.search(pattern, text):
                        return moment, match
                    at += 1
                left = end - time.monotonic()
                if left <= 0 or not self.running():
                    raise TimeoutError(f"no console line matches {pattern!r} "
                                       + (f"after {seconds} s" if left <= 0 else "and QEMU has ended"))
                self.changed.wait(min(left, 1))

    def kernel_start(self):
        """The moment the kernel started: a console line of init carries its time since then."""
        moment, match = self.wait(r"\[ *(\d+\.\d+)\]", 120)
        return moment - float(match.group(1))

    def wait_over(self):
        """After QEMU has ended: until its last line was read."""
        self.reader.join(10)

    def tail(self, n=15):
        return "\n".join(f"    {at:7.2f} {text}" for at, text in self.lines[-n:])

    def qmp(self, command, **arguments):
        """Sends one QMP command over a connection of its own and returns what it returns."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(f"{self.run_dir}/qmp")
            stream = s.makefile("rwb", buffering=0)
            json.loads(stream.readline())
            for name, args in (("qmp_capabilities", {}), (command, arguments)):
                stream.write(json.dumps({"execute": name, "arguments": args}).encode() + b"\n")
                while True:
                    line = stream.readline()
                    if not line:
                        return None  # QEMU has ended: the answer to "quit"
                    answer = json.loads(line)
                    if "error" in answer:
                        raise OSError(f"QMP {name}: {answer['error']['desc']}")
                    if "return" in answer:
                        break
            return answer["return"]

    def send_break(self, key):
        """Magic SysRq over the serial line: a break, then the key."""
        self.qmp("human-monitor-command", **{"command-line": "chardev-send-break console"})
        self.process.stdin.write(key.encode())
        self.process.stdin.flush()

    def throttle(self, **limits):
        """Slows the disk down: bps_rd, bps_wr in bytes a second; without any, it is fast again."""
        none = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
        self.qmp("block_set_io_throttle", device="d", **(none | limits))

    def power_button(self, seconds):
        """Presses the power button; the seconds until the machine was off."""
        start = time.monotonic()
        self.qmp("system_powerdown")
        self.process.wait(seconds)
        return time.monotonic() - start

    def cut_power(self):
        """SIGKILL: what the guest wrote and did not flush may be lost."""
        if self.running():
            self.process.kill()
        self.process.wait()
