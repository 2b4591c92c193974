// anthropic.mjs - the `@anthropic-ai/sdk` npm client against the scripted model (scripted.py): messages whole and streamed,
// its stream helper and tool runner, counts, schemas, lists, errors.
//
// Run by tests/api/anthropic.py with TAWNY_URL, TAWNY_KEY and NODE_EXTRA_CA_CERTS. Prints one line a check, "ok NAME" or
// "FAILED NAME: why".
import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";
import { jsonSchemaOutputFormat } from "@anthropic-ai/sdk/helpers/json-schema";

const client = new Anthropic({ baseURL: process.env.TAWNY_URL, apiKey: process.env.TAWNY_KEY, authToken: null, maxRetries: 0 });
const MOST_MS = 20000, FOUND = "\u2602\u2602\u2602 12 degrees", SAID = "There are 12 degrees in Paris.";
const city = { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } }, required: ["city"] };
const nothing = { type: "object", properties: {} };
const tools = [{ name: "get_weather", input_schema: city }, { name: "now", input_schema: nothing }];
const messages = [{ role: "user", content: "How is the weather?" }];
const ask = { model: "scripted", max_tokens: 300, temperature: 0, messages };
const adaptive = { type: "adaptive" };
const WANT = JSON.stringify([{ city: "Paris", days: 2 }, {}]);
const asked = [];
const running = [
    betaTool({ name: "get_weather", description: "Of a city.", inputSchema: city, run: (it) => { asked.push(it); return FOUND; } }),
    betaTool({ name: "now", description: "The time.", inputSchema: nothing, run: (it) => { asked.push(it); return [{ type: "text", text: "noon" }]; } }),
];

async function check(name, test) {
    let timer;
    const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error(`no end within ${MOST_MS} ms`)), MOST_MS); });
    try {
        asked.length = 0;
        const why = await Promise.race([test(), late]);
        console.log(why ? `FAILED anthropic: ${name}: ${why}` : `ok anthropic: ${name}`);
    } catch (error) {
        console.log(`FAILED anthropic: ${name}: ${error.name}: ${error.message}`.replaceAll("\n", " "));
    }
    clearTimeout(timer);
}

// What is wrong with a message that thinks, speaks and calls both tools.
function unlike(message) {
    const kinds = message.content.map((b) => b.type).join(" ");
    if (kinds !== "thinking text tool_use tool_use") return kinds;
    const [thought, text, ...calls] = message.content;
    if (thought.thinking !== "It is about weather." || !thought.signature) return JSON.stringify(thought);
    if (text.text !== "I look.") return JSON.stringify(text);
    if (JSON.stringify(calls.map((c) => c.input)) !== WANT || !calls.every((c) => c.id)) return JSON.stringify(calls);
    if (message.stop_reason !== "tool_use" || message.stop_sequence !== null) return message.stop_reason;
    const { usage } = message;
    if (!(usage.input_tokens + usage.cache_read_input_tokens > 100) || !(usage.output_tokens > 20)) return JSON.stringify(usage);
    if (message.type !== "message" || message.role !== "assistant" || !message.id.startsWith("msg_")) return JSON.stringify(message);
}

async function refused(type, status, kind, words, make) {
    try {
        await make();
        return "it was not refused";
    } catch (error) {
        const inner = error.error?.error ?? {};
        if (!(error instanceof type) || error.status !== status || inner.type !== kind || !words.test(inner.message))
            return `${error.name} ${error.status} ${inner.type}: ${inner.message}`;
        if (!error.requestID?.startsWith("req_") || error.error.request_id !== error.requestID) return `request ${error.requestID}`;
    }
}

