"""Tool calls and thinking through OpenAI's own client for Node: its tool loop against a model that always calls."""

import json
import subprocess

import npm
from tools import ROOT, Server, WORK, check


CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}
OK = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": False}


def tools_of(city, **more):
    return [{"type": "function", "function": dict(name="get_weather", parameters=city, **more)},
            {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}]


def obeys(server):
    """what obeys beside what the model likes: it would always call Paris"""
    def ask(tools, **fields):
        status, _, body = server.chat("How is it?", tools=tools, temperature=0, max_tokens=300, **fields)
        message = body["choices"][0]["message"] if status == 200 else {}
        return status, message, [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in message.get("tool_calls", [])], body
    status, message, calls, body = ask(tools_of(CITY, strict=True))
    check("calls: strict tools leave a call that obeys as it is", status == 200 and message["content"] == "I look." and
          message["reasoning_content"] == "It is about weather." and calls == [("get_weather", {"city": "Paris", "days": 2}), ("now", {})], body)
    rome = dict(CITY, properties=dict(CITY["properties"], city={"enum": ["Rome"]}))
    status, message, calls, body = ask(tools_of(rome, strict=True), parallel_tool_calls=False)
    check("calls: a strict tool's arguments obey", status == 200 and len(calls) == 1 and calls[0][1]["city"] == "Rome", body)
    status, message, calls, body = ask(tools_of(CITY), response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": OK}})
    content = message.get("content")
    check("calls: beside tools content obeys, behind a thought", status == 200 and message["reasoning_content"] == "It is about weather." and
          (calls or list(json.loads(content)) == ["ok"]), body)
    status, _, body = server.chat("x", tools=tools_of(CITY), response_format={"type": "json_schema", "json_schema": {
        "name": "x", "schema": {"type": "integer", "minimum": 5, "maximum": 1}}})
    check("calls: content that cannot be is refused beside tools", status == 400 and "minimum" in body["error"]["message"], body)


def run(model):
    del model  # a real one calls when it likes
    scripted = WORK / "scripted.gguf"
    subprocess.run([ROOT / "tests" / "api" / "scripted.py", scripted], check=True)
    server = Server("calls", scripted)
    health = server.wait()
    check("calls: the scripted model is loaded", health and health["status"] == "ready", health)
    npm.client("calls", "calls.mjs", server, 10)
    obeys(server)
    check("calls: the server stops cleanly", server.stop() == 0)
