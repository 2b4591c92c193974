// browser_models.mjs - the area Models in a real browser: an upload by drag and drop that is gone on with, a disk that is full, a
// pull with how far it is, a model that is too large, aliases, defaults and pinning.
//
// Run by tests/api/browser.py with TAWNY_PULL (an address that is slow), TAWNY_FILE (a model's file), and a folder `huge` in the list
// that no machine has the memory for; the disk of the models has 20 MB.
import { check, sign_in, start, to } from "./chromium.mjs";

const browser = await start(), page = await browser.page();
await sign_in(page, "models");

const card = (name) => `[...document.querySelectorAll("article.card")].find((one) => one.querySelector("h2, h3").textContent === ${JSON.stringify(name)})`;
const press = (name, text) => page.eval(`[...${card(name)}.querySelectorAll("button")].find((one) => (one.getAttribute("aria-label") ?? one.textContent) === ${JSON.stringify(text)}).click()`);
const line = async (text, button = "Save") => {
    await page.until("document.querySelector('dialog #line')");
    await page.eval(`document.querySelector("dialog #line").value = ${JSON.stringify(text)}`);
    await page.eval(`[...document.querySelectorAll("dialog button")].find((one) => one.textContent === "${button}").click()`);
};

// The file of this machine, or one of n bytes, dropped where files are dropped.
async function drop(name, path, n_bytes = 0) {
    await page.eval(`document.querySelector("#dropped")?.remove(); document.body.append(Object.assign(document.createElement("input"), { type: "file", id: "dropped" })); 0`);
    if (path) await page.files("#dropped", [path]);
    await page.eval(`(() => {
        const given = document.querySelector("#dropped").files[0], files = new DataTransfer();
        files.items.add(given ? new File([given], "${name}", { lastModified: given.lastModified }) : new File([new Uint8Array(${n_bytes})], "${name}"));
        const place = document.querySelector(".drop");
        for (const kind of ["dragover", "drop"]) place.dispatchEvent(new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true }));
        document.querySelector("#dropped").remove();
    })()`);
}

