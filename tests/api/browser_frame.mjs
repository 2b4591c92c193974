// browser_frame.mjs - the page's frame in a real browser over verified TLS: signing in, the areas in both languages and both
// looks, the keyboard alone, what it weighs, and that it asks nobody but the box.
//
// Run by tests/api/browser.py with TAWNY_URL, TAWNY_KEY and a HOME whose certificate store knows the CA.
import { existsSync, readdirSync } from "node:fs";
import { check, pause, start, to } from "./chromium.mjs";

const url = process.env.TAWNY_URL, key = process.env.TAWNY_KEY;
const AREAS = { welcome: "Willkommen", chat: "Chat", models: "Modelle", box: "Box", connect: "Verbinden", reference: "Referenz" };
const browser = await start(), got = `${process.env.HOME}/got`, page = await browser.page(`${url}/`, { download: got });
const field = "document.querySelector('#key')";

await check("an area that wants the key asks for it", page, async () => {
    await to(page, "models");
    await page.until(field);
    await to(page, "welcome");
    await page.until(field);
});

await check("a wrong key is told, and not kept", page, async () => {
    await page.click("#key");
    await page.type("tawny-wrong");
    await page.press("Enter");
    const said = await page.until("document.querySelector('.wrong').textContent");
    if (!said.includes("not a key")) return said;
    if (await page.eval("sessionStorage.length + Object.keys(localStorage).filter((name) => name.includes('key')).length")) return "something is stored";
});

await check("with the keyboard alone: skip, navigation, the key, and in", page, async () => {
    await page.goto(`${url}/?again`);
    await page.until(field);
    const seen = [];
    for (let i = 0; i < 40; i++) {
        await page.press("Tab");
        seen.push(await page.eval("document.activeElement.className + '#' + document.activeElement.id + ' ' + (document.activeElement.getAttribute('href') ?? '')"));
        const visible = await page.eval("(() => { const box = document.activeElement.getBoundingClientRect(); return box.width > 0 && box.top < innerHeight && box.bottom > 0; })()");
        if (!visible) return `the focus is on what cannot be seen: ${seen.at(-1)}`;
        if (seen.at(-1).startsWith("#key")) break;
    }
    if (!seen[0].startsWith("skip") || !seen.some((one) => one.includes("/#/chat")) || !seen.at(-1).startsWith("#key")) return seen.join(" | ");
    await page.type(key);
    await page.press("Enter");
    await page.until("document.querySelector('#prompt') && document.activeElement.id === 'prompt'");
});

await check("the key is in this visit's storage alone, and in no address", page, async () => {
    const kept = await page.eval("[sessionStorage.getItem('tawny.key'), localStorage.getItem('tawny.key'), location.href, document.cookie]");
    if (kept[0] !== key || kept[1] !== null || kept[2].includes(key) || kept[3]) return JSON.stringify(kept);
});

await check("every area shows, in English and in German", page, async () => {
    const wrong = [];
    for (const language of ["en", "de"]) {
        await page.eval(`(() => { const choice = document.querySelector("#language"); choice.value = "${language}"; choice.dispatchEvent(new Event("change")); })()`);
        for (const [area, name] of Object.entries(AREAS)) {
            await to(page, area);
            await page.until("!document.querySelector('main .waiting')");
            const [lang, current, bad] = await page.eval("[document.documentElement.lang, document.querySelector('nav [aria-current]')?.textContent, document.querySelector('main .card.bad')?.textContent]");
            if (lang !== language || bad || (language === "de" && current !== name)) wrong.push([area, lang, current, bad]);
        }
    }
    await page.eval(`(() => { const choice = document.querySelector("#language"); choice.value = "en"; choice.dispatchEvent(new Event("change")); })()`);
    return wrong.length ? JSON.stringify(wrong) : "";
});

await check("what every object has is no area", page, async () => {
    await page.eval("location.hash = '#/constructor'");
    await page.until("document.body.dataset.area === 'chat' && document.querySelector('#prompt')");
});

await check("an upload is gone on with by the same file alone: one that was written anew is not mixed into it", page, async () => {
    const paths = await page.eval(`(async () => {
        const { upload } = await import("/page/upload.js"), { ask } = await import("/page/api.js"), paths = [];
        for (const lastModified of [1, 1, 2]) {
            const stop = new AbortController();
            const begun = (sent, path) => { paths.push(path); stop.abort(); };
            await upload(new File([new Uint8Array(100000)], "twice.gguf", { lastModified }), begun, stop.signal).catch((error) => error.name === "AbortError" || paths.push(error.message));
        }
        await ask("DELETE", paths[0]);
        return paths;
    })()`);
    return paths.length !== 3 || paths[0] !== paths[1] || !paths[2].includes("is arriving already") ? JSON.stringify(paths) : "";
});

