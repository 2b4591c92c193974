"""GET /v1/reference says what is done: each endpoint is there, each field is known to it and takes what is told, each setting
stands in tawny.conf with the default that is told."""

import re

from tools import ROOT, Server, check

WRONG = {"true or false": 3, "a string": 3, "an array": 3, "an object": 3, "an array of strings": 3}


def wrong_values(takes):
    """Values that a field that takes this must refuse."""
    bounds = re.match(r"a (?:whole )?number from (\S+) to (\S+?)(?:,|$)", takes)
    if bounds:
        return ["x", float(bounds.group(2)) * 2 + 1, float(bounds.group(1)) - 1e9]
    return [WRONG[takes]] if takes in WRONG else []


def message_of(answer):
    error = answer.get("error", answer)
    return error if isinstance(error, str) else error.get("message", "")


def fields(server, endpoint):
    """(how many were tried, those that were not as told)"""
    tried, lies = 0, []
    for field in endpoint["fields"]:
        if "is not supported" in field["takes"]:
            status, _, answer = server.ask(endpoint["method"], endpoint["path"], {field["name"]: True})
            tried += 1
            if status != 400 or field["name"] not in message_of(answer):
                lies.append((field, status, answer))
        for value in wrong_values(field["takes"]):
            status, _, answer = server.ask(endpoint["method"], endpoint["path"], {field["name"]: value})
            tried += 1
            if status != 400 or "'%s'" % field["name"] not in message_of(answer):
                lies.append((field, value, status, answer))
    return tried, lies


def run(model):
    server = Server("reference", model)
    server.wait()
    check("reference: not without a key", server.ask("GET", "/v1/reference", key=False)[0] == 401)
    status, _, told = server.ask("GET", "/v1/reference")
    check("reference: it is there", status == 200 and told["object"] == "reference" and len(told["endpoints"]) > 60, status)
    missing = []
    for one in told["endpoints"]:
        path = one["path"] + ("none" if one["path"].endswith("/") and one["path"] != "/" else "")
        status, _, answer = server.ask(one["method"], path, b"{}" if one["method"] in ("POST", "PUT", "PATCH") else None)
        if status == 405 or (status == 404 and isinstance(answer, dict) and "There is nothing at" in message_of(answer)):
            missing.append((one["method"], path, status))
    check("reference: every endpoint that is told is there", not missing, missing)
    with_fields = [one for one in told["endpoints"] if one.get("fields")]
    check("reference: every dialect tells its fields", {"/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat", "/completion", "/v1/embeddings"}
          <= {one["path"] for one in with_fields}, [one["path"] for one in with_fields])
    for one in with_fields:
        tried, lies = fields(server, one)
        check("reference: %s takes what is told (%d values tried)" % (one["path"], tried), not lies and tried > 0, lies[:3])
    chat = {field["name"]: field["takes"] for one in with_fields if one["path"] == "/v1/chat/completions" for field in one["fields"]}
    check("reference: bounds are told", chat["temperature"] == "a number from 0 to 2" and chat["top_logprobs"] == "a whole number from 0 to 20" and
          chat["stream"] == "true or false", chat)
    conf = dict(re.findall(r"^#?([a-z-]+) = ?(.*)$", (ROOT / "rootfs-overlay/etc/tawny.conf").read_text(), re.M))
    settings = {one["name"]: one["default"] for one in told["settings"]}
    strange = [name for name in settings if name not in conf and name != "state"]
    check("reference: every setting is told, and stands in tawny.conf", len(settings) > 20 and not strange, strange)
    check("reference: the server stops cleanly", server.stop() == 0)
