// models.js - the models of the box: which are there and loaded, what can be done with each, what comes in (pulls and
// uploads, with how far they are), and what is worth having that fits.

import { ask, get } from "./api.js";
import { keep_model } from "./chat_settings.js";
import { h, icon } from "./dom.js";
import { bytes, duration, number, short, t } from "./text.js";
import { upload } from "./upload.js";
import { defaults_form, pin } from "./model_ways.js";
import { ask_line, bar, button, confirm, field, note, problem, sentence, waiting } from "./ui.js";

const LOOK_MS = 3000;
const sending = new Map(); // uploads of this page, whichever area is shown: id -> {file, sent, error, abort}

async function act(doing, changed) {
    try {
        await doing();
    } catch (error) {
        note(sentence(error), "bad");
    }
    changed();
}

// ---- one that is there ----

const FACTS_OF = [["quantisation", (m) => m.quantisation], ["parameters", (m) => m.n_params && short(m.n_params)], ["size", (m) => m.bytes && bytes(m.bytes)],
    ["trained", (m) => m.context_trained && number(m.context_trained)], ["context", (m) => m.context && number(m.context)], ["memory", (m) => m.memory && bytes(m.memory)],
    ["layers", (m) => m.layers], ["speed", (m) => m.tokens_per_second_most && t("model.speed.most", { n: number(m.tokens_per_second_most) })], ["defaults", (m) => m.defaults && Object.keys(m.defaults).join(", ")], ["architecture", (m) => m.architecture]];

function actions(model, aliases, changed) {
    const loaded = model.status === "ready" || model.status === "loading", name = encodeURIComponent(model.id);
    return [model.status === "ready" && model.capabilities?.includes("completion") ? h("a.button.small", { href: "/#/chat", onclick: () => keep_model(model.id) }, t("model.chat")) : null,
        !loaded && !model.fault ? button("on", t("model.load"), () => act(() => ask("POST", "/v1/models/load", { model: model.id }), changed), { kind: "small" }) : null,
        loaded && !model.pinned ? button(null, t("model.unload"), () => act(() => ask("POST", "/v1/models/unload", { model: model.id }), changed), { kind: "small" }) : null,
        model.fault || !model.capabilities?.includes("completion") ? null : button(null, t("model.defaults"), () => defaults_form(model, changed), { kind: "small" }),
        model.fault ? null : button(null, t(model.pinned ? "model.unpin" : "model.pin"), () => act(() => pin(model.id, !model.pinned), changed), { kind: "small" }),
        button(null, t("model.alias"), async () => {
            const alias = await ask_line(t("model.alias"), t("model.alias.name"), "", t("save"), t("model.alias.hint"));
            if (alias) act(() => ask("POST", "/v1/models/alias", { alias, model: model.id }), changed);
        }, { kind: "small" }),
        model.read_only ? null : button(null, t("model.copy"), async () => {
            const to = await ask_line(t("model.copy"), t("model.copy.name"), "", t("save"), t("model.copy.hint"));
            if (to) act(() => ask("POST", "/v1/models/copy", { from: model.id, to }), changed);
        }, { kind: "small" }),
        model.read_only ? null : button("bin", t("delete"), async () => {
            if (await confirm(t("delete"), t("model.delete", { name: model.id }), t("delete"))) act(() => ask("DELETE", `/v1/models/${name}`), changed);
        }, { kind: "small", bare: true }),
        ...Object.entries(aliases).filter(([, meant]) => meant === model.id).map(([alias]) => h("span.tag", t("model.also", { alias }),
            button("edit", t("model.alias.edit", { alias }), async () => {
                const name = await ask_line(t("model.alias"), t("model.alias.name"), alias, t("save"), t("model.alias.hint"));
                if (name && name !== alias) act(async () => {
                    await ask("POST", "/v1/models/alias", { alias: name, model: model.id });
                    await ask("POST", "/v1/models/alias", { alias, model: null });
                }, changed);
            }, { bare: true }),
            button("close", t("model.alias.remove", { alias }), () => act(() => ask("POST", "/v1/models/alias", { alias, model: null }), changed), { bare: true })))];
}

