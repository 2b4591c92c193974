// text.js - what the page says, in the visitor's language. One table a language: en.js, de.js. What index.html says in
// English stands there alone; its elements' data-t names their text in the other tables.

import de from "./de.js";
import { h } from "./dom.js";
import en from "./en.js";

const TABLES = { en, de };
export const LANGUAGES = { en: "English", de: "Deutsch" };

const wanted = localStorage.getItem("tawny.language") ?? (navigator.languages ?? []).map((tag) => tag.slice(0, 2)).find((tag) => TABLES[tag]);
let language = TABLES[wanted] ? wanted : "en";
export const FACTS = Object.fromEntries(["ca", "version"].map((id) => [id, document.getElementById(id)?.textContent ?? ""])); // of index.html
const english = new Map(); // element of index.html -> what it held

export const current = () => language;

// As numbers and times are written where the visitor is: the same language may have several ways.
function place() {
    const told = (navigator.languages ?? []).find((tag) => tag.slice(0, 2) === language);
    try {
        return Intl.getCanonicalLocales(told)[0] ?? language;
    } catch {
        return language; // a browser may say what is no tag
    }
}

export function choose(code) {
    language = code;
    localStorage.setItem("tawny.language", code);
    document.dispatchEvent(new Event("language"));
}

// The text of that name; {name} in it becomes vars.name.
export function t(name, vars = {}) {
    const text = TABLES[language][name] ?? en[name] ?? name;
    return text.replace(/\{(\w+)\}/g, (all, key) => (key in vars ? String(vars[key]) : all));
}

// Nodes of a text in which `code` and **what matters** are marked.
export function rich(text) {
    return text.split(/(`[^`]*`|\*\*[^*]+\*\*)/).filter(Boolean).map((part) =>
        part.startsWith("`") ? h("code", part.slice(1, -1)) : part.startsWith("**") ? h("b", part.slice(2, -2)) : part);
}

// What index.html holds within `root`, in the language that is chosen.
export function translate(root) {
    document.documentElement.lang = language;
    for (const element of root.querySelectorAll("[data-t]")) {
        if (!english.has(element)) english.set(element, [...element.childNodes].map((node) => node.cloneNode(true)));
        const text = TABLES[language][element.dataset.t];
        element.replaceChildren(...(text === undefined ? english.get(element).map((node) => node.cloneNode(true)) : rich(t(element.dataset.t, FACTS))));
    }
}

export const number = (value, digits = 0) =>
    new Intl.NumberFormat(place(), { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);

export function bytes(n) {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let at = 0;
    for (; n >= 1000 && at < units.length - 1; at++) n /= 1000;
    return `${number(n, at > 2 && n < 100 ? 1 : 0)} ${units[at]}`;
}

// 1200000 -> "1.2 M": numbers of parameters and tokens.
export const short = (n) => new Intl.NumberFormat(place(), { notation: "compact", maximumFractionDigits: 1 }).format(n);

export function duration(seconds) {
    if (seconds < 60) return `${number(Math.max(0, seconds))} s`;
    if (seconds < 3600) return `${number(Math.floor(seconds / 60))} min`;
    return seconds < 86400 ? `${number(seconds / 3600, 1)} h` : t("days", { n: number(seconds / 86400) });
}

export const moment = (date) => date.toLocaleString(place(), { dateStyle: "medium", timeStyle: "medium" });

// Unix time, or a Date: the time of today, else the day.
export function when(time) {
    const date = time instanceof Date ? time : new Date(time * 1000);
    const today = date.toDateString() === new Date().toDateString();
    return new Intl.DateTimeFormat(place(), today ? { timeStyle: "short" } : { dateStyle: "medium" }).format(date);
}
