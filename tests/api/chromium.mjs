// chromium.mjs - headless Chromium by its own protocol, over a pipe: no package between. HOME's certificate store says
// whom it trusts (browser.py makes it).
//
//   const browser = await start({ size: [1280, 900], dark: false });    await browser.stop();
//   const page = await browser.page(url);
//   (with { beside: page }: another tab of the same visitor)
//   page.urls             of every request it made     page.faults    exceptions, console errors, violations of the policy
//   await page.eval(text) / .until(text, ms) / .click(selector) / .type(text) / .press(key) / .shot(path, full)

import { spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";

const KEYS = { Enter: [13, "\r"], Tab: [9, ""], Escape: [27, ""], Space: [32, " "], ArrowDown: [40, ""], ArrowUp: [38, ""] };
export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// One line a check, as tests/api/npm.py counts them; what a test gives back is why it failed. Where it throws, the page is
// left as it is, and a picture of it.
export async function check(name, page, test) {
    let why;
    try {
        why = await test();
    } catch (error) {
        why = error.message;
        await page?.shot(`${process.env.HOME}/${name.replace(/\W+/g, "_").slice(0, 60)}.png`).catch(() => {});
    }
    console.log((why ? `FAILED browser: ${name}: ${why}` : `ok browser: ${name}`).replaceAll("\n", " "));
}

// Signed in, in the area; chats begin at temperature 0.
export async function sign_in(page, area = "chat") {
    await page.goto(`${process.env.TAWNY_URL}/#/welcome`);
    await page.until("document.querySelector('#key') || document.querySelector('nav a')");
    await page.eval(`sessionStorage.setItem("tawny.key", ${JSON.stringify(process.env.TAWNY_KEY)})`);
    // the scripted models write their script where the likeliest token is taken
    await page.eval(`localStorage.setItem("tawny.settings", '{"temperature":0}')`);
    await to(page, area);
    await page.call("Page.reload");
    await pause(100);
    await page.until(`document.body?.dataset.area === "${area}" && !document.querySelector("main .waiting")`);
}

export async function to(page, area) {
    await page.eval(`location.hash = "#/${area}"`);
    await page.until(`document.body.dataset.area === "${area.split("/")[0]}" && document.querySelector("main h1")`);
}

export async function start({ size = [1280, 900], options = [] } = {}) {
    const profile = `${process.env.HOME}/profile-${process.pid}`;
    const child = spawn("chromium", ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
        "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe", `--user-data-dir=${profile}`,
        `--window-size=${size}`, ...options], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
    const waiting = new Map(), listeners = new Set();
    let id = 0, rest = Buffer.alloc(0);
    child.stdio[4].on("data", (piece) => {
        rest = Buffer.concat([rest, piece]);
        for (let end; (end = rest.indexOf(0)) >= 0; rest = rest.subarray(end + 1)) {
            const message = JSON.parse(rest.subarray(0, end).toString());
            if (message.id) {
                const [good, bad] = waiting.get(message.id) ?? [];
                waiting.delete(message.id);
                message.error ? bad?.(new Error(message.error.message)) : good?.(message.result);
            } else for (const listener of listeners) listener(message);
        }
    });
    const send = (method, params = {}, sessionId) => new Promise((good, bad) => {
        waiting.set(++id, [good, bad]);
        child.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + "\0");
    });
    return {
        page: (url, more) => open(send, listeners, url, { size, ...more }),
        stop: async () => {
            await Promise.race([send("Browser.close").catch(() => {}), pause(5000)]);
            child.kill("SIGKILL");
            await pause(300);
            try {
                rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
            } catch {
                // a child of it still writes there; browser.py begins with an empty home
            }
        },
    };
}

// Runs in each page before its own scripts.
const WATCH = `window.violations = []; window.ran = [];
    document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective + " " + event.blockedURI + " " + event.sample));
    for (const name of ["alert", "confirm", "prompt"]) window[name] = () => ran.push(name);`;

