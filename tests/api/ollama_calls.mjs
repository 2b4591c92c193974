// ollama_calls.mjs - tool calls and thinking through the `ollama` npm client, against the scripted model.
//
// Run by tests/api/ollama_api.py with TAWNY_URL, TAWNY_KEY. Prints one line a check, "ok NAME" or "FAILED NAME: why".
import { check, client } from "./ollama_client.mjs";

const model = "scripted", messages = [{ role: "user", content: "What is the weather in Paris?" }], options = { temperature: 0 };
const tools = [
    { type: "function", function: { name: "get_weather", description: "d", parameters: { type: "object", required: ["city"], properties: { city: { type: "string" }, days: { type: "integer" } } } } },
    { type: "function", function: { name: "now", description: "d", parameters: { type: "object", properties: {} } } },
];
const wanted = [["get_weather", { city: "Paris", days: 2 }], ["now", {}]];

const same = (calls) => JSON.stringify(calls.map((c) => [c.function.name, c.function.arguments])) === JSON.stringify(wanted);

await check("show: it calls tools and thinks", async () => {
    const { capabilities } = await client.show({ model });
    if (!["completion", "tools", "thinking"].every((c) => capabilities.includes(c))) return capabilities.join();
});

let first;
await check("whole: a thought, a sentence, two calls with arguments as objects", async () => {
    first = (await client.chat({ model, messages, tools, options, think: true })).message;
    if (first.thinking?.trim() !== "It is about weather." || first.content.trim() !== "I look." || !same(first.tool_calls)) return JSON.stringify(first);
});

await check("streamed: the same, each call in one piece", async () => {
    const message = { thinking: "", content: "", tool_calls: [] };
    let last;
    for await (const piece of await client.chat({ model, messages, tools, options, think: true, stream: true })) {
        message.thinking += piece.message.thinking ?? "";
        message.content += piece.message.content;
        message.tool_calls.push(...(piece.message.tool_calls ?? []));
        last = piece;
    }
    if (message.thinking !== first.thinking || message.content !== first.content || !same(message.tool_calls)) return JSON.stringify(message);
    if (!last.done || last.done_reason !== "stop" || last.message.tool_calls) return JSON.stringify(last);
});

await check("a tool's answer goes back by name, and is answered", async () => {
    const answer = await client.chat({ model, tools, options, messages: [...messages, first,
        { role: "tool", tool_name: "get_weather", content: "12 degrees \u2602\u2602\u2602\u2602\u2602\u2602\u2602\u2602" }] });
    if (answer.message.content !== "There are 12 degrees in Paris." || answer.message.tool_calls) return JSON.stringify(answer.message);
});

await check("cut off inside a call: none, and why", async () => {
    const answer = await client.chat({ model, messages, tools, options: { temperature: 0, num_predict: 12 } });
    if (answer.done_reason !== "length" || answer.message.tool_calls) return JSON.stringify(answer);
});
