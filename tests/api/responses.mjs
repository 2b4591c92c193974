// responses.mjs - OpenAI's Responses dialect through the `openai` npm client (whole, streamed, its stream helper, tool loops, what
// is kept) and LangChain's, against the scripted model (scripted.py).
//
// Run by tests/api/responses.py with TAWNY_URL, TAWNY_KEY and NODE_EXTRA_CA_CERTS. Prints one line a check, "ok NAME" or
// "FAILED NAME: why".
import { HumanMessage, SystemMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const baseURL = process.env.TAWNY_URL + "/v1", apiKey = process.env.TAWNY_KEY, MOST_MS = 60000;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const QUESTION = "How is the weather?", SAID = "There are 12 degrees in Paris.", WANT = JSON.stringify([{ city: "Paris", days: 2 }, {}]);
const city = { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } }, required: ["city"], additionalProperties: false };
const tools = [
    { type: "function", name: "get_weather", description: "Of a city.", parameters: city, strict: false },
    { type: "web_search" },
    { type: "function", name: "now", parameters: { type: "object", properties: {} }, strict: false },
];
const given = { get_weather: "\u2602\u2602\u2602 12 degrees", now: "noon" };
const ask = { model: "scripted", temperature: 0, tools };
const bare = { model: "scripted", temperature: 0 };

async function check(name, test) {
    let timer;
    const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error(`no end within ${MOST_MS} ms`)), MOST_MS); });
    try {
        const why = await Promise.race([test(), late]);
        console.log(why ? `FAILED responses: ${name}: ${why}` : `ok responses: ${name}`);
    } catch (error) {
        console.log(`FAILED responses: ${name}: ${error.name}: ${error.message}`.replaceAll("\n", " "));
    }
    clearTimeout(timer);
}

async function refused(status, param, call) {
    try {
        await call();
        return "it was not refused";
    } catch (error) {
        if (error.status !== status || (error.param ?? null) !== param) return `${error.status} ${error.param}: ${error.message}`;
    }
}

const calls = (response) => response.output.filter((item) => item.type === "function_call");
const outputs = (response) => calls(response).map((call) => ({ type: "function_call_output", call_id: call.call_id, output: given[call.name] }));

// What is wrong with the first answer: a thought, a sentence, two calls.
function first(response) {
    const kinds = response.output.map((item) => item.type).join(" ");
    if (kinds !== "reasoning message function_call function_call" || response.status !== "completed") return `${response.status} ${kinds}`;
    if (response.output[0].content[0].text !== "It is about weather.") return JSON.stringify(response.output[0]);
    if (response.output_text !== "I look.") return `"${response.output_text}"`;
    if (JSON.stringify(calls(response).map((call) => JSON.parse(call.arguments))) !== WANT) return JSON.stringify(calls(response));
    const usage = response.usage;
    if (usage.total_tokens !== usage.input_tokens + usage.output_tokens || !(usage.output_tokens_details.reasoning_tokens > 0)) return JSON.stringify(usage);
}

await check("whole: a thought, a sentence, two calls; then what the tools gave, items sent again", async () => {
    const one = await client.responses.create({ ...ask, input: QUESTION, store: false });
    if (first(one)) return first(one);
    const two = await client.responses.create({ ...ask, store: false, input: [{ role: "user", content: QUESTION }, ...one.output, ...outputs(one)] });
    if (two.output_text !== SAID || two.output.length !== 1) return JSON.stringify(two.output);
    if (!(two.usage.input_tokens_details.cached_tokens > 0)) return JSON.stringify(two.usage);
});

let kept;
await check("previous_response_id: only what is new is sent", async () => {
    const one = await client.responses.create({ ...ask, input: QUESTION, instructions: "Be brief.", metadata: { a: "b" } });
    const two = await client.responses.create({ ...ask, input: outputs(one), previous_response_id: one.id });
    if (two.output_text !== SAID || two.previous_response_id !== one.id) return JSON.stringify(two);
    kept = [one, two];
});

