// browser_hostile.mjs - texts that want to be more than texts, everywhere the page shows what others wrote: a model's answer,
// its thought, its calls, a tool's result, a question, a file and its name, a conversation's title, a model's name, an error.
// Nothing runs, nothing is loaded, the policy has nothing to refuse, and no element but those of Markdown comes of it.
//
// Run by tests/api/browser.py; the model `hostile` writes one of these itself.
import { readFileSync, writeFileSync } from "node:fs";
import { check, pause, sign_in, start, to } from "./chromium.mjs";

const TEXTS = readFileSync(process.env.TAWNY_TEXTS, "utf8").split("\n%%\n").filter(Boolean);
const browser = await start(), page = await browser.page();
await sign_in(page);

// Elements that no text may become, within the area.
const STRANGE = `[...document.querySelectorAll("main :is(script, img, iframe, object, embed, style, link, meta, base, video, audio, math, template, foreignObject, animate)")].map((one) => one.outerHTML)
    .concat([...document.querySelectorAll("main *")].filter((one) => [...one.attributes].some((at) => /^on/i.test(at.name) || /^style$/i.test(at.name) && one.closest(".prose"))).map((one) => one.outerHTML))
    .concat([...document.querySelectorAll(".prose a")].filter((one) => !/^(https?|mailto):/.test(one.href) || one.rel.indexOf("noopener") < 0).map((one) => one.outerHTML))
    .concat([...document.querySelectorAll(".prose [id], .prose form, .prose input, .prose button:not(.code-head button)")].map((one) => one.outerHTML))`;

async function nothing_ran() {
    await pause(300);
    const [strange, violated] = [await page.eval(STRANGE), await page.violations()];
    const others = page.urls.filter((one) => !one.startsWith(process.env.TAWNY_URL + "/"));
    return strange.length || violated.length || others.length || page.faults.length ? JSON.stringify([strange, violated, others, page.faults]).slice(0, 900) : "";
}

await check(`${TEXTS.length} texts as answers, thoughts, calls, results, questions, files and titles`, page, async () => {
    const conversations = TEXTS.map((text, i) => {
        const node = (id, parent, role, more) => [id, { id, parent, role, time: i, text, ...more }];
        return { title: text, created: 1, at: "d", settings: { system: text }, nodes: Object.fromEntries([node("a", null, "user", { files: [{ name: text, text }] }),
            node("b", "a", "assistant", { thinking: text, model: text, calls: [{ id: "1", name: text, arguments: text }] }), node("c", "b", "tool", { call_id: "1", name: text }), node("d", "c", "assistant", { thinking: text, model: text })]) };
    });
    writeFileSync(`${process.env.HOME}/hostile.json`, JSON.stringify({ kind: "tawny-conversations", version: 1, conversations }));
    await page.files(".conversations input[type=file]", [`${process.env.HOME}/hostile.json`]);
    await page.until(`document.querySelectorAll(".conversations li a").length === ${TEXTS.length}`);
    const wrong = [];
    for (const address of await page.eval("[...document.querySelectorAll('.conversations li a')].map((one) => one.hash)")) {
        await to(page, address.slice(2));
        await page.until("document.querySelectorAll('.message').length === 3");
        await page.eval("document.querySelectorAll('main details').forEach((one) => { one.open = true; })");
        await page.eval("document.querySelectorAll('.prose *').forEach((one) => one.dispatchEvent(new MouseEvent('mouseover', { bubbles: true })))");
        const strange = await page.eval(STRANGE);
        if (strange.length) wrong.push(strange.slice(0, 2));
    }
    return wrong.length ? JSON.stringify(wrong).slice(0, 900) : nothing_ran();
});

await check("a model that writes such text, piece by piece", page, async () => {
    await to(page, "box");
    await to(page, "chat");
    await page.until("document.querySelector('.composer select option[value=hostile]')");
    await page.eval("(() => { const choice = document.querySelector('.composer select'); choice.value = 'hostile'; choice.dispatchEvent(new Event('change')); })()");
    await page.click("#prompt");
    await page.type("<img src=x onerror=alert(1)>");
    await page.press("Enter");
    await page.until("document.querySelector('.facts')?.textContent.includes('tokens') && !document.querySelector('.composer [aria-label=Stop]')");
    if (!(await page.eval("document.querySelector('.prose').textContent")).includes("onerror")) return "the text is not shown";
    return nothing_ran();
});

await check("models and keys with such names, and errors with such words", page, async () => {
    await page.eval(`fetch("/v1/keys", { method: "POST", headers: { Authorization: "Bearer ${process.env.TAWNY_KEY}" }, body: JSON.stringify({ name: "<img src=x onerror=alert(1)>" }) })`);
    for (const area of ["models", "box", "connect", "reference"]) {
        await to(page, area);
        await page.until("!document.querySelector('main .waiting')");
        await pause(300);
        const wrong = await nothing_ran();
        if (wrong) return `${area}: ${wrong}`;
        if (area === "models" && !(await page.eval("document.querySelector('main').textContent.includes('<svg onload')"))) return "the model's name is not shown";
    }
    await to(page, "chat/<img src=x onerror=alert(1)>");
    await page.until("document.querySelector('main .card.bad')");
    return nothing_ran();
});

await check("the lines to copy hold no name that a shell would read", page, async () => {
    await to(page, "connect");
    const lines_of = async (part) => {
        await page.until(`[...document.querySelectorAll("#model-choice option")].some((one) => one.value.includes(${JSON.stringify(part)}))`);
        return page.eval(`(() => {
            const choice = document.querySelector("#model-choice");
            choice.value = [...choice.options].find((one) => one.value.includes(${JSON.stringify(part)})).value;
            choice.dispatchEvent(new Event("change"));
            return [choice.value, [...document.querySelectorAll("main details")].map((one) => one.textContent)];
        })()`);
    };
    const [name, hostile] = await lines_of("touch owned"), [, plain] = await lines_of("markdown");
    if (!name.includes('"') || !name.includes("'") || !name.includes("$(")) return `the name is ${name}`;
    const wrong = hostile.filter((text) => /touch|owned|\$\(/.test(text));
    if (wrong.length || hostile.length < 10 || hostile.filter((text) => text.includes("MODEL")).length < 8) return JSON.stringify([hostile.length, wrong]).slice(0, 900);
    if (plain.filter((text) => text.includes("markdown")).length < 8) return "a plain name is not in them";
});

await browser.stop();