await check("settings: what is wrong is told at its field, what is right is kept and can be taken back", page, async () => {
    const form = "document.querySelector('#settings')", write = (name, value) => page.eval(`(() => { const field = document.querySelector("#setting-${name}"); field.closest("details").open = true; field.value = "${value}"; field.dispatchEvent(new Event("input")); })()`);
    const save = () => page.eval(`${form}.querySelector("button.main").click()`);
    await to(page, "box");
    await page.until(form);
    if (await page.eval(`[${form}.querySelector("button.main").disabled, document.querySelector("#setting-state").disabled, document.querySelector("#setting-listen").disabled].includes(false)`)) return "what cannot be changed can";
    await write("ctx", "many");
    await write("threads", "2");
    await save();
    const told = await page.until(`document.querySelector("#setting-ctx").closest(".field").querySelector(".wrong").textContent`), focused = await page.eval("document.activeElement.id");
    await write("ctx", "4096");
    await save();
    await page.until("[...document.querySelectorAll('.note')].some((one) => one.textContent.includes('Kept'))");
    const kept = await page.eval(`import("/page/api.js").then(({ get }) => get("/v1/settings")).then((all) => all.waits_for_restart)`);
    const one = await page.until("document.querySelector('main [role=status].card')?.textContent");
    await page.eval(`import("/page/api.js").then(({ ask }) => ask("PUT", "/v1/settings", { ctx: null, threads: null }))`);
    return !told.includes("ctx") || focused !== "setting-ctx" || !kept || !one ? JSON.stringify([told, focused, kept, one]) : "";
});

