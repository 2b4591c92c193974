// sign_in.js - the card that takes the key. The key is tried before it is taken; kept for this visit, or in this browser
// where the person says so.

import { get, key_forget, key_set } from "./api.js";
import { h } from "./dom.js";
import { t } from "./text.js";
import { field, say, sentence } from "./ui.js";

// What is shown is drawn anew ("signed-in") when the key is right.
export function sign_in() {
    const secret = h("input#key", { type: "password", autocomplete: "current-password", autocapitalize: "off", spellcheck: "false",
        placeholder: "tawny-…", required: true });
    const keep = h("input#keep", { type: "checkbox" }), wrong = h("p.wrong", { role: "alert" }), send = h("button.main", { type: "submit" }, t("sign_in"));
    const tried = async (event) => {
        event.preventDefault();
        send.disabled = true;
        wrong.textContent = "";
        try {
            const given = secret.value.trim();
            await get("/v1/models", { secret: given }).catch((error) => {
                if (error.status !== 403) throw error; // a right key, for other things
            });
            key_set(given, keep.checked);
            say(t("signed_in"));
            document.dispatchEvent(new Event("signed-in"));
        } catch (error) {
            wrong.textContent = error.status === 401 ? t("key.wrong") : sentence(error);
            secret.focus();
        }
        send.disabled = false;
    };
    return h("form.card.sign-in", { onsubmit: tried }, h("h2", t("sign_in")), field(t("key"), secret, t("key.where")), wrong,
        h("div.row", h("label.check", keep, h("span", t("key.keep"))), send), h("p.hint", t("key.kept_hint")));
}

export function sign_out() {
    key_forget();
    location.hash = "#/welcome";
    document.dispatchEvent(new Event("signed-out"));
}
