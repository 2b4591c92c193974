// browser_chat.mjs - the chat in a real browser: answers in Markdown, branches, stop, a reload in mid-answer, files, tools,
// JSON by a schema, several at once, search, export and import, and a box that ends in mid-answer.
//
// Run by tests/api/browser.py, which makes the scripted models: weather (thinks, then calls get_weather and now; says the
// weather once it has seen an umbrella), sums (calls the calculator), markdown, long (200 words).
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { check, pause, sign_in, start, to } from "./chromium.mjs";

const folder = `${process.env.HOME}/chat`, browser = await start(), page = await browser.page("", { download: folder });
await sign_in(page);

const text_of = (selector) => page.eval(`[...document.querySelectorAll(${JSON.stringify(selector)})].map((one) => one.textContent)`);
const last = async (selector) => (await text_of(selector)).at(-1) ?? "";
const busy = "document.querySelector('.composer [aria-label=Stop]')";
const ended = () => page.until(`document.querySelector('.message.assistant') && !${busy} && !document.querySelector('[aria-busy=true]')`);
const slowly = (on) => page.call("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: on ? 3000 : -1, uploadThroughput: -1 });

// A quick answer may be there before the conversation is kept and has its address.
const address = () => page.until("location.hash.startsWith('#/chat/') && location.hash");

// The next answers go on for long: the built-in model is quicker than a person.
const at_length = () => page.eval(`(() => {
    const send = window.fetch;
    window.fetch = (path, how) => send(path, typeof how?.body === "string" ? { ...how, body: how.body.replace('{"messages"', '{"min_tokens":20000,"messages"') } : how);
})()`);

async function fresh(model = "") {
    await to(page, "box");
    await to(page, "chat");
    await page.until("document.querySelector('.greeting') && document.querySelector('.composer select')");
    await page.eval(`(() => { const choice = document.querySelector(".composer select"); choice.value = "${model}"; choice.dispatchEvent(new Event("change")); })()`);
}

async function ask(text) {
    await page.click("#prompt");
    await page.type(text);
    await page.press("Enter");
    await page.until("document.querySelector('.message.assistant')");
}

async function set(values) {
    await page.click("[aria-label=Settings]");
    await page.until("document.querySelector('dialog')");
    for (const [name, value] of Object.entries(values))
        await page.eval(`(() => { const field = document.querySelector("#set-${name}"); field.value = ${JSON.stringify(value)}; field.dispatchEvent(new Event("input")); })()`);
    const wrong = await page.eval("[...document.querySelectorAll('dialog .wrong')].map((one) => one.textContent).join('')");
    await page.press("Escape");
    await page.until("!document.querySelector('dialog')");
    return wrong;
}

let first = "";

await check("a question is answered, with its speed and how full the context is", page, async () => {
    await fresh();
    await ask("How do I add a model?");
    await ended();
    const [answer, facts, meter] = [await last(".prose"), await last(".facts"), await last(".meter")];
    first = await address();
    if (answer.length < 20 || !/tokens\/s/.test(facts) || !/\d+ of 32,768 tokens/.test(meter) || !/^#\/chat\/[\w-]+$/.test(first)) return JSON.stringify([answer, facts, meter, first]);
});

await check("it is in the list, and there again after a reload", page, async () => {
    const answer = await last(".prose");
    await page.call("Page.reload");
    await pause(200);
    await page.until("document.querySelector('.prose')?.textContent.length > 20");
    if ((await last(".prose")) !== answer || !(await text_of(".conversations .title")).includes("How do I add a model?")) return JSON.stringify(await text_of(".conversations .title"));
});

await check("another answer and an edited question are branches, and one can go back", page, async () => {
    await page.click(".message.assistant [aria-label='Another answer']");
    await pause(100);
    await ended();
    await page.until("document.querySelector('.message.assistant .branches')?.textContent.includes('2/2')");
    await page.click(".message.user [aria-label=Edit]");
    await page.until("document.querySelector('.editing textarea')");
    await page.eval("document.querySelector('.editing textarea').value = 'Where is the certificate?'");
    await page.click(".editing button.main");
    await page.until("document.querySelector('.message.user .branches')?.textContent.includes('2/2')");
    await ended();
    const other = await last(".prose");
    await page.click(".message.user [aria-label='The branch before']");
    await page.until("document.querySelector('.typed').textContent.includes('add a model')");
    const [question, answer, branch] = [await last(".typed"), await last(".prose"), await last(".message.assistant .branches")];
    if (answer === other || !branch.includes("2/2")) return JSON.stringify([question, answer, other, branch]);
});

await check("Markdown: headings, lists, tables, code with colours and copy", page, async () => {
    await fresh("markdown");
    await ask("Show me");
    await ended();
    const has = await page.eval(`Object.fromEntries(["h2", "li", "td.to-right", "pre code.language-python .hljs-keyword", ".code.headed button", "a[target=_blank][rel~=noopener]", "strong"]
        .map((selector) => [selector, document.querySelectorAll(".prose " + selector).length]))`);
    const code = await page.eval("document.querySelector('.prose pre').textContent");
    await page.call("Browser.grantPermissions", { permissions: ["clipboardReadWrite", "clipboardSanitizedWrite"] }).catch(() => {});
    await page.click(".code.headed button");
    const copied = await page.until("navigator.clipboard.readText()").catch(() => null);
    if (Object.values(has).includes(0) || code !== "def f(x):\n    return x + 1\n" || (copied !== null && copied !== code)) return JSON.stringify([has, code, copied]);
});

await check("a thought is folded, calls are shown, and a person answers them", page, async () => {
    await fresh("weather");
    const tool = (name) => ({ type: "function", function: { name, description: name, parameters: { type: "object", properties: { city: { type: "string" }, days: { type: "integer" } } } } });
    const wrong = await set({ own_tools: JSON.stringify([tool("get_weather"), tool("now")]) });
    await ask("How is the weather?");
    await ended();
    const thought = await page.eval("[document.querySelector('.thought').open, document.querySelector('.thought-text').textContent]"), calls = await text_of(".call summary");
    if (wrong || thought[0] || !thought[1].includes("about weather") || calls.length !== 2 || !calls[0].includes("get_weather")) return JSON.stringify([wrong, thought, calls]);
    for (const said of ["☂☂☂ 12 degrees", "noon"]) {
        const left = (await text_of(".call form")).length;
        await page.eval(`document.querySelector(".call form textarea").value = "${said}"`);
        await page.click(".call form button");
        await page.until(`document.querySelectorAll(".call form").length === ${left - 1}`);
    }
    await ended();
    await page.until("[...document.querySelectorAll('.prose')].at(-1).textContent.includes('12 degrees in Paris')");
    await set({ own_tools: "" });
});

await check("the page's own tools answer by themselves", page, async () => {
    await fresh("sums");
    await page.click("[aria-label=Settings]");
    await page.until("document.querySelector('dialog fieldset')");
    await page.eval("[...document.querySelectorAll('dialog fieldset input')].forEach((box) => box.checked || box.click())");
    await page.press("Escape");
    await page.until("!document.querySelector('dialog')");
    await ask("What is 2+3*4?");
    await page.until("[...document.querySelectorAll('.call pre')].some((one) => one.textContent === '14')");
    await page.click(".composer [aria-label=Stop]").catch(() => {}); // this model would call for ever: the page ends it after eight
    await ended();
    if ((await text_of(".call")).length > 8) return "it went on";
    await page.click("[aria-label=Settings]");
    await page.until("document.querySelector('dialog fieldset')");
    await page.eval("[...document.querySelectorAll('dialog fieldset input')].forEach((box) => box.checked && box.click())");
    await page.press("Escape");
    await page.until("!document.querySelector('dialog')");
});

await check("an answer by a JSON schema; a schema that is none is told", page, async () => {
    await fresh();
    const wrong = await set({ schema: "{" });
    const good = await set({ max_tokens: "400", schema: JSON.stringify({ type: "object", properties: { kind: { enum: ["barn", "tawny"] }, age: { type: "integer", minimum: 0, maximum: 9 } }, required: ["kind", "age"] }) });
    await ask("An owl.");
    await ended();
    const answer = JSON.parse(await last(".prose"));
    await set({ schema: "", max_tokens: "" });
    if (!wrong || good || !["barn", "tawny"].includes(answer.kind) || !Number.isInteger(answer.age)) return JSON.stringify([wrong, good, answer]);
});

await check("a text file goes with the message; one that is no text does not", page, async () => {
    await fresh();
    writeFileSync(`${process.env.HOME}/notes.txt`, "the owl is called Ada ````x````");
    writeFileSync(`${process.env.HOME}/noise.bin`, Buffer.from([255, 254, 0, 1, 2]));
    await page.files(".composer input[type=file]", [`${process.env.HOME}/notes.txt`, `${process.env.HOME}/noise.bin`]);
    await page.until("document.querySelector('.chip') && document.querySelector('.note.bad')");
    await ask("Read it.");
    const [file, note] = [await last(".message.user .file"), await last(".note.bad")];
    await ended();
    if (!file.includes("notes.txt") || !file.includes("called Ada") || !note.includes("noise.bin")) return JSON.stringify([file, note]);
});

await check("stop ends an answer, and it can be gone on with", page, async () => {
    await page.call("Page.reload");
    await fresh();
    await at_length();
    await ask("Where is the certificate?");
    await page.until("document.querySelector('.prose').textContent.length > 60");
    await page.click(".composer [aria-label=Stop]");
    await ended();
    const cut = await last(".prose");
    if (cut.length < 60 || !(await last(".facts")).includes("stopped")) return cut.slice(0, 300);
    await page.call("Page.reload");
    await page.until("[...document.querySelectorAll('.actions button')].some((one) => one.textContent === 'Go on')");
    if ((await last(".prose")).trim() !== cut.trim()) return "it is not the same after a reload";
    await page.eval("[...document.querySelectorAll('.actions button')].find((one) => one.textContent === 'Go on').click()");
    await page.until("document.querySelector('[aria-busy=true]') || document.querySelector('.facts').textContent.includes('tokens')");
    // where it was cut, this model may find no end
    await page.until(`!${busy} || [...document.querySelectorAll(".prose")].at(-1).textContent.length > ${cut.length} + 200`);
    await page.eval(`${busy}?.click()`);
    await ended();
    if (!(await last(".prose")).trim().startsWith(cut.trim().slice(0, 60))) return "going on began anew";
});

await check("a reload in mid-answer loses nothing that was shown", page, async () => {
    await fresh("long");
    await slowly(true);
    await ask("Count");
    await page.until("document.querySelector('.prose').textContent.length > 100");
    const [shown, place] = await page.eval("[document.querySelector('.prose').textContent, window.before = location.href]");
    await page.call("Page.reload");
    await page.until("!window.before"); // the page that went: quick again, it would still get the whole answer
    await slowly(false);
    await page.until("document.querySelector('.message.assistant .prose')?.textContent.length > 0");
    const kept = await last(".prose"), buttons = await text_of(".actions button");
    if (!kept.trim().startsWith(shown.trim()) || !buttons.includes("Go on") || (await page.eval("location.href")) !== place) return JSON.stringify([shown, kept, buttons]);
});

await check("several at once: one is left while it is written, and is whole when one comes back", page, async () => {
    await fresh("long");
    await slowly(true);
    await ask("One of two");
    await page.until("document.querySelector('.prose').textContent.length > 40");
    const left = await address();
    await fresh("markdown");
    await ask("Two of two");
    await slowly(false);
    await ended();
    await to(page, left.slice(2));
    await page.until("[...document.querySelectorAll('.prose')].at(-1)?.textContent.includes('word199')");
});

await check("a conversation open in two tabs keeps what both wrote", page, async () => {
    await fresh();
    await ask("Said first");
    await ended();
    const both = await address(), other = await browser.page("", { beside: page });
    await sign_in(other);
    await to(other, both.slice(2));
    await other.until("document.querySelector('.prose')");
    await other.click("#prompt");
    await other.type("Said in the other tab");
    await other.press("Enter");
    await other.until(`document.querySelectorAll(".message.assistant").length === 2 && !${busy} && !document.querySelector("[aria-busy=true]")`);
    await other.close();
    await page.call("Page.bringToFront");
    await ask("Said last");
    await page.until("document.querySelectorAll('.message.assistant').length === 2");
    await ended();
    await page.call("Page.reload");
    await pause(200);
    await page.until("document.querySelectorAll('.message.assistant').length === 2");
    const nodes = await page.eval(`import("/page/kept.js").then(({ find }) => find("${both.split("/")[2]}")).then(({ nodes }) => Object.values(nodes).map((node) => [node.role, node.state ?? "", node.role === "user" ? node.text : node.text.length > 10]))`);
    const said = nodes.filter(([role]) => role === "user").map(([, , text]) => text).sort(), answers = nodes.filter(([role, state, long]) => role === "assistant" && state === "done" && long);
    if (said.join() !== "Said first,Said in the other tab,Said last" || answers.length !== 3) return JSON.stringify(nodes);
});

await check("on a slow disk the address is the conversation's before it is kept, and a reload finds it", page, async () => {
    await fresh();
    await page.eval(`(() => {
        const begin = IDBDatabase.prototype.transaction, never = { objectStore: () => ({ get: () => ({}), put() {} }) };
        IDBDatabase.prototype.transaction = function (names, mode) { return mode === "readwrite" ? never : begin.call(this, names, mode); };
    })()`);
    await ask("A slow disk");
    await page.until("/^#.chat.[0-9a-z-]+$/i.test(location.hash)", 5000);
    await page.call("Page.reload");
    await pause(200);
    await page.until("document.querySelector('.message.user')?.textContent.includes('A slow disk')");
});

await check("search finds by what was said; nothing found is told", page, async () => {
    await page.eval("(() => { const field = document.querySelector('#search'); field.value = 'word123'; field.dispatchEvent(new Event('input')); })()");
    await page.until("document.querySelectorAll('.conversations li a').length >= 1 && ![...document.querySelectorAll('.conversations .title')].some((one) => one.textContent === 'Show me')");
    await page.eval("(() => { const field = document.querySelector('#search'); field.value = 'no such thing'; field.dispatchEvent(new Event('input')); })()");
    await page.until("document.querySelector('.conversations .none')?.textContent === 'Nothing found.'");
    await page.eval("(() => { const field = document.querySelector('#search'); field.value = ''; field.dispatchEvent(new Event('input')); })()");
});

await check("all are exported, deleted, and taken in again", page, async () => {
    await page.eval("[...document.querySelectorAll('.conversations button')].find((one) => one.textContent === 'Export all').click()");
    for (let i = 0; i < 100 && !(existsSync(folder) && readdirSync(folder).includes("tawny.json")); i++) await pause(100);
    const saved = JSON.parse(readFileSync(`${folder}/tawny.json`, "utf8")), n = saved.conversations.length;
    await page.eval("(async () => { const { all, remove } = await import('/page/kept.js'); for (const one of await all()) await remove(one.id); })()");
    await fresh();
    await page.until("document.querySelector('.conversations .none')");
    await page.files(".conversations input[type=file]", [`${folder}/tawny.json`]);
    await page.until(`document.querySelectorAll(".conversations li a").length === ${n}`);
    return n < 8 ? `only ${n}` : "";
});

await check("an answer of 210 KB in 30,000 pieces is shown within some seconds", page, async () => {
    await fresh();
    await page.eval(`(() => {
        const send = window.fetch, piece = 'data: {"choices":[{"delta":{"content":"1234567"}}]}\\n\\n';
        window.fetch = (path, how) => path === "/v1/chat/completions" ? Promise.resolve(new Response(piece.repeat(30000) + "data: [DONE]\\n\\n")) : send(path, how);
    })()`);
    const began = Date.now();
    await ask("At length");
    await page.until(`!${busy} && document.querySelector(".prose").textContent.trim().length === 210000`, 20000);
    console.log(`        ${Date.now() - began} ms`);
    await page.call("Page.reload");
    await pause(200);
});

await check("no fault, no violation of the policy, and no other host was asked", page, async () => {
    const others = page.urls.filter((one) => !one.startsWith(process.env.TAWNY_URL + "/")), violated = await page.violations();
    if (others.length || violated.length || page.faults.length) return JSON.stringify([others, violated, page.faults]);
});

await check("a box that ends in mid-answer is told, and what came stays", page, async () => {
    await fresh();
    await at_length();
    await ask("How do I add a model?");
    await page.until("document.querySelector('.prose').textContent.length > 60");
    process.kill(Number(process.env.TAWNY_PID), "SIGKILL");
    const wrong = await page.until("document.querySelector('.message.assistant .wrong')?.textContent");
    if (!/broke off|not reached/.test(wrong) || (await last(".prose")).length < 60) return JSON.stringify([wrong, await last(".prose")]);
    await page.until("[...document.querySelectorAll('.actions button')].some((one) => one.textContent === 'Go on')");
    await to(page, "box");
    await page.until("document.querySelector('main .card.bad')?.textContent.includes('not reached')");
});

await browser.stop();
