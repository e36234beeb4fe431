// The router's own processes.

import { ask } from "./dialogs.js";
import { attribute, h, hiding, keyed, words } from "./dom.js";
import { limits, planeName } from "./fleet.js";
import { age, count, duration, plural, rate, share } from "./format.js";
import { barPart, facts, heading, mark } from "./parts.js";

const TONES = { serving: "ok", starting: "info", draining: "warn" };
const COLUMNS = [
  { label: "Plane" },
  { label: "State" },
  { label: "Version" },
  { label: "Up for", kind: "number" },
  { label: "Table", kind: "number" },
  { label: "Table age", kind: "number second" },
  { label: "Open", kind: "number" },
  { label: "Req/s", kind: "number" },
  { label: "Clients", kind: "number second" },
  { label: "Resyncs", kind: "number second" },
  { label: "Process", kind: "number second" },
];

export function view(app) {
  const processes = h("div", {});
  const body = h("tbody", {});
  const table = h(
    "table",
    { class: "rows" },
    h("caption", { class: "unseen" }, "Planes"),
    h("thead", {}, h("tr", {}, ...COLUMNS.map((one) => h("th", { scope: "col", class: one.kind ?? "" }, one.label)))),
    body,
  );
  const show = keyed(body, (plane) => plane.id, rowPart);
  const policies = h("div", {});
  const admission = limitsPart();
  const node = h(
    "div",
    {},
    heading("Planes", h("div", { class: "buttons end" }, h("button", { type: "button", onclick: () => restart(app) }, "Restart planes…"))),
    h("div", { class: "scroll" }, table),
    admission.node,
    h("div", { class: "columns" }, h("section", {}, h("h2", {}, "Control plane"), processes), h("section", {}, h("h2", {}, "Policies"), policies)),
  );
  let drawn = "";

  function update() {
    const { router, planes } = app.state;
    const now = app.now();
    show([...planes.values()].map((plane) => ({ ...plane, now, behind: router ? router.control_plane.table.version - (plane.table?.version ?? 0) : 0 })));
    if (!router) return;
    admission.update(router.admission);
    const entries = about(router, now);
    const text = JSON.stringify([entries, router.policies]);
    if (text === drawn) return;
    drawn = text;
    processes.replaceChildren(facts("", entries));
    policies.replaceChildren(facts("", router.policies.map((one) => [[one.pool === "plain" ? "Requests" : one.pool, one.model].filter(Boolean).join(" for "), one.policy])));
  }
  return { title: "Planes", node, update, leave() {} };
}

// How full the limits are, and who wants them. Nothing where none is set.
function limitsPart() {
  const body = h("tbody", {});
  const columns = [{ label: "Limit" }, { label: "In use", kind: "bar" }, { label: "Wanted by", kind: "second" }];
  const table = h(
    "table",
    { class: "rows" },
    h("caption", { class: "unseen" }, "Limits"),
    h("thead", {}, h("tr", {}, ...columns.map((one) => h("th", { scope: "col", class: one.kind ?? "" }, one.label)))),
    body,
  );
  const rest = h("p", { class: "quiet", role: "status" });
  const node = h("section", { hidden: true }, h("h2", {}, "Limits"), h("div", { class: "scroll" }, table), rest);
  const [hide, setRest] = [hiding(node), words(rest)];
  const show = keyed(body, (limit) => limit.name, limitPart);
  return {
    node,
    update(told) {
      hide(!told?.limits.length);
      if (!told?.limits.length) return;
      show(limits(told));
      const more = told.more ? `${count(told.more)} more limits, less full. ` : "";
      setRest(`${more}${told.waiting ? plural(told.waiting, "request waits", "requests wait") : "Nobody waits"}.`);
    },
  };
}

function limitPart(limit) {
  const [use, wanted] = [barPart(["run"]), h("td", { class: "second" })];
  const setWanted = words(wanted);
  return {
    node: h("tr", {}, h("th", { scope: "row" }, limit.name), use.node, wanted),
    update(now) {
      use.update([now.fill ?? 0], now.use);
      setWanted(now.wanted);
    },
  };
}

function about(router, now) {
  const { control_plane: control, supervisor } = router;
  return [
    ["Control plane", `runs for ${age(now - router.control_plane_since)}, version ${control.version}, process ${control.pid}`],
    ["Supervisor", supervisor ? `${supervisor.state} for ${age(now - router.supervisor_since)}, version ${supervisor.version}, process ${supervisor.pid}` : "none"],
    ["Table", `version ${control.table.version} of epoch ${control.table.epoch}`],
    ["Models", control.models.join(", ")],
    ["Messages dropped", count(control.malformed)],
  ];
}

function rowPart(plane) {
  const state = mark();
  const why = h("span", { class: "why" });
  const setWhy = words(why);
  const cells = COLUMNS.slice(2).map((column) => h("td", { class: column.kind ?? "" }));
  const write = cells.map(words);
  const node = h("tr", {}, h("th", { scope: "row" }, planeName(plane)), h("td", { class: "condition" }, state.node, why), ...cells);
  const busy = attribute(node, "data-tone");
  return {
    node,
    update(now) {
      const tone = TONES[now.state] ?? "bad";
      state.update(tone, now.state);
      busy(tone === "ok" ? null : tone);
      setWhy(now.refused ?? "");
      const behind = now.behind > 0 ? ` (${count(now.behind)} behind)` : "";
      const clients = now.client_connection_limit ? ` (${share(now.client_connections / now.client_connection_limit)})` : "";
      const texts = [
        now.version,
        age(now.now - now.since),
        `${now.table?.version ?? "none"}${behind}`,
        duration(now.table_age),
        count(now.active),
        rate(now.request_rate),
        `${count(now.client_connections)}${clients}`,
        count(now.resyncs),
        String(now.pid),
      ];
      texts.forEach((text, at) => write[at](text));
    },
  };
}

async function restart(app) {
  const local = [...app.state.planes.values()].filter((plane) => !plane.host).length;
  const done = await ask({
    title: `Restart ${plural(local, "plane")}?`,
    text: "Each is replaced by a new one that listens before the old one stops: no request is refused or cut off.",
    verb: "Restart",
    act: () => app.api.post("planes/restart"),
  });
  if (done) app.say("The planes were restarted.");
}