async function open(send, listeners, url, { size, dark = false, language = "en-GB", download = "", beside = null }) {
    const { browserContextId } = beside ?? await send("Target.createBrowserContext", { disposeOnDetach: true });
    const { targetId } = await send("Target.createTarget", { url: "about:blank", browserContextId });
    const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
    const call = (method, params) => send(method, params, sessionId);
    const page = { call, browserContextId, urls: [], faults: [] };
    listeners.add((message) => {
        if (message.sessionId !== sessionId) return;
        const { method, params } = message;
        if (method === "Network.requestWillBeSent" && !/^(data|blob):/.test(params.request.url)) page.urls.push(params.request.url);
        if (method === "Runtime.exceptionThrown") page.faults.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
        if (method === "Runtime.consoleAPICalled" && params.type === "error") page.faults.push(params.args.map((arg) => arg.value ?? arg.description).join(" "));
        if (method === "Log.entryAdded" && params.entry.level === "error" && params.entry.source !== "network") page.faults.push(params.entry.text);
        if (method === "Page.javascriptDialogOpening") page.faults.push("a dialog: " + params.message);
    });
    for (const domain of ["Page", "Network", "Runtime", "Log"]) await call(`${domain}.enable`);
    await call("Page.addScriptToEvaluateOnNewDocument", { source: WATCH });
    await call("Emulation.setDeviceMetricsOverride", { width: size[0], height: size[1], deviceScaleFactor: 1, mobile: false });
    await call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }] });
    await call("Emulation.setLocaleOverride", { locale: language }).catch(() => {});
    if (download) await send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: download, browserContextId });

    page.eval = async (text) => {
        const { result, exceptionDetails } = await call("Runtime.evaluate", { expression: text, awaitPromise: true, returnByValue: true, userGesture: true });
        if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
        return result.value;
    };
    page.until = async (text, ms = 30000) => {
        for (const end = Date.now() + ms; Date.now() < end; await pause(60)) {
            const value = await page.eval(text).catch(() => null); // between two pages there is none
            if (value) return value;
        }
        const there = await page.eval("location.hash + ' ' + (document.querySelector('main')?.innerText ?? '').slice(0, 300)").catch((error) => error.message);
        throw new Error(`waited ${ms} ms for: ${text}; shown: ${there}`);
    };
    page.goto = async (to) => {
        await call("Page.navigate", { url: to });
        await page.until("document.readyState === 'complete'");
    };
    page.click = async (selector) => {
        await page.until(`document.querySelector(${JSON.stringify(selector)})`);
        const at = await page.eval(`(() => { const found = document.querySelector(${JSON.stringify(selector)}); found.scrollIntoView({ block: "center" });
            const box = found.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()`);
        for (const type of ["mousePressed", "mouseReleased"]) await call("Input.dispatchMouseEvent", { type, x: at[0], y: at[1], button: "left", clickCount: 1 });
    };
    // As if chosen in the file field; the page may draw it anew meanwhile.
    page.files = async (selector, files) => {
        for (let tries = 0; ; tries++) {
            await page.until(`document.querySelector(${JSON.stringify(selector)})`);
            const { result } = await call("Runtime.evaluate", { expression: `document.querySelector(${JSON.stringify(selector)})` });
            try {
                return await call("DOM.setFileInputFiles", { objectId: result.objectId, files });
            } catch (error) {
                if (tries === 5) throw error;
                await pause(200);
            }
        }
    };
    page.type = (text) => call("Input.insertText", { text });
    page.press = async (key, modifiers = 0) => {
        const [code, text] = KEYS[key];
        for (const type of ["keyDown", "keyUp"])
            await call("Input.dispatchKeyEvent", { type, key: key === "Space" ? " " : key, code: key, windowsVirtualKeyCode: code, modifiers, ...(type === "keyDown" && text ? { text } : {}) });
    };
    page.size = (width, height) => call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
    page.dark = (on) => call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: on ? "dark" : "light" }] });
    page.shot = async (path, full = false) => {
        const { data } = await call("Page.captureScreenshot", { format: "png", captureBeyondViewport: full });
        writeFileSync(path, Buffer.from(data, "base64"));
    };
    page.violations = () => page.eval("violations.concat(ran)");
    page.close = () => send("Target.closeTarget", { targetId });
    if (url) await page.goto(url);
    return page;
}
