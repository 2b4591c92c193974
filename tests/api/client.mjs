// client.mjs - the `openai` npm client against a running server, over verified TLS (NODE_EXTRA_CA_CERTS names the CA).
//
// Run by tests/api/run with TAWNY_URL, TAWNY_KEY. Prints one line a check, "ok NAME" or "FAILED NAME: why".
import OpenAI from "openai";

const baseURL = process.env.TAWNY_URL + "/v1";
const client = new OpenAI({ baseURL, apiKey: process.env.TAWNY_KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "hello" }];

async function check(name, test) {
    try {
        const why = await test();
        console.log(why ? `FAILED openai npm: ${name}: ${why}` : `ok openai npm: ${name}`);
    } catch (error) {
        console.log(`FAILED openai npm: ${name}: ${error.name}: ${error.message}`.replaceAll("\n", " "));
    }
}

async function refused(type, status, ask) {
    try {
        await ask();
        return "it was not refused";
    } catch (error) {
        if (!(error instanceof type) || error.status !== status) return `${error.name} ${error.status}: ${error.message}`;
    }
}

let model;

await check("models.list", async () => {
    const list = await client.models.list();
    model = list.data[0].id;
    if (list.data.length < 1 || !model) return JSON.stringify(list.data);
});

await check("models.retrieve", async () => {
    const one = await client.models.retrieve(model);
    if (one.id !== model || one.object !== "model") return JSON.stringify(one);
});

let whole;
await check("chat, whole", async () => {
    const answer = await client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 24 });
    const choice = answer.choices[0];
    whole = choice.message.content;
    if (!whole || choice.message.role !== "assistant") return JSON.stringify(answer);
    if (!["stop", "length"].includes(choice.finish_reason)) return choice.finish_reason;
    if (!answer.id.startsWith("chatcmpl-") || answer.object !== "chat.completion") return JSON.stringify(answer);
    const usage = answer.usage;
    if (usage.total_tokens !== usage.prompt_tokens + usage.completion_tokens || usage.completion_tokens < 1)
        return JSON.stringify(usage);
});

await check("chat, streamed: the same text, usage last", async () => {
    const stream = await client.chat.completions.create({
        model, messages, temperature: 0, max_tokens: 24, stream: true, stream_options: { include_usage: true },
    });
    let text = "", usage, finish, n = 0, afterUsage = 0;
    for await (const chunk of stream) {
        n++;
        if (usage) afterUsage++;
        if (chunk.usage) usage = chunk.usage;
        const choice = chunk.choices[0];
        if (choice?.delta.content) text += choice.delta.content;
        if (choice?.finish_reason) finish = choice.finish_reason;
    }
    if (text !== whole) return `"${text}" is not "${whole}"`;
    if (!usage || afterUsage || usage.completion_tokens < 1) return `usage ${JSON.stringify(usage)}, then ${afterUsage} more`;
    if (!finish || n < 4) return `${n} chunks, finish ${finish}`;
});

await check("chat, stream helper", async () => {
    const answer = await client.chat.completions.stream({ model, messages, temperature: 0, max_tokens: 24 }).finalContent();
    if (answer !== whole) return `"${answer}"`;
});

await check("chat, a seed gives the same answer twice", async () => {
    const ask = () => client.chat.completions.create({ model, messages, temperature: 1, top_p: 1, seed: 7, max_tokens: 12 });
    const [first, second] = [await ask(), await ask()];
    if (first.choices[0].message.content !== second.choices[0].message.content) return "two answers";
});

await check("chat, developer role, content parts, stop, unknown fields", async () => {
    const answer = await client.chat.completions.create({
        model, temperature: 0, max_completion_tokens: 8, stop: ["!"], user: "u", metadata: { a: "b" }, store: false,
        messages: [{ role: "developer", content: "Be short." }, { role: "user", content: [{ type: "text", text: "hello" }] }],
    });
    if (answer.choices[0].message.content.includes("!")) return answer.choices[0].message.content;
});

