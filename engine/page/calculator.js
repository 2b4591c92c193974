// calculator.js - arithmetic, read by hand: no text is ever run as a program.
//
//   sum: product {(+|-) product}     product: power {(*|/|%) power}     power: [-|+] atom [^ power]
//   atom: number | constant | function(sum, ...) | (sum)

const CONSTANTS = { pi: Math.PI, e: Math.E };
const FUNCTIONS = { sqrt: Math.sqrt, sin: Math.sin, cos: Math.cos, tan: Math.tan, asin: Math.asin, acos: Math.acos, atan: Math.atan, log: Math.log10,
    ln: Math.log, exp: Math.exp, abs: Math.abs, round: Math.round, floor: Math.floor, ceil: Math.ceil, min: Math.min, max: Math.max };
const DEPTH_MOST = 200, LENGTH_MOST = 4000;

export function calculate(text) {
    if (text.length > LENGTH_MOST) throw new Error("the expression is too long");
    const tokens = text.replaceAll("**", "^").match(/\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+|[a-zA-Z]\w*|[^\s]/g) ?? [];
    let at = 0, depth = 0;
    const take = (...wanted) => (wanted.includes(tokens[at]) ? tokens[at++] : null);
    const need = (wanted) => {
        if (!take(wanted)) throw new Error(`'${wanted}' expected${at < tokens.length ? ` before '${tokens[at]}'` : " at the end"}`);
    };

    function atom() {
        const token = tokens[at++];
        if (token === undefined) throw new Error("the expression ends too early");
        if (/^[\d.]/.test(token) && token !== ".") return Number(token);
        if (token === "(") {
            const value = sum();
            need(")");
            return value;
        }
        const name = token.toLowerCase();
        if (Object.hasOwn(CONSTANTS, name)) return CONSTANTS[name];
        if (!Object.hasOwn(FUNCTIONS, name)) throw new Error(`'${token}' is not known`);
        need("(");
        const values = [sum()];
        while (take(",")) values.push(sum());
        need(")");
        return FUNCTIONS[name](...values);
    }

    function power() {
        if (++depth > DEPTH_MOST) throw new Error("the expression is too deep");
        const sign = take("-", "+");
        let value = sign ? power() : atom();
        if (sign === "-") value = -value;
        else if (!sign && take("^")) value **= power();
        depth--;
        return value;
    }

    function product() {
        let value = power();
        for (let sign; (sign = take("*", "/", "%")); ) {
            const other = power();
            value = sign === "*" ? value * other : sign === "/" ? value / other : value % other;
        }
        return value;
    }

    function sum() {
        let value = product();
        for (let sign; (sign = take("+", "-")); ) value = sign === "+" ? value + product() : value - product();
        return value;
    }

    const value = sum();
    if (at < tokens.length) throw new Error(`'${tokens[at]}' is one too many`);
    return Number(value.toPrecision(15));
}
