// calls.mjs - the `openai` npm client's tool loop against the scripted model (scripted.py), whole and streamed.
//
// Run by tests/api/calls.py with TAWNY_URL, TAWNY_KEY and NODE_EXTRA_CA_CERTS. Prints one line a check, "ok NAME" or
// "FAILED NAME: why".
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.TAWNY_URL + "/v1", apiKey: process.env.TAWNY_KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "How is the weather?" }];
const city = { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } }, required: ["city"] };
const asked = [];
const tools = [
    { type: "function", function: { name: "get_weather", parameters: city, parse: JSON.parse, function: (it) => { asked.push(it); return "\u2602 12"; } } },
    { type: "function", function: { name: "now", parameters: { type: "object", properties: {} }, parse: JSON.parse, function: (it) => { asked.push(it); return "noon"; } } },
];
const plain = tools.map(({ type, function: { name, parameters } }) => ({ type, function: { name, parameters } }));
const ask = { model: "scripted", messages, temperature: 0 };
const want = JSON.stringify([{ city: "Paris", days: 2 }, {}]);

async function check(name, test) {
    try {
        const why = await test();
        console.log(why ? `FAILED calls: ${name}: ${why}` : `ok calls: ${name}`);
    } catch (error) {
        console.log(`FAILED calls: ${name}: ${error.name}: ${error.message}`.replaceAll("\n", " "));
    }
}

for (const stream of [false, true]) {
    await check(`runTools calls both and has the answer, ${stream ? "streamed" : "whole"}`, async () => {
        asked.length = 0;
        const runner = client.chat.completions.runTools({ ...ask, tools, stream });
        const text = await runner.finalContent();
        if (JSON.stringify(asked) !== want) return `asked for ${JSON.stringify(asked)}`;
        if (text !== "There are 12 degrees in Paris.") return `"${text}"`;
        const roles = runner.messages.map((m) => m.role).join(" ");
        if (roles !== "user assistant tool tool assistant") return roles;
    });
}

await check("the deltas of a stream: one id, both indices, names first, usage last", async () => {
    const stream = await client.chat.completions.create({ ...ask, tools: plain, stream: true, stream_options: { include_usage: true } });
    const ids = new Set(), calls = [];
    let text = "", thinking = "", finish, usage, n = 0, pieces = 0;
    for await (const chunk of stream) {
        ids.add(chunk.id);
        if (chunk.usage) usage = chunk;
        const choice = chunk.choices[0];
        if (!choice) continue;
        if (usage) return "a chunk behind the usage";
        text += choice.delta.content ?? "";
        thinking += choice.delta.reasoning_content ?? "";
        finish = choice.finish_reason ?? finish;
        for (const call of choice.delta.tool_calls ?? []) {
            if (!calls[call.index]) {
                if (call.index !== n++ || !call.id || call.type !== "function" || !call.function.name || call.function.arguments !== "")
                    return JSON.stringify(call);
                calls[call.index] = { ...call.function };
            } else {
                if (call.id || call.function.name) return JSON.stringify(call);
                calls[call.index].arguments += call.function.arguments;
                pieces++;
            }
        }
    }
    if (ids.size !== 1 || finish !== "tool_calls") return `${ids.size} ids, finish ${finish}`;
    if (text !== "I look." || thinking !== "It is about weather.") return JSON.stringify({ text, thinking });
    if (JSON.stringify(calls.map((c) => JSON.parse(c.arguments))) !== want) return JSON.stringify(calls);
    if (pieces < 4) return `arguments came in ${pieces} pieces`;
    if (usage?.choices.length !== 0 || !(usage.usage.completion_tokens_details.reasoning_tokens > 0)) return JSON.stringify(usage);
});

await check("a message: content null where there is only a call", async () => {
    const answer = await client.chat.completions.create({ ...ask, tools: plain, tool_choice: "required" });
    const { message, finish_reason } = answer.choices[0];
    if (message.content !== null || finish_reason !== "tool_calls" || message.tool_calls.length !== 1) return JSON.stringify(answer.choices[0]);
    if (!JSON.parse(message.tool_calls[0].function.arguments)) return message.tool_calls[0].function.arguments;
});

await check("a named tool is called, with arguments of its schema", async () => {
    const answer = await client.chat.completions.create({ ...ask, tools: plain, tool_choice: { type: "function", function: { name: "get_weather" } } });
    const call = answer.choices[0].message.tool_calls[0].function;
    if (call.name !== "get_weather" || typeof JSON.parse(call.arguments).city !== "string") return JSON.stringify(call);
});

await check("parallel_tool_calls false: one call", async () => {
    const answer = await client.chat.completions.create({ ...ask, tools: plain, parallel_tool_calls: false });
    if (answer.choices[0].message.tool_calls.length !== 1) return JSON.stringify(answer.choices[0]);
});

await check("tool_choice none: no call, and thinking still apart", async () => {
    const { message } = (await client.chat.completions.create({ ...ask, tools: plain, tool_choice: "none" })).choices[0];
    if (message.tool_calls || !message.content.includes("<tool_call>") || message.reasoning_content !== "It is about weather.")
        return JSON.stringify(message);
});

await check("a budget of thinking: the thought ends, the answer follows", async () => {
    const { message } = (await client.chat.completions.create({ ...ask, tools: plain, thinking_budget_tokens: 2 })).choices[0];
    if (message.reasoning_content !== "It is" || message.content !== "I look." || message.tool_calls.length !== 2) return JSON.stringify(message);
});

await check("cut off in a call: its arguments so far, finish_reason length", async () => {
    const { message, finish_reason } = (await client.chat.completions.create({ ...ask, tools: plain, max_tokens: 14 })).choices[0];
    if (finish_reason !== "length" || message.tool_calls[0].function.arguments !== '{"city": "Par') return JSON.stringify(message);
});

await check("a stop string ends content, and nothing of it is sent", async () => {
    const { message, finish_reason } = (await client.chat.completions.create({ ...ask, tools: plain, stop: ["look"] })).choices[0];
    if (message.content !== "I " || message.tool_calls || finish_reason !== "stop") return JSON.stringify(message);
});