await check("retrieve, input_items, delete", async () => {
    const again = await client.responses.retrieve(kept[0].id);
    const { output_text: said, ...object } = kept[0];
    if (again.output_text !== said || JSON.stringify(again.output) !== JSON.stringify(object.output) || again.metadata.a !== "b") return JSON.stringify(again);
    const items = [];
    for await (const item of client.responses.inputItems.list(kept[1].id, { limit: 1, order: "asc" })) items.push(item);
    if (items.map((i) => i.output).join() !== Object.values(given).join() || new Set(items.map((i) => i.id)).size !== 2) return JSON.stringify(items);
    await client.responses.delete(kept[0].id);
    const gone = await refused(404, null, () => client.responses.retrieve(kept[0].id));
    if (gone) return gone;
    const three = await client.responses.create({ ...ask, input: "Thanks.", previous_response_id: kept[1].id }); // what follows a response outlives it
    if (!three.output_text) return JSON.stringify(three);
});

await check("an item by its reference", async () => {
    const one = await client.responses.create({ ...ask, input: QUESTION });
    const input = [{ role: "user", content: QUESTION }, ...one.output.map(({ id }) => ({ type: "item_reference", id })), ...outputs(one)];
    const two = await client.responses.create({ ...ask, input });
    if (two.output_text !== SAID) return JSON.stringify(two.output);
});

await check("streamed: every event in order, and the last holds what the others told", async () => {
    const stream = await client.responses.create({ ...ask, input: QUESTION, stream: true });
    const items = [], kinds = [], done = [], texts = new Map();
    let at = 0, last, text = "";
    for await (const event of stream) {
        if (event.sequence_number !== at++) return `number ${event.sequence_number} is not ${at - 1}`;
        if (last && event.type !== last.type) kinds.push(last.type);
        last = event;
        if (event.type === "response.output_item.added") items[event.output_index] = event.item;
        if (event.type.endsWith(".delta")) {
            if (items[event.output_index].id !== event.item_id) return `${event.type} of ${event.item_id}`;
            texts.set(event.item_id, (texts.get(event.item_id) ?? "") + event.delta);
            if (event.type === "response.output_text.delta") text += event.delta;
        }
        if (event.type === "response.output_text.done" && event.text !== text) return event.text;
        if (event.type === "response.function_call_arguments.done" && event.arguments !== texts.get(event.item_id)) return event.arguments;
        if (event.type === "response.output_item.done") done.push(event.item);
    }
    if (last.type !== "response.completed") return `the last is ${last.type}`;
    if (JSON.stringify(done) !== JSON.stringify(last.response.output)) return JSON.stringify({ done, output: last.response.output });
    const wanted = "response.created response.in_progress response.output_item.added response.content_part.added response.reasoning_text.delta " +
        "response.reasoning_text.done response.content_part.done response.output_item.done response.output_item.added response.content_part.added " +
        "response.output_text.delta response.output_text.done response.content_part.done response.output_item.done";
    if (!kinds.join(" ").startsWith(wanted)) return kinds.join(" ");
    return first({ ...last.response, output_text: text });
});

await check("the stream helper: events, the final response", async () => {
    const seen = [];
    const stream = client.responses.stream({ ...ask, input: QUESTION })
        .on("response.output_text.delta", (event) => seen.push(event.snapshot)).on("response.function_call_arguments.delta", (event) => seen.push(event.snapshot));
    const response = await stream.finalResponse();
    if (!seen.includes("I look.") || !seen.some((s) => s.endsWith('"days":2}') || s.endsWith('"days": 2}'))) return JSON.stringify(seen);
    return first(response);
});

await check("a thought as a summary, sealed, and sent back", async () => {
    const options = { ...ask, store: false, reasoning: { effort: "low", summary: "auto" }, include: ["reasoning.encrypted_content"] };
    const stream = client.responses.stream({ ...options, input: QUESTION });
    let told = "";
    for await (const event of stream) if (event.type === "response.reasoning_summary_text.delta") told += event.delta;
    const one = await stream.finalResponse();
    const thought = one.output[0];
    if (told !== "It is about weather." || thought.summary[0].text !== told || !thought.encrypted_content) return JSON.stringify(thought);
    const two = await client.responses.create({ ...options, input: [{ role: "user", content: QUESTION }, ...one.output, ...outputs(one)] });
    if (two.output_text !== SAID) return JSON.stringify(two.output);
});

await check("tool_choice: required, a name, none, one call", async () => {
    const must = await client.responses.create({ ...ask, input: QUESTION, tool_choice: "required" });
    if (calls(must).length < 1) return JSON.stringify(must.output);
    const named = await client.responses.create({ ...ask, input: QUESTION, tool_choice: { type: "function", name: "get_weather" } });
    if (typeof JSON.parse(calls(named)[0].arguments).city !== "string") return JSON.stringify(named.output);
    const none = await client.responses.create({ ...ask, input: QUESTION, tool_choice: "none" });
    if (calls(none).length) return JSON.stringify(none.output);
    const one = await client.responses.create({ ...ask, input: QUESTION, parallel_tool_calls: false });
    if (calls(one).length !== 1) return JSON.stringify(one.output);
});

