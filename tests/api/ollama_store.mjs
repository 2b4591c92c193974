// ollama_store.mjs - models loaded, given up, copied, created and deleted through the `ollama` npm client.
//
// Run by tests/api/ollama_api.py with TAWNY_URL, TAWNY_KEY, beside the built-in model: "one", which is the scripted one and
// lies in the box's own folder, and "spoilt". Prints one line a check, "ok NAME" or "FAILED NAME: why".
import { check, client, refused } from "./ollama_client.mjs";

const model = "one", options = { temperature: 0 };

const running = async () => (await client.ps()).models.map((m) => m.name);
const there = async () => (await client.list()).models.map((m) => m.name);

await check("an empty prompt loads the model", async () => {
    if ((await running()).includes("one:latest")) return "it was loaded before";
    const answer = await client.generate({ model, prompt: "", keep_alive: "1h" });
    if (answer.done_reason !== "load" || !answer.done || answer.response !== "" || answer.model !== model) return JSON.stringify(answer);
    const { models } = await client.ps(), left = new Date(models.find((m) => m.name === "one:latest").expires_at) - new Date();
    if (!(left > 3500e3 && left < 3700e3)) return JSON.stringify(models);
});

await check("show: it fills in, as its vocabulary says", async () => {
    const { capabilities } = await client.show({ model });
    if (!capabilities.includes("insert")) return capabilities.join();
});

await check("suffix: a gap is filled in, whole and streamed", async () => {
    const ask = { model, prompt: "def f():\n    ", suffix: "\n", options };
    const answer = await client.generate(ask);
    let text = "";
    for await (const piece of await client.generate({ ...ask, stream: true })) text += piece.response;
    if (answer.response !== "return 12" || text !== answer.response || answer.context) return JSON.stringify([text, answer]);
    if (answer.prompt_eval_count !== 3 + "def f():\n    ".length + 1) return JSON.stringify(answer);
});

await check("keep_alive 0 and no prompt: it is given up", async () => {
    const answer = await client.generate({ model, prompt: "", keep_alive: 0 });
    if (answer.done_reason !== "unload" || answer.response !== "" || (await running()).includes("one:latest")) return JSON.stringify(answer);
    const again = await client.chat({ model, messages: [], keep_alive: 0 });
    if (again.done_reason !== "unload" || again.message.content !== "") return JSON.stringify(again);
});

await check("no messages: loaded, and given up", async () => {
    const loaded = await client.chat({ model, messages: [] }), names = await running();
    const gone = await client.chat({ model, messages: [], keep_alive: 0 });
    if (loaded.done_reason !== "load" || !names.includes("one:latest") || gone.done_reason !== "unload") return JSON.stringify([loaded, names, gone]);
    if ((await running()).includes("one:latest")) return "it is still there";
});

await check("a spoilt one is a 500 that says why", () => refused(500, "GGUF", () => client.generate({ model: "spoilt", prompt: "" })));

await check("copy: a second name, which answers", async () => {
    const answer = await client.copy({ source: "one", destination: "two" });
    if (answer.status !== "success" || !(await there()).includes("two:latest")) return JSON.stringify([answer, await there()]);
    const said = await client.generate({ model: "two", prompt: "def f():\n    ", suffix: "\n", options });
    if (said.response !== "return 12") return JSON.stringify(said);
});

await check("create from one that is here, whole and streamed", async () => {
    const answer = await client.create({ model: "three", from: "one:latest" });
    const all = [];
    for await (const piece of await client.create({ model: "four:latest", from: "three", stream: true })) all.push(piece.status);
    const names = await there();
    if (answer.status !== "success" || all.at(-1) !== "success" || !names.includes("three:latest") || !names.includes("four:latest")) return JSON.stringify([answer, all, names]);
});

await check("create over one that is there is a 409", () => refused(409, "already", () => client.create({ model: "three", from: "one" })));
await check("create with a system message is a 400 with what to do", () => refused(400, "send it with each request",
    () => client.create({ model: "five", from: "one", system: "Be short." })));

await check("delete: the copies outlive the first, and go", async () => {
    for (const name of ["one", "two:latest", "three", "four"]) {
        const answer = await client.delete({ model: name });
        if (answer.status !== "success") return JSON.stringify(answer);
        if (name === "one" && (await client.show({ model: "two" })).details.format !== "gguf") return "the copy went with it";
    }
    const names = await there();
    if (names.some((n) => /^(one|two|three|four):/.test(n))) return names.join();
    return refused(404, "model 'one' not found", () => client.delete({ model: "one" }));
});
