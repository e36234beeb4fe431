// One worker: what it is, its figures over the last minutes, and what happened to it.

import { change } from "./actions.js";
import { workerPath } from "./api.js";
import { chart } from "./chart.js";
import { h, hiding, words } from "./dom.js";
import { condition } from "./fleet.js";
import { age, count, duration, place, rate, share } from "./format.js";
import { eventPart, facts, heading, mark } from "./parts.js";

const REFRESH = 5000;
const MOST_EVENTS = 100;

export function view(app, _query, id) {
  const state = mark();
  const why = h("p", { class: "why" });
  const buttons = ["drain", "undrain", "remove"].map((verb) =>
    h("button", { type: "button", class: verb === "remove" ? "danger" : "", "data-verb": verb, onclick: () => change(app, verb, id) }, verb[0].toUpperCase() + verb.slice(1) + "…"),
  );
  const told = h("div", {});
  const charts = h("div", { class: "charts" });
  const events = h("ol", { class: "events" });
  const gone = h("p", { hidden: true }, "There is no such worker now.");
  const node = h(
    "div",
    {},
    h("p", { class: "back" }, h("a", { href: "#/fleet" }, "Fleet")),
    heading(place(id), state.node, h("div", { class: "buttons end" }, ...buttons)),
    why,
    gone,
    h("section", { "aria-label": "Last ten minutes" }, charts),
    h("div", { class: "columns" }, h("section", {}, h("h2", {}, "About it"), told), h("section", {}, h("h2", {}, "What happened"), events)),
  );
  const [hideGone, setWhy, hideButton] = [hiding(gone), words(why), buttons.map(hiding)];
  let drawn = "";
  let known = null;

  function update() {
    const worker = app.state.workers.get(id);
    hideGone(worker !== undefined || !app.state.router);
    buttons.forEach((button, at) => hideButton[at](!worker || hides(button.dataset.verb, worker)));
    if (worker) {
      const { word, tone, why: reason } = condition(worker);
      state.update(tone, word);
      setWhy(reason);
      const entries = about(worker, app.now());
      const text = JSON.stringify(entries);
      if (text !== drawn) told.replaceChildren(facts("", entries));
      drawn = text;
    }
    if (known !== app.events) {
      known = app.events;
      const own = known.filter((event) => event.subject === id).slice(0, MOST_EVENTS);
      events.replaceChildren(...(own.length ? own.map(eventPart) : [h("li", { class: "quiet" }, "Nothing is known.")]));
    }
  }

  async function refresh() {
    const history = await app.api.get(workerPath(id, "/history")).catch(() => null);
    if (history) charts.replaceChildren(...drawings(history));
  }

  refresh();
  const timer = setInterval(refresh, REFRESH);
  return { title: place(id), node, update, leave: () => clearInterval(timer) };
}

const hides = (verb, worker) => (verb === "undrain") !== (worker.state === "draining") && verb !== "remove";

function drawings({ times, figures }) {
  const line = (name, tone, values) => ({ name, tone, values });
  return [
    chart("In flight", times, [line("", "run", figures.inflight)], count),
    chart("Engine", times, [line("running", "run", figures.running), line("waiting", "wait", figures.waiting)], count),
    chart("KV cache", times, [line("", "kv", figures.kv_usage)], share, 1),
    chart("Requests/s", times, [line("", "run", figures.requests)], rate),
    chart("First byte, p50", times, [line("", "kv", figures.first_byte)], duration),
  ];
}

export function about(worker, now) {
  const load = worker.load_is_old ? null : worker.load;
  const breaker = worker.breaker.state === "closed" ? "closed" : `${worker.breaker.state} for ${age(now - worker.broken_since)}: ${worker.breaker.reason}`;
  const labels = Object.entries(worker.labels).map(([key, text]) => `${key}=${text}`).join("  ");
  const { word, since } = condition(worker);
  return [
    ["State", `${word} for ${age(now - since)}`],
    ["Role", worker.role],
    ["Models", worker.models ? worker.models.join(", ") : "not told yet"],
    ["Server", worker.version ? `vLLM ${worker.version}`.replace("vLLM vLLM", "vLLM") : null],
    ["Known from", { static: "the configuration", admin: "an operator" }[worker.source] ?? worker.source],
    ["In flight", count(worker.inflight)],
    ["Engine", load ? `${count(load.running)} running, ${count(load.waiting)} waiting` : "its figures are not known"],
    ["KV cache", load ? share(load.kv_usage) : null],
    ["Breaker", breaker],
    ["Failures/s", worker.traffic ? rate(worker.traffic.failures) : null],
    ["First byte", worker.traffic?.first_byte ? `p50 ${duration(worker.traffic.first_byte.p50)}, p95 ${duration(worker.traffic.first_byte.p95)}` : null],
    ["Labels", labels],
    ["Weight", String(worker.weight)],
    ["Requests at a time", worker.limit ? `${worker.limit.amount}${{ all: ", as for all workers", found: `, as found, at most ${worker.limit.most}` }[worker.limit.source] ?? ""}` : null],
    ["Capacity", worker.capacity === null ? null : String(worker.capacity)],
    ["Priority", String(worker.priority)],
    ["KV transfer", worker.transfer ? [worker.transfer.connector, worker.transfer.address].filter(Boolean).join(" at ") : null],
    ["Changed here", worker.changed.join(", ")],
    ["KV blocks known", worker.kv.length ? worker.kv.map((one) => count(one.blocks)).join(", ") : null],
    ["Lives", String(worker.epoch)],
  ];
}
