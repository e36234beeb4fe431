// What the page shows of the fleet, from its records. Pure.

import { age, ceiling, count, duration, place, plural, rate, share, UNKNOWN } from "./format.js";

const TONES = { ready: "ok", starting: "info", draining: "warn", unhealthy: "bad", ejected: "bad", gone: "bad" };
// What needs somebody's eye comes first.
const URGENCY = { unhealthy: 0, ejected: 1, broken: 2, starting: 3, draining: 4, ready: 5 };

// One word for a worker's state, since when (Unix seconds) it is in it, and how it is to be taken.
export function condition(worker) {
  if (worker.state === "ready" && worker.breaker.state !== "closed") {
    const { state, reason } = worker.breaker;
    return { word: `breaker ${state}`, since: worker.broken_since, tone: "bad", why: reason, urgency: URGENCY.broken };
  }
  const word = worker.drained ? "drained" : worker.state;
  return { word, since: worker.since, tone: TONES[worker.state] ?? "info", why: worker.reason, urgency: URGENCY[worker.state] ?? 0 };
}

// A worker as its row shows it; all but numbers for bars is text.
export function row(worker, now) {
  const load = worker.load_is_old ? null : worker.load;
  const { word, since, tone, why, urgency } = condition(worker);
  const running = load ? load.running : null;
  const waiting = load ? load.waiting : null;
  return {
    id: worker.id,
    name: place(worker.id),
    word,
    tone,
    why,
    urgency,
    age: age(now - since),
    inflight: worker.inflight,
    running,
    waiting,
    kv: load ? load.kv_usage : null,
    rate: worker.traffic ? worker.traffic.requests : 0,
    first: worker.traffic?.first_byte ? worker.traffic.first_byte.p50 : null,
    labels: Object.entries(worker.labels).map(([key, text]) => `${key}=${text}`).join(" "),
    isDraining: worker.state === "draining",
  };
}

const COLUMNS = {
  worker: () => 0,
  state: (one) => one.urgency,
  inflight: (one) => -one.inflight,
  load: (one) => -((one.running ?? -1) + (one.waiting ?? 0)),
  kv: (one) => -(one.kv ?? -1),
  rate: (one) => -one.rate,
  first: (one) => -(one.first ?? -1),
};

function sorted(rows, { column, backwards }) {
  const key = COLUMNS[column];
  const found = [...rows].sort((a, b) => key(a) - key(b));
  return backwards ? found.reverse() : found;
}

// Which workers a filter leaves: each of its words must be found in what the row says.
export function matches(one, wanted, only) {
  if (only === "trouble" && one.tone === "ok" && !one.why) return false;
  if (!wanted.length) return true;
  const said = `${one.name} ${one.word} ${one.why} ${one.labels}`.toLowerCase();
  return wanted.every((word) => said.includes(word));
}

// What serves the same: workers by role and models, each group with its rows. `workers` come by their ids.
export function pools(workers, now, { text = "", only = "all", sort = { column: "worker" } } = {}) {
  const found = new Map();
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const worker of workers) {
    const models = worker.models ? [...worker.models].sort() : [];
    const key = `${worker.role} ${models.join(" ")}`;
    if (!found.has(key)) found.set(key, { key, role: worker.role, models, all: 0, ready: 0, rows: [], cells: [] });
    const pool = found.get(key);
    const one = row(worker, now);
    pool.all += 1;
    pool.ready += one.tone === "ok";
    pool.cells.push(one);
    if (matches(one, wanted, only)) pool.rows.push(one);
  }
  const roles = ["prefill", "decode", "regular"];
  const groups = [...found.values()].sort(
    (a, b) =>
      (a.models.length === 0) - (b.models.length === 0) ||
      roles.indexOf(a.role) - roles.indexOf(b.role) ||
      a.key.localeCompare(b.key),
  );
  return groups.map((pool) => ({
    ...pool,
    rows: sorted(pool.rows, sort),
    title: pool.models.length ? pool.models.join(", ") : "no model known yet",
  }));
}

// Rows in the order that they had: what is new comes last. For a reader who points at one of them.
export function steadied(rows, places) {
  const place = (one) => places.get(one.id) ?? places.size;
  return [...rows].sort((a, b) => place(a) - place(b));
}

