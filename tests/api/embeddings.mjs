// embeddings.mjs - the `openai` npm client's embeddings against a running server, over verified TLS.
//
// Run by tests/api/embeddings.py with TAWNY_URL, TAWNY_KEY. Prints one line a check, "ok NAME" or "FAILED NAME: why".
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.TAWNY_URL + "/v1", apiKey: process.env.TAWNY_KEY, maxRetries: 0 });

async function check(name, test) {
    try {
        const why = await test();
        console.log(why ? `FAILED openai npm: ${name}: ${why}` : `ok openai npm: ${name}`);
    } catch (error) {
        console.log(`FAILED openai npm: ${name}: ${error.name}: ${error.message}`.replaceAll("\n", " "));
    }
}

const length = (v) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));

// The client asks for base64 by itself and decodes it.
await check("embeddings.create, as the client does it and in numbers", async () => {
    const ask = { model: "bert", input: ["the quick brown fox", "return int"] };
    const answer = await client.embeddings.create(ask);
    const numbers = await client.embeddings.create({ ...ask, encoding_format: "float" });
    if (answer.data.length !== 2 || answer.data[0].embedding.length !== 128) return JSON.stringify(answer).slice(0, 300);
    for (let i = 0; i < 2; i++) {
        const [a, b] = [answer.data[i].embedding, numbers.data[i].embedding];
        if (Math.abs(length(a) - 1) > 1e-5 || a.some((x, k) => Math.abs(x - b[k]) > 1e-6)) return `text ${i}: ${a.slice(0, 4)} ${b.slice(0, 4)}`;
    }
    if (answer.usage.prompt_tokens < 6) return JSON.stringify(answer.usage);
});

await check("embeddings.create with dimensions", async () => {
    const answer = await client.embeddings.create({ model: "bert", input: "hello", dimensions: 16 });
    const v = answer.data[0].embedding;
    if (v.length !== 16 || Math.abs(length(v) - 1) > 1e-5) return `${v.length} numbers of length ${length(v)}`;
});

await check("a chat with a model that embeds is a BadRequestError", async () => {
    try {
        await client.chat.completions.create({ model: "bert", messages: [{ role: "user", content: "hello" }] });
        return "it was not refused";
    } catch (error) {
        if (!(error instanceof OpenAI.BadRequestError) || error.param !== "model") return `${error.name}: ${error.message}`;
    }
});
