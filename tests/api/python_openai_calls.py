"""python_openai_calls.py text|tools|vectors|trust - Python's `openai` against a running server, over verified TLS (SSL_CERT_FILE names the CA).

Run by python_openai.py with TAWNY_URL, TAWNY_KEY. Prints one line a check, "ok NAME" or "FAILED NAME: why".
"""

import asyncio
import json
import os
import sys

import openai

WHERE = dict(base_url=os.environ["TAWNY_URL"] + "/v1", api_key=os.environ["TAWNY_KEY"], max_retries=0, timeout=100)
client = openai.OpenAI(**WHERE)
HELLO = [{"role": "user", "content": "hello"}]
ASK = dict(messages=HELLO, temperature=0, max_tokens=24)
WEATHER = [{"role": "user", "content": "How is the weather?"}]
SAID, FOUND = "There are 12 degrees in Paris.", "\u2602\u2602\u2602 12 degrees"
CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}


def check(test):
    """Runs it; it returns why it failed, or nothing."""
    try:
        why = test()
    except Exception as error:  # whatever it is, the next one still runs
        why = "%s: %s" % (type(error).__name__, error)
    name = test.__doc__
    print(("FAILED %s: FAILED: %s" % (name, str(why).replace("\n", " ")[:400])) if why else "ok " + name, flush=True)


def refused(kind, status, ask, **more):
    try:
        ask()
    except openai.APIStatusError as error:
        wrong = {k: getattr(error, k) for k, v in more.items() if getattr(error, k) != v}
        return None if type(error) is kind and error.status_code == status and not wrong else "%r %s" % (error, wrong)
    return "it was not refused"


# ---- text ---------------------------------------------------------------------------------------------------------------------


def models():
    """models.list and retrieve"""
    listed = client.models.list().data
    one = client.models.retrieve(listed[0].id)
    return None if listed and one.id == listed[0].id and one.object == "model" else (listed, one)


def whole_chat():
    answer = client.chat.completions.create(model=client.models.list().data[0].id, **ASK)
    return answer, answer.choices[0].message.content


def chat():
    """chat.completions, whole"""
    answer, text = whole_chat()
    usage = answer.usage
    good = text and answer.choices[0].finish_reason in ("stop", "length") and usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    return None if good else answer


def chat_streamed():
    """chat.completions, streamed: the same text, usage last"""
    text, usage, after = "", None, 0
    for chunk in client.chat.completions.create(model="builtin", stream=True, stream_options={"include_usage": True}, **ASK):
        after += usage is not None
        usage = chunk.usage
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    return None if text == whole_chat()[1] and usage and usage.completion_tokens > 0 and not after else (text, usage, after)


def chat_helper():
    """chat.completions.stream, the helper: its events add up to the answer"""
    text = ""
    with client.chat.completions.stream(model="builtin", **ASK) as stream:
        for event in stream:
            text += event.delta if event.type == "content.delta" else ""
        final = stream.get_final_completion()
    return None if text == final.choices[0].message.content == whole_chat()[1] else (text, final)


def raw():
    """with_raw_response: the request's name and type"""
    answer = client.chat.completions.with_raw_response.create(model="builtin", **ASK)
    return None if answer.parse().choices and answer.headers["x-request-id"].startswith("req_") else dict(answer.headers)


def several():
    """n, logprobs, stop"""
    answer = client.chat.completions.create(model="builtin", messages=HELLO, max_tokens=6, n=3, seed=7, logprobs=True, top_logprobs=2, stop=["\n"])
    good = [choice.index for choice in answer.choices] == [0, 1, 2] and all(len(entry.top_logprobs) == 2 for choice in answer.choices
                                                                             for entry in choice.logprobs.content)
    return None if good else answer