function model_card(model, aliases, changed) {
    const loading = model.loading;
    return h("article.card", h("div.row.between", h("h2.name", model.id), h(`span.tag.${model.fault ? "failed" : model.status}`, t(`model.${model.fault ? "unusable" : model.status}`))),
        model.name && model.name !== model.id ? h("p.hint", model.name) : null,
        model.fault || model.error ? h("p.wrong", model.fault ?? model.error) : null,
        loading ? [bar((loading.percent ?? 0) / 100, t("model.loading")), h("p.hint", `${loading.percent ?? 0} %${loading.seconds_left ? ` · ${t("left", { time: duration(loading.seconds_left) })}` : ""}`)] : null,
        h("dl.facts-list", FACTS_OF.map(([name, of]) => of(model) ? [h("dt", t(`model.${name}`)), h("dd", of(model))] : null)),
        (model.capabilities ?? []).some((can) => can !== "completion") ? h("p", model.capabilities.map((can) => h("span.tag", can))) : null,
        model.chat_template_fault ? h("p.hint", model.chat_template_fault) : null,
        h("div.row", actions(model, aliases, changed)));
}

// ---- what comes in ----

function coming(one, changed) {
    const done = one.received ?? one.bytes, of = one.of_bytes ?? (one.object === "upload" ? one.bytes : 0);
    const path = one.object === "upload" ? "/v1/uploads/" : "/v1/downloads/", ended = ["done", "failed", "cancelled"].includes(one.status);
    const facts = [of ? `${bytes(done)} / ${bytes(of)}` : bytes(done || 0), one.bytes_per_second ? `${bytes(one.bytes_per_second)}/s` : "",
        one.seconds_left ? t("left", { time: duration(one.seconds_left) }) : ""].filter(Boolean).join(" · ");
    return h("article.card", h("div.row.between", h("h3", one.name || one.source), h(`span.tag.${one.status === "failed" ? "failed" : ""}`, t(`coming.${one.status}`))),
        one.source && one.source !== one.name ? h("p.hint", one.source) : null, ended && one.status !== "failed" ? null : bar(of ? done / of : 0, one.name),
        h("p.hint", facts), one.error ? h("p.wrong", one.error) : null,
        h("div.row", one.status === "failed" && one.object === "download" ? button("again", t("again"), () => act(() => ask("POST", "/v1/models/pull", { source: one.source, name: one.name }), changed), { kind: "small" }) : null,
            button("close", t(ended ? "coming.forget" : "coming.give_up"), () => act(() => ask("DELETE", path + encodeURIComponent(one.id)), changed), { kind: "small" })));
}

function sending_card(id, one, changed) {
    return h("article.card", h("h3", one.file.name), bar(one.sent / one.file.size, one.file.name), h("p.hint", `${bytes(one.sent)} / ${bytes(one.file.size)}`),
        one.error ? h("p.wrong", one.error) : null, h("div.row", one.error ? button("again", t("again"), () => { sending.delete(id); send_file(one.file, changed); }, { kind: "small" }) : null,
            button("close", t(one.error ? "close" : "coming.pause"), () => { one.abort.abort(); sending.delete(id); changed(); }, { kind: "small" })));
}

function send_file(file, changed) {
    const id = `${file.name} ${file.size}`;
    if (!file.name.endsWith(".gguf")) { note(t("upload.gguf", { name: file.name }), "bad"); return; }
    if (sending.has(id)) return;
    const one = { file, sent: 0, error: "", abort: new AbortController(), path: "" };
    sending.set(id, one);
    upload(file, (sent, path) => { one.sent = sent; one.path = path; changed.soon(); }, one.abort.signal).then(() => {
        sending.delete(id);
        note(t("upload.done", { name: file.name }));
    }).catch((error) => { if (error.name !== "AbortError") one.error = sentence(error); }).finally(changed);
}

function drop_place(changed) {
    const pick = h("input", { type: "file", accept: ".gguf", multiple: true, hidden: true, onchange: () => { for (const file of pick.files) send_file(file, changed); pick.value = ""; } });
    const made = h("div.drop", h("p", icon("up"), " ", t("upload.drop")), button(null, t("upload.choose"), () => pick.click()), h("p.hint", t("upload.hint")), pick);
    made.addEventListener("dragover", (event) => { event.preventDefault(); made.classList.add("over"); });
    made.addEventListener("dragleave", () => made.classList.remove("over"));
    made.addEventListener("drop", (event) => {
        event.preventDefault();
        made.classList.remove("over");
        for (const file of event.dataTransfer.files) send_file(file, changed);
    });
    return made;
}