await check("a message, whole", async () => {
    const message = await client.messages.create({ ...ask, tools, thinking: adaptive });
    return unlike(message) ?? (message._request_id?.startsWith("req_") ? undefined : `request ${message._request_id}`);
});
await check("the events of a stream, in their order", async () => {
    const events = [];
    for await (const event of await client.messages.create({ ...ask, tools, thinking: adaptive, stream: true })) events.push(event);
    const starts = events.filter((e) => e.type === "content_block_start"), stops = events.filter((e) => e.type === "content_block_stop");
    if (starts.map((e) => e.index).join() !== "0,1,2,3" || stops.map((e) => e.index).join() !== "0,1,2,3") return JSON.stringify(starts);
    const ends = [events[0].type, ...events.slice(-2).map((e) => e.type)].join(" ");
    if (ends !== "message_start message_delta message_stop") return ends;
    const [first, last] = [events[0].message.usage, events.at(-2).usage];
    if (first.input_tokens !== last.input_tokens + last.cache_read_input_tokens + last.cache_creation_input_tokens || !(last.output_tokens > 20))
        return JSON.stringify([first, last]);
    const pieces = events.filter((e) => e.delta?.type === "input_json_delta").length;
    if (pieces < 4) return `arguments came in ${pieces} pieces`;
});
await check("the stream helper puts the same message together", async () =>
    unlike(await client.messages.stream({ ...ask, tools, thinking: adaptive }).finalMessage()));
