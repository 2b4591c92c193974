"""tawny.conf on the ESP, and what a hypervisor lays on a disk of its own."""

import json
import socket
import ssl

from tier import FULL, LIMIT, SOURCE, WORK, boot, box, check, data_is_clean, disk, edited, key_on_console, meet, power_off, sh, test


def cloud_drive():
    """A CD with what Proxmox VE writes for cloud-init: hostname, 10.0.2.15 for QEMU's first card, users and keys."""
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "cidata.iso").write_bytes(bytes(32768) + (SOURCE / "tests/fuzz/init_cloud/proxmox-nocloud").read_bytes())
    return ["-drive", f"if=none,id=ci,media=cdrom,readonly=on,format=raw,file={WORK / 'cidata.iso'}", "-device", "ide-cd,drive=ci"]


@test("the settings on the ESP are read, with a PC's line ends, over those of a cloud-init disk")
def settings():
    file = edited("settings", b"\xef\xbb\xbf# edited on another PC\r\nctx = 512\r\nlisten = [::]:443\r\ndns = 10.0.2.3\r\n")
    with boot("settings", file, more=cloud_drive()) as machine:
        tawny, _ = meet(machine)
        health = tawny.wait_ready(LIMIT)
        machine.wait(r"cloud-init: /dev/sr0: hostname = owl-box", 5)
        machine.wait(r"cloud-init: /dev/sr0: ignored: user-data: .*password, ssh_authorized_keys, .*users", 5)
        tawny.key = key_on_console(machine)
        told = json.loads(tawny.request("GET", "/v1/settings").read())
        by = {one["name"]: (one["value"], one["set_by"]) for one in told["settings"]}
        check(by["hostname"] == ("owl-box", "cloud-init") and by["address"][1] == "cloud-init" and by["dns"] == ("10.0.2.3", "tawny.conf"), f"the settings are {by}")
        check(any("password" in one for one in told["cloud_ignored"]), f"ignored are {told.get('cloud_ignored')}")
        machine.wait(r"net: eth0 has 10\.0\.2\.15 as the settings say, router 10\.0\.2\.2", 5)
        machine.wait(r"net: eth0 has fd00::15 \(IPv6\)", 20)
        machine.wait(r"a server certificate was issued .*: owl-box, ", 5)
        check(health.get("context") == 512, f"ctx = 512 was set, /health says {health}")
        try:
            with socket.create_connection(("127.0.0.1", machine.ports[11434]), 5) as s:
                box.ssl.create_default_context().wrap_socket(s, server_hostname="localhost")
            raise AssertionError("port 11434 answers although listen leaves it out")
        except ssl.SSLCertVerificationError:
            raise AssertionError("port 11434 answers although listen leaves it out") from None
        except OSError:
            pass
        power_off(machine)
    file.unlink()
    return "ctx and listen"


def reset():
    """By the API with another key than before, then by its owner's file: each time a new CA and a new key, and the disk is whole."""
    file = edited("reset", b"hostname = owl\n")
    seen = []
    with boot("reset", file) as machine:
        tawny, shown = meet(machine)
        seen.append((shown, key_on_console(machine)))
        tawny.key = seen[0][1]
        at = len(machine.lines)
        answer = tawny.request("POST", "/v1/reset", {"confirm": "erase"})
        check(answer.status == 202, f"a reset was answered with {answer.status}: {answer.read()}")
        machine.wait(r"reset: keys, certificates, settings and models are erased", LIMIT, at)
        seen.append((machine.wait(r"((?:[0-9A-F]{2}:){31}[0-9A-F]{2})", LIMIT, at)[1].group(1), machine.wait(r"API key:?\s+(\S+)", LIMIT, at)[1].group(1)))
        meet_again = box.Box(machine.ports[443], box.fetch_ca(machine.ports[80], LIMIT, machine.running), seen[1][1])
        meet_again.wait_ready(LIMIT)
        power_off(machine)
    first, _ = disk.partitions(file)["tawny-esp"]
    (WORK / "tawny.reset").write_text("erase but models\r\n")
    sh("mcopy", "-o", "-i", f"{file}@@{first * disk.SECTOR}", WORK / "tawny.reset", "::tawny.reset")
    with boot("reset", file) as machine:
        machine.wait(r"reset: keys, certificates, settings are erased", LIMIT)
        _, shown = meet(machine)
        seen.append((shown, key_on_console(machine)))
        power_off(machine)
    check("tawny.reset" not in sh("mdir", "-b", "-i", f"{file}@@{first * disk.SECTOR}", "::"), "tawny.reset is still there")
    check(all(len({one[i] for one in seen}) == 3 for i in range(2)), f"the same key or CA came back: {seen}")
    data_is_clean(file)
    file.unlink()
    return "by the API and by tawny.reset"


if FULL:
    test("factory reset: by the API, by a file on the ESP")(reset)
