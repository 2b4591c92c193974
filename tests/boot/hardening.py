"""What an attacker finds: which programs and files the image has, which ports are open, what the kernel refuses."""

import json
import stat
import struct
import subprocess

from tier import BUILD, LIMIT, boot, check, key_on_console, meet, power_off, test

# Every program beyond these must earn its place: here, with its reason.
PROGRAMS = {"init": "PID 1", "usr/bin/tawny": "the engine", "usr/bin/e2fsck": "checks a data partition with errors, confined (init/fsck.c)",
            "usr/bin/fsck.fat": "checks an ESP that was being written when the power went, confined too"}
# What somebody else than root may write to in the archives, before anything is mounted over it.
WRITABLE = {"tmp": "a tmpfs is mounted over it"}
# 80 leads to 443, 11434 is where Ollama's clients look; 68 is DHCP's, 5353 mDNS', 546 DHCPv6's.
TCP, UDP = {80, 443, 11434}, {68, 5353, 546, 123}


def entries(data):
    """(name, mode, uid, bytes) of every cpio archive in DATA, one behind the other, with zeros between them."""
    at = 0
    while (at := data.find(b"070701", at)) >= 0:
        fields = [int(data[at + 6 + 8 * i:at + 14 + 8 * i], 16) for i in range(13)]
        mode, uid, size, n_name = fields[1], fields[2], fields[6], fields[11]
        name = data[at + 110:at + 110 + n_name - 1].decode()
        begin = (at + 110 + n_name + 3) // 4 * 4
        at = (begin + size + 3) // 4 * 4
        if name != "TRAILER!!!":
            yield name.removeprefix("./"), mode, uid, data[begin:begin + size]


def unpacked(data):
    done = subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # zeros that fill up the last word are no zstd; what counts is that the archive's end was reached
    check(b"TRAILER!!!" in done.stdout[-1024:], f"an archive of the initrd could not be unpacked: {done.stderr.decode()[-300:]}")
    return list(entries(done.stdout))


def archives():
    """All that the kernel unpacks: our archive, then mkosi's of modules and firmware."""
    ours = (BUILD / "image/initramfs.cpio.zst").read_bytes()
    whole = (BUILD / "image/tawny.initrd").read_bytes()
    check(whole.startswith(ours), "the initrd does not begin with our archive")
    return unpacked(ours) + unpacked(whole[len(ours):].lstrip(b"\0"))


@test("the image has four programs, and no file that others may write", how="alone")
def programs():
    found, loose, foreign, modules = {}, {}, [], 0
    for name, mode, uid, data in archives():
        if uid != 0:
            foreign.append(name)
        if not stat.S_ISLNK(mode) and mode & 0o022:
            loose[name] = oct(mode)
        check(not mode & 0o6000, f"{name} is setuid or setgid")
        if not stat.S_ISREG(mode):
            continue
        is_elf, kind = data[:4] == b"\x7fELF", struct.unpack_from("<H", data, 16)[0] if len(data) > 18 else 0
        modules += is_elf and kind == 1  # ET_REL
        if mode & 0o111 or (is_elf and kind != 1) or data[:2] == b"#!":
            found[name] = len(data)
    check(modules > 20, f"only {modules} modules were seen: the archives were not read whole")
    check(set(found) == set(PROGRAMS), f"programs: {sorted(found)}; known are {sorted(PROGRAMS)}")
    check(set(loose) == set(WRITABLE), f"writable for others: {loose}; known are {sorted(WRITABLE)}")
    check(not foreign, f"not root's: {foreign[:9]}")
    return ", ".join(f"{name} {n:,} bytes" for name, n in sorted(found.items())) + f"; {modules} modules beside them"


@test("a locked down kernel, a confined engine, the known ports, and a report of each crash")
def locked():
    with boot("locked", smbios=["io.systemd.stub.kernel-cmdline-extra=sysrq_always_enabled"]) as machine:
        tawny, _ = meet(machine)
        machine.wait(r"engine: .*confined: files by Landlock \d+, system calls by a list for each thread", LIMIT)
        told = [text for _, text in machine.lines]
        bad = [text for text in told if "] kernel: " in text or "] locks: " in text or "not confined" in text]
        check(not bad, f"the console says {bad}")
        _, ports = machine.wait(r"ports: tcp ([\d ]*)udp ([\d ]*)", LIMIT)
        tcp, udp = ({int(n) for n in ports.group(i).split()} for i in (1, 2))
        check(tcp == TCP, f"TCP ports that are open: {sorted(tcp)}; known are {sorted(TCP)}")
        check(udp <= UDP, f"UDP ports that are open: {sorted(udp)}; known are {sorted(UDP)}")
        tawny.key = key_on_console(machine)
        check(json.loads(tawny.request("GET", "/v1/crashes").read())["data"] == [], "a new box has reports of crashes")
        at = len(machine.lines)
        machine.send_break("f")
        machine.wait(r"engine: serves", LIMIT, at)
        health = tawny.wait_ready(LIMIT)
        one, = json.loads(tawny.request("GET", "/v1/crashes").read())["data"]
        check("the memory was full" in one["reason"] and one["ran_seconds"] >= 0 and
              any("ready after" in line for line in one["log"]), f"the report is {one}")
        check(health.get("crashes", {}).get("kept") == 1 and health["crashes"]["reason"] == one["reason"], f"/health says {health}")
        power_off(machine)
    return f"tcp {sorted(tcp)}, udp {sorted(udp)}; a crash is kept: {one['reason'][:60]}..."