await check("completions, whole and streamed", async () => {
    const ask = { model, prompt: "hello", temperature: 0, max_tokens: 6 };
    const answer = await client.completions.create(ask);
    let text = "";
    for await (const chunk of await client.completions.create({ ...ask, stream: true })) text += chunk.choices[0]?.text ?? "";
    if (text !== answer.choices[0].text || answer.object !== "text_completion") return `"${text}", ${JSON.stringify(answer)}`;
});

await check("a stream that is left half way", async () => {
    const stream = await client.chat.completions.create({ model, messages, stream: true, temperature: 1 });
    for await (const chunk of stream) {
        if (chunk.choices[0]?.delta.content) break; // closes the connection
    }
});

await check("n = 17 is a 400", () => refused(OpenAI.BadRequestError, 400,
    () => client.chat.completions.create({ model, messages, n: 17 })));

const several = { model, messages, temperature: 2, top_k: 0, top_p: 1, min_p: 0, seed: 17, max_tokens: 40, n: 3 };
let three;
await check("chat, n = 3: as three seeds alone", async () => {
    const answer = await client.chat.completions.create({ ...several, logprobs: true });
    three = answer.choices.map((choice) => choice.message.content);
    if (answer.choices.map((choice) => choice.index).join() !== "0,1,2") return JSON.stringify(answer.choices);
    if (answer.choices.some((choice) => !choice.logprobs?.content.length || !choice.finish_reason)) return JSON.stringify(answer.choices);
    const alone = [];
    for (const seed of [17, 18, 19]) alone.push(await client.chat.completions.create({ ...several, n: 1, seed }));
    const texts = alone.map((one) => one.choices[0].message.content);
    if (three.join("|") !== texts.join("|") || new Set(three).size < 2) return JSON.stringify([three, texts]);
    const sum = alone.reduce((n, one) => n + one.usage.completion_tokens, 0), usage = answer.usage;
    if (usage.prompt_tokens !== alone[0].usage.prompt_tokens || usage.completion_tokens !== sum) return JSON.stringify([usage, sum]);
});
await check("chat, n = 3, by the stream helper: the same", async () => {
    const answer = await client.chat.completions.stream({ ...several, stream_options: { include_usage: true } }).finalChatCompletion();
    const texts = answer.choices.map((choice) => choice.message.content);
    if (texts.join("|") !== three.join("|")) return JSON.stringify([texts, three]);
    if (answer.choices.some((choice, i) => choice.index !== i || choice.message.role !== "assistant" || !choice.finish_reason))
        return JSON.stringify(answer.choices);
    if (!(answer.usage.completion_tokens >= 3)) return JSON.stringify(answer.usage);
});
await check("completions, n = 2 with two prompts: four choices, a prompt's beside each other", async () => {
    const prompt = ["The box", "How do I"], ask = { model, prompt, temperature: 1.5, seed: 7, max_tokens: 8 };
    const answer = await client.completions.create({ ...ask, n: 2 }), alone = [];
    for (const one of prompt)
        for (const seed of [7, 8]) alone.push((await client.completions.create({ ...ask, prompt: one, seed })).choices[0].text);
    if (answer.choices.map((choice) => choice.index).join() !== "0,1,2,3") return JSON.stringify(answer.choices);
    if (answer.choices.map((choice) => choice.text).join("|") !== alone.join("|")) return JSON.stringify([answer.choices, alone]);
});
await check("functions, the older tools, are a 400", () => refused(OpenAI.BadRequestError, 400,
    () => client.chat.completions.create({ model, messages, functions: [{ name: "f" }] })));
await check("a prompt over the context is a 400 with its code", async () => {
    const long = [{ role: "user", content: "word ".repeat(5000) }];
    try {
        await client.chat.completions.create({ model, messages: long, stream: true });
        return "it was not refused";
    } catch (error) {
        if (error.status !== 400 || error.code !== "context_length_exceeded" || !/\d+ tokens.*\d+/.test(error.message))
            return `${error.status} ${error.code} ${error.message}`;
    }
});
await check("another model is a 404", () => refused(OpenAI.NotFoundError, 404,
    () => client.chat.completions.create({ model: "gpt-nonsense", messages })));
await check("a wrong key is a 401", () => refused(OpenAI.AuthenticationError, 401,
    () => new OpenAI({ baseURL, apiKey: "tawny-wrong", maxRetries: 0 }).models.list()));
