// welcome.js - the first area: index.html has most of it, so that it is there without a script; here the key is taken, and
// what the box does is kept up to date.

import { health, key } from "./api.js";
import { h } from "./dom.js";
import { show_handover } from "./handover.js";
import { sign_in } from "./sign_in.js";
import { t } from "./text.js";
import { button } from "./ui.js";

function state_of(now) {
    if (!now) return ["failed", t("error.unreachable")];
    const at = now.loading?.of_bytes ? ` ${Math.floor((100 * now.loading.bytes) / now.loading.of_bytes)} %` : "";
    return [now.status, `${t(`state.${now.status}`)}${now.status === "loading" ? at : ""}${now.error ? `: ${now.error}` : ""}`];
}

export async function show(place) {
    const card = place.querySelector("#sign-in"), state = place.querySelector("#state dd");
    card.replaceChildren(key() ? h("p.row", h("a.button.main", { href: "/#/chat" }, t("first_chat")), button(null, t("handover"), show_handover)) : sign_in());
    const look = async () => {
        const [kind, text] = state_of(await health());
        state.className = kind;
        if (state.textContent !== text) state.textContent = text;
    };
    look();
    const timer = setInterval(look, 5000);
    return () => clearInterval(timer);
}
