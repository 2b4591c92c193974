"""Answers that obey, through the API: random JSON schemas at a high temperature, judged by jsonschema; every spelling of a
constraint; what is refused, with its path, before anything is generated; log-probabilities against each other."""

import json
import math
import random
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from tools import ROOT, Server, check, events_of, skip

N_SCHEMAS = 60


def answer_of(server, **fields):
    """(status, headers, content, finish_reason)"""
    status, headers, body = server.chat("Tell me about owls and your key.", **fields)
    if status != 200:
        return status, headers, body, None
    choice = body["choices"][0]
    return status, headers, choice["message"]["content"], choice["finish_reason"]


def spellings(server):
    status, _, text, finish = answer_of(server, response_format={"type": "json_object"}, temperature=1.5, max_tokens=300, seed=3)
    good = status == 200 and (finish == "length" or isinstance(json.loads(text), dict))
    check("obeys: json_object", good, (status, text))
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 10, "maximum": 99}}, "required": ["n"]}
    for name, fields in (("response_format", {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True,
                                                                                                      "schema": schema}}}),
                         ("json_schema", {"json_schema": schema}), ("guided_json", {"guided_json": schema}),
                         ("guided_json as text", {"guided_json": json.dumps(schema)}),
                         ("structured_outputs", {"structured_outputs": {"json": schema}})):
        status, _, text, finish = answer_of(server, temperature=1.5, max_tokens=60, **fields)
        check("obeys: %s" % name, status == 200 and finish == "stop" and 10 <= json.loads(text)["n"] <= 99, (status, text))
    for name, fields, pattern in (("grammar", {"grammar": 'root ::= [0-9]{2,4} ("-" [a-f]+)?'}, r"[0-9]{2,4}(-[a-f]+)?"),
                                  ("guided_regex", {"guided_regex": r"\d{3}-(owl|cat)"}, r"\d{3}-(owl|cat)"),
                                  ("structured_outputs.json_object", {"structured_outputs": {"json_object": True}}, r"(?s)\s*\{.*\}"),
                                  ("guided_choice", {"guided_choice": ["red", "green", "blue"]}, "red|green|blue")):
        status, _, text, finish = answer_of(server, temperature=1.5, max_tokens=200, **fields)
        check("obeys: %s" % name, status == 200 and (finish == "length" or re.fullmatch(pattern, text)), (status, text))
    status, headers, text, _ = answer_of(server, json_schema={"type": "array", "uniqueItems": True, "maxItems": 2, "items": {"enum": [1, 2]}})
    check("obeys: what is not enforced is noted", status == 200 and "json_schema.uniqueItems" in headers.get("x-tawny-schema-notes", ""), headers)


def refusals(server):
    for name, fields, param, word in (
            ("a pattern", {"json_schema": {"properties": {"a": {"pattern": "(?=x)"}}}}, "json_schema", "json_schema.properties.a.pattern: "),
            ("a type", {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "strin"}}}},
             "response_format", "response_format.json_schema.schema.type: "),
            ("a reference to itself", {"json_schema": {"$ref": "#"}}, "json_schema", "itself"),
            ("left recursion", {"grammar": 'root ::= root "x" | "y"'}, "grammar", "left recursion"),
            ("an expression", {"guided_regex": "(a"}, "guided_regex", "guided_regex: "),
            ("two of them", {"grammar": 'root ::= "x"', "json_schema": {}}, None, "one of them")):
        status, _, body = server.chat(**fields)
        error = body.get("error", {}) if isinstance(body, dict) else {}
        check("obeys: %s is a 400 with its path" % name, status == 400 and word in error.get("message", "") and
              (param is None or error.get("param") == param), body)


