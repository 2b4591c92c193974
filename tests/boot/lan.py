"""A network played by the test: the other end of a VM's cable, with a DHCP server, time servers and neighbours.

    with Lan() as lan:
        with boot("name", net=lan.net, ports={}) as machine: ...

QEMU sends each Ethernet frame as one UDP datagram to this process, and takes those it gets from it. The network is
10.9.0.0/24; 10.9.0.1 to .3 are ours. What the server does is said by attributes that a test may change while the machine
runs: `leases` (the addresses it offers, the first that is left), `nak` (renewals are refused, and the address is gone),
`clock_s` (what is added to the true time by each of the three time servers; None: it is silent), `mdns` (every message to
port 5353 that was seen, as bytes).
"""

import socket
import struct
import threading
import time

MAC = bytes.fromhex("525400090001")
SERVER = bytes([10, 9, 0, 1])


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def udp(source, source_port, to, to_port, data, ttl=255):
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28 + len(data), 0, 0, ttl, 17, 0, source, to)
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return head + struct.pack(">HHHH", source_port, to_port, 8 + len(data), 0) + data


class Lan:
    def __init__(self, lease_s=60):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            self.peer = s.getsockname()
        self.net = (f"socket,id=n,udp=127.0.0.1:{self.socket.getsockname()[1]},"
                    f"localaddr=127.0.0.1:{self.peer[1]}")
        self.lease_s = lease_s
        self.leases = [bytes([10, 9, 0, 50])]
        self.nak = False
        self.clock_s = [0, 0, 0]
        self.mdns = []
        self.said = []  # (type of the client's message, ciaddr)
        self.guest = None  # its MAC address

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _serve(self):
        while True:
            try:
                frame = self.socket.recv(2048)
            except OSError:
                return
            if len(frame) < 14:
                continue
            self.guest = frame[6:12]
            kind, packet = frame[12:14], frame[14:]
            if kind == b"\x08\x06" and len(packet) >= 28 and packet[7] == 1 and packet[24:27] == SERVER[:3] \
                    and 1 <= packet[27] <= 3:
                self._send(self.guest, b"\x08\x06", packet[:7] + b"\2" + MAC + packet[24:28] + packet[8:18])
            elif kind == b"\x08\x00" and len(packet) >= 28 and packet[9] == 17:
                self._datagram(packet)

    def _send(self, to, kind, packet):
        try:
            self.socket.sendto((to + MAC + kind + packet).ljust(60, b"\0"), self.peer)
        except OSError:
            pass

    def _datagram(self, packet):
        head = (packet[0] & 15) * 4
        source, to = packet[12:16], packet[16:20]
        source_port, to_port, length = struct.unpack(">HHH", packet[head:head + 6])
        data = packet[head + 8:head + length]
        if to_port == 67:
            self._dhcp(data)
        elif to_port == 123 and to[:3] == SERVER[:3] and 1 <= to[3] <= 3 and len(data) >= 48:
            self._ntp(source, source_port, to, data)
        elif to_port == 5353:
            self.mdns.append(data)

    def _ntp(self, source, port, to, data):
        off = self.clock_s[to[3] - 1]
        if off is None:
            return
        now = time.time() + off + 2208988800
        stamp = struct.pack(">II", int(now) & 0xffffffff, int(now % 1 * (1 << 32)))
        answer = b"\x24\x02\x06\xec" + b"\0" * 20 + data[40:48] + stamp + stamp
        self._send(self.guest, b"\x08\x00", udp(to, 123, source, port, answer))

    def _dhcp(self, data):
        options, at = {}, 240
        while at + 1 < len(data) and data[at] != 255:
            if data[at] == 0:
                at += 1
                continue
            options[data[at]] = data[at + 2:at + 2 + data[at + 1]]
            at += 2 + data[at + 1]
        kind, renewed = options.get(53, b"\0")[0], data[12:16]
        self.said.append((kind, renewed))
        address = self.leases[0]
        if kind == 1:
            answer = 2
        elif kind == 3 and (renewed == address or options.get(50) == address) and not (self.nak and any(renewed)):
            answer = 5
        elif kind == 3:
            answer, self.nak = 6, False
            if len(self.leases) > 1:
                self.leases.pop(0)
        else:
            return
        reply = bytearray(240)
        reply[0:3] = b"\2\1\6"
        reply[4:8], reply[10:12], reply[28:44] = data[4:8], data[10:12], data[28:44]
        reply[16:20] = bytes(4) if answer == 6 else address
        reply[236:240] = b"\x63\x82\x53\x63"

        def put(code, value):
            reply.extend(bytes([code, len(value)]) + value)
        put(53, bytes([answer]))
        put(54, SERVER)
        if answer != 6:
            put(51, struct.pack(">I", self.lease_s))
            put(1, bytes([255, 255, 255, 0]))
            put(3, bytes([10, 9, 0, 99]))  # which option 121 puts aside
            put(121, bytes([0]) + SERVER)
            put(42, b"".join(bytes([10, 9, 0, i]) for i in (1, 2, 3)))
        reply.append(255)
        self._send(b"\xff" * 6 if answer == 6 or not any(renewed) else self.guest, b"\x08\x00",
                   udp(SERVER, 67, bytes([255] * 4) if answer == 6 or not any(renewed) else renewed, 68, bytes(reply)))

    # ---- multicast DNS ----

    def say_mdns(self, message):
        self._send(bytes.fromhex("01005e0000fb"), b"\x08\x00",
                   udp(SERVER, 5353, bytes([224, 0, 0, 251]), 5353, message))

    def ask_mdns(self, name, kind, seconds, wanted):
        """Asks until an answer holds WANTED (bytes); that answer."""
        labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            at = len(self.mdns)
            self.say_mdns(struct.pack(">HHHHHH", 0, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1))
            until = time.monotonic() + 2
            while time.monotonic() < until:
                for message in self.mdns[at:]:
                    if message[2] & 0x80 and wanted in message:
                        return message
                time.sleep(0.1)
        raise AssertionError(f"nobody answers for {name} with {wanted.hex()}; {len(self.mdns)} messages were heard")

    def claim_mdns(self, label, address):
        """Says that LABEL.local is ADDRESS, as another machine of that name would."""
        name = bytes([len(label)]) + label.encode() + b"\5local\0"
        self.say_mdns(struct.pack(">HHHHHH", 0, 0x8400, 0, 1, 0, 0) + name
                      + struct.pack(">HHIH", 1, 0x8001, 120, 4) + address)
