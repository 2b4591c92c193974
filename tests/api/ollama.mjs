// ollama.mjs - the `ollama` npm client against a running server, over verified TLS: a model that writes.
//
// Run by tests/api/ollama_api.py with TAWNY_URL, TAWNY_KEY. Prints one line a check, "ok NAME" or "FAILED NAME: why".
import { Ollama } from "ollama";
import { check, client, refused } from "./ollama_client.mjs";

const messages = [{ role: "user", content: "hello" }];
const options = { temperature: 0, num_predict: 24 };

let model;
await check("list", async () => {
    const { models } = await client.list();
    model = models[0].model;
    if (models.length < 1 || !model.endsWith(":latest") || models[0].name !== model) return JSON.stringify(models);
    const one = models[0];
    if (!(one.size > 0) || !/^[0-9a-f]{64}$/.test(one.digest) || isNaN(Date.parse(one.modified_at))) return JSON.stringify(one);
    if (one.details.format !== "gguf" || !one.details.family || !/^[0-9.]+[KMBT]$/.test(one.details.parameter_size)) return JSON.stringify(one);
});

await check("version: three numbers", async () => {
    const { version } = await client.version();
    if (!/^\d+\.\d+\.\d+$/.test(version)) return version;
});

let context;
await check("ps: it is loaded, on the processor", async () => {
    const { models } = await client.ps();
    context = models[0].context_length;
    if (models.length < 1 || models[0].name !== model || !(models[0].size > 0) || models[0].size_vram !== 0) return JSON.stringify(models);
    if (!(new Date(models[0].expires_at) > new Date()) || !(context > 0)) return JSON.stringify(models);
});

await check("show: keys of the file by their names, the context that is loaded", async () => {
    const shown = await client.show({ model });
    const info = shown.model_info, arch = info["general.architecture"];
    if (!arch || info[arch + ".context_length"] !== context || !(info[arch + ".embedding_length"] > 0)) return JSON.stringify(info);
    if (!(info["general.parameter_count"] > 0) || info["tokenizer.ggml.tokens"].length !== 0) return JSON.stringify(info).slice(0, 400);
    if (!shown.capabilities.includes("completion") || !shown.template.includes("messages")) return JSON.stringify(shown).slice(0, 400);
    if (!new RegExp(`num_ctx +${context}`).test(shown.parameters) || shown.details.format !== "gguf") return JSON.stringify(shown.details);
    const all = await client.show({ model, verbose: true });
    if (!(all.model_info["tokenizer.ggml.tokens"].length > 100) || !all.tensors.some((t) => t.name === "token_embd.weight")) return "verbose is as short";
});

let whole;
await check("chat, whole", async () => {
    const answer = await client.chat({ model, messages, options });
    whole = answer.message.content;
    if (!whole || answer.message.role !== "assistant" || answer.model !== model || answer.done !== true) return JSON.stringify(answer);
    if (!["stop", "length"].includes(answer.done_reason) || isNaN(Date.parse(answer.created_at))) return JSON.stringify(answer);
    if (!(answer.prompt_eval_count > 0) || !(answer.eval_count > 0) || !(answer.total_duration > 1e5) || !(answer.prompt_eval_duration > 0)) return JSON.stringify(answer);
});

await check("chat, streamed: the same text, the counts with the last piece", async () => {
    let text = "", last, n = 0;
    for await (const piece of await client.chat({ model, messages, options, stream: true })) {
        n++;
        text += piece.message.content;
        last = piece;
    }
    if (text !== whole || n < 4) return `${n} pieces: "${text}" is not "${whole}"`;
    if (!last.done || !last.done_reason || !(last.eval_count > 0)) return JSON.stringify(last);
});

await check("generate, whole, streamed and raw", async () => {
    const ask = { model, prompt: "hello", options: { temperature: 0, num_predict: 8 } };
    const answer = await client.generate(ask);
    let text = "";
    for await (const piece of await client.generate({ ...ask, stream: true })) text += piece.response;
    if (!answer.response || text !== answer.response || !whole.startsWith(text)) return `"${text}" and ${JSON.stringify(answer)}`;
    const raw = await client.generate({ ...ask, raw: true });
    if (!raw.response || raw.context) return JSON.stringify(raw);
});

