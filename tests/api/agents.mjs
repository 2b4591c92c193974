// agents.mjs - LangChain's ChatOpenAI and the AI SDK as agents: tool loops against the scripted model (scripted.py), whole and
// streamed, and answers by a schema, which the grammar forces on any model.
//
// Run by tests/api/agents.py with TAWNY_URL, TAWNY_KEY and NODE_EXTRA_CA_CERTS. Prints one line a check, "ok NAME" or
// "FAILED NAME: why".
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { generateObject, generateText, stepCountIs, streamObject, streamText, tool as aiTool } from "ai";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false;
const baseURL = process.env.TAWNY_URL + "/v1", apiKey = process.env.TAWNY_KEY, MOST_MS = 20000;
const FOUND = "\u2602\u2602\u2602 12 degrees", SAID = "There are 12 degrees in Paris.";
const WANT = JSON.stringify([{ city: "Paris", days: 2 }, {}]);
const city = z.object({ city: z.string(), days: z.number().int().optional() });
// bounded, so that a model that cannot answer ends as well
const owl = z.object({
    name: z.enum(["tawny", "barn"]), age: z.number().int().min(0).max(9), wild: z.boolean(), note: z.string().max(5).nullable(),
});
const asked = [];

async function check(name, test) {
    let timer;
    const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error(`no end within ${MOST_MS} ms`)), MOST_MS); });
    try {
        asked.length = 0;
        const why = await Promise.race([test(), late]);
        console.log(why ? `FAILED agents: ${name}: ${why}` : `ok agents: ${name}`);
    } catch (error) {
        console.log(`FAILED agents: ${name}: ${error.name}: ${error.message} ${error.responseBody ?? ""}`.replaceAll("\n", " "));
    }
    clearTimeout(timer);
}

function unlike(object) {
    const read = owl.strict().safeParse(object);
    return read.success ? undefined : `${JSON.stringify(object)}: ${read.error.message}`;
}

// ---- LangChain ----------------------------------------------------------------------------------

const chain = new ChatOpenAI({ model: "scripted", apiKey, configuration: { baseURL }, temperature: 0, maxRetries: 0, maxTokens: 1000 });
const chainTools = [
    tool((it) => { asked.push(it); return FOUND; }, { name: "get_weather", description: "Of a city.", schema: city }),
    tool((it) => { asked.push(it); return "noon"; }, { name: "now", description: "The time.", schema: z.object({}) }),
];

// Asks, calls what is asked for, asks again: up to three turns. The last message.
async function chainAgent(ask, parts) {
    const messages = [new SystemMessage("Be brief."), new HumanMessage("How is the weather?")];
    for (let turn = 0; turn < 3; turn++) {
        const message = await ask(messages);
        messages.push(message);
        if (!message.tool_calls?.length) return { message, turns: turn + 1 };
        for (const call of message.tool_calls) {
            const answer = await chainTools.find((t) => t.name === call.name).invoke(call);
            messages.push(parts ? new ToolMessage({ tool_call_id: call.id, content: [{ type: "text", text: answer.content }] }) : answer);
        }
    }
    return { turns: 4 };
}

async function whole(stream) {
    let all;
    for await (const chunk of stream) all = all ? all.concat(chunk) : chunk;
    return all;
}

const chained = ({ message, turns }) => {
    if (turns !== 2 || message.content !== SAID) return `${turns} turns, "${message?.content}"`;
    if (JSON.stringify(asked) !== WANT) return `asked for ${JSON.stringify(asked)}`;
    if (!(message.usage_metadata?.output_tokens > 0)) return `usage ${JSON.stringify(message.usage_metadata)}`;
};
const bound = chain.bindTools(chainTools);
await check("LangChain: bindTools, whole", async () => chained(await chainAgent((m) => bound.invoke(m))));
await check("LangChain: bindTools, streamed", async () => chained(await chainAgent(async (m) => whole(await bound.stream(m)))));
await check("LangChain: a tool's answer as parts", async () => chained(await chainAgent((m) => bound.invoke(m), true)));
await check("LangChain: tool_choice any, strict, parallel_tool_calls false", async () => {
    const one = chain.bindTools(chainTools, { tool_choice: "any", strict: true, parallel_tool_calls: false });
    const { tool_calls: calls, invalid_tool_calls: bad } = await one.invoke("How is the weather?");
    if (calls.length !== 1 || bad?.length) return JSON.stringify({ calls, bad });
});
await check("LangChain: tool_choice by name", async () => {
    const { tool_calls: calls } = await chain.bindTools(chainTools, { tool_choice: "get_weather" }).invoke("How is the weather?");
    if (calls.length !== 1 || calls[0].name !== "get_weather" || !city.strict().safeParse(calls[0].args).success) return JSON.stringify(calls);
});
for (const method of ["jsonSchema", "functionCalling"]) {
    const by = chain.withStructuredOutput(owl, { method, name: "owl", strict: true });
    await check(`LangChain: withStructuredOutput, ${method}, whole`, async () => unlike(await by.invoke("An owl as JSON.")));
    await check(`LangChain: withStructuredOutput, ${method}, streamed`, async () => {
        let last;
        for await (const object of await by.stream("An owl as JSON.")) last = object;
        return unlike(last);
    });
}

