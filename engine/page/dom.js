// dom.js - elements, made from a short description. Texts become text nodes and nothing else: no string is ever read
// as HTML here.

const SVG = "http://www.w3.org/2000/svg";

// h("button.plain#send", {onclick, disabled, "aria-label": ...}, child, [children], ...). A member that is null or
// false is left out; functions are listeners; "value" and "checked" are properties, all others attributes.
export function h(what, ...rest) {
    const [, name, id] = what.match(/^([\w-]*)(?:[^#]*#([\w-]+))?/);
    const element = document.createElement(name || "div");
    const classes = [...what.matchAll(/\.([\w-]+)/g)].map((found) => found[1]);
    if (classes.length) element.className = classes.join(" ");
    if (id) element.id = id;
    const first = rest[0];
    if (first && typeof first === "object" && !(first instanceof Node) && !Array.isArray(first)) set(element, rest.shift());
    element.append(...rest.flat(3).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
    return element;
}

export function set(element, members) {
    for (const [name, value] of Object.entries(members)) {
        if (name.startsWith("on")) {
            if (value) element.addEventListener(name.slice(2), value);
        } else if (name === "value" || name === "checked" || name === "disabled") element[name] = value ?? "";
        else if (value === null || value === undefined || value === false) element.removeAttribute(name);
        else element.setAttribute(name, value === true ? "" : value);
    }
    return element;
}

const ICONS = {
    welcome: "M4 11l8-7 8 7v9h-5v-6H9v6H4z",
    chat: "M4 5h16v11H10l-5 4v-4H4z",
    models: "M12 3l8 4.500v9L12 21l-8-4.500v-9zM4 7.500l8 4.500 8-4.500M12 12v9",
    box: "M5 5h14v5H5zM5 14h14v5H5zM8 7.500h.01M8 16.500h.01",
    connect: "M9 7V3M15 7V3M6 7h12v4a6 6 0 0 1-12 0zM12 17v4",
    reference: "M6 4h11a2 2 0 0 1 2 2v14H8a2 2 0 0 1-2-2zM6 17a2 2 0 0 1 2-1h11M10 8h5",
    copy: "M9 9h10v11H9zM15 9V4H5v11h4",
    done: "M5 12l5 5 9-10",
    edit: "M5 19l1-4L16 5l3 3L9 18z",
    again: "M19 12a7 7 0 1 1-2-5M17 3v4h-4",
    on: "M7 5l11 7-11 7z",
    stop: "M7 7h10v10H7z",
    send: "M12 20V5M6 11l6-6 6 6",
    clip: "M17 11l-6 6a3.500 3.500 0 0 1-5-5l8-8a2.500 2.500 0 0 1 4 4l-8 8a1 1 0 0 1-2-2l6-6",
    plus: "M12 5v14M5 12h14",
    close: "M6 6l12 12M18 6L6 18",
    more: "M4.500 12h1M11.500 12h1M18.500 12h1",
    left: "M14 6l-6 6 6 6",
    right: "M10 6l6 6-6 6",
    menu: "M4 7h16M4 12h16M4 17h16",
    settings: "M4 7h9M17 7h3M15 5v4M4 17h3M11 17h9M9 15v4",
    tool: "M14 7a4 4 0 0 1 5-4l-2 3 1 2 3-1a4 4 0 0 1-5 5l-7 8-3-3z",
    bin: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13",
    down: "M12 4v11M7 11l5 5 5-5M5 20h14",
    up: "M12 16V5M7 9l5-5 5 5M5 20h14",
    search: "M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15.500 15.500L20 20",
    file: "M7 3h7l4 4v14H7zM14 3v4h4",
    list: "M5 6h14M5 12h14M5 18h9",
};

// A drawing beside a text that says the same: hidden from screen readers.
export function icon(name) {
    const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("class", "icon");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", ICONS[name]);
    svg.append(path);
    return svg;
}

// An element of a plot; no text in it comes from a string of markup either.
export function svg(name, attributes, ...children) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
}
