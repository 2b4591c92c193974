// browser_axe.mjs - axe-core finds no violation: each area in both looks, on a desk and on a phone, with a conversation and
// with dialogs open; and pictures of all of them, to be looked at (HOME/shots).
//
// Run by tests/api/browser.py with TAWNY_URL, TAWNY_KEY and HOME; axe-core is beside this file's copy (npm).
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { check, pause, sign_in, start, to } from "./chromium.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const shots = `${process.env.HOME}/shots`, browser = await start(), page = await browser.page();
const AREAS = ["welcome", "chat", "models", "box", "connect", "reference"];
mkdirSync(shots, { recursive: true });

// What axe finds, in short.
async function violations() {
    if (!(await page.eval("Boolean(window.axe)"))) await page.eval(`${axe}; 0`);
    return page.eval(`axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] })
        .then(({ violations }) => violations.map((one) => one.id + ": " + one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160) + " (" + (node.any[0]?.message ?? node.none[0]?.message ?? "") + ")").join(" | ")))`);
}

async function look(name) {
    await pause(400);
    await page.shot(`${shots}/${name}.png`);
    const found = await violations();
    return found.length ? found.join(" || ") : "";
}

await check("axe: the welcome, before the key", page, async () => {
    await page.goto(`${process.env.TAWNY_URL}/`);
    await page.until("document.querySelector('#key')");
    await page.eval("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
    return look("first");
});

await sign_in(page);
await page.until("document.querySelector('.composer select option[value=markdown]')");
for (const [model, text] of [["weather", "How is the weather?"], ["markdown", "Show me what Markdown looks like"]]) {
    await to(page, "box");
    await to(page, "chat");
    await page.until(`document.querySelector('.composer select option[value=${model}]')`);
    await page.eval(`(() => { const choice = document.querySelector(".composer select"); choice.value = "${model}"; choice.dispatchEvent(new Event("change")); })()`);
    await page.click("#prompt");
    await page.type(text);
    await page.press("Enter");
    await page.until("document.querySelector('.facts')?.textContent.includes('tokens')");
}
const conversation = (await page.until("location.hash.startsWith('#/chat/') && location.hash")).slice(2);

for (const [width, height] of [[1280, 860], [320, 640]]) {
    await page.size(width, height);
    for (const dark of [false, true]) {
        await page.dark(dark);
        for (const area of [...AREAS, conversation]) {
            const name = area.startsWith("chat/") ? "conversation" : area, look_name = `${name}-${width}${dark ? "-dark" : ""}`;
            await check(`axe: ${look_name}`, page, async () => {
                await to(page, area);
                await page.until("!document.querySelector('main .waiting')");
                if (area === "reference" || area === "connect") await page.eval("[...document.querySelectorAll('details')].slice(20, 34).forEach((one) => { one.open = true; })");
                return look(look_name);
            });
        }
    }
}

await check("axe: the menu on a phone", page, async () => {
    await page.click("#menu");
    await page.until("document.querySelector('#nav.open')");
    return look("menu");
});

await page.size(1280, 860);
await page.dark(false);
await check("axe: the settings of a chat", page, async () => {
    await to(page, conversation);
    await page.click("[aria-label=Settings]");
    await page.until("document.querySelector('dialog')");
    const why = await look("settings");
    await page.press("Escape");
    return why;
});

await check("axe: a new key's form", page, async () => {
    await to(page, "box");
    await page.until("document.querySelector('section table') && [...document.querySelectorAll('button')].some((one) => one.textContent === 'New key')");
    await page.eval("[...document.querySelectorAll('button')].find((one) => one.textContent === 'New key').click()");
    await page.until("document.querySelector('dialog')");
    const why = await look("key");
    await page.press("Escape");
    return why;
});

// The dialog that a press on the button of that text opens.
async function dialog_of(area, text, name, ready = "document.querySelector('dialog')") {
    await check(`axe: ${name}`, page, async () => {
        await to(page, area);
        const button = `[...document.querySelectorAll("main button")].find((one) => one.textContent === ${JSON.stringify(text)})`;
        await page.until(button);
        await page.eval(`${button}.click()`);
        await page.until(ready);
        const why = await look(name);
        await page.press("Escape");
        return why;
    });
}

for (const dark of [false, true]) {
    await page.dark(dark);
    const look_of = dark ? "-dark" : "";
    await dialog_of("welcome", "Sign in a phone", `phone${look_of}`, "document.querySelector('dialog .qr')");
    await dialog_of("models", "Defaults", `defaults${look_of}`);
    await check(`axe: the settings of the box${look_of}`, page, async () => {
        await to(page, "box");
        await page.until("document.querySelector('#settings details')");
        await page.eval("document.querySelectorAll('#settings details').forEach((one) => { one.open = true; }); document.querySelector('#settings').scrollIntoView()");
        return look(`box-settings${look_of}`);
    });
}

await browser.stop();
