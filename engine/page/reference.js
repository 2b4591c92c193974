// reference.js - every endpoint and field: GET /v1/reference writes them out of the very tables by which requests are read,
// so that it cannot say anything else than what is done.

import { get } from "./api.js";
import { h } from "./dom.js";
import { rich, t } from "./text.js";

function fields_table(fields) {
    return h("div.scroll", { tabindex: "0", role: "region", "aria-label": t("reference.fields") }, h("table", h("thead", h("tr", h("th", t("reference.field")), h("th", t("reference.takes")))),
        h("tbody", fields.map((field) => h("tr", h("td.tight", h("code", field.name)), h("td", field.takes ?? ""))))));
}

function endpoint(one) {
    const facts = [one.open ? t("reference.open") : t("reference.scopes", { scopes: one.scopes.join(", ") }), one.path.endsWith("/") && one.path !== "/" ? t("reference.below") : ""].filter(Boolean);
    return h("details", h("summary", h("span.method", one.method), " ", h("code", one.path), one.fields ? h("span.hint", ` ${t("reference.n_fields", { n: one.fields.length })}`) : null),
        h("p.hint", facts.join(" · ")), one.fields ? fields_table(one.fields) : null);
}

export async function show(place) {
    const all = await get("/v1/reference"), list = h("div"), settings = h("div");
    const search = h("input#find", { type: "search", placeholder: t("search"), "aria-label": t("search"), oninput: () => draw() });
    const draw = () => {
        const word = search.value.trim().toLowerCase();
        const found = all.endpoints.filter((one) => !word || one.path.includes(word) || (one.fields ?? []).some((field) => field.name.includes(word)));
        list.replaceChildren(...(found.length ? found.map(endpoint) : [h("p.soft", t("search.nothing"))]));
        if (word && found.length <= 3) for (const card of list.children) card.open = true;
    };
    draw();
    settings.append(h("div.scroll", { tabindex: "0", role: "region", "aria-label": t("reference.settings") }, h("table",
        h("thead", h("tr", h("th", t("reference.setting")), h("th", t("reference.default")), h("th", t("reference.about")))),
        h("tbody", all.settings.map((one) => h("tr", h("td.tight", h("code", one.name)), h("td", h("code", one.default || '""')), h("td", one.about)))))));
    place.append(h("h1", t("area.reference")), h("p.lead", t("reference.lead")), h("div.field", search), list, h("h2", t("reference.settings")), h("p.hint", rich(t("reference.settings.hint"))), settings);
}
