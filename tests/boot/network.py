"""Networks as they are found: without a cable, with IPv6 alone, with a card that has no driver, with nobody in it, with
addresses that were fixed, with several cards, with a DHCP server that changes its mind, with clocks and time servers that
are wrong. With TAWNY_TEST_FULL=1 also what takes long or is a variant."""

import time

from lan import Lan
from tier import FULL, LIMIT, boot, check, edited, meet, power_off, test, vm

NOBODY = r"ready: nobody can reach this box yet: (.*)"


def never(machine, *words, after=0):
    """None of WORDS was said so far, from line AFTER on."""
    for _, text in machine.lines[after:]:
        for word in words:
            check(word not in text, f"the console says: {text}")


@test("no cable: the console says so, and gives the address when one comes")
def no_cable():
    with boot("no-cable", cable=False) as machine:
        why = machine.wait(NOBODY, LIMIT)[1].group(1)
        check("no network cable is plugged in (eth0)" in why, f"the console says: {why}")
        machine.wait(r"engine: no url yet", 10)
        never(machine, "url https", "open https")
        at = len(machine.lines)
        machine.qmp("set_link", name="nic", up=True)
        machine.wait(r"ready: open https://10\.0\.2\.15/", 30, at)
        machine.wait(r"engine: url https://10\.0\.2\.15/", 30, at)
        never(machine, "url https://localhost")
        power_off(machine)
    return why


@test("IPv6 alone: the console gives its address and does not complain")
def ipv6_alone():
    with boot("ipv6", net="ipv4=off", ports={}) as machine:
        address = machine.wait(r"ready: open (https://\[\S+\]/)", LIMIT)[1].group(1)
        machine.wait(r"engine: url " + address.replace("[", r"\[").replace("]", r"\]"), 30)
        machine.wait(r"net: eth0: no DHCP server answers; IPv6 alone is in use", 30)
        # Until a router has been heard the box says that it asks; once it is reachable, nothing of the kind.
        reachable = next(i for i, (_, text) in enumerate(machine.lines) if "ready: open " in text)
        never(machine, "nobody can reach", after=reachable)
        never(machine, "no DHCP server has answered")
        power_off(machine)
    return address


@test("a network card without a driver is named")
def no_driver():
    with boot("no-driver", nic="pcnet,netdev=n,id=nic,romfile=", ports={}) as machine:
        why = machine.wait(NOBODY, LIMIT)[1].group(1)
        check("a network card (PCI 1022:2000" in why and "no driver" in why, f"the console says: {why}")
        never(machine, "url https://localhost")
        power_off(machine)
    return why


@test("a network in which nobody answers is told, and the box gives itself an address")
def silence():
    with boot("silence", net=vm.ALONE, ports={}) as machine:
        machine.wait(r"eth0: no DHCP server has answered for 10 s; still asking", LIMIT)
        never(machine, "open https", "url https")
        address = machine.wait(r"eth0 has given itself (169\.254\.\d+\.\d+)", LIMIT)[1].group(1)
        machine.wait(r"ready: open https://" + address.replace(".", r"\."), LIMIT)
        power_off(machine)
    return address


@test("fixed addresses, two cards, a USB card that comes late; the first card's cable is pulled")
def cards():
    conf = ("address = eth0 10.0.2.77/24, eth0 fec0::77/64\ngateway = 10.0.2.2\ndns = 10.0.2.3\nntp = off\n")
    ports = {guest: vm.free_port() for guest in vm.GUEST_PORTS}
    first = "net=10.0.2.0/24" + "".join(f",hostfwd=tcp:127.0.0.1:{host}-10.0.2.77:{guest}"
                                        for guest, host in ports.items())
    second = {guest: vm.free_port() for guest in vm.GUEST_PORTS}
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for guest, host in second.items())
    with boot("cards", edited("cards", conf), ports=ports, net=first, forward=False, devices=["qemu-xhci,id=usb"],
              more=["-netdev", f"user,id=n2,net=10.0.3.0/24{forwards}", "-device", "virtio-net-pci,netdev=n2,romfile=,id=nic2",
                    "-netdev", "user,id=n3,net=10.0.4.0/24"]) as machine:
        tawny, _ = meet(machine)
        machine.wait(r"net: eth0 has 10\.0\.2\.77 as the settings say, router 10\.0\.2\.2", 5)
        machine.wait(r"net: eth0 has fec0::77 \(IPv6\)", 20)
        machine.wait(r"net: eth1 has 10\.0\.3\.15 from 10\.0\.3\.2", LIMIT)
        check(tawny.wait_ready(LIMIT).get("clock") == "trusted", "ntp = off, and /health does not say: trusted")
        at = len(machine.lines)
        machine.qmp("device_add", driver="usb-net", netdev="n3", id="late", bus="usb.0")
        machine.wait(r"net: \w+ has 10\.0\.4\.15 from 10\.0\.4\.2", LIMIT, at)
        machine.wait(r"open https://10\.0\.4\.15/", 30, at)
        machine.qmp("device_del", id="late")
        machine.wait(r"net: \w+ was removed", LIMIT, at)
        machine.qmp("set_link", name="nic", up=False)
        machine.wait(r"net: eth0 .*the cable is unplugged", LIMIT, at)
        machine.ports = second
        again, _ = meet(machine)  # by the other card, whose answers must not go to the first
        again.wait_ready(LIMIT)
        power_off(machine)
    return "10.0.2.77, 10.0.3.15, 10.0.4.15"


