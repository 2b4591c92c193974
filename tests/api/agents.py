"""Agents: npm clients against the scripted model, which calls what a test needs, and against the built-in one, which must find the
call by itself (turns.mjs); and the requests of programs that are not on npm, as they write them."""

import json
import re
import subprocess

import npm
from tools import ROOT, Server, WORK, check, events_of, find_model, skip

SAID, FOUND = "There are 12 degrees in Paris.", "\u2602\u2602\u2602 12 degrees"
WANT = [("get_weather", {"city": "Paris", "days": 2}), ("now", {})]
ARGUMENTS = '{"city":"Paris","days":2}'
CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}
NOTHING = {"type": "object", "properties": {}}


def tools_of(weather, now, **more):
    """Both tools, with members that only some clients send."""
    return [{"type": "function", "function": dict({"name": name, "description": name, "parameters": schema}, **more)}
            for name, schema in (("get_weather", weather), ("now", now))]


def call_of(no, name, arguments):
    return {"id": "call_%d" % no, "type": "function", "function": {"name": name, "arguments": arguments}}


def openclaw():
    """OpenClaw (the openai-completions client of pi-ai): contents as parts, a thought under the name it came by."""
    calls = [call_of(1, "get_weather", ARGUMENTS), call_of(2, "now", "{}")]
    return {"model": "scripted", "stream": True, "stream_options": {"include_usage": True}, "store": False, "max_completion_tokens": 300,
            "reasoning_effort": "low", "prompt_cache_key": "s1", "prompt_cache_retention": "24h",
            "tools": tools_of(CITY, NOTHING, strict=False)}, [
        {"role": "developer", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "How is the weather?"}]}], [
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}], "reasoning_content": "It is about weather.", "tool_calls": calls},
        {"role": "tool", "content": FOUND, "tool_call_id": "call_1", "name": "get_weather"},
        {"role": "tool", "content": "noon", "tool_call_id": "call_2", "name": "now"}]


