// turns.mjs - agents against the built-in model: openai's tool loop and streaming helper, LangChain's ChatOpenAI and the AI SDK, each
// a conversation of three turns, in each of which it has to call the right one of three tools and to say what that gave; and LangChain's
// structured output.
//
// Run by tests/api/agents.py with TAWNY_URL, TAWNY_KEY and NODE_EXTRA_CA_CERTS. Prints one line a check, "ok NAME" or
// "FAILED NAME: why".
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { HumanMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { generateText, stepCountIs, streamText, tool as aiTool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false;
const baseURL = process.env.TAWNY_URL + "/v1", apiKey = process.env.TAWNY_KEY, model = "builtin";

// what is asked, the tool and the arguments that must come, what the tool gives, what must be said of it
const TURNS = [
    ["What is the weather in Oslo?", "get_weather", { city: "Oslo" }, { temperature: 12, sky: "clear" }, "The temperature is 12 and the sky is clear."],
    ["What is 12 plus 30?", "add", { a: 12, b: 30 }, { sum: 42 }, "The sum is 42."],
    ["What time is it?", "get_time", {}, { time: "10:30" }, "The time is 10:30."],
];
const TOOLS = {
    get_weather: ["Get the weather in a city", z.object({ city: z.string() })],
    add: ["Adds two numbers", z.object({ a: z.number(), b: z.number() })],
    get_time: ["Get the current time", z.object({})],
};
const asked = [];
const act = (name) => (it) => { asked.push([name, it]); return JSON.stringify(TURNS.find((t) => t[1] === name)[3]); };
const plain = Object.entries(TOOLS).map(([name, [description, schema]]) => {
    const { $schema, ...parameters } = z.toJSONSchema(schema);
    return { type: "function", function: { name, description, parameters, parse: JSON.parse, function: act(name) } };
});

async function check(name, test) {
    try {
        const why = await test();
        console.log(why ? `FAILED agents: ${name}: ${why}` : `ok agents: ${name}`);
    } catch (error) {
        console.log(`FAILED agents: ${name}: ${error.name}: ${error.message} ${error.responseBody ?? ""}`.replaceAll("\n", " "));
    }
}

// A conversation of the three turns. next(messages, question) gives [what was said, the messages with the turn behind them].
const three = (name, next) => check(`${name}: three turns with tools`, async () => {
    let messages = [], said;
    for (const [question, tool, given, , answer] of TURNS) {
        asked.length = 0;
        [said, messages] = await next(messages, question);
        if (JSON.stringify(asked) !== JSON.stringify([[tool, given]])) return `"${question}": asked for ${JSON.stringify(asked)}`;
        if (said.trim() !== answer) return `"${question}": "${said}"`;
    }
});

const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
for (const stream of [false, true]) await three(`openai: the tool loop, ${stream ? "streamed" : "whole"}`, async (messages, content) => {
    const runner = client.chat.completions.runTools({ model, temperature: 0, stream, tools: plain, messages: [...messages, { role: "user", content }] });
    return [await runner.finalContent(), runner.messages];
});
await three("openai: the streaming helper", async (messages, content) => {
    messages = [...messages, { role: "user", content }];
    for (;;) {
        const tools = plain.map(({ type, function: { name, description, parameters } }) => ({ type, function: { name, description, parameters } }));
        const { message } = (await client.chat.completions.stream({ model, temperature: 0, tools, messages }).finalChatCompletion()).choices[0];
        messages.push(message);
        if (!message.tool_calls?.length) return [message.content, messages];
        for (const { id, function: { name, arguments: text } } of message.tool_calls)
            messages.push({ role: "tool", tool_call_id: id, content: act(name)(JSON.parse(text)) });
    }
});

const chain = new ChatOpenAI({ model, apiKey, configuration: { baseURL }, temperature: 0, maxRetries: 0 });
const chainTools = Object.entries(TOOLS).map(([name, [description, schema]]) => tool(act(name), { name, description, schema }));
const bound = chain.bindTools(chainTools);
async function whole(stream) {
    let all;
    for await (const chunk of stream) all = all ? all.concat(chunk) : chunk;
    return all;
}
for (const [how, ask] of [["whole", (m) => bound.invoke(m)], ["streamed", async (m) => whole(await bound.stream(m))]])
    await three(`LangChain: bindTools, ${how}`, async (messages, content) => {
        messages = [...messages, new HumanMessage(content)];
        for (;;) {
            const message = await ask(messages);
            messages.push(message);
            if (!message.tool_calls?.length) return [message.content, messages];
            for (const call of message.tool_calls) messages.push(await chainTools.find((t) => t.name === call.name).invoke(call));
        }
    });
for (const method of ["jsonSchema", "functionCalling"]) await check(`LangChain: withStructuredOutput, ${method}`, async () => {
    const person = z.object({ name: z.string().max(20), age: z.number().int().min(0).max(99) });
    const found = await chain.withStructuredOutput(person, { method, name: "person", strict: true }).invoke("Make JSON: Emma is 42 years old.");
    if (method === "jsonSchema" && JSON.stringify(found) !== '{"name":"Emma","age":42}' || !person.safeParse(found).success) return JSON.stringify(found);
});

const sdk = {
    model: createOpenAICompatible({ name: "tawny", baseURL, apiKey })(model), temperature: 0, maxRetries: 0, stopWhen: stepCountIs(3),
    tools: Object.fromEntries(Object.entries(TOOLS).map(([name, [description, inputSchema]]) => [name, aiTool({ description, inputSchema, execute: act(name) })])),
};
await three("AI SDK: generateText", async (messages, content) => {
    messages = [...messages, { role: "user", content }];
    const answer = await generateText({ ...sdk, messages });
    return [answer.text, [...messages, ...answer.response.messages]];
});
await three("AI SDK: streamText", async (messages, content) => {
    messages = [...messages, { role: "user", content }];
    let wrong;
    const answer = streamText({ ...sdk, messages, onError: ({ error }) => { wrong = error; } });
    const text = await answer.text;
    if (wrong) throw wrong;
    return [text, [...messages, ...(await answer.response).messages]];
});
process.exit(0);
