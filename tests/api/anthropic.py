"""Anthropic's dialect: its own npm client, and the requests of Claude Code as it writes them."""

import json
import subprocess

import npm
from tools import ROOT, Server, WORK, check

VERSION = {"anthropic-version": "2023-06-01"}
SAID, FOUND = "There are 12 degrees in Paris.", "\u2602\u2602\u2602 12 degrees"
CACHE = {"type": "ephemeral"}


def ask(server, body, path="/v1/messages?beta=true", headers=VERSION, **more):
    return server.ask("POST", path, body, headers=headers, **more)


def text(words, **more):
    return dict({"type": "text", "text": words}, **more)


def tool(name, **properties):
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": properties, "additionalProperties": False}
    return {"name": name, "description": name, "input_schema": schema}


def claude_code(billing, *then):
    """What Claude Code 2.1 sends: the fields, blocks and tool kinds of a captured request, its texts made short; and a temperature."""
    tools = [tool("get_weather", city={"type": "string"}, days={"type": "integer", "maximum": 9007199254740991}), tool("now"),
             dict(tool("DeferredToolPlaceholder"), defer_loading=True), {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}]
    return {"model": "scripted", "max_tokens": 32000, "stream": True, "tools": tools,
            "system": [text("x-anthropic-billing-header: cc_version=2.1.332.ca9; cc_entrypoint=sdk-cli; cch=%s;" % billing),
                       text("You are an agent. " + "Be brief and exact. " * 40, cache_control=CACHE)],
            "messages": [{"role": "user", "content": [text("<system-reminder>\nToday is Friday.\n</system-reminder>\n"), text("How is the weather?")]},
                         {"role": "system", "content": [text("# Environment\nPlatform: linux", cache_control=CACHE)]}, *then],
            "metadata": {"user_id": "{\"device_id\":\"6313\",\"session_id\":\"7515\"}"}, "thinking": {"type": "adaptive", "display": "omitted"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}, "output_config": {"effort": "high"},
            "temperature": 0}


def message_of(stream):
    """The message that a stream tells, put together as a client does it; its events must be whole and in order."""
    message, pieces = None, {}
    for event in stream.decode().split("\n\n"):
        if not event:
            continue
        name, data = event.split("\n", 1)
        data = json.loads(data.removeprefix("data: "))
        assert name == "event: " + data["type"], event
        if data["type"] == "message_start":
            message = data["message"]
        elif data["type"] == "content_block_start":
            assert data["index"] == len(message["content"]), event
            message["content"].append(data["content_block"])
        elif data["type"] == "content_block_delta":
            block, delta = message["content"][data["index"]], dict(data["delta"])
            member = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}.get(delta.pop("type"))
            if member:
                block[member] += delta[member]
            else:
                pieces[data["index"]] = pieces.get(data["index"], "") + delta["partial_json"]
        elif data["type"] == "content_block_stop" and message["content"][data["index"]]["type"] == "tool_use":
            message["content"][data["index"]]["input"] = json.loads(pieces.get(data["index"]) or "{}")
        elif data["type"] == "message_delta":
            message.update(data["delta"])
            message["usage"].update(data["usage"])
    return message


def turn(server, body):
    status, headers, answer = ask(server, body)
    return (message_of(answer), headers) if status == 200 else ({"content": [], "usage": {}, "refused": (status, answer)}, headers)


def agent(server):
    first, headers = turn(server, claude_code("a1b2c"))
    kinds = [b["type"] for b in first["content"]]
    check("anthropic: Claude Code's first request is answered by a thought, a sentence and two calls", kinds == ["thinking", "text", "tool_use", "tool_use"] and
          first["stop_reason"] == "tool_use" and first["content"][0]["thinking"] == "" and first["content"][2]["input"] == {"city": "Paris", "days": 2}, first)
    check("anthropic: what does not run here is named in a header", "web_search_20250305" in headers.get("x-tawny-notes", ""), headers)
    again, _ = turn(server, claude_code("0f9e8"))
    usage, all_of_it = again["usage"], first["usage"]["input_tokens"] + first["usage"]["cache_read_input_tokens"]
    check("anthropic: only the line for the bill differs: the whole prompt is reused", usage["input_tokens"] <= 1 and
          usage["cache_read_input_tokens"] == all_of_it - usage["input_tokens"], (first["usage"], usage))
    calls = [b for b in first["content"] if b["type"] == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": calls[0]["id"], "content": FOUND},
               {"type": "tool_result", "tool_use_id": calls[1]["id"], "content": [text("noon")], "cache_control": CACHE}]
    last, _ = turn(server, claude_code("77777", {"role": "assistant", "content": first["content"]}, {"role": "user", "content": results}))
    usage = last["usage"]
    check("anthropic: what the tools said is read", last["content"][-1].get("text") == SAID and last["stop_reason"] == "end_turn", last)
    check("anthropic: and the conversation so far is reused", usage["cache_read_input_tokens"] > 0.9 * all_of_it, (all_of_it, usage))
    count = ask(server, {k: v for k, v in claude_code("1").items() if k in ("model", "messages", "system", "tools", "thinking", "output_config")},
                "/v1/messages/count_tokens?beta=true")
    check("anthropic: its count is the prompt's", count[0] == 200 and count[2] == {"input_tokens": all_of_it}, (count, all_of_it))