def cline():
    """Cline: a content that is left out beside calls, what a tool gave in front of what the user says."""
    calls = [call_of(1, "get_weather", ARGUMENTS)]
    return {"model": "scripted", "temperature": 0, "stream": True, "stream_options": {"include_usage": True}, "tool_choice": "auto",
            "parallel_tool_calls": True, "tools": tools_of(dict(CITY, additionalProperties=False), dict(NOTHING, required=[]), strict=False)}, [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "<task>\nHow is the weather?\n</task>"},
                                     {"type": "text", "text": "<environment_details>\n</environment_details>"}]}], [
        {"role": "assistant", "tool_calls": calls, "reasoning_details": [{"type": "reasoning.text", "text": "x", "format": "unknown", "index": 0}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "[get_weather] Result:\n" + FOUND},
        {"role": "user", "content": [{"type": "text", "text": "<environment_details>\n</environment_details>"}]}]


def codex():
    """Codex on its chat wire: no sampling fields at all, content null, one call a message, several user messages in a row."""
    return {"model": "scripted", "stream": True, "stream_options": {"include_usage": True}, "tools": tools_of(CITY, NOTHING, strict=False)}, [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "<environment_context>\n</environment_context>"},
        {"role": "user", "content": "How is the weather?"}], [
        {"role": "assistant", "content": "I look.", "reasoning": "It is about weather."},
        {"role": "assistant", "content": None, "tool_calls": [call_of(1, "get_weather", ARGUMENTS)]},
        {"role": "assistant", "content": None, "tool_calls": [call_of(2, "now", "")]},
        {"role": "tool", "tool_call_id": "call_1", "content": FOUND},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noon"}]}]


def home_assistant():
    """Home Assistant's OpenRouter integration, as used with another base URL: routing hints, a conversation's id as user."""
    calls = [call_of(1, "get_weather", ARGUMENTS), call_of(2, "now", "{}")]
    return {"model": "scripted", "stream": True, "user": "01JABCDEF", "provider": {"require_parameters": True},
            "tools": tools_of(dict(CITY, additionalProperties=True), dict(NOTHING, required=[]))}, [
        {"role": "system", "content": "Current time is 12:00.\nBe brief."}, {"role": "user", "content": "How is the weather?"}], [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": json.dumps({"data": FOUND, "error": None}, ensure_ascii=False)},
        {"role": "tool", "tool_call_id": "call_2", "content": '{"data":"noon","error":null}'}]


def answer_of(server, fields, messages):
    """(calls, content) of a stream, the likeliest one, or (status, what it said)"""
    status, _, text = server.ask("POST", "/v1/chat/completions", dict(fields, messages=messages, temperature=0))
    if status != 200:
        return status, text
    calls, content = {}, ""
    for event in events_of(text.decode()):
        for choice in event["choices"]:
            content += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls") or []:
                entry = calls.setdefault(call["index"], {"name": "", "arguments": ""})
                for member in entry:
                    entry[member] += call["function"].get(member) or ""
    return [(c["name"], json.loads(c["arguments"])) for c in calls.values()], content


def shapes(server):
    for client in (openclaw, cline, codex, home_assistant):
        fields, first, then = client()
        answer = answer_of(server, fields, first)
        check("agents: %s: its first request is answered by two calls" % client.__name__, answer == (WANT, "I look."), answer)
        answer = answer_of(server, fields, first + then)
        check("agents: %s: what the tools said is read" % client.__name__, answer == ([], SAID), answer)
    fields, first, then = codex()
    prompt = server.ask("POST", "/apply-template", dict(fields, messages=first + then))[2]["prompt"]
    turns = re.findall(r"<\|im_start\|>(\w+)", prompt)
    check("agents: codex: a thought, a sentence and two calls are one turn", turns == "system system user assistant tool tool assistant".split() and
          "<think>It is about weather.</think>\n\nI look.<tool_call>" in prompt and prompt.count("<tool_call>{") == 2, prompt)


def left_alone(server):
    """Fields that change nothing here, and empty ones, each by itself: the answer is the same as without."""
    messages = [{"role": "user", "content": "How is the weather?"}]
    bare = server.ask("POST", "/v1/chat/completions", {"messages": messages, "temperature": 0})[2]["choices"][0]
    for name, value in (("metadata", {"a": "b"}), ("store", True), ("service_tier", "auto"), ("user", "u"), ("safety_identifier", "s"),
                        ("prediction", {"type": "content", "content": "x"}), ("modalities", ["text"]), ("verbosity", "low"), ("tools", []),
                        ("parallel_tool_calls", True), ("stream_options", {"include_usage": True, "include_obfuscation": False}),
                        ("response_format", {"type": "text"}), ("logit_bias", {}), ("functions", []), ("max_completion_tokens", 4000),
                        ("tool_choice", "auto"), ("web_search_options", {}), ("audio", None), ("n", 1), ("prompt_cache_key", "k")):
        status, _, answer = server.ask("POST", "/v1/chat/completions", {"messages": messages, "temperature": 0, name: value})
        check("agents: %s changes nothing" % name, status == 200 and answer["choices"][0] == bare, answer)
    said = {"role": "assistant", "content": None, "refusal": None, "annotations": [], "audio": None, "function_call": None,
            "tool_calls": [dict(call_of(1, "get_weather", ARGUMENTS), index=0)]}
    back = messages + [said, {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": FOUND}]}]
    status, _, answer = server.ask("POST", "/v1/chat/completions", {"messages": back, "temperature": 0, "tools": []})
    check("agents: a message goes back as it came, with tools empty", status == 200 and answer["choices"][0]["message"]["content"] == SAID, answer)


def strict_schema(server):
    """A schema as zod and pydantic write it: closed, with titles and a dialect; nothing of it stands in the notes."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "owl", "type": "object", "additionalProperties": False,
              "properties": {"kind": {"title": "Kind", "enum": ["barn", "tawny"], "type": "string"},
                             "age": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 9}, {"type": "null"}], "default": None},
                             "nest": {"$ref": "#/$defs/nest"}},
              "required": ["kind", "age", "nest"],
              "$defs": {"nest": {"type": "object", "properties": {"high": {"type": "boolean"}}, "required": ["high"], "additionalProperties": False}}}
    form = {"type": "json_schema", "json_schema": {"name": "owl", "description": "An owl.", "strict": True, "schema": schema}}
    status, headers, answer = server.chat("An owl.", response_format=form, max_tokens=1000)
    owl = json.loads(answer["choices"][0]["message"]["content"]) if status == 200 else {}
    check("agents: a strict schema is obeyed, with no note", list(owl) == ["kind", "age", "nest"] and owl["kind"] in ("barn", "tawny") and
          isinstance(owl["nest"]["high"], bool) and "x-tawny-schema-notes" not in headers, (headers, answer))


def builtin(model):
    """Three turns with tools, of each client, by a model that really calls."""
    if not find_model()[1]:
        skip("agents: three turns", "the model tested is not the built-in one")
        return
    server = Server("turns", model)
    server.wait()
    npm.client("agents", "turns.mjs", server, 9)
    check("agents: the server of the built-in model stops cleanly", server.stop() == 0)


def run(model):
    scripted = WORK / "scripted.gguf"
    subprocess.run([ROOT / "tests" / "api" / "scripted.py", scripted], check=True)
    server = Server("agents", scripted)
    health = server.wait()
    check("agents: the scripted model is loaded", health and health["status"] == "ready", health)
    for part in (shapes, left_alone, strict_schema):
        part(server)
    npm.client("agents", "agents.mjs", server, 16)
    check("agents: the server stops cleanly", server.stop() == 0)
    builtin(model)