def schema():
    """response_format: a schema is obeyed"""
    form = {"type": "json_schema", "json_schema": {"name": "owl", "strict": True, "schema": {
        "type": "object", "properties": {"kind": {"enum": ["barn", "tawny"]}, "age": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["kind", "age"], "additionalProperties": False}}}
    answer = client.chat.completions.create(model="builtin", messages=HELLO, max_tokens=100, response_format=form)
    owl = json.loads(answer.choices[0].message.content)
    return None if set(owl) == {"kind", "age"} and owl["kind"] in ("barn", "tawny") and 0 <= owl["age"] <= 9 else owl


def completions():
    """completions, whole and streamed, of a text and of several"""
    ask = dict(model="builtin", prompt="The owl", max_tokens=8, temperature=0)
    text = client.completions.create(**ask).choices[0].text
    streamed = "".join(chunk.choices[0].text for chunk in client.completions.create(stream=True, **ask))
    two = client.completions.create(**dict(ask, prompt=["The owl", "A box"]))
    return None if text and text == streamed and [c.index for c in two.choices] == [0, 1] and two.choices[0].text == text else (text, streamed, two)


def responses():
    """responses, whole and streamed, gone on from, fetched and deleted"""
    ask = dict(model="builtin", input="hello", temperature=0, max_output_tokens=24)
    first = client.responses.create(**ask)
    with client.responses.stream(**ask) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    second = client.responses.create(model="builtin", input="and now?", previous_response_id=first.id, max_output_tokens=8)
    again = client.responses.retrieve(first.id)
    items = client.responses.input_items.list(second.id).data
    client.responses.delete(first.id)
    gone = refused(openai.NotFoundError, 404, lambda: client.responses.retrieve(first.id))
    good = first.output_text and first.output_text == deltas == final.output_text == again.output_text and second.output_text and items
    return None if good and not gone else (first, deltas, second, items, gone)


def errors():
    """refusals are the client's own exceptions"""
    wrong = openai.OpenAI(**dict(WHERE, api_key="tawny-wrong"))
    return refused(openai.AuthenticationError, 401, wrong.models.list, code="invalid_api_key") or \
        refused(openai.NotFoundError, 404, lambda: client.chat.completions.create(model="nothing", messages=HELLO), code="model_not_found") or \
        refused(openai.BadRequestError, 400, lambda: client.chat.completions.create(model="builtin", messages=HELLO, temperature=9), param="temperature") or \
        refused(openai.BadRequestError, 400, lambda: client.chat.completions.create(model="builtin", messages=[{"role": "user", "content": "word " * 9000}]),
                code="context_length_exceeded")


def left():
    """a stream that is left halfway, and the next request"""
    stream = client.chat.completions.create(model="builtin", messages=HELLO, max_tokens=500, stream=True, extra_body={"ignore_eos": True})
    for _, chunk in zip(range(3), stream):
        assert chunk.object == "chat.completion.chunk"
    stream.close()
    return None if whole_chat()[1] else "no answer"


def together():
    """AsyncOpenAI: eight streams at once, each to its end"""
    async def one(at, i):
        text, finish = "", None
        stream = await at.chat.completions.create(model="builtin", messages=[{"role": "user", "content": "Number %d" % i}], max_tokens=16, stream=True)
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            finish = chunk.choices[0].finish_reason or finish
        return finish

    async def all_of():
        async with openai.AsyncOpenAI(**WHERE) as at:
            return await asyncio.gather(*(one(at, i) for i in range(8)))

    ends = asyncio.run(all_of())
    return None if len(ends) == 8 and set(ends) <= {"stop", "length"} else ends


# ---- tools --------------------------------------------------------------------------------------------------------------------


def functions():
    return [{"type": "function", "function": {"name": name, "parameters": schema}}
            for name, schema in (("get_weather", CITY), ("now", {"type": "object", "properties": {}}))]


def calls_of(message):
    return [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or []]


WANT = [("get_weather", {"city": "Paris", "days": 2}), ("now", {})]


def tools_whole():
    """tools, whole: two calls, and what they said is read"""
    ask = dict(model="scripted", temperature=0, tools=functions())
    first = client.chat.completions.create(messages=WEATHER, **ask).choices[0]
    results = [{"role": "tool", "tool_call_id": call.id, "content": FOUND} for call in first.message.tool_calls or []]
    second = client.chat.completions.create(messages=WEATHER + [first.message] + results, **ask).choices[0]
    good = calls_of(first.message) == WANT and first.finish_reason == "tool_calls" and second.message.content == SAID
    return None if good else (first, second)


def tools_streamed():
    """tools, streamed: the helper puts the same calls together"""
    with client.chat.completions.stream(model="scripted", temperature=0, tools=functions(), messages=WEATHER) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion().choices[0]
    return None if calls_of(final.message) == WANT and "tool_calls.function.arguments.delta" in kinds else (kinds, final)


def tools_forced():
    """tool_choice: a function that must be called"""
    answer = client.chat.completions.create(model="scripted", temperature=0, messages=WEATHER, tools=functions(),
                                            tool_choice={"type": "function", "function": {"name": "get_weather"}}).choices[0]
    return None if [name for name, _ in calls_of(answer.message)] == ["get_weather"] else answer


def tools_none():
    """tool_choice none: no call"""
    answer = client.chat.completions.create(model="scripted", temperature=0, messages=WEATHER, tools=functions(), tool_choice="none").choices[0]
    return None if not answer.message.tool_calls else answer


def tools_responses():
    """responses with functions: calls are items, and what they said is read"""
    tools = [{"type": "function", "name": f["function"]["name"], "parameters": f["function"]["parameters"], "strict": False} for f in functions()]
    ask = dict(model="scripted", temperature=0, tools=tools)
    first = client.responses.create(input="How is the weather?", **ask)
    calls = [item for item in first.output if item.type == "function_call"]
    second = client.responses.create(previous_response_id=first.id, input=[{"type": "function_call_output", "call_id": c.call_id, "output": FOUND} for c in calls],
                                     **ask)
    return None if [(c.name, json.loads(c.arguments)) for c in calls] == WANT and second.output_text == SAID else (first, second)


def thinking():
    """a thought is reasoning_content, whole and streamed"""
    whole = client.chat.completions.create(model="scripted", temperature=0, messages=WEATHER).choices[0].message.reasoning_content
    streamed = "".join(getattr(choice.delta, "reasoning_content", None) or "" for chunk in client.chat.completions.create(
        model="scripted", temperature=0, messages=WEATHER, stream=True) for choice in chunk.choices)
    return None if whole and whole == streamed else (whole, streamed)


# ---- vectors ------------------------------------------------------------------------------------------------------------------


def embeddings():
    """embeddings: as the client asks by itself, and in numbers"""
    ask = dict(model="vectors", input=["the quick brown fox", "return int"])
    a, b = client.embeddings.create(**ask), client.embeddings.create(encoding_format="float", **ask)
    pairs = [(x, y) for one, two in zip(a.data, b.data) for x, y in zip(one.embedding, two.embedding)]
    return None if len(pairs) == 256 and all(abs(x - y) < 1e-6 for x, y in pairs) and a.usage.prompt_tokens > 5 else (a.usage, pairs[:4])


def embeddings_short():
    """embeddings: dimensions"""
    vector = client.embeddings.create(model="vectors", input="hello", dimensions=16).data[0].embedding
    return None if len(vector) == 16 and abs(sum(x * x for x in vector) - 1) < 1e-5 else vector


def embeddings_refused():
    """a chat with a model that embeds is refused"""
    return refused(openai.BadRequestError, 400, lambda: client.chat.completions.create(model="vectors", messages=HELLO), param="model")


PARTS = {"text": (models, chat, chat_streamed, chat_helper, raw, several, schema, completions, responses, errors, left, together),
         "tools": (tools_whole, tools_streamed, tools_forced, tools_none, tools_responses, thinking),
         "vectors": (embeddings, embeddings_short, embeddings_refused)}

if sys.argv[1] == "trust":
    try:
        client.models.list()
    except openai.APIConnectionError as error:
        print("refused:", error.__cause__)
else:
    for part in PARTS[sys.argv[1]]:
        check(part)