// A key of its own, with which the area is open in another browser; then `end` ends it.
async function ends(area, storage, end) {
    const asked = (method, path, body) => fetch(url + path, { method, body: JSON.stringify(body), headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" } });
    const made = await (await asked("POST", "/v1/keys", { name: "short", scopes: ["chat", "models", "admin", "metrics"] })).json();
    const other = await browser.page(`${url}/#/welcome`);
    await other.until("document.querySelector('#key')");
    await other.eval(`${storage}.setItem("tawny.key", ${JSON.stringify(made.secret)})`);
    await other.goto(`${url}/?with#/${area}`);
    await other.until("document.querySelector('main h1') && !document.querySelector('main .waiting') && !document.querySelector('#key')");
    const before = other.urls.length;
    await end(asked, `/v1/keys/${made.id}`);
    await other.until("document.querySelector('#key')");
    await other.click("#key");
    await other.type("tawny-half");
    await pause(13000); // longer than any area waits before it looks again
    const [n, left] = [other.urls.length - before, await other.eval("[document.querySelector('#key')?.value, sessionStorage.getItem('tawny.key'), localStorage.getItem('tawny.key')]")];
    await asked("DELETE", `/v1/keys/${made.id}`);
    await other.close();
    console.log(`        ${n} requests`);
    return n > 40 || left[0] !== "tawny-half" || left[1] !== null || left[2] !== null ? `${n} requests, ${JSON.stringify(left)}` : "";
}

await check("a key that is revoked under an open page: it asks for one, and rests", null, () =>
    ends("box", "sessionStorage", (asked, path) => asked("DELETE", path)));

await check("a key that is renewed under an open page, kept in the browser: the same", null, () =>
    ends("models", "localStorage", (asked, path) => asked("POST", path, { rotate: true })));

await check("a backup is a file, which only its password opens", page, async () => {
    const press = (text) => page.eval(`[...document.querySelectorAll("main button")].find((one) => one.textContent === "${text}").click()`);
    const send = (secret) => page.eval(`document.querySelector("#backup-password").value = "${secret}"; document.querySelector("dialog button.main").click()`);
    await to(page, "box");
    await page.until("document.querySelector('#settings')");
    await press("Back up");
    await page.until("document.querySelector('#backup-password')");
    await send("a long password");
    for (let i = 0; i < 300 && !(existsSync(got) && readdirSync(got).some((name) => name.endsWith(".json"))); i++) await pause(100);
    await press("Restore");
    await page.files("#backup-file", [`${got}/${readdirSync(got)[0]}`]);
    await send("another password");
    const told = await page.until("document.querySelector('dialog .wrong').textContent");
    await send("a long password");
    await page.until("[...document.querySelectorAll('.note')].some((one) => one.textContent.includes('Restored'))");
    return told.includes("another password") ? "" : told;
});

await check("light and dark: by the system, and by choice", page, async () => {
    const paper = () => page.eval("getComputedStyle(document.body).backgroundColor");
    const light = await paper();
    await page.dark(true);
    const dark = await paper();
    await page.eval(`(() => { const choice = document.querySelector("#theme"); choice.value = "light"; choice.dispatchEvent(new Event("change")); })()`);
    const chosen = await paper();
    await page.dark(false);
    return light === dark || chosen !== light ? `${light} ${dark} ${chosen}` : "";
});

await check("nothing is wider than the screen, from 320 to 3840 pixels", page, async () => {
    const wide = [];
    for (const width of [320, 768, 1920, 3840]) {
        await page.size(width, 900);
        for (const area of Object.keys(AREAS)) {
            await to(page, area);
            await page.until("!document.querySelector('main .waiting')");
            await pause(60);
            const has = await page.eval("document.documentElement.scrollWidth");
            if (has > width) wide.push(`${area} at ${width}: ${has}`);
        }
    }
    await page.size(1280, 900);
    return wide.join(", ");
});

await check("the whole page weighs under 150 KB", page, async () => {
    const parts = await page.eval("performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation')).filter((one) => one.name.includes('/page/') || one.entryType === 'navigation').map((one) => [one.name, one.encodedBodySize])");
    const sizes = new Map(parts), sum = [...sizes.values()].reduce((all, size) => all + size, 0);
    console.log(`        ${sizes.size} files, ${sum} bytes`);
    return sizes.size < 20 || sum < 20000 || sum > 150000 ? `${sizes.size} files, ${sum} bytes` : "";
});

await check("it is painted within 300 ms (the quickest of six)", page, async () => {
    const times = [];
    for (let i = 0; i < 6; i++) {
        await page.goto(`${url}/?${i}#/welcome`);
        times.push(await page.until("performance.getEntriesByName('first-contentful-paint')[0]?.startTime"));
    }
    console.log(`        first paint: ${times.map(Math.round)} ms`);
    return Math.min(...times) < 300 ? "" : `${times}`;
});

await check("a script that got into it would not run", null, async () => {
    const other = await browser.page(`${url}/`);
    await other.until("document.querySelector('nav a')");
    const policy = await other.eval(`new Promise((done) => {
        const seen = [];
        try { document.body.innerHTML = "<img src=x onerror=alert(1)>"; } catch (error) { seen.push(error.name); }
        const script = document.createElement("script");
        try { script.textContent = "alert(1)"; } catch (error) { seen.push(error.name); }
        document.body.append(script);
        fetch("https://example.org/").catch(() => seen.push("fetch"));
        setTimeout(() => done([...seen, ...ran, violations.length]), 500);
    })`);
    await other.close();
    return policy.includes("alert") || !policy.includes("TypeError") || !policy.includes("fetch") || policy.at(-1) < 3 ? JSON.stringify(policy) : "";
});

await check("a phone is signed in by the code that is shown here: once, and its address keeps nothing of it", page, async () => {
    await to(page, "welcome");
    const link = await page.eval(`(async () => {
        const send = window.fetch;
        window.fetch = async (path, how) => { const answer = await send(path, how); if (path === "/v1/handovers") window.made = await answer.clone().json(); return answer; };
        [...document.querySelectorAll("#sign-in button")].find((one) => one.textContent === "Sign in a phone").click();
        for (let i = 0; i < 200 && !document.querySelector("dialog .qr"); i++) await new Promise((done) => setTimeout(done, 50));
        return [window.made?.url, document.querySelectorAll("dialog .qr path").length];
    })()`);
    await page.press("Escape");
    if (!link[0]?.startsWith(`${url}/#/in/`) || link[1] !== 1) return JSON.stringify(link);
    const phone = await browser.page(link[0]);
    await phone.until("document.querySelector('dialog button.main')");
    const before = await phone.eval("[location.href, history.length, sessionStorage.getItem('tawny.key')]");
    await phone.click("dialog button.main");
    await phone.until("document.querySelector('#prompt')");
    const after = await phone.eval("[sessionStorage.getItem('tawny.key'), location.href, document.cookie]");
    await phone.eval("location.hash = '#/in/another'");
    const asked = await phone.until("document.querySelector('dialog[open]')?.textContent");
    const again = await browser.page(link[0]);
    await again.until("document.querySelector('dialog button.main')");
    await again.click("dialog button.main");
    const told = await again.until("document.querySelector('.note.bad')?.textContent"), none = await again.eval("sessionStorage.getItem('tawny.key')");
    await phone.close();
    await again.close();
    return before[0].includes("/in/") || before[2] || after[0] !== key || after[1].includes("/in/") || !told.includes("no such code") || none || !asked.includes("It replaces the key") ? JSON.stringify([before, after, told, asked]) : "";
});

await check("signing out forgets the key", page, async () => {
    await page.until("document.querySelector('.nav-end button')");
    await page.click(".nav-end button");
    await page.until(field);
    if (await page.eval("sessionStorage.getItem('tawny.key')")) return "it is still there";
});

await check("no fault, no violation of the policy, and no other host was asked", page, async () => {
    const others = page.urls.filter((one) => !one.startsWith(url + "/")), violated = await page.violations();
    // the wrong key's 401 is no fault of the page
    if (others.length || violated.length || page.faults.length || page.urls.some((one) => one.includes(key))) return JSON.stringify([others, violated, page.faults]);
});

await browser.stop();
