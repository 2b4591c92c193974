// uploads_ollama.mjs - models created of blobs through the `ollama` npm client.
//
// Run by tests/api/uploads.py with TAWNY_URL, TAWNY_KEY, and TAWNY_DIGEST: of a blob that is there. Prints one line a check.
import { check, client, refused } from "./ollama_client.mjs";

const digest = "sha256:" + process.env.TAWNY_DIGEST, there = async () => (await client.list()).models.map((m) => m.name);

await check("create of a blob", async () => {
    const answer = await client.create({ model: "blob", files: { "x.gguf": digest } });
    if (answer.status !== "success" || !(await there()).includes("blob:latest")) return JSON.stringify([answer, await there()]);
});

await check("create of it again, streamed: a copy", async () => {
    const all = [];
    for await (const piece of await client.create({ model: "blob2:latest", files: { "x.gguf": digest }, stream: true })) all.push(piece.status);
    if (all.at(-1) !== "success" || !(await there()).includes("blob2:latest")) return JSON.stringify([all, await there()]);
});

await check("the list has the file's digest, and it answers", async () => {
    const model = (await client.list()).models.find((m) => m.name === "blob:latest");
    const said = await client.generate({ model: "blob", prompt: "hello", options: { num_predict: 4 } });
    if ("sha256:" + model.digest !== digest || !said.done) return JSON.stringify([model, said]);
});

await check("create over one that is there is a 409", () => refused(409, "already", () => client.create({ model: "blob", files: { "x.gguf": digest } })));