// ---- AI SDK -------------------------------------------------------------------------------------

const tawny = createOpenAICompatible({ name: "tawny", baseURL, apiKey, includeUsage: true, supportsStructuredOutputs: true });
const sdk = { model: tawny("scripted"), temperature: 0, maxRetries: 0, maxOutputTokens: 1000 };
const sdkAgent = {
    ...sdk, system: "Be brief.", stopWhen: stepCountIs(3),
    tools: {
        get_weather: aiTool({ description: "Of a city.", inputSchema: city, execute: (it) => { asked.push(it); return FOUND; } }),
        now: aiTool({ description: "The time.", inputSchema: z.object({}), execute: (it) => { asked.push(it); return { time: "noon" }; } }),
    },
};
const stepped = (text, steps, usage) => {
    if (steps.length !== 2 || text !== SAID) return `${steps.length} steps, "${text}"`;
    if (JSON.stringify(asked) !== WANT) return `asked for ${JSON.stringify(asked)}`;
    if (steps[0].finishReason !== "tool-calls" || steps[1].finishReason !== "stop") return steps.map((s) => s.finishReason).join(" ");
    if (steps[0].reasoningText !== "It is about weather.") return `thought "${steps[0].reasoningText}"`;
    if (!(usage.outputTokens > 0)) return `usage ${JSON.stringify(usage)}`;
};
await check("AI SDK: generateText with tools", async () => {
    const answer = await generateText({ ...sdkAgent, prompt: "How is the weather?" });
    return stepped(answer.text, answer.steps, answer.totalUsage);
});
await check("AI SDK: streamText with tools and provider options", async () => {
    let text = "", wrong;
    const answer = streamText({
        ...sdkAgent, messages: [{ role: "user", content: [{ type: "text", text: "How is the weather?" }] }],
        providerOptions: { tawny: { user: "u", parallel_tool_calls: true, store: false, service_tier: "auto" } },
        onError: ({ error }) => { wrong = error; },
    });
    for await (const piece of answer.fullStream) if (piece.type === "text-delta") text += piece.text;
    if (wrong) throw wrong;
    const steps = await answer.steps;
    return stepped(text.replace("I look.", "").trim(), steps, await answer.totalUsage);
});
await check("AI SDK: toolChoice by name", async () => {
    const { toolCalls } = await generateText({ ...sdkAgent, stopWhen: stepCountIs(1), prompt: "Hello.", toolChoice: { type: "tool", toolName: "get_weather" } });
    if (toolCalls.length !== 1 || toolCalls[0].toolName !== "get_weather" || toolCalls[0].invalid) return JSON.stringify(toolCalls);
});
await check("AI SDK: toolChoice required, then none", async () => {
    const must = await generateText({ ...sdkAgent, stopWhen: stepCountIs(1), prompt: "Hello.", toolChoice: "required" });
    if (must.toolCalls.length !== 1 || must.toolCalls[0].invalid) return JSON.stringify(must.toolCalls);
    const none = await generateText({ ...sdkAgent, prompt: "Hello.", toolChoice: "none" });
    if (none.toolCalls.length || none.steps.length !== 1) return JSON.stringify(none.toolCalls);
});
await check("AI SDK: generateObject by a schema", async () =>
    unlike((await generateObject({ ...sdk, schema: owl, schemaName: "owl", prompt: "An owl." })).object));
await check("AI SDK: streamObject by a schema", async () => {
    let wrong, last;
    const answer = streamObject({ ...sdk, schema: owl, prompt: "An owl.", onError: ({ error }) => { wrong = error; } });
    for await (const part of answer.partialObjectStream) last = part;
    if (wrong) throw wrong;
    return unlike(last);
});
await check("AI SDK: generateObject of an enum", async () => {
    const { object } = await generateObject({ ...sdk, output: "enum", enum: ["red", "blue"], prompt: "A colour." });
    if (!["red", "blue"].includes(object)) return JSON.stringify(object);
});
process.exit(0); // a check that was late may still wait
