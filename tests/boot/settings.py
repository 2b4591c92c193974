"""tawny.conf on the ESP, and what a hypervisor lays on a disk of its own."""

import socket
import ssl

from tier import LIMIT, SOURCE, WORK, boot, box, check, edited, meet, power_off, test


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
