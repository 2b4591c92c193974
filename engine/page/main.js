// main.js - the frame: which area is shown, the navigation, the language, light and dark, and signing in where an area
// wants the key. An area is a module with show(place, rest): it fills `place`, and returns what is to be called when it
// is left, if anything. rest is what stands behind the area's name in the address: never a secret.

import { key } from "./api.js";
import { h, icon, set } from "./dom.js";
import { code_of_address, take_handover } from "./handover.js";
import { sign_in, sign_out } from "./sign_in.js";
import { choose, current, LANGUAGES, t, translate } from "./text.js";
import { button, problem, waiting } from "./ui.js";

const AREAS = {
    welcome: { load: () => import("./welcome.js"), open: true },
    chat: { load: () => import("./chat.js") },
    models: { load: () => import("./models.js") },
    box: { load: () => import("./box.js") },
    connect: { load: () => import("./connect.js"), open: true },
    reference: { load: () => import("./reference.js") },
};
const THEMES = ["auto", "light", "dark"];
const main = document.getElementById("main"), nav = document.getElementById("nav"), menu = document.getElementById("menu");
const welcome = document.getElementById("welcome");
let leave = null, shown = 0, shown_with = ""; // the key of what is shown

function theme(name) {
    localStorage.setItem("tawny.theme", name);
    set(document.documentElement, { "data-theme": name === "auto" ? null : name });
}

function place() {
    const [, area, rest] = location.hash.match(/^#\/(\w*)\/?(.*)$/) ?? [];
    return { area: Object.hasOwn(AREAS, area) ? area : key() ? "chat" : "welcome", rest: rest ?? "" };
}

// ---- the navigation ----

function navigation() {
    const { area } = place();
    const links = Object.keys(AREAS).map((name) =>
        h("li", h("a", { href: `/#/${name}`, "aria-current": name === area ? "page" : null, onclick: () => open_menu(false) },
            icon(name), h("span", t(`area.${name}`)))));
    const language = h("select#language", { onchange: () => choose(language.value) },
        Object.entries(LANGUAGES).map(([code, name]) => h("option", { value: code, lang: code }, name)));
    language.value = current();
    const look = h("select#theme", { onchange: () => theme(look.value) },
        THEMES.map((name) => h("option", { value: name }, t(`theme.${name}`))));
    look.value = localStorage.getItem("tawny.theme") ?? "auto";
    nav.replaceChildren(h("ul", links), h("div.nav-end",
        h("label", { for: "language" }, t("language")), language, h("label", { for: "theme" }, t("theme")), look,
        key() ? button(null, t("sign_out"), sign_out) : null));
    set(nav, { "aria-label": t("areas") });
    set(menu, { "aria-label": t("menu") });
    menu.replaceChildren(icon("menu"));
    nav.hidden = menu.hidden = false;
}

function open_menu(open) {
    nav.classList.toggle("open", open);
    set(menu, { "aria-expanded": String(open) });
}

// ---- the areas ----

async function show() {
    const code = code_of_address();
    if (code && await take_handover(code)) location.hash = "#/chat";
    const { area, rest } = place(), turn = ++shown;
    if (typeof leave === "function") leave();
    leave = null;
    shown_with = key();
    navigation();
    translate(welcome);
    translate(document);
    document.title = area === "welcome" ? `Tawny · ${location.hostname}` : `${t(`area.${area}`)} · Tawny`;
    document.body.dataset.area = area;
    if (!AREAS[area].open && !key()) {
        main.replaceChildren(h("section.column", h("h1", t(`area.${area}`)), sign_in()));
        return;
    }
    const section = area === "welcome" ? welcome : h(`section.${area === "chat" ? "wide" : "column"}`);
    if (area !== "welcome") section.append(waiting());
    main.replaceChildren(section);
    try {
        const module = await AREAS[area].load();
        if (turn !== shown) return;
        if (area !== "welcome") section.replaceChildren();
        const left = await module.show(section, rest);
        if (turn === shown) leave = left;
        else if (typeof left === "function") left();
    } catch (error) {
        if (turn === shown) section.replaceChildren(h("h1", t(`area.${area}`)), problem(error, show));
    }
}

function start() {
    theme(localStorage.getItem("tawny.theme") ?? "auto");
    document.body.append(h("div#notes"), h("div#said.unseen", { role: "status", "aria-live": "polite" }));
    menu.addEventListener("click", () => open_menu(!nav.classList.contains("open")));
    document.addEventListener("keydown", (event) => event.key === "Escape" && open_menu(false));
    document.querySelector(".skip").addEventListener("click", (event) => {
        event.preventDefault();
        main.focus();
    });
    window.addEventListener("hashchange", async () => {
        await show();
        main.scrollTop = 0;
    });
    for (const what of ["language", "signed-in"]) document.addEventListener(what, show);
    document.addEventListener("signed-out", () => key() !== shown_with && show()); // once, however many requests were refused
    show();
}

start();