// What the bars of all queues end at: one scale for all, in round steps so that bars do not move for each other.
export function scale(workers) {
  let most = 5;
  for (const { load } of workers) if (load) most = Math.max(most, load.running + load.waiting);
  return ceiling(most);
}

const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);

// The line of figures above everything.
export function summary(state) {
  const workers = [...state.workers.values()];
  const planes = [...state.planes.values()];
  const ready = workers.filter((worker) => condition(worker).tone === "ok").length;
  const loads = workers.filter((worker) => worker.load && !worker.load_is_old).map((worker) => worker.load);
  // One that is stale serves, by what it knew last.
  const serving = planes.filter((plane) => plane.state === "serving" || plane.state === "stale").length;
  const traffic = state.router?.traffic;
  const first = traffic?.first_token ?? null;
  const failing = traffic ? traffic.failures : 0;
  const wanted = (state.router?.data_planes ?? 0) + planes.filter((plane) => plane.host).length;
  const admission = state.router?.admission;
  return [
    { key: "workers", label: "Workers ready", value: count(ready), of: count(workers.length), tone: ready < workers.length ? "warn" : "" },
    { key: "planes", label: "Planes serving", value: count(serving), of: count(wanted), tone: serving < wanted ? "warn" : "" },
    { key: "active", label: "Open requests", value: count(sum(planes, (plane) => plane.active)) },
    { key: "rate", label: "Requests/s", value: traffic ? rate(traffic.requests) : UNKNOWN },
    { key: "failures", label: "Failures/s", value: traffic ? rate(failing) : UNKNOWN, tone: failing > 0 ? "bad" : "" },
    ...(admission?.limits.length ? [{ key: "queued", label: "Waiting here", value: count(admission.waiting), tone: admission.waiting ? "warn" : "" }] : []),
    { key: "waiting", label: "Waiting in engines", value: loads.length ? count(sum(loads, (load) => load.waiting)) : UNKNOWN },
    { key: "kv", label: "KV cache in use", value: loads.length ? share(sum(loads, (load) => load.kv_usage) / loads.length) : UNKNOWN },
    { key: "first", label: "First token, p50 – p95", value: first ? duration(first.p50) : UNKNOWN, rest: first ? ` – ${duration(first.p95)}` : "" },
  ];
}

// What somebody should look at, the worst first.
export function attention(state) {
  const found = [];
  const say = (tone, text, href) => found.push({ tone, text, href });
  const workers = [...state.workers.values()];
  const by = (word) => workers.filter((worker) => condition(worker).word === word);
  const ready = workers.filter((worker) => condition(worker).tone === "ok");
  if (state.router && !workers.length) say("info", "There are no workers yet: requests are answered 503 until one is added or registers.", "");
  else if (state.router && !ready.length) say("bad", "No worker is ready: requests are answered 503.", "");
  for (const word of ["unhealthy", "ejected", "breaker open", "breaker half-open"]) {
    const those = by(word);
    if (those.length > 3) say("bad", `${count(those.length)} workers: ${word}`, "#/fleet?only=trouble");
    else for (const one of those) say("bad", `${place(one.id)}: ${word}${reason(condition(one).why)}`, workerHref(one.id));
  }
  const doubted = ready.filter((worker) => worker.reason);
  if (doubted.length > 3) say("warn", `${count(doubted.length)} workers are ready, but do not seem well`, "#/fleet?only=trouble");
  else for (const one of doubted) say("warn", `${place(one.id)}: ready, but ${one.reason}`, workerHref(one.id));
  const failing = Object.entries(state.router?.traffic?.causes ?? {});
  if (failing.length) say("bad", `Requests fail: ${failing.map(([cause, often]) => `${cause} ${rate(often)}/s`).join(", ")}`, "#/requests");
  const waiting = waits(state.router?.admission);
  if (waiting) say("warn", waiting, "#/planes");
  const pairs = state.router?.pairs;
  if (pairs?.missing) say("bad", `No prefill and decode worker are a pair: ${pairs.missing}`, "");
  if (pairs?.opened > 3) say("bad", `${count(pairs.opened)} pairs of prefill and decode workers are left out`, "#/events");
  else for (const one of pairs?.open ?? []) say("bad", `${place(one.prefill)} and ${place(one.decode)} are left out as a pair`, workerHref(one.prefill));
  for (const plane of state.planes.values()) {
    if (plane.state === "refusing") say("bad", `Plane ${planeName(plane)} refuses the table${reason(plane.refused)}`, "#/planes");
    else if (plane.waits_for) say("bad", `Plane ${planeName(plane)} takes no clients${reason(plane.waits_for)}`, "#/planes");
    else if (["silent", "hung", "stale"].includes(plane.state)) say("bad", `Plane ${planeName(plane)} is ${plane.state}`, "#/planes");
    if (plane.has_namesake) say("warn", `Two hosts go by the name ${plane.host}`, "#/planes");
  }
  if (state.router && !state.router.supervisor) say("warn", "No supervisor runs: nothing restarts what dies.", "#/planes");
  else if (state.router?.supervisor?.state === "gone") say("warn", "The supervisor is gone: nothing restarts what dies.", "#/planes");
  const config = state.router?.config;
  if (config && config.state !== "in use") say("warn", `The configuration file is ${config.state}${reason(config.problems[0])}`, "#/config");
  const keys = state.router?.client_keys;
  if (keys?.problem) say(keys.keys ? "warn" : "bad", `The file of clients' keys is refused, ${keys.keys ? "and the keys before are in use" : "and no keys are in use"}${reason(keys.problem)}`, "#/events");
  const pods = state.router?.kubernetes;
  if (pods?.state === "unreached") say("warn", `Kubernetes' API server does not tell of pods, and workers stay as they were${reason(pods.reason)}`, "#/events");
  else if (pods?.left_out) say("warn", `${plural(pods.left_out, "pod is", "pods are")} left out: there are too many workers`, "#/events");
  for (const policy of state.router?.policies ?? []) {
    if (policy.unserved) say("warn", policy.unserved, "");
    for (const lack of policy.lacks) say("warn", `${policy.policy}: ${lack.sentence} (${plural(lack.count, "choice")} in the last minute)`, "");
  }
  return found;
}

