// keys.js - the keys of the box: a name, what it may do, what it used; made, limited, renewed, revoked. A secret is shown
// once, where it is made, and is kept nowhere.

import { ask, get } from "./api.js";
import { h } from "./dom.js";
import { number, t, when } from "./text.js";
import { button, code_block, confirm, dialog, field, note, problem, sentence, waiting } from "./ui.js";

const SCOPES = ["chat", "models", "admin", "metrics"], LIMITS = ["requests_per_minute", "tokens_per_minute", "at_once"];

const secret_shown = (key) => dialog(t("keys.secret"), () => [h("p", t("keys.secret.hint", { name: key.name })), code_block(key.secret, t("keys.secret"))]);

// What a key is to be; resolves with the body of the request, or null.
const key_form = (title, key) => dialog(title, (close) => {
    const name = h("input#key-name", { type: "text", value: key?.name ?? "", required: true, maxlength: "64" });
    const scopes = SCOPES.map((scope) => h("input", { type: "checkbox", value: scope, checked: key ? key.scopes.includes(scope) : scope === "chat" }));
    const limits = LIMITS.map((limit) => h(`input#key-${limit}`, { type: "number", min: "1", value: key?.limits[limit] ?? "", placeholder: t("keys.no_limit") }));
    const done = (event) => {
        event.preventDefault();
        close({ name: name.value.trim(), scopes: scopes.filter((box) => box.checked).map((box) => box.value),
            limits: Object.fromEntries(LIMITS.map((limit, i) => [limit, limits[i].value === "" ? null : Number(limits[i].value)])) });
    };
    return h("form", { onsubmit: done }, field(t("keys.name"), name), h("fieldset", h("legend", t("keys.scopes")), SCOPES.map((scope, i) =>
        h("label.check", scopes[i], h("span", h("b", scope), " ", h("span.hint", t(`scope.${scope}`)))))),
        h("div.pairs", LIMITS.map((limit, i) => field(t(`keys.${limit}`), limits[i]))), h("div.row.end", button(null, t("cancel"), () => close(null)), h("button.main", { type: "submit" }, t("save"))));
});

async function change(path, body, changed, method = "POST") {
    try {
        const key = await ask(method, path, body);
        if (key.secret) await secret_shown(key);
    } catch (error) {
        note(sentence(error), "bad");
    }
    changed();
}

function row(key, changed) {
    const path = `/v1/keys/${encodeURIComponent(key.id)}`, limited = LIMITS.filter((limit) => key.limits[limit]).map((limit) => `${number(key.limits[limit])} ${t(`keys.${limit}`)}`).join(", ");
    return h("tr", h("td", h("b", key.name), limited ? h("p.hint", limited) : null), h("td", key.scopes.map((scope) => h("span.tag", scope))),
        h("td", key.last_used ? when(key.last_used) : t("keys.never")), h("td.number", number(key.since_start.requests)), h("td.number", number(key.since_start.prompt_tokens + key.since_start.completion_tokens)),
        h("td", h("div.row", key.id === "box" ? null : button("edit", t("keys.change", { name: key.name }), async () => {
            const body = await key_form(t("keys.change", { name: key.name }), key);
            if (body) change(path, body, changed);
        }, { bare: true }),
        button("again", t("keys.renew", { name: key.name }), async () => {
            if (await confirm(t("keys.renew", { name: key.name }), t(key.id === "box" ? "keys.renew.box" : "keys.renew.text"), t("keys.renew", { name: key.name }))) change(path, { rotate: true }, changed);
        }, { bare: true }),
        key.id === "box" ? null : button("bin", t("keys.revoke", { name: key.name }), async () => {
            if (await confirm(t("keys.revoke", { name: key.name }), t("keys.revoke.text"), t("keys.revoke", { name: key.name }))) change(path, undefined, changed, "DELETE");
        }, { bare: true }))));
}

export function keys_part() {
    const place = h("div", waiting());
    const look = async () => {
        try {
            const { data } = await get("/v1/keys");
            place.replaceChildren(h("div.scroll", { tabindex: "0", role: "region", "aria-label": t("box.keys") }, h("table", h("thead", h("tr", h("th", t("keys.name")), h("th", t("keys.scopes")), h("th", t("keys.used")), h("th.number", t("keys.requests")), h("th.number", t("keys.tokens")), h("th", h("span.unseen", t("settings"))))),
                h("tbody", data.map((key) => row(key, look))))));
        } catch (error) {
            place.replaceChildren(problem(error, look));
        }
    };
    look();
    return h("section", h("div.row.between", h("h2", t("box.keys")), button("plus", t("keys.new"), async () => {
        const body = await key_form(t("keys.new"));
        if (body) change("/v1/keys", body, look);
    }, { kind: "small" })), h("p.hint", t("keys.hint")), place);
}
