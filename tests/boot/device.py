"""Which device computes, as the box tells it where it has no GPU."""

import json

from tier import LIMIT, boot, box, check, edited, key_on_console, meet, power_off, test


def doctor(tawny):
    """({layer: its JSON}, the whole JSON) of /v1/doctor."""
    answer = tawny.request("GET", "/v1/doctor?format=json")
    text = answer.read()
    check(answer.status == 200, f"/v1/doctor: status {answer.status}, {text[:300]}")
    report = json.loads(text)
    return {layer["layer"]: layer for layer in report["layers"]}, report


@test("a virtual screen is no GPU: virtio-gpu without Vulkan")
def virtual_screen():
    sentence = "virtio-gpu 1af4:1050 at 0000:00:"
    with boot("virtio-gpu", devices=["virtio-gpu-pci"]) as machine:
        tawny, _ = meet(machine)
        why = machine.wait(r"why this device: (.*)", LIMIT)[1].group(1)
        check(sentence in why and "is a virtual screen that offers no Vulkan (Venus)" in why, f"the console says: {why}")
        health = tawny.wait_ready(LIMIT)
        check(health["kind"] == "cpu" and health["why_this_device"] in why, f"/health says {health}")
        tawny.key = key_on_console(machine)
        layers, report = doctor(tawny)
        for name, state, words in (
                ("pci", "note", sentence), ("driver", "ok", "virtio-pci"), ("nodes", "ok", "group 110 render, mode 0660"),
                ("permission", "ok", "/dev/dri/renderD128"),
                ("open", "none", "virtio_gpu answers, but the host offers no Vulkan through it (Venus)"),
                ("vulkan", "ok", "linked in"), ("device", "none", "Vulkan shows no device")):
            layer = layers[name]
            check(layer["state"] == state and words in layer["found"], f"the layer {name} says {layer}")
        check("venus=true" in "\n".join(layers["open"]["lines"]), f"no way to mend it: {layers['open']}")
        check(report["runs"] == "cpu" and report["refused_by"] is None, f"the verdict: {report['verdict']}")
        check(report["place"].startswith("the image, in a virtual machine"), f"the place: {report['place']}")
        power_off(machine)
    return why


@test("device = vulkan without a GPU: the box is up and says why it does not answer")
def refused_device():
    file = edited("refused", "device = vulkan\n")
    with boot("refused", file) as machine:
        ca = box.fetch_ca(machine.ports[80], LIMIT, machine.running)
        tawny = box.Box(machine.ports[443], ca)
        said = machine.wait(r"no model is loaded: (.*)", LIMIT)[1].group(1)
        check("this machine has no GPU" in said and "device = cpu" in said, f"the console says: {said}")
        machine.wait(r"every layer: GET /v1/doctor", LIMIT)
        answer = tawny.request("GET", "/health")
        health = json.loads(answer.read())
        check(answer.status == 503 and health["status"] == "failed" and health["error"] in said, f"/health says {health}")
        tawny.key = key_on_console(machine)
        _, report = doctor(tawny)
        check(report["runs"] == "nothing" and said in report["verdict"], f"the verdict: {report['verdict']}")
        power_off(machine)
    file.unlink()
    return said