await check("a tool whose input is a text", async () => {
    const custom = [{ type: "custom", name: "get_weather", description: "Of a city." }];
    const response = await client.responses.create({ ...bare, input: QUESTION, tools: custom });
    const call = response.output.find((item) => item.type === "custom_tool_call");
    if (call?.name !== "get_weather" || typeof call.input !== "string") return JSON.stringify(response.output);
});

const owl = z.object({ name: z.enum(["tawny", "barn"]), age: z.number().int().min(0).max(9), wild: z.boolean() });
await check("text.format: a schema of zod's, parsed, whole and streamed", async () => {
    const options = { ...bare, input: "An owl.", text: { format: zodTextFormat(owl, "owl") } };
    const whole = await client.responses.parse(options);
    const streamed = await client.responses.stream(options).finalResponse();
    for (const { output_parsed: object } of [whole, streamed]) if (!owl.strict().safeParse(object).success) return JSON.stringify({ whole, streamed });
});

await check("max_output_tokens: incomplete, and says why", async () => {
    const options = { ...ask, input: QUESTION, max_output_tokens: 7 };
    const whole = await client.responses.create(options);
    if (whole.status !== "incomplete" || whole.incomplete_details.reason !== "max_output_tokens") return JSON.stringify(whole);
    const streamed = await client.responses.stream(options).finalResponse();
    if (streamed.status !== "incomplete" || streamed.output.at(-1).status !== "incomplete") return JSON.stringify(streamed);
});

await check("log-probabilities", async () => {
    const response = await client.responses.create({ ...bare, input: QUESTION, include: ["message.output_text.logprobs"], top_logprobs: 2 });
    const part = response.output.find((item) => item.type === "message").content[0];
    if (!part.logprobs.length || part.logprobs[0].top_logprobs.length !== 2 || !(part.logprobs[0].logprob <= 0)) return JSON.stringify(part);
});

await check("what is refused is named", async () => {
    const create = (more) => () => client.responses.create({ ...bare, input: "x", ...more });
    return await refused(400, "previous_response_id", create({ previous_response_id: "resp_none" })) ??
        await refused(400, "background", create({ background: true })) ??
        await refused(400, "input[0].content[0].type", create({ input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] })) ??
        await refused(400, "input", create({ input: "word ".repeat(5000), stream: true })) ??
        await refused(404, null, () => client.responses.retrieve("resp_none")) ??
        await refused(404, null, () => client.responses.delete("resp_none"));
});

// ---- LangChain ----------------------------------------------------------------------------------

const asked = [];
const chain = new ChatOpenAI({ model: "scripted", apiKey, configuration: { baseURL }, temperature: 0, maxRetries: 0, useResponsesApi: true });
const chainTools = [
    tool((it) => { asked.push(it); return given.get_weather; }, { name: "get_weather", description: "Of a city.", schema: z.object({ city: z.string(), days: z.number().int().optional() }) }),
    tool((it) => { asked.push(it); return given.now; }, { name: "now", description: "The time.", schema: z.object({}) }),
];
const bound = chain.bindTools(chainTools);
const whole = async (stream) => {
    let all;
    for await (const chunk of stream) all = all ? all.concat(chunk) : chunk;
    return all;
};
for (const [name, say] of [["whole", (m) => bound.invoke(m)], ["streamed", async (m) => whole(await bound.stream(m))]]) {
    await check(`LangChain over Responses, ${name}`, async () => {
        const messages = [new SystemMessage("Be brief."), new HumanMessage(QUESTION)];
        asked.length = 0;
        for (let turn = 0; turn < 3; turn++) {
            const message = await say(messages);
            messages.push(message);
            if (!message.tool_calls?.length) return message.text === SAID && turn === 1 && JSON.stringify(asked) === WANT ? undefined : JSON.stringify({ turn, asked, text: message.text });
            for (const call of message.tool_calls) messages.push(await chainTools.find((t) => t.name === call.name).invoke(call));
        }
        return "no end after three turns";
    });
}
process.exit(0); // a check that was late may still wait
