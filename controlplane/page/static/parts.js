// Parts that several views have.

import { attribute, h, hiding, keyed, words } from "./dom.js";
import { clock, date } from "./format.js";

// A state in a word, with a mark that is not told by its colour alone.
export function mark() {
  const node = h("span", { class: "state" });
  const tone = attribute(node, "data-tone");
  const text = words(node);
  return {
    node,
    update(toneOf, word) {
      tone(toneOf);
      text(word);
    },
  };
}

// A bar with its figure. The bar is for the eye alone.
export function barPart(tones) {
  const bars = tones.map((tone) => h("i", { class: tone }));
  const text = h("span", {});
  const setText = words(text);
  const known = tones.map(() => "");
  return {
    node: h("td", { class: "bar" }, h("span", { class: "meter", "aria-hidden": "true" }, ...bars), text),
    update(parts, told) {
      setText(told);
      parts.forEach((part, at) => {
        const width = `${(Math.min(1, part) * 100).toFixed(1)}%`;
        if (known[at] !== width) bars[at].style.setProperty("width", width);
        known[at] = width;
      });
    },
  };
}

export function summaryPart() {
  const node = h("dl", { class: "figures" });
  const show = keyed(node, (one) => one.key, (one) => {
    const value = h("span", { class: "value" });
    const of = h("span", { class: "of" });
    const entry = h("div", {}, h("dt", {}, one.label), h("dd", {}, value, of));
    const [setValue, setOf, tone] = [words(value), words(of), attribute(entry, "data-tone")];
    return {
      node: entry,
      update(now) {
        setValue(now.value);
        setOf(now.rest ?? (now.of === undefined ? "" : ` of ${now.of}`));
        tone(now.tone || null);
      },
    };
  });
  return { node, update: show };
}

export function attentionPart() {
  const list = h("ul", {});
  const node = h("section", { class: "attention", "aria-label": "Needs attention", hidden: true }, list);
  const hide = hiding(node);
  const show = keyed(list, (note) => `${note.tone} ${note.href} ${note.text}`, (note) => {
    const text = note.href ? h("a", { href: note.href }, note.text) : note.text;
    return { node: h("li", { "data-tone": note.tone }, text), update() {} };
  });
  return {
    node,
    update(notes) {
      hide(!notes.length);
      show(notes);
    },
  };
}

// A list of names and what they stand for; entries without a value are left out.
export function facts(kind, entries) {
  return h(
    "dl",
    { class: `facts ${kind}` },
    ...entries
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

export function eventPart(event) {
  const tone = { error: "bad", warning: "warn", info: "" }[event.level];
  return h(
    "li",
    { "data-tone": tone || null },
    h("time", { datetime: new Date(event.time * 1000).toISOString(), title: date(event.time) }, clock(event.time)),
    h("span", { class: "kind" }, event.kind),
    h("span", { class: "text" }, event.level === "info" ? null : h("span", { class: "unseen" }, `${event.level}: `), event.text),
  );
}

// A table of plain text, for what is drawn once. `columns` are [{ label, number }], cells text or elements.
export function table(caption, columns, rows) {
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: "rows" },
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, ...columns.map((one) => h("th", { scope: "col", class: one.kind ?? "" }, one.label)))),
      h("tbody", {}, ...rows.map((cells) => h("tr", {}, ...cells.map((cell, at) => h("td", { class: columns[at].kind ?? "" }, cell))))),
    ),
  );
}

export function heading(text, ...more) {
  return h("header", { class: "heading" }, h("h1", { tabindex: "-1" }, text), ...more);
}
