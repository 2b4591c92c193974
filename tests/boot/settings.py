"""tawny.conf on the ESP."""

import socket
import ssl

from tier import LIMIT, boot, box, check, edited, meet, power_off, test


@test("the settings on the ESP are read, with a PC's line ends")
def settings():
    file = edited("settings", b"\xef\xbb\xbf# edited on another PC\r\nctx = 512\r\nlisten = [::]:443\r\n")
    with boot("settings", file) as machine:
        tawny, _ = meet(machine)
        health = tawny.wait_ready(LIMIT)
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