def too_much(server):
    """A grammar that grows dearer with every token ends its own answer with its name, and holds up nobody for long."""
    dear = 'root ::= s\ns ::= "x" s s s | "x" s s | "x" s | "x"'
    fields = {"grammar": dear, "logit_bias": {"120": 100}, "max_tokens": 900}
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(server.chat, "x", **fields) for _ in range(3)]
        time.sleep(0.3)  # they are under way
        start = time.monotonic()
        status, _, _ = server.chat("hello", max_tokens=10)
        took = time.monotonic() - start
        check("obeys: beside three dear grammars a short answer takes %.1f s" % took, status == 200 and took < 5, took)
        for status, _, body in (one.result() for one in asked):
            error = body.get("error", {})
            check("obeys: a grammar that costs too much is a 400 with its name", status == 400 and error.get("param") == "grammar" and
                  error["message"].startswith("grammar: after ") and "too many ways" in error["message"], body)
    _, _, text = server.ask("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "stream": True, **fields})
    check("obeys: the same within a stream", '"param":"grammar"' in text.decode() and '"x"' in text.decode(), text[-300:])


def random_schemas(server):
    try:
        import jsonschema
    except ImportError:
        skip("obeys: random schemas", "python3-jsonschema is not there")
        return
    sys.path.insert(0, str(ROOT / "tests" / "golden"))
    from obeys import Maker
    rng, valid, cut, wrong = random.Random(11), 0, 0, []
    for i in range(N_SCHEMAS):
        schema = Maker(rng).whole()
        if not isinstance(schema, dict):
            continue
        status, _, text, finish = answer_of(server, json_schema=schema, temperature=1.5, top_k=0 if i % 2 else 40, max_tokens=400, seed=i)
        if status == 400 and ("satisfy" in text["error"]["message"] or "allow" in text["error"]["message"] or
                              "above" in text["error"]["message"]):
            continue  # nothing is valid
        if status == 200 and finish == "length":
            cut += 1
            continue
        try:
            jsonschema.Draft202012Validator(schema).validate(json.loads(text))
            valid += 1
        except (jsonschema.ValidationError, ValueError, TypeError) as e:
            wrong.append((schema, text, str(e)[:200]))
    check("obeys: random schemas at temperature 1.5: %d valid, %d cut off by max_tokens" % (valid, cut), not wrong and valid > N_SCHEMAS // 2,
          wrong[:2])


def log_probabilities(server):
    _, _, body = server.chat("hello", logprobs=True, top_logprobs=4, max_tokens=8)
    content = body["choices"][0]["logprobs"]["content"]
    text = b"".join(bytes(c["bytes"]) for c in content).decode(errors="replace")
    check("obeys: the tokens of logprobs are the text", text == body["choices"][0]["message"]["content"], body)
    check("obeys: at temperature 0 the token is the likeliest",
          all(c["top_logprobs"][0]["token"] == c["token"] and c["top_logprobs"][0]["logprob"] == c["logprob"] for c in content), content)
    check("obeys: shares are shares", all(sum(math.exp(t["logprob"]) for t in c["top_logprobs"]) <= 1.0001 for c in content), content)
    status, _, text = server.ask("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}], "temperature": 0,
                                                                  "max_tokens": 8, "logprobs": True, "top_logprobs": 4, "stream": True})
    streamed = [c for e in events_of(text.decode()) for c in (e["choices"][0].get("logprobs") or {}).get("content", [])]
    check("obeys: logprobs of a stream are the same", status == 200 and streamed == content, (streamed, content))
    # a bias changes what is taken, and not what the model held likely
    _, _, biased = server.chat("hello", logprobs=True, top_logprobs=4, max_tokens=1, logit_bias={"5": -1}, top_k=0)
    check("obeys: logprobs are the model's own", all(abs(a["logprob"] - b["logprob"]) < 1e-4 for a, b in
          zip(biased["choices"][0]["logprobs"]["content"][0]["top_logprobs"], content[0]["top_logprobs"])), biased)
    whole = body["choices"][0]["message"]["content"]
    stop = whole[len(whole) // 2:len(whole) // 2 + 3]
    fields = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0, "max_tokens": 8, "logprobs": True, "stop": stop}
    _, _, body = server.ask("POST", "/v1/chat/completions", fields)
    said, kept = body["choices"][0]["message"]["content"], [c["token"] for c in body["choices"][0]["logprobs"]["content"]]
    check("obeys: a stop string has no logprobs", said == whole[:whole.index(stop)] != "" and
          len("".join(kept[:-1])) < len(said) <= len("".join(kept)), (said, kept))
    _, _, text = server.ask("POST", "/v1/chat/completions", dict(fields, stream=True))
    streamed = [c["token"] for e in events_of(text.decode()) for c in (e["choices"][0].get("logprobs") or {}).get("content", [])]
    check("obeys: nor in a stream", streamed == kept, (streamed, kept))
    _, _, plain = server.ask("POST", "/v1/completions", {"prompt": "hello", "temperature": 0, "max_tokens": 6, "logprobs": 3})
    lists = plain["choices"][0]["logprobs"]
    check("obeys: logprobs of a completion", "".join(lists["tokens"]) == plain["choices"][0]["text"] and
          all(abs(max(top.values()) - taken) < 1e-6 for top, taken in zip(lists["top_logprobs"], lists["token_logprobs"])), plain)