await check("generate: context goes on with the conversation", async () => {
    const first = await client.generate({ model, prompt: "hello", system: "Be short.", options });
    const next = await client.generate({ model, prompt: "How do I add a model?", context: first.context, options });
    const chat = await client.chat({ model, options, messages: [
        { role: "system", content: "Be short." }, ...messages, { role: "assistant", content: first.response },
        { role: "user", content: "How do I add a model?" }] });
    if (next.response !== chat.message.content || next.prompt_eval_count !== chat.prompt_eval_count)
        return `"${next.response}" after ${next.prompt_eval_count}, "${chat.message.content}" after ${chat.prompt_eval_count}`;
});

await check("format: a schema is obeyed, and json", async () => {
    const format = { type: "object", properties: { age: { type: "integer" }, good: { type: "boolean" } }, required: ["age", "good"] };
    const asked = { model, messages, options: { temperature: 0, num_predict: 60 } };
    const answer = JSON.parse((await client.chat({ ...asked, format })).message.content);
    if (!Number.isInteger(answer.age) || typeof answer.good !== "boolean") return JSON.stringify(answer);
    const json = await client.generate({ model, prompt: "JSON", format: "json", options: { temperature: 0, num_predict: 200 } });
    if (json.done_reason === "stop" && typeof JSON.parse(json.response) !== "object") return json.response;
});

await check("a seed gives the same answer twice, num_predict ends it", async () => {
    const ask = () => client.chat({ model, messages, options: { temperature: 1, top_p: 1, seed: 7, num_predict: 3 } });
    const [first, second] = [await ask(), await ask()];
    if (first.message.content !== second.message.content) return `"${first.message.content}", "${second.message.content}"`;
    if (first.eval_count > 3) return JSON.stringify(first);
});

await check("logprobs", async () => {
    const answer = await client.chat({ model, messages, options, logprobs: true, top_logprobs: 2 });
    const one = answer.logprobs?.[0];
    if (answer.logprobs?.length !== answer.eval_count || !(one.logprob <= 0) || one.top_logprobs.length !== 2 || !one.bytes) return JSON.stringify(answer.logprobs)?.slice(0, 300);
    let text = "";
    for await (const piece of await client.generate({ model, prompt: "hello", options, logprobs: true, stream: true }))
        for (const token of piece.logprobs ?? []) text += token.token;
    if (!text) return "a stream has none";
});

await check("no messages: the model is there", async () => {
    const chat = await client.chat({ model, messages: [] }), generate = await client.generate({ model, prompt: "" });
    if (chat.done_reason !== "load" || !chat.done || chat.message.content !== "") return JSON.stringify(chat);
    if (generate.done_reason !== "load" || generate.response !== "") return JSON.stringify(generate);
});

await check("a stream that is aborted, and the next request", async () => {
    const stream = await client.chat({ model, messages, stream: true, options: { temperature: 1, num_predict: -1 } });
    try {
        for await (const piece of stream) if (piece.message.content) stream.abort();
    } catch (error) {
        if (error.name !== "AbortError") throw error;
    }
    const again = await client.chat({ model, messages, options });
    if (again.message.content !== whole) return again.message.content;
});

await check("pull of what is here has nothing to do", async () => {
    const answer = await client.pull({ model });
    if (answer.status !== "success") return JSON.stringify(answer);
});

await check("another model is a 404", () => refused(404, "model 'nonsense:latest' not found", () => client.chat({ model: "nonsense:latest", messages })));
await check("images are a 400", () => refused(400, "text only",
    () => client.chat({ model, messages: [{ role: "user", content: "hello", images: ["iVBORw0KGgo="] }] })));
await check("an option out of range is a 400", () => refused(400, "'temperature' is 9", () => client.chat({ model, messages, options: { temperature: 9 } })));
await check("a template is a 400", () => refused(400, "'template' is not supported", () => client.generate({ model, prompt: "x", template: "{{ .Prompt }}" })));
await check("vectors of a model that writes are a 400", () => refused(400, "writes text", () => client.embed({ model, input: "x" })));
await check("a prompt over the context is a 400 with both numbers", () => refused(400, " tokens",
    () => client.chat({ model, messages: [{ role: "user", content: "word ".repeat(5000) }], stream: true })));
await check("pull where nobody is to be pulled from", () => refused(502, "cannot be reached", () => client.pull({ model: "llama3" })));
await check("a wrong key is a 401", () => refused(401, "API key",
    () => new Ollama({ host: process.env.TAWNY_URL, headers: { Authorization: "Bearer wrong" } }).list()));