@test("DHCP: renewed, refused, another address; its time servers; a name that is taken", how="idle")
def leases():
    with Lan() as lan:
        lan.leases = [bytes([10, 9, 0, 50]), bytes([10, 9, 0, 60])]
        with boot("leases", net=lan.net, ports={}, more=["-rtc", "base=2011-01-01T00:00:00"]) as machine:
            machine.wait(r"net: eth0 has 10\.9\.0\.50 from 10\.9\.0\.1 for 1 min, router 10\.9\.0\.1", LIMIT)
            machine.wait(r"clock: was .* behind and is set by 3 time servers", LIMIT)
            machine.wait(r"ready: open https://10\.9\.0\.50/", LIMIT)
            lan.ask_mdns("tawny.local", 1, 20, bytes([10, 9, 0, 50]))
            lan.ask_mdns("_ollama._tcp.local", 12, 20, b"\x2c\xaa")  # port 11434
            for _ in range(3):
                lan.claim_mdns("tawny", bytes([10, 9, 0, 2]))
                time.sleep(0.1)
            machine.wait(r"another machine in this network is called tawny\.local: this one is tawny-2\.local", LIMIT)
            machine.wait(r"a server certificate was issued .*: tawny-2, ", LIMIT)
            end = time.monotonic() + LIMIT
            while not any(kind == 3 and any(old) for kind, old in lan.said) and time.monotonic() < end:
                time.sleep(0.2)
            check(any(kind == 3 and any(old) for kind, old in lan.said), "it was never renewed")
            lan.nak = True
            machine.wait(r"net: eth0: the lease has ended; asking for a new address", LIMIT)
            machine.wait(r"net: eth0 has 10\.9\.0\.60 ", LIMIT)
            lan.ask_mdns("tawny-2.local", 1, 20, bytes([10, 9, 0, 60]))
            never(machine, "no DHCP server has answered")
            power_off(machine)
    return "10.9.0.50, then 10.9.0.60; tawny-2.local"


def wrong_clock(name, base, words):
    """A clock at BASE and no time server: clients with a right clock trust the box all the same."""
    with boot(name, edited(name, "ntp = 10.0.2.2:9\n"), more=["-rtc", f"base={base}"]) as machine:
        tawny, _ = meet(machine)
        machine.wait(words, LIMIT)
        machine.wait(r"clock: time not trusted: ", LIMIT)
        check(tawny.wait_ready(LIMIT).get("clock") == "time not trusted", "/health does not say: time not trusted")
        power_off(machine)
    return "served, and not trusted"


@test("a clock of 2040 and no time server: clients trust the box, which says that the time is not trusted")
def clock_2040():
    return wrong_clock("clock-2040", "2040-01-01T00:00:00", r"init: Linux")


if FULL:
    @test("a clock of 2011 and no time server: clients trust the box, which says that the time is not trusted")
    def clock_2011():
        return wrong_clock("clock-2011", "2011-01-01T00:00:00", r"which is before this image was built")

    def lying(name, offsets, words):
        with Lan(lease_s=3600) as lan:
            lan.clock_s = offsets
            with boot(name, net=lan.net, ports={}) as machine:
                machine.wait(words, LIMIT)
                machine.wait(r"ready: open https://10\.9\.0\.50/", LIMIT)
                power_off(machine)
        return words

    YEAR = 366 * 86400

    @test("time servers that lie by years: backwards, each another time, one of three")
    def liars():
        lying("lie-back", [-20 * YEAR] * 3, r"clock: time not trusted: the time servers name a time that cannot be")
        lying("lie-apart", [YEAR, -YEAR, 0], r"clock: time not trusted: the time servers do not agree")
        return lying("lie-one", [5 * YEAR, 0, 0], r"clock: (2 time servers agree with it|was 0\.\d+ s (behind|ahead) and is set by 2 time servers)")

    @test("a clock of 2040 is set back by time servers that agree")
    def clock_set_back():
        with Lan(lease_s=3600) as lan:
            with boot("clock-back", net=lan.net, ports={}, more=["-rtc", "base=2040-01-01T00:00:00"]) as machine:
                machine.wait(r"clock: was \d+ days ahead and is set by 3 time servers", LIMIT)
                lan.clock_s = [-YEAR] * 3  # and from then on it is good
                machine.wait(r"ready: open https://10\.9\.0\.50/", LIMIT)
                power_off(machine)
        return "set back once"