def of_prompt(server):
    """echo with logprobs: the prompt's tokens are held as likely as when they were generated, whatever is in memory of them"""
    ask = lambda **fields: server.ask("POST", "/v1/completions", dict(fields, temperature=0))
    _, _, made = ask(prompt="The owl", logprobs=2, max_tokens=12)
    text, lists = "The owl" + made["choices"][0]["text"], made["choices"][0]["logprobs"]
    n = len(lists["tokens"])
    for name, prompt in (("", text), (" again", text), (" in an array", [text])):
        status, _, read = ask(prompt=prompt, echo=True, logprobs=2, max_tokens=0)
        choice = read["choices"][0] if status == 200 else {}
        told = choice.get("logprobs") or {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        check("obeys: the prompt's own logprobs%s" % name, choice.get("text") == text and "".join(told["tokens"]) == text and
              told["tokens"][-n:] == lists["tokens"] and told["token_logprobs"][0] is None and told["top_logprobs"][0] is None and
              all(abs(a - b) < 1e-3 for a, b in zip(told["token_logprobs"][-n:], lists["token_logprobs"])) and
              told["text_offset"] == [len("".join(told["tokens"][:i])) for i in range(len(told["tokens"]))] and
              choice["finish_reason"] == "length" and read["usage"]["completion_tokens"] == 0, read)
    status, _, read = ask(prompt=[[104, 105, 33]], echo=True, logprobs=1, max_tokens=1, ignore_eos=True)
    told = read["choices"][0]["logprobs"] if status == 200 else {"tokens": []}
    check("obeys: those of a prompt of ids, and of what follows", len(told["tokens"]) == 4 and "".join(told["tokens"]) == read["choices"][0]["text"], read)
    status, _, stream = server.ask("POST", "/v1/completions", {"prompt": text, "echo": True, "logprobs": 0, "max_tokens": 2, "stream": True})
    choices = [e["choices"][0] for e in events_of(stream.decode())]
    told = [t for c in choices for t in (c["logprobs"] or {}).get("tokens", [])]
    said = "".join(c["text"] for c in choices)
    check("obeys: those of a prompt in a stream", status == 200 and said.startswith(text) and "".join(told).startswith(said), (said, told))


def sampling(server):
    seeded = [server.chat("hello", temperature=1.2, seed=7, typical_p=0.9, xtc_probability=0.5, xtc_threshold=0.1, mirostat=0,
                          dry_multiplier=0.8, max_tokens=24)[2]["choices"][0]["message"]["content"] for _ in range(2)]
    check("obeys: one seed, one answer", seeded[0] == seeded[1], seeded)
    _, _, body = server.chat("hello", ignore_eos=True, max_tokens=60)
    check("obeys: ignore_eos", body["choices"][0]["finish_reason"] == "length" and body["usage"]["completion_tokens"] == 60, body)
    _, _, body = server.chat("hello", min_tokens=50, max_tokens=60)
    check("obeys: min_tokens", body["usage"]["completion_tokens"] >= 50, body)


def run(model):
    server = Server("obeys", model)
    health = server.wait()
    check("obeys: the model is loaded", health and health["status"] == "ready", health)
    for part in (spellings, refusals, too_much, random_schemas, log_probabilities, of_prompt, sampling):
        part(server)
    check("obeys: the server stops cleanly", server.stop() == 0)
