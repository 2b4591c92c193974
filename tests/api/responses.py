"""OpenAI's Responses dialect: its npm client and LangChain's, Codex itself making a turn with a tool, and what is kept."""

import json
import subprocess

import npm
from tools import ROOT, Server, WORK, check, in_test_root, skip

SAID = "There are 12 degrees in Paris."
CODEX = "@openai/codex@0.171.0"


def events_named(text):
    """(name, JSON) of each event of a stream."""
    events = []
    for block in text.split("\n\n"):
        lines = block.split("\n")
        if lines[0].startswith("event: ") and lines[1].startswith("data: "):
            events.append((lines[0][7:], json.loads(lines[1][6:])))
    return events


def raw(server):
    """The bytes of a stream: each event has its type as its name, and there is no [DONE]."""
    status, headers, text = server.ask("POST", "/v1/responses", {"input": "How is the weather?", "stream": True, "store": False})
    text = text.decode()
    events = events_named(text)
    check("responses: events are named as their type", status == 200 and headers["content-type"].startswith("text/event-stream") and
          len(events) > 10 and all(name == event["type"] for name, event in events), text[:600])
    check("responses: the last event is the end", text.endswith("}\n\n") and "[DONE]" not in text and events[-1][0] == "response.completed", text[-300:])
    status, _, answer = server.ask("GET", "/v1/responses/" + events[-1][1]["response"]["id"])
    check("responses: what is not to be stored is not there", status == 404, answer)
    for path, wanted in (("/v1/responses", 405), ("/v1/responses/resp_x/y", 404), ("/v1/responses/resp_x?stream=true", 400)):
        status, _, answer = server.ask("GET", path)
        check("responses: GET %s is a %d" % (path, wanted), status == wanted and answer["error"]["message"], answer)
    status, _, answer = server.ask("GET", "/v1/responses/resp_x", key=False)
    check("responses: without the key there is nothing", status == 401, answer)
    status, _, answer = server.ask("POST", "/v1/responses", {"input": "How is the weather?", "instructions": "Be brief."})
    for query, wanted in (("limit=0", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=z", "after")):
        refused = server.ask("GET", "/v1/responses/%s/input_items?%s" % (answer["id"], query))
        check("responses: input_items?%s is refused" % query, refused[0] == 400 and refused[2]["error"]["param"] == wanted, refused)
    items = server.ask("GET", "/v1/responses/%s/input_items" % answer["id"])[2]
    check("responses: its input is listed, with ids", [i["content"][0]["text"] for i in items["data"]] == ["How is the weather?"] and
          items["first_id"] == items["data"][0]["id"] and not items["has_more"], items)


def codex_binary():
    """(the test root, Codex's program in it), or (None, why there is none)."""
    root, why = npm.install()
    if not root:
        return None, why
    place = npm.PLACE / "codex"
    found = lambda: [p for p in place.glob("node_modules/@openai/codex-linux-*/vendor/*/bin/codex") if p.is_file()]
    if not found():
        place.mkdir(exist_ok=True)
        code, text = in_test_root(root, "env", "npm_config_cafile=/etc/ssl/certs/ca-certificates.crt", "npm", "install", "--no-audit", "--no-fund",
                                  "--ignore-scripts", "--no-save", "--prefix", place, CODEX, cwd=place, timeout=600)
        if code or not found():
            return None, "npm could not install %s: %s" % (CODEX, text.strip()[-300:])
    return root, found()[0]


def codex():
    """Codex asks, runs the command that the model calls for, tells what it printed, and ends with the second answer."""
    root, program = codex_binary()
    if not root:
        skip("responses: codex", program)
        return
    scripted = WORK / "scripted-shell.gguf"
    subprocess.run([ROOT / "tests" / "api" / "scripted.py", scripted, "shell"], check=True)
    server = Server("codex", scripted)
    server.wait()
    home = WORK / "codex-home"
    home.mkdir(exist_ok=True)
    (home / "brief.md").write_text("Be brief.\n")
    (home / "config.toml").write_text("\n".join((
        'model = "scripted-shell"', 'model_provider = "tawny"', 'model_instructions_file = "%s"' % (home / "brief.md"), "model_context_window = 32768",
        "[model_providers.tawny]", 'name = "tawny"', 'base_url = "%s/v1"' % server.url, 'wire_api = "responses"', 'env_key = "TAWNY_KEY"',
        "request_max_retries = 0", "stream_max_retries = 0",
        "[features]", "goals = false", "multi_agent = false", "view_image = false", "")))  # less to read for a model of one byte a token
    code, text = in_test_root(root, "env", "CODEX_HOME=%s" % home, "TAWNY_KEY=" + server.key(), "SSL_CERT_FILE=%s" % server.ca,
                              "CODEX_CA_CERTIFICATE=%s" % server.ca, "sh", "-c", 'exec "$0" "$@" </dev/null', program, "exec", "--json",
                              "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "How is the weather?", cwd=home, timeout=600)
    events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    ran = [item for item in items if item["type"] == "command_execution"]
    said = [item["text"] for item in items if item["type"] == "agent_message"]
    check("responses: codex runs the command that was called", code == 0 and len(ran) == 1 and ran[0]["exit_code"] == 0 and
          ran[0]["aggregated_output"].strip() == "\u2602" * 60, text[-900:])
    check("responses: codex has the answer behind it", said == ["I look.", SAID], (said, text[-900:]))
    check("responses: codex had its usage", events and events[-1]["type"] == "turn.completed" and events[-1]["usage"]["output_tokens"] > 0 and
          events[-1]["usage"]["cached_input_tokens"] > 0, events[-1:])
    check("responses: codex's server stops cleanly", server.stop() == 0)


def run(model):
    del model  # a real one calls when it likes
    scripted = WORK / "scripted.gguf"
    subprocess.run([ROOT / "tests" / "api" / "scripted.py", scripted], check=True)
    server = Server("responses", scripted)
    health = server.wait()
    check("responses: the scripted model is loaded", health and health["status"] == "ready", health)
    raw(server)
    npm.client("responses", "responses.mjs", server, 15)
    check("responses: the server stops cleanly", server.stop() == 0)
    codex()
