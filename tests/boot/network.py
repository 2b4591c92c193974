"""Networks as they are found: without a cable, with IPv6 alone, with a card that has no driver."""

import time

from tier import LIMIT, boot, check, power_off, test, vm

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


@test("a network adapter without a driver is named")
def no_driver():
    with boot("no-driver", nic="usb-net,netdev=n,id=nic,bus=usb.0", devices=["qemu-xhci,id=usb"], ports={}) as machine:
        why = machine.wait(NOBODY, LIMIT)[1].group(1)
        check("USB network adapter" in why and "(0525:a4a2)" in why and "no driver" in why, f"the console says: {why}")
        never(machine, "url https://localhost")
        power_off(machine)
    return why


@test("a network in which nobody answers is told")
def silence():
    with boot("silence", net=vm.ALONE, ports={}) as machine:
        machine.wait(r"eth0: no DHCP server has answered for 10 s; still asking", LIMIT)
        time.sleep(1)
        never(machine, "open https", "url https")
        power_off(machine)
    return "no DHCP server has answered"
