// The fleet as the server told it: records by key, changed by the steps of the stream. Pure.

export function nothing() {
  return { at: 0, router: null, planes: new Map(), workers: new Map(), ids: null };
}

const places = { "plane:": "planes", "worker:": "workers" };

// Changes `state` by a step.
export function apply(state, step) {
  state.at = step.at;
  if (step.full) {
    state.router = null;
    state.planes.clear();
    state.workers.clear();
    state.ids = null;
  }
  for (const [key, record] of Object.entries(step.records)) {
    if (key === "router") {
      state.router = record;
      continue;
    }
    const [kind, id] = split(key);
    if (kind === "workers") {
      if (!state.workers.has(id)) state.ids = null;
      state.workers.set(id, { ...record.worker, since: record.since, broken_since: record.broken_since, load_is_old: record.load_is_old });
    } else if (kind === "planes") {
      state.planes.set(id, { ...record.plane, since: record.since });
    }
  }
  for (const key of step.gone) {
    const [kind, id] = split(key);
    if (kind) state[kind].delete(id);
    if (kind === "workers") state.ids = null;
  }
}

const collator = new Intl.Collator("en", { numeric: true });

// The workers by their ids. Comparing those takes longer than all else, so it is done when workers come or go.
export function inOrder(state) {
  state.ids ??= [...state.workers.keys()].sort(collator.compare);
  return state.ids.map((id) => state.workers.get(id));
}

function split(key) {
  for (const [prefix, kind] of Object.entries(places)) {
    if (key.startsWith(prefix)) return [kind, key.slice(prefix.length)];
  }
  return [null, key];
}

export const MAX_EVENTS = 1000;

// Adds events to those that are known, the newest first, each once.
export function withEvents(known, told) {
  const name = (event) => `${event.time} ${event.told_by} ${event.text}`;
  const seen = new Set(known.map(name));
  const fresh = told.filter((event) => !seen.has(name(event)));
  if (!fresh.length) return known;
  return [...fresh, ...known].sort((a, b) => b.time - a.time).slice(0, MAX_EVENTS);
}