const FULL = 0.995;
const UNITS = { rate: "/s", window: "/min" };

// Who waits for which limits; nothing where nobody does.
function waits(admission) {
  if (!admission?.waiting) return "";
  const full = limits(admission).filter((limit) => limit.fill >= FULL);
  const told = full.slice(0, 2).map((limit) => `${limit.name} (${limit.use}${limit.wanted ? `; wanted by ${limit.wanted}` : ""})`);
  if (full.length > told.length) told.push(`${count(full.length - told.length)} more limits`);
  return `${plural(admission.waiting, "request waits", "requests wait")}${told.length ? `; full: ${told.join(", ")}` : ""}`;
}

// Limits as rows show them: how full, and who wants them.
export function limits(admission) {
  return admission.limits.map((limit) => {
    const most = `${count(limit.amount)}${UNITS[limit.kind] ?? ""}`;
    return {
      name: limit.name,
      use: limit.in_use === null ? `at most ${most}` : `${count(limit.in_use)} of ${most}`,
      fill: limit.in_use === null ? null : limit.in_use / limit.amount,
      wanted: Object.entries(limit.wanted).map(([tenant, often]) => `${tenant} ${count(often)}`).join(", "),
    };
  });
}

const reason = (text) => (text ? `: ${text}` : "");

export function planeName(plane) {
  return plane.host ? `${plane.host}/${plane.slot}` : String(plane.slot);
}

export function workerHref(id) {
  return `#/worker/${encodeURIComponent(id)}`;
}

// What an operator should know before he does something to a worker.
export function consequence(verb, worker, workers) {
  const said = {
    drain: "It gets no new requests. ",
    undrain: "It gets requests again once it is ready. ",
    remove: "It gets no new requests, and leaves once the open ones have ended. ",
  };
  const open = worker.inflight ? `${plural(worker.inflight, "open request")} will go on. ` : "";
  if (verb === "undrain") return said.undrain.trim();
  const others = workers.filter(
    (other) => other.id !== worker.id && other.role === worker.role && condition(other).tone === "ok" && serves(other, worker),
  );
  const kind = worker.role === "regular" ? "worker" : `${worker.role} worker`;
  const left = others.length
    ? `${plural(others.length, `other ${kind}`)} of its models stay${others.length === 1 ? "s" : ""} ready.`
    : `No other ${kind} of its models is ready: requests for them will fail.`;
  return said[verb] + open + left;
}

const serves = (other, worker) => !worker.models || !other.models || worker.models.every((model) => other.models.includes(model));
