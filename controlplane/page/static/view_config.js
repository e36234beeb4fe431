// The configuration: what is in use, the file with a check before each change, and the way back.

import { ask } from "./dialogs.js";
import { diff } from "./diff.js";
import { h } from "./dom.js";
import { date, value } from "./format.js";
import { heading, mark, table } from "./parts.js";

const NEEDS = { reload: "", "control plane": "needs `routerctl start` again", planes: "needs `routerctl start` again", router: "needs a stop and a start" };

export function view(app) {
  const state = mark();
  const file = h("span", { class: "quiet" });
  const problems = h("div", { role: "alert" });
  const editor = h("div", {});
  const values = h("div", {});
  const history = h("div", {});
  const node = h(
    "div",
    {},
    heading("Configuration", state.node, file),
    problems,
    editor,
    h("section", {}, h("h2", {}, "In use"), values),
    h("section", {}, h("h2", {}, "Earlier ones"), history),
  );

  async function refresh() {
    try {
      const [shown, past] = await Promise.all([app.api.get("config"), app.api.get("config/history")]);
      const current = past.entries.find((entry) => entry.in_use);
      const text = current ? (await app.api.get(`config/history/${current.number}`)).text : null;
      show(shown, past, text);
    } catch (error) {
      problems.replaceChildren(h("p", { class: "problem" }, error.message));
    }
  }

  function show({ status, values: all }, past, text) {
    const isUsed = status.state === "in use";
    state.update(!status.file ? "info" : isUsed ? "ok" : "warn", status.file ? status.state : "no file");
    file.textContent = status.file ?? "The router was started without --config.";
    problems.replaceChildren(...status.problems.map((problem) => h("p", { class: "problem" }, problem)));
    if (status.file && text !== null) editor.replaceChildren(editorPart(app, text, refresh));
    values.replaceChildren(valuesPart(all));
    history.replaceChildren(historyPart(app, past.entries, refresh));
  }

  refresh();
  return { title: "Configuration", node, update() {}, leave() {} };
}

function editorPart(app, text, refresh) {
  const area = h("textarea", { spellcheck: "false", rows: String(Math.min(24, Math.max(6, text.split("\n").length + 1))), "aria-label": "The file's text" });
  area.value = text;
  const told = h("div", { class: "result", "aria-live": "polite" });
  const wish = (more) => ({ text: area.value, name: "the page", ...more });

  async function check() {
    const result = await tried(() => app.api.post("config/apply", wish({ dry_run: true })));
    told.replaceChildren(...resultPart(result), differences(text, area.value));
  }
  async function apply() {
    const result = await tried(() => app.api.post("config/apply", wish({ dry_run: true })));
    told.replaceChildren(...resultPart(result));
    if (result.outcome !== "possible" && area.value === text) return;
    if (result.outcome === "refused") return;
    const done = await ask({
      title: "Apply this configuration?",
      text: "It counts on every plane at once, and the file is given this text.",
      parts: [...resultPart(result), differences(text, area.value)],
      verb: "Apply",
      act: () => app.api.post("config/apply", wish({})),
    });
    if (!done) return;
    app.say("The configuration was applied.");
    refresh();
  }
  return h(
    "section",
    {},
    h("h2", {}, "The file"),
    area,
    h(
      "div",
      { class: "buttons" },
      h("button", { type: "button", onclick: check }, "Check"),
      h("button", { type: "button", class: "primary", onclick: apply }, "Apply…"),
    ),
    told,
  );
}

// What came of a change that may have been refused.
async function tried(act) {
  try {
    return await act();
  } catch (error) {
    if (error.told?.outcome) return error.told;
    return { outcome: "refused", changes: [], problems: [error.message], warnings: [] };
  }
}

const OUTCOMES = { possible: "Nothing speaks against it.", unchanged: "No value is different.", refused: "Refused; nothing was changed.", applied: "Applied." };

function resultPart(result) {
  const lines = [
    ...result.problems.map((text) => h("li", { "data-tone": "bad" }, text)),
    ...result.warnings.map((text) => h("li", { "data-tone": "warn" }, text)),
    ...result.changes.map((change) =>
      h("li", {}, h("code", {}, change.key), ` ${value(change.old)} → ${value(change.new)} `, h("span", { class: "quiet" }, NEEDS[change.needs])),
    ),
  ];
  return [h("p", { class: result.outcome === "refused" ? "problem" : "" }, OUTCOMES[result.outcome]), h("ul", { class: "changes" }, ...lines)];
}

function differences(before, after) {
  if (before === after) return null;
  const lines = diff(before, after).map(({ sign, text }) => h("span", { "data-sign": sign }, `${sign} ${text}\n`));
  return h("pre", { class: "diff", tabindex: "0", "aria-label": "Lines that change" }, ...lines);
}

function valuesPart(all) {
  const isSet = (one) => one.source !== "default";
  const rows = h("div", {});
  const box = h("input", { type: "checkbox", onchange: () => draw() });
  const draw = () => {
    const shown = all.filter((one) => box.checked || isSet(one));
    const cells = shown.map((one) => [h("code", {}, one.key), h("code", {}, value(one.value)), one.line ? `${one.name}:${one.line}` : (one.name ?? one.source)]);
    rows.replaceChildren(table("Values in use", [{ label: "Key" }, { label: "Value" }, { label: "From" }], cells));
  };
  draw();
  return h("div", {}, h("label", { class: "check" }, box, "Defaults, too"), rows);
}

function historyPart(app, entries, refresh) {
  if (!entries.length) return h("p", { class: "quiet" }, "There is none without a file.");
  const back = async (entry) => {
    const done = await ask({
      title: `Go back to configuration ${entry.number}?`,
      text: `The file is given the text that it had on ${date(entry.time)}, and that counts on every plane.`,
      verb: "Go back",
      act: () => app.api.post("config/rollback", { number: entry.number }),
    });
    if (done) {
      app.say(`Configuration ${entry.number} is in use again.`);
      refresh();
    }
  };
  const cells = [...entries].reverse().map((entry) => [
    String(entry.number),
    date(entry.time),
    [entry.cause, entry.detail].filter(Boolean).join(" "),
    h("code", {}, entry.keys.join(" ")),
    entry.in_use ? "in use" : h("button", { type: "button", class: "quiet-button", "aria-label": `Go back to configuration ${entry.number}`, onclick: () => back(entry) }, "Go back"),
  ]);
  return table("Configurations", [{ label: "Number" }, { label: "Since" }, { label: "Cause" }, { label: "Changed" }, { label: "" }], cells);
}
