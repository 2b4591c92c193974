// ollama_pull.mjs - a pull through the `ollama` npm client, with its progress.
//
// Run by tests/api/pull.py with TAWNY_URL, TAWNY_KEY. Prints one line a check, "ok NAME" or "FAILED NAME: why".
import { check, client, refused } from "./ollama_client.mjs";

await check("pull, with progress", async () => {
    await client.delete({ model: "slow" });
    const all = [];
    for await (const piece of await client.pull({ model: "slow", stream: true })) all.push(piece);
    const progress = all.filter((p) => p.total), last = progress.at(-1);
    if (all[0].status !== "pulling manifest" || all.at(-1).status !== "success") return JSON.stringify(all);
    if (progress.length < 3 || last.completed !== last.total || !last.digest.startsWith("sha256:")) return JSON.stringify(progress);
});

await check("pull, as one answer", async () => {
    const answer = await client.pull({ model: "tiny" });
    if (answer.status !== "success") return JSON.stringify(answer);
});

await check("pull of what is not there is an error", () => refused(404, "404", () => client.pull({ model: "nothing" })));