for (const stream of [false, true]) {
    await check(`the tool runner calls both and has the answer, ${stream ? "streamed" : "whole"}`, async () => {
        const runner = client.beta.messages.toolRunner({ ...ask, tools: running, stream, max_iterations: 4 });
        const last = await runner.runUntilDone();
        if (JSON.stringify(asked) !== WANT) return `asked for ${JSON.stringify(asked)}`;
        if (last.content.map((b) => b.text).join("") !== SAID || last.stop_reason !== "end_turn") return JSON.stringify(last);
    });
}
await check("the tool runner with thoughts that go back, told and omitted", async () => {
    for (const thinking of [adaptive, { type: "enabled", budget_tokens: 1024, display: "omitted" }]) {
        const last = await client.beta.messages.toolRunner({ ...ask, tools: running, thinking, max_iterations: 4 }).runUntilDone();
        if (last.content.at(-1).text !== SAID) return JSON.stringify(last);
    }
});
await check("without thinking asked for, none is told", async () => {
    const message = await client.messages.create({ ...ask, tools });
    if (message.content.map((b) => b.type).join(" ") !== "text tool_use tool_use") return JSON.stringify(message.content);
});
await check("a thought that is omitted: empty, with a signature", async () => {
    const { content } = await client.messages.create({ ...ask, thinking: { type: "adaptive", display: "omitted" } });
    if (content[0].type !== "thinking" || content[0].thinking !== "" || content[0].signature.length < 10) return JSON.stringify(content);
});
await check("a budget ends a thought", async () => {
    const { content } = await client.messages.create({ ...ask, thinking: { type: "enabled", budget_tokens: 2 } });
    if (content[0].thinking !== "It is") return JSON.stringify(content);
});
await check("stop_sequences: which one ended it", async () => {
    const message = await client.messages.create({ ...ask, stop_sequences: ["never", "look"] });
    if (message.content[0].text !== "I " || message.stop_reason !== "stop_sequence" || message.stop_sequence !== "look") return JSON.stringify(message);
    const last = await client.messages.stream({ ...ask, stop_sequences: ["look"] }).finalMessage();
    if (last.stop_reason !== "stop_sequence" || last.stop_sequence !== "look") return JSON.stringify(last);
});
await check("max_tokens ends it", async () => {
    const message = await client.messages.create({ ...ask, max_tokens: 7 });
    if (message.stop_reason !== "max_tokens" || message.usage.output_tokens !== 7) return JSON.stringify(message);
});
await check("a call that is cut off says so", async () => {
    const message = await client.messages.create({ ...ask, tools, max_tokens: 14 });
    const call = message.content.at(-1);
    if (message.stop_reason !== "max_tokens" || call.input.INVALID_JSON !== '{"city": "Par') return JSON.stringify(message);
});
await check("tool_choice any, tool and none", async () => {
    const any = await client.messages.create({ ...ask, tools, tool_choice: { type: "any", disable_parallel_tool_use: true } });
    if (any.content.filter((b) => b.type === "tool_use").length !== 1) return JSON.stringify(any.content);
    const one = await client.messages.create({ ...ask, tools, tool_choice: { type: "tool", name: "get_weather" } });
    const call = one.content.find((b) => b.type === "tool_use");
    if (call.name !== "get_weather" || typeof call.input.city !== "string") return JSON.stringify(one.content);
    const none = await client.messages.create({ ...ask, tools, tool_choice: { type: "none" } });
    if (none.content.some((b) => b.type === "tool_use") || none.stop_reason !== "end_turn") return JSON.stringify(none.content);
});
await check("a schema is obeyed, and parsed", async () => {
    const owl = { type: "object", properties: { kind: { enum: ["barn", "tawny"] }, wild: { type: "boolean" } },
        required: ["kind", "wild"], additionalProperties: false };
    const message = await client.messages.parse({ ...ask, output_config: { format: jsonSchemaOutputFormat(owl) } });
    const { kind, wild } = message.parsed_output ?? {};
    if (!["barn", "tawny"].includes(kind) || typeof wild !== "boolean") return JSON.stringify(message);
});
await check("countTokens counts what a message then has", async () => {
    const { input_tokens: n } = await client.messages.countTokens({ model: "scripted", messages, tools, system: "Be brief." });
    const { usage } = await client.messages.create({ ...ask, tools, system: "Be brief." });
    if (n !== usage.input_tokens + usage.cache_read_input_tokens) return `${n}, ${JSON.stringify(usage)}`;
    const long = await client.messages.countTokens({ model: "scripted", messages: [{ role: "user", content: "word ".repeat(9000) }] });
    if (!(long.input_tokens > 45000)) return JSON.stringify(long); // more than the context holds is counted too
});
await check("the models, listed and one", async () => {
    const ids = [];
    for await (const model of client.models.list()) ids.push(`${model.type} ${model.id} ${model.display_name}`);
    if (ids[0] !== "model scripted scripted") return ids.join();
    const one = await client.models.retrieve("scripted");
    if (one.id !== "scripted" || !(new Date(one.created_at) > 0) || one.max_input_tokens !== 8192) return JSON.stringify(one);
});
await check("a stream that is left half way", async () => {
    const stream = await client.messages.create({ ...ask, stream: true });
    for await (const event of stream) if (event.type === "content_block_delta") break; // closes the connection
});
await check("a key as a bearer's token", async () => {
    const other = new Anthropic({ baseURL: process.env.TAWNY_URL, apiKey: null, authToken: process.env.TAWNY_KEY, maxRetries: 0 });
    await other.messages.create({ ...ask, max_tokens: 1 });
});
await check("a bad key is a 401", () => refused(Anthropic.AuthenticationError, 401, "authentication_error", /key/,
    () => new Anthropic({ baseURL: process.env.TAWNY_URL, apiKey: "nonsense", authToken: null, maxRetries: 0 }).messages.create(ask)));
await check("another model is a 404 that says what to set", () => refused(Anthropic.NotFoundError, 404, "not_found_error",
    /ANTHROPIC_MODEL.*There are: .*scripted/, () => client.messages.create({ ...ask, model: "claude-sonnet-5" })));
await check("an image is a 400", () => refused(Anthropic.BadRequestError, 400, "invalid_request_error", /messages\[0\].content\[0\].*image/,
    () => client.messages.create({ ...ask, messages: [{ role: "user", content: [
        { type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } }] }] })));
for (const stream of [false, true])
    await check(`a prompt over the context${stream ? ", streamed" : ""}`, () => refused(Anthropic.BadRequestError, 400, "invalid_request_error",
        /^prompt is too long: \d+ tokens > 8191 maximum$/,
        () => client.messages.create({ ...ask, stream, messages: [{ role: "user", content: "word ".repeat(9000) }] })));
process.exit(0); // a check that was late may still wait