// ---- what could be here ----

function fits(entry) {
    if (entry.here) return h("span.tag.ready", t("catalogue.here"));
    if (entry.fits_memory === false) return h("span.tag", t("catalogue.memory", { size: bytes(entry.memory_about) }));
    if (entry.fits_disk === false) return h("span.tag", t("catalogue.disk"));
    return entry.fits_memory ? h("span.tag.good", t("catalogue.fits", { n: number(entry.context ?? 0) })) : null; // null: nobody knows yet
}

function catalogue(list, pull) {
    const order = (entry) => (entry.here ? 0 : entry.fits_memory === false || entry.fits_disk === false ? 2 : 1);
    return h("div.scroll", { tabindex: "0", role: "region", "aria-label": t("catalogue") }, h("table", h("thead", h("tr", h("th", t("model")), h("th.number", t("model.size")), h("th", t("catalogue.whether")), h("th", h("span.unseen", t("pull"))))),
        h("tbody", [...list.data].sort((a, b) => order(a) - order(b)).map((entry) => h("tr", h("td", h("b", entry.name), h("p.hint", entry.what)),
            h("td.number.tight", bytes(entry.bytes_about)), h("td", fits(entry)),
            h("td", entry.here || order(entry) === 2 ? null : button("down", t("pull.name", { name: entry.name }), () => pull(entry.source), { bare: true })))))));
}

function pull_form(pull) {
    const source = h("input#source", { type: "text", placeholder: "hf.co/OWNER/REPO:Q4_K_M", autocapitalize: "off", spellcheck: "false", required: true });
    return h("form.card", { onsubmit: (event) => { event.preventDefault(); pull(source.value.trim()); source.value = ""; } },
        field(t("pull.source"), source, t("pull.hint")), h("div.row.end", h("button.main", { type: "submit" }, icon("down"), t("pull"))));
}

export async function show(place) {
    const here = h("div.grid"), arrivals = h("div.grid"), shop = h("div"), disk = h("p.lead"), arriving = h("section", { hidden: true }, h("h2", t("coming")), arrivals);
    let gone = false, timer = 0, seen = "";
    const look = async () => {
        clearTimeout(timer);
        if (gone) return;
        try {
            const [models, pulls, uploads] = await Promise.all([get("/v1/models"), get("/v1/downloads").catch(() => ({ data: [] })), get("/v1/uploads").catch(() => ({ data: [] }))]);
            const ours = new Set([...sending.values()].map((one) => one.path)), come = [...pulls.data, ...uploads.data.filter((one) => !ours.has(`/v1/uploads/${one.id}`) && !one.source)];
            const now = JSON.stringify([models, come, [...sending.values()].map((one) => [one.sent, one.error])]);
            if (now !== seen && !here.contains(document.activeElement?.closest("input"))) {
                seen = now;
                here.replaceChildren(...models.data.map((model) => model_card(model, models.aliases ?? {}, look)));
                arrivals.replaceChildren(...[...sending].map(([id, one]) => sending_card(id, one, look)), ...come.map((one) => coming(one, look)));
                arriving.hidden = arrivals.childElementCount === 0;
            }
        } catch (error) {
            here.replaceChildren(problem(error, look));
        }
        if (!gone) timer = setTimeout(look, arriving.hidden ? LOOK_MS : LOOK_MS / 3);
    };
    let soon = 0;
    look.soon = () => { soon ||= setTimeout(() => { soon = 0; look(); }, 400); };
    const pull = (source) => act(async () => {
        await ask("POST", "/v1/models/pull", { source });
        note(t("pull.begun", { name: source }));
    }, look);
    here.append(waiting());
    place.append(h("h1", t("area.models")), disk, here, arriving, h("h2", t("add")), drop_place(look), pull_form(pull), h("h2", t("catalogue")), shop);
    look();
    get("/v1/catalogue").then((list) => {
        disk.textContent = list.memory ? t("models.room", { memory: bytes(list.memory), disk: bytes(list.disk_free) }) : t("models.disk", { disk: bytes(list.disk_free) });
        shop.replaceChildren(catalogue(list, pull));
    }).catch((error) => shop.replaceChildren(problem(error)));
    return () => { gone = true; clearTimeout(timer); };
}
