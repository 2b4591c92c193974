// browser_restart.mjs - the box starts again under an open page: the page waits with the person, says how far it is, and what
// becomes of the key: after a restart, a restore with the same key and with another one, and an erasure.
//
// Run by tests/api/browser.py, which stands in for PID 1: it starts the server again, and erases where that is marked.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { check, pause, sign_in, start, to } from "./chromium.mjs";

const key = process.env.TAWNY_KEY, got = `${process.env.HOME}/restart`, browser = await start(), page = await browser.page("", { download: got });
const old_ca = readFileSync(process.env.NODE_EXTRA_CA_CERTS, "utf8");
await sign_in(page, "box");

const press = (text, within = "main") => page.until(`(() => { const found = [...document.querySelectorAll("${within} button")].find((one) => one.textContent === "${text}"); found?.click(); return found; })()`);
const held = () => page.eval("sessionStorage.getItem('tawny.key')");
const settings = "document.querySelector('#settings') && !document.querySelector('dialog')";
const away = "document.querySelector('dialog .waiting')?.textContent.includes('away for')";
const notes = "[...document.querySelectorAll('.note')].map((one) => one.textContent).join()";

// The dialog that waits, until it has gone by itself: what is noted then.
async function waited(name) {
    await page.until(away, 60000);
    await page.eval("document.querySelectorAll('.note').forEach((one) => one.remove())");
    await page.shot(`${process.env.HOME}/shots/${name}.png`);
    await page.until("!document.querySelector('dialog')", 60000);
    return page.until(notes);
}

async function restore() {
    await page.until(settings);
    await press("Restore");
    await page.files("#backup-file", [`${got}/${readdirSync(got)[0]}`]);
    await page.eval(`document.querySelector("#backup-password").value = "a long password"; document.querySelector("dialog button.main").click()`);
    await page.until("document.querySelector('dialog .waiting')");
}

await check("a restart: the page waits, and the key still counts", page, async () => {
    await page.until(settings);
    await press("Restart");
    await page.until("document.querySelector('dialog button.main')");
    await press("Restart", "dialog");
    const told = await waited("restart");
    await page.until(settings);
    return told.includes("is back") && (await held()) === key ? "" : told;
});

await check("a restore with the key that is signed in: nobody has to sign in", page, async () => {
    await press("Back up");
    await page.until("document.querySelector('#backup-password')");
    await page.eval(`document.querySelector("#backup-password").value = "a long password"; document.querySelector("dialog button.main").click()`);
    for (let i = 0; i < 300 && !(existsSync(got) && readdirSync(got).some((name) => name.endsWith(".json"))); i++) await pause(100);
    await restore();
    const told = await waited("restore");
    await page.until(settings);
    return told.includes("is back") && (await held()) === key ? "" : told;
});

await check("a restore by a key that the backup does not have: the page asks for another, and takes it", page, async () => {
    const other = await page.eval(`(async () => {
        const { ask, key_set } = await import("/page/api.js"), secret = (await ask("POST", "/v1/keys", { name: "later", scopes: ["chat", "models", "admin"] })).secret;
        key_set(secret, false);
        return secret;
    })()`);
    if (!other || other === key) return "no other key";
    await restore();
    const told = await waited("restore-key");
    await page.until("document.querySelector('#key')");
    if (!told.includes("with other keys") || (await held())) return told;
    await page.eval(`document.querySelector("#key").value = ${JSON.stringify(key)}; document.querySelector(".sign-in").requestSubmit()`);
    await page.until(settings);
});

await check("an erasure: the page says where to begin again, and the key is forgotten", page, async () => {
    await press("Erase");
    await page.until("document.querySelector('#reset-word')");
    await page.eval(`document.querySelector("#reset-word").value = "erase"; document.querySelector("dialog button.main").click()`);
    await page.until(away, 60000);
    await page.shot(`${process.env.HOME}/shots/erase.png`);
    const link = await page.eval("document.querySelector('dialog a').href"), text = await page.eval("document.querySelector('dialog').textContent");
    let leads = "", ca = "";
    for (let i = 0; i < 200 && !(leads && ca); i++, await pause(300)) {
        leads = await fetch(link, { redirect: "manual" }).then((answer) => answer.headers.get("location"), () => "");
        ca = await fetch(`${link}ca.crt`).then((answer) => answer.text(), () => "");
    }
    if (leads !== `${process.env.TAWNY_URL}/` || !ca || ca === old_ca || !text.includes("another key") || (await held())) return JSON.stringify([link, leads, text, ca.slice(0, 100)]);
    await page.press("Escape");
    await page.until("document.querySelector('#key')");
});

await check("no fault in all that", page, async () => (page.faults.length || (await page.violations()).length ? JSON.stringify([page.faults, await page.violations()]) : ""));

await browser.stop();
