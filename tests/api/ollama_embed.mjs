// ollama_embed.mjs - vectors through the `ollama` npm client.
//
// Run by tests/api/embeddings.py with TAWNY_URL, TAWNY_KEY. Prints one line a check, "ok NAME" or "FAILED NAME: why".
import { check, client } from "./ollama_client.mjs";

await check("embed: several texts, and embeddings, its older form", async () => {
    const many = await client.embed({ model: "bert:latest", input: ["the quick brown fox", "return int"], keep_alive: "5m" });
    const one = await client.embeddings({ model: "bert", prompt: "return int" });
    if (many.embeddings.length !== 2 || many.embeddings[0].length !== 128 || many.model !== "bert") return JSON.stringify(many).slice(0, 300);
    if (many.embeddings[1].some((x, i) => Math.abs(x - one.embedding[i]) > 1e-6)) return "they differ";
});

await check("show: it embeds and does nothing else", async () => {
    const shown = await client.show({ model: "bert" });
    if (shown.capabilities.join() !== "embedding" || shown.model_info["bert.embedding_length"] !== 128) return JSON.stringify(shown).slice(0, 400);
});

await check("a chat with it is refused", async () => {
    try {
        await client.chat({ model: "bert", messages: [{ role: "user", content: "hello" }] });
        return "it was not refused";
    } catch (error) {
        if (error.status_code !== 400 || !error.message.includes("makes vectors")) return `${error.status_code} ${error.message}`;
    }
});
