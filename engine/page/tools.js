// tools.js - what a model may call in the page itself: harmless things, each a description for the model and a function
// here. Functions that a person described are not run: their answers are typed in.

import { calculate } from "./calculator.js";

const nothing = { type: "object", properties: {}, additionalProperties: false };

export const TOOLS = {
    get_time: {
        description: "The date, the time and the time zone where the user is.",
        parameters: nothing,
        run: () => {
            const now = new Date();
            return `${now.toLocaleString("sv")} ${Intl.DateTimeFormat().resolvedOptions().timeZone} (${now.toLocaleDateString("en", { weekday: "long" })})`;
        },
    },
    calculate: {
        description: "The value of an arithmetic expression: + - * / % ^, parentheses, sqrt, sin, cos, tan, log, ln, exp, abs, round, min, max, pi, e.",
        parameters: { type: "object", properties: { expression: { type: "string" } }, required: ["expression"], additionalProperties: false },
        run: ({ expression }) => String(calculate(String(expression ?? ""))),
    },
    box_doctor: {
        description: "What this inference box says of its GPU, its layers and its memory, and what to do where something is wrong.",
        parameters: nothing,
        run: (_, { get, signal }) => get("/v1/doctor?format=text", { signal }),
    },
};

// A person's own, out of the settings: [] where the text is not right (the settings say so when it is typed).
export function own_tools(text) {
    try {
        const list = JSON.parse(text || "[]");
        return (Array.isArray(list) ? list : [list]).map((tool) => tool.function ?? tool).filter((tool) => typeof tool.name === "string");
    } catch {
        return [];
    }
}

export function tools_of(settings) {
    const page = (settings.tools ?? []).filter((name) => TOOLS[name]).map((name) => ({ name, description: TOOLS[name].description, parameters: TOOLS[name].parameters }));
    return [...page, ...own_tools(settings.own_tools)].map((tool) => ({ type: "function", function: tool }));
}

// The text that a call gives; null: a person answers.
export async function run(call, about) {
    if (!Object.hasOwn(TOOLS, call.name)) return null;
    try {
        return String(await TOOLS[call.name].run(JSON.parse(call.arguments || "{}"), about));
    } catch (error) {
        if (error.name === "AbortError") throw error;
        return `Error: ${error.message}`;
    }
}