await check("a file is dropped, its upload is paused, and the same file goes on where it was", page, async () => {
    await page.eval(`(() => { const send = window.fetch; window.offsets = []; window.fetch = (path, how) => { if (how?.method === "PATCH") offsets.push(Number(how.headers["Upload-Offset"])); return send(path, how); }; })()`);
    await page.call("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 400000 });
    await drop("dropped.gguf", process.env.TAWNY_FILE);
    await page.until(card("dropped.gguf"));
    await page.until("import('/page/api.js').then(({ get }) => get('/v1/uploads')).then(({ data }) => data.some((one) => one.name === 'dropped' && one.received > 200000))", 60000);
    await press("dropped.gguf", "Pause");
    await page.call("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: -1 });
    await page.until("import('/page/api.js').then(({ get }) => get('/v1/uploads')).then(({ data }) => data.some((one) => one.name === 'dropped' && !one.active))", 60000);
    await drop("dropped.gguf", process.env.TAWNY_FILE);
    await page.until(`${card("dropped")}?.textContent.includes("not loaded")`, 60000);
    const offsets = await page.eval("offsets");
    return offsets.length !== 2 || offsets[0] !== 0 || offsets[1] < 100000 ? JSON.stringify(offsets) : "";
});

await check("a pull shows how far it is, and ends as a model", page, async () => {
    await page.eval(`(() => { document.querySelector("#source").value = ${JSON.stringify(process.env.TAWNY_PULL)}; document.querySelector("#source").closest("form").requestSubmit(); })()`);
    const seen = new Set();
    await page.until(`${card("pulled")}?.querySelector("[role=progressbar]")`);
    for (let i = 0; i < 600; i++) {
        const now = await page.eval(`[${card("pulled")}?.querySelector("[role=progressbar]")?.getAttribute("aria-valuenow") ?? null, ${card("pulled")}?.textContent.includes("not loaded") ?? false]`).catch(() => [null, false]);
        if (now[0] !== null) seen.add(Number(now[0]));
        if (now[1]) break;
        await new Promise((done) => setTimeout(done, 50));
    }
    const steps = [...seen].filter((one) => one > 0 && one < 100);
    return steps.length < 1 || !(await page.eval(`Boolean(${card("pulled")})`)) ? JSON.stringify([...seen]) : "";
});

await check("what the disk has no room for is refused in words", page, async () => {
    await drop("vast.gguf", "", 40 << 20);
    const told = await page.until(`${card("vast.gguf")}?.querySelector(".wrong")?.textContent`);
    await press("vast.gguf", "Close");
    await page.until(`!${card("vast.gguf")}`);
    return told.includes("no room") ? "" : told;
});

await check("a model that is too large is refused in words, and the others go on", page, async () => {
    await press("huge", "Load");
    const told = await page.until(`${card("huge")}?.querySelector(".wrong")?.textContent ?? document.querySelector(".note.bad")?.textContent`);
    const state = await page.eval("fetch('/health').then((answer) => answer.json()).then((now) => now.status)");
    const others = await page.eval("import('/page/api.js').then(({ get }) => get('/v1/models')).then(({ data }) => data.filter((one) => one.status === 'ready').map((one) => one.id))");
    return !/memory|fit/.test(told) || state !== "ready" || others.length === 0 ? JSON.stringify([told, state, others]) : "";
});

await check("an alias is given, renamed and taken away", page, async () => {
    await press("dropped", "Alias");
    await line("owl");
    await page.until(`${card("dropped")}.textContent.includes("also owl")`);
    await press("dropped", "Rename owl");
    await line("barn");
    await page.until(`${card("dropped")}.textContent.includes("also barn") && !${card("dropped")}.textContent.includes("also owl")`);
    await press("dropped", "Take away the name barn");
    await page.until(`!${card("dropped")}.textContent.includes("also barn")`);
});

await check("defaults: what is wrong is told at its field, what is right stands on the card", page, async () => {
    await press("dropped", "Defaults");
    await page.until("document.querySelector('#defaults')");
    await page.eval("document.querySelector('#default-temperature').value = '9'; document.querySelector('#defaults button.main').click()");
    const told = await page.until("document.querySelector('#defaults .wrong').textContent"), focused = await page.eval("document.activeElement.id");
    await page.eval("document.querySelector('#default-temperature').value = '0.5'; document.querySelector('#default-ctx').value = '2048'; document.querySelector('#defaults button.main').click()");
    await page.until(`${card("dropped")}?.textContent.includes("ctx, temperature")`);
    await press("dropped", "Load");
    await page.until(`${card("dropped")}.querySelector(".tag.ready") && ${card("dropped")}.textContent.includes("2,048")`);
    return !told.includes("temperature") || focused !== "default-temperature" ? JSON.stringify([told, focused]) : "";
});

await check("defaults: of the model of the start the context is not asked for: it is a setting; what is half a number is not sent", page, async () => {
    const first = await page.eval("import('/page/api.js').then(({ get }) => get('/v1/models')).then(({ data }) => data.find((one) => one.of_start).id)");
    await press(first, "Defaults");
    await page.until("document.querySelector('#default-temperature')");
    const asked = await page.eval("!!document.querySelector('#default-ctx')"), told = await page.eval("document.querySelector('#defaults .hint').textContent");
    await page.eval("document.querySelector('#default-top_p').focus()");
    await page.call("Input.insertText", { text: "1e" });
    await page.eval("document.querySelector('#defaults button.main').click()");
    const half = await page.until("document.querySelector('#defaults .wrong').textContent"), focused = await page.eval("document.activeElement.id");
    await page.eval("document.querySelector('#default-top_p').value = ''; document.querySelector('#default-temperature').value = '0.5'; document.querySelector('#defaults button.main').click()");
    await page.until(`${card(first)}?.textContent.includes("temperature")`);
    return asked || !told.includes("setting ctx") || !half || focused !== "default-top_p" ? JSON.stringify([asked, told, half, focused]) : "";
});

await check("pinning is one of the settings", page, async () => {
    await press("dropped", "Pin");
    await page.until("import('/page/api.js').then(({ get }) => get('/v1/settings')).then(({ waits_for_restart }) => waits_for_restart)");
    await page.until("[...document.querySelectorAll('.note')].some((one) => one.textContent.includes('Kept'))");
});

await check("models: no fault, no violation of the policy, and no other host was asked", page, async () => {
    const others = page.urls.filter((one) => !one.startsWith(process.env.TAWNY_URL + "/")), violated = await page.violations();
    if (others.length || violated.length || page.faults.length) return JSON.stringify([others, violated, page.faults]);
});

await browser.stop();
