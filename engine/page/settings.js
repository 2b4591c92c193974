// settings.js - the settings of the box as a form, over GET and PUT /v1/settings: what each is and who set it, what is wrong
// at its own field, and what a change needs before it counts. What a command line has set stands fast.

import { ask, get } from "./api.js";
import { backup_row } from "./backup.js";
import { h, set } from "./dom.js";
import { wait_for_box } from "./restart.js";
import { t } from "./text.js";
import { button, confirm, field, note, problem, sentence, waiting } from "./ui.js";

// Those not named here are in the last group.
const GROUPS = {
    models: ["model", "models", "alias", "pin", "keep-alive", "ctx", "parallel", "kv-type", "share-prefixes", "keep-prefixes", "speculation", "draft", "device", "threads"],
    network: ["hostname", "address", "gateway", "dns", "ntp", "listen", "listen-http", "cors"],
    pulls: ["registry", "hub", "tokens", "ca", "pull-plain", "proxy"],
    rest: [],
};
const SET_BY = { "cloud-init": "cloud", "tawny.conf": "file", api: "api", "command line": "command_line" };

// One setting: its field, and what it became; null: as it is where nobody sets it here.
function setting(one, changed) {
    const fast = one.set_by === "command line" || ["state", "api-settings"].includes(one.name), id = `setting-${one.name}`;
    const attributes = { disabled: fast, value: one.value, oninput: () => changed(made.value) };
    const made = one.kind === "yes|no" ? h(`select#${id}`, attributes, ["yes", "no"].map((value) => h("option", { value }, t(`settings.${value}`))))
        : h(`input#${id}`, { ...attributes, type: "text", placeholder: one.kind, autocapitalize: "off", spellcheck: "false", autocomplete: "off" });
    made.value = one.value;
    const wrong = h("p.wrong", { role: "alert" }), part = field(one.name, made, one.help);
    part.classList.add("setting");
    part.firstChild.append(SET_BY[one.set_by] ? h("span.tag", t(`settings.by.${SET_BY[one.set_by]}`)) : "", one.needs === "restart of the box" ? h("span.tag", t("settings.needs_box")) : "");
    part.append(wrong, one.set_by === "api" ? h("div.row", button("again", t("settings.back"), () => { made.disabled = true; changed(null); }, { kind: "small" })) : "");
    return { part, made, wrong };
}

async function restart(look) {
    if (!(await confirm(t("settings.restart"), t("settings.restart.text"), t("settings.restart")))) return;
    try {
        await ask("PUT", "/v1/settings", { restart: true });
        await wait_for_box(t("settings.restart"), t("settings.restarting"));
    } catch (error) {
        note(sentence(error), "bad");
    }
    look();
}

function form(now, look) {
    const fields = new Map(), changes = {}, wrong = h("p.wrong", { role: "alert" }), save = h("button.main", { type: "submit", disabled: true }, t("save"));
    const change = (one, value) => {
        if (value === (one.value ?? "")) delete changes[one.name];
        else changes[one.name] = value;
        fields.get(one.name).wrong.textContent = "";
        save.disabled = Object.keys(changes).length === 0;
    };
    const group = (name, list) => h("details", h("summary.row", h("span", t(`settings.${name}`)), h("span.hint.push", list.filter((one) => one.set_by !== "default").map((one) => one.name).join(", "))),
        h("div.pairs", list.map((one) => { fields.set(one.name, setting(one, (value) => change(one, value))); return fields.get(one.name).part; })));
    const known = new Set(Object.values(GROUPS).flat()), by_name = new Map(now.settings.map((one) => [one.name, one]));
    const groups = Object.entries(GROUPS).map(([name, names]) => [name, name === "rest" ? now.settings.filter((one) => !known.has(one.name)) : names.map((one) => by_name.get(one)).filter(Boolean)]);
    const refused = (error) => {
        const at = fields.get(error.param);
        for (const one of fields.values()) { one.wrong.textContent = ""; one.made.removeAttribute("aria-invalid"); }
        wrong.textContent = at ? "" : sentence(error);
        if (!at) return;
        at.part.closest("details").open = true;
        at.wrong.textContent = sentence(error);
        set(at.made, { "aria-invalid": "true" });
        at.made.focus();
    };
    const done = async (event) => {
        event.preventDefault();
        save.disabled = true;
        try {
            const answer = await ask("PUT", "/v1/settings", changes);
            note([t(answer.needs === "restart of the box" ? "settings.saved_box" : "settings.saved"), ...(answer.warnings ?? [])].join(" "), answer.warnings ? "bad" : "");
            look();
        } catch (error) {
            save.disabled = false;
            refused(error);
        }
    };
    return h("form#settings", { onsubmit: done, novalidate: true }, groups.map(([name, list]) => group(name, list)), wrong, h("div.row.end", save));
}

export function settings_part() {
    const place = h("div", waiting());
    const look = async () => {
        try {
            const now = await get("/v1/settings");
            for (const one of now.settings) one.value = "next" in one ? one.next : one.value; // what was sent is what is changed further
            const open = new Set([...place.querySelectorAll("details")].flatMap((one, i) => (one.open ? [i] : [])));
            place.replaceChildren(now.settings_faults?.length ? h("div.card.bad", h("p", t("settings.faults")), now.settings_faults.map((text) => h("p", text))) : "",
                now.waits_for_restart ? h("p.card", { role: "status" }, t(now.settings_wait_for === "restart of the box" ? "settings.waits_box" : "settings.waits")) : "", form(now, look),
                now.can_restart ? h("div.row", button("again", t("settings.restart"), () => restart(look), { kind: "small" })) : "", backup_row(now.can_restart));
            place.querySelectorAll("details").forEach((one, i) => { one.open = open.has(i); });
        } catch (error) {
            place.replaceChildren(problem(error, look));
        }
    };
    look();
    return h("section", h("h2", t("settings")), h("p.hint", t("settings.hint")), place);
}