def results(server):
    """Each form in which a tool's answer comes, by what its prompt then holds."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}]}
    counts = {}
    for name, result in (("a text", {"content": FOUND}), ("blocks", {"content": [text(FOUND), image]}), ("an empty list", {"content": []}),
                         ("nothing", {}), ("an error", {"content": FOUND, "is_error": True})):
        body = {"model": "scripted", "max_tokens": 30, "temperature": 0, "messages": [
            {"role": "user", "content": "How is the weather?"}, call,
            {"role": "user", "content": [dict({"type": "tool_result", "tool_use_id": "toolu_1"}, **result)]}]}
        status, _, answer = ask(server, body)
        counts[name] = status == 200 and answer["usage"]["input_tokens"] + answer["usage"]["cache_read_input_tokens"]
        check("anthropic: a tool's answer as %s" % name, status == 200 and
              (answer["content"][0]["text"] == SAID if result.get("content") else answer["content"][0]["text"].startswith("I look.")), answer)
    check("anthropic: none and an empty one are the same", counts["nothing"] == counts["an empty list"] < counts["a text"] < counts["an error"] < counts["blocks"], counts)


def errors(server):
    status, headers, answer = ask(server, {}, "/v1/v1/messages", headers={})
    check("anthropic: /v1/v1/messages is a 404 of its shape", status == 404 and answer["error"]["type"] == "not_found_error" and
          answer["request_id"] == headers["request-id"], answer)
    status, headers, answer = server.ask("GET", "/v1/nothing", headers=VERSION)
    check("anthropic: so is any path, to a client of Anthropic's", status == 404 and answer["type"] == "error", answer)
    status, _, answer = server.ask("GET", "/v1/messages")
    check("anthropic: GET is a 405", status == 405 and answer["error"]["type"] == "invalid_request_error", answer)
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        status, headers, answer = ask(server, {"messages": []}, path, key=False)
        check("anthropic: no key: %s" % path, status == 401 and answer["error"]["type"] == "authentication_error" and
              answer["request_id"] == headers["request-id"], answer)
    for name, body, words in (("no JSON", b"hello", "JSON"), ("a key twice", b'{"model":"a","model":"b"}', "model"),
                              ("no max_tokens", {"model": "scripted", "messages": [{"role": "user", "content": "x"}]}, "max_tokens"),
                              ("an empty body", b"", "")):
        status, _, answer = ask(server, body)
        check("anthropic: %s is a 400" % name, status == 400 and answer["error"]["type"] == "invalid_request_error" and
              words in answer["error"]["message"], answer)
    status, _, answer = ask(server, {"model": "scripted", "max_tokens": 9, "thread": {"type": "create"}, "messages": [{"role": "user", "content": "x"}]})
    check("anthropic: a thread is refused with the code that clients know", status == 400 and
          answer["error"]["details"] == {"error_code": "thread_unsupported_request"}, answer)
    big = {"model": "scripted", "messages": [{"role": "user", "content": "x" * (5 << 20)}]}
    status, _, answer = ask(server, big, "/v1/messages/count_tokens")
    check("anthropic: what is too long to be counted", status == 400 and "counted of 4194304 at most" in answer["error"]["message"], answer)
    status, _, answer = server.ask("GET", "/v1/models")
    check("anthropic: without the header the list is OpenAI's", status == 200 and answer["object"] == "list", answer)


def full_context(server):
    """An answer that the context ends: a prompt with room for a few tokens."""
    body = {"model": "scripted", "max_tokens": 300, "temperature": 0, "messages": [{"role": "user", "content": "w"}]}
    n = ask(server, {k: body[k] for k in ("model", "messages")}, "/v1/messages/count_tokens")[2]["input_tokens"]
    body["messages"][0]["content"] = "w" * (8192 - 4 - n + 1)  # of the answer four tokens fit: a thought's
    status, _, answer = ask(server, body)
    check("anthropic: the context's end is a stop_reason of its own", status == 200 and answer["stop_reason"] == "model_context_window_exceeded", answer)


def run(model):
    del model  # a real one calls when it likes
    scripted = WORK / "scripted.gguf"
    subprocess.run([ROOT / "tests" / "api" / "scripted.py", scripted], check=True)
    server = Server("anthropic", scripted)
    health = server.wait()
    check("anthropic: the scripted model is loaded", health and health["status"] == "ready", health)
    for part in (agent, results, errors, full_context):
        part(server)
    npm.client("anthropic", "anthropic.mjs", server, 23)
    check("anthropic: the server stops cleanly", server.stop() == 0)
