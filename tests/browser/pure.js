// Tests of the page's pure parts, run by the browser that shows it. Comes to a list of what is wrong.
(async () => {
  const wrong = [];
  const same = (name, got, wanted) => {
    const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
    if (a !== b) wrong.push(`${name}: ${a} is not ${b}`);
  };
  const load = (name) => import(`/page/${name}.js`);
  const worker = (id, more = {}) => ({
    id: `http://${id}`,
    role: "regular",
    state: "ready",
    reason: "",
    models: ["m"],
    since: 0,
    inflight: 0,
    breaker: { state: "closed", reason: "" },
    load: { running: 0, waiting: 0, kv_usage: 0 },
    load_is_old: false,
    drained: false,
    labels: {},
    traffic: null,
    ...more,
  });

  const format = await load("format");
  same("duration", [0.0123, 1.5, 42, 300, null].map(format.duration), ["12 ms", "1.50 s", "42 s", "5 min", "–"]);
  same("age", [-1, 59, 60, 7200, 200000].map(format.age), ["0 s", "59 s", "1 min", "2 h", "2 d"]);
  same("rate", [0, 0.25, 12.6, undefined, NaN].map(format.rate), ["0", "0.3", "13", "–", "–"]);
  same("plural", [format.plural(1, "plane"), format.plural(2000, "plane")], ["1 plane", "2,000 planes"]);
  same("ceiling", [0, 0.3, 3, 8, 11, 1000].map(format.ceiling), [1, 0.5, 5, 10, 20, 1000]);
  same("value", [null, "x", 5, ["a"]].map(format.value), ["not set", "x", "5", '["a"]']);

  const sse = await load("sse");
  const take = sse.parser();
  same("half an event", take("event: change\nda"), []);
  same("the rest of it", take('ta: {"a":1}\n\n: a comment\n\ndata: x'), [{ kind: "change", data: '{"a":1}' }]);
  same("the next", take("y\n\n"), [{ kind: "message", data: "xy" }]);
  same("pauses grow to an end", [0, 1, 50].map(sse.pause), [0.5, 1, 10]);

  const store = await load("store");
  const state = store.nothing();
  const step = (full, records, gone = []) => store.apply(state, { at: 5, full, records, gone });
  step(true, { router: { data_planes: 1 }, "plane:p": { since: 1, plane: { state: "serving" } }, "worker:http://a": { since: 2, worker: worker("a") } });
  same("a first step", [state.router.data_planes, state.planes.get("p").since, state.workers.get("http://a").since], [1, 1, 2]);
  step(false, { "worker:http://b": { since: 3, worker: worker("b") } }, ["worker:http://a", "plane:p"]);
  same("a next step", [[...state.workers.keys()], state.planes.size, state.router.data_planes], [["http://b"], 0, 1]);
  same("in their order", store.inOrder(state).map((one) => one.id), ["http://b"]);
  step(false, { "worker:http://a": { since: 3, worker: worker("a") } });
  same("in their order again", store.inOrder(state).map((one) => one.id), ["http://a", "http://b"]);
  step(true, { "worker:http://c": { since: 3, worker: worker("c") } });
  same("all anew", [[...state.workers.keys()], state.router], [["http://c"], null]);
  const event = (time) => ({ time, told_by: "x", text: "t" });
  const known = store.withEvents([], [event(1), event(3)]);
  same("events", store.withEvents(known, [event(3), event(2)]).map((one) => one.time), [3, 2, 1]);
  same("no news", store.withEvents(known, [event(3)]) === known, true);
  const many = Array.from({ length: 2 * store.MAX_EVENTS }, (_, at) => event(at));
  same("events are bounded", store.withEvents([], many).length, store.MAX_EVENTS);

  const fleet = await load("fleet");
  const words = (workers) => workers.map((one) => [fleet.condition(one).word, fleet.condition(one).tone]);
  same(
    "conditions",
    words([
      worker("a"),
      worker("a", { state: "draining" }),
      worker("a", { state: "draining", drained: true }),
      worker("a", { breaker: { state: "open", reason: "x" } }),
      worker("a", { state: "unhealthy", breaker: { state: "open", reason: "x" } }),
    ]),
    [["ready", "ok"], ["draining", "warn"], ["drained", "warn"], ["breaker open", "bad"], ["unhealthy", "bad"]],
  );
  const broken = worker("a", { breaker: { state: "open", reason: "x" }, since: 40, broken_since: 95 });
  const { about } = await load("view_worker");
  same("how long a breaker is open", [fleet.row(broken, 100).age, about({ ...broken, kv: [], changed: [] }, 100)[0][1]], ["5 s", "breaker open for 5 s"]);
  const several = [
    worker("a:10", { inflight: 3, load: { running: 1, waiting: 5, kv_usage: 0.5 } }),
    worker("a:9", { inflight: 5, labels: { zone: "west" } }),
    worker("p:1", { role: "prefill", state: "unhealthy", reason: "connection refused", load: null }),
    worker("n:1", { models: null, state: "starting" }),
  ];
  const ordered = store.inOrder({ ids: null, workers: new Map(several.map((one) => [one.id, one])) });
  const shown = (wish) => fleet.pools(ordered, 10, wish).map((pool) => [pool.title, pool.role, pool.ready, pool.all, pool.rows.map((one) => one.name)]);
  same("pools", shown(), [
    ["m", "prefill", 0, 1, ["p:1"]],
    ["m", "regular", 2, 2, ["a:9", "a:10"]],
    ["no model known yet", "regular", 0, 1, ["n:1"]],
  ]);
  const rows = (wish) => shown(wish).flatMap((pool) => pool[4]);
  same("sorted by load", rows({ sort: { column: "load" } }), ["p:1", "a:10", "a:9", "n:1"]);
  same("sorted backwards", rows({ sort: { column: "worker", backwards: true } }), ["p:1", "a:10", "a:9", "n:1"]);
  same("filtered by a label", rows({ text: "WEST a:" }), ["a:9"]);
  same("filtered by a reason", rows({ text: "refused" }), ["p:1"]);
  same("those with trouble", rows({ only: "trouble" }), ["p:1", "n:1"]);
  same("held rows", fleet.steadied([{ id: 1 }, { id: 2 }, { id: 3 }], new Map([[3, 0], [1, 1]])).map((one) => one.id), [3, 1, 2]);
  same("one scale", fleet.scale(several), 10);
  const old = fleet.row(worker("a", { load_is_old: true, load: { running: 9, waiting: 9, kv_usage: 1 } }), 0);
  same("figures that are not believed are not shown", [old.running, old.kv], [null, null]);

  const whole = { at: 1, router: { data_planes: 2, supervisor: null, config: { state: "refused", problems: ["x"] }, policies: [], traffic: null }, planes: new Map(), workers: new Map() };
  same("a new fleet", fleet.attention(whole).map((one) => one.tone), ["info", "warn", "warn"]);
  whole.workers.set("http://a", worker("a", { state: "unhealthy", reason: "gone" }));
  same("nobody is ready", fleet.attention(whole).slice(0, 2).map((one) => one.text), ["No worker is ready: requests are answered 503.", "a: unhealthy: gone"]);
  for (const name of "bcde") whole.workers.set(name, worker(name, { state: "unhealthy" }));
  same("many are one line", fleet.attention(whole)[1].text, "5 workers: unhealthy");
  whole.router.pairs = { missing: "", opened: 1, open: [{ prefill: "http://p", decode: "http://d" }] };
  same("a pair that is left out", fleet.attention(whole)[2].text, "p and d are left out as a pair");
  whole.router.pairs = { missing: "other versions", opened: 4, open: [] };
  same("no pair, and many left out", fleet.attention(whole).slice(2, 4).map((one) => one.text), [
    "No prefill and decode worker are a pair: other versions",
    "4 pairs of prefill and decode workers are left out",
  ]);
  const troubled = {
    ...whole,
    router: {
      ...whole.router,
      supervisor: { state: "running" },
      config: { state: "in use", problems: [] },
      pairs: null,
      traffic: { failures: 243.3, causes: { over_capacity: 243.2, queue_timeout: 0.1 } },
    },
    workers: new Map([["http://a", worker("a", { reason: "its last check: no answer within 5 s" })]]),
  };
  same("trouble of a fleet whose workers are ready", fleet.attention(troubled).map((one) => one.text), [
    "a: ready, but its last check: no answer within 5 s",
    "Requests fail: over_capacity 243/s, queue_timeout 0.1/s",
  ]);
  troubled.router.client_keys = { file: "/k", state: "refused", keys: 0, problem: "/k:3: x" };
  same("clients' keys that are refused", fleet.attention(troubled).slice(-1).map((one) => [one.tone, one.text]), [
    ["bad", "The file of clients' keys is refused, and no keys are in use: /k:3: x"],
  ]);
  troubled.router.client_keys = null;
  const pods = (told) => fleet.attention({ ...troubled, router: { ...troubled.router, kubernetes: told } }).slice(2).map((one) => one.text);
  same("pods that nobody tells of", pods({ state: "unreached", reason: "refused", left_out: 0 }), [
    "Kubernetes' API server does not tell of pods, and workers stay as they were: refused",
  ]);
  same("pods too many", pods({ state: "following", reason: "", left_out: 1 }), ["1 pod is left out: there are too many workers"]);
  same("pods as they should be", pods({ state: "following", reason: "", left_out: 0 }), []);
  same("a ready worker whose check was bad needs attention", fleet.pools([...troubled.workers.values()], 10, { only: "trouble" }).length, 1);
  const figures = Object.fromEntries(fleet.summary(whole).map((one) => [one.key, [one.value, one.of]]));
  same("figures", [figures.workers, figures.planes, figures.rate[0]], [["0", "5"], ["0", "2"], "–"]);

  const limit = (name, in_use, wanted = {}, kind = "slots") => ({ name, kind, amount: 24, in_use, lent: 24, wanted });
  const full = { limits: [limit("total", 24, { alice: 20, bob: 9 }), limit("model:m", 12), limit("rate", null, {}, "rate")], more: 0, waiting: 5 };
  same("limits", fleet.limits(full).map((one) => [one.name, one.use, one.fill, one.wanted]), [
    ["total", "24 of 24", 1, "alice 20, bob 9"],
    ["model:m", "12 of 24", 0.5, ""],
    ["rate", "at most 24/s", null, ""],
  ]);
  const waiting = { ...troubled, router: { ...troubled.router, traffic: null, admission: full }, workers: new Map([["http://a", worker("a")]]) };
  same("who waits", fleet.attention(waiting).map((one) => [one.tone, one.text]), [
    ["warn", "5 requests wait; full: total (24 of 24; wanted by alice 20, bob 9)"],
  ]);
  same("how many wait", fleet.summary(waiting).find((one) => one.key === "queued").value, "5");
  same("without limits nobody can wait", fleet.summary(whole).some((one) => one.key === "queued"), false);
  const planes = (states) => new Map(states.map((told, at) => [String(at), { id: String(at), active: 0, host: "", state: "serving", ...told }]));
  const serving = (states) => fleet.summary({ ...whole, planes: planes(states) }).find((one) => one.key === "planes");
  same("a stale plane serves", [serving([{}, { state: "stale" }]).value, serving([{}, { state: "stale" }]).of], ["2", "2"]);
  same("planes that are replaced, and elsewhere", [serving([{}, {}, { state: "draining" }]).of, serving([{}, {}, { host: "gpu" }]).of], ["2", "3"]);

  const last = worker("a", { inflight: 1 });
  const told = (verb, others) => fleet.consequence(verb, last, [last, ...others]);
  same("the last one is drained", told("drain", [worker("b", { models: ["other"] }), worker("c", { state: "draining" })]), "It gets no new requests. 1 open request will go on. No other worker of its models is ready: requests for them will fail.");
  same("others are there", told("remove", [worker("b")]).endsWith("1 other worker of its models stays ready."), true);

  const { diff } = await load("diff");
  const lines = (a, b) => diff(a, b, 1).map((one) => one.sign + one.text);
  same("equal texts", lines("a\nb", "a\nb"), []);
  same("a changed line", lines("a\nb\nc\nd\ne", "a\nb\nX\nd\ne"), [" b", "-c", "+X", " d", "…"]);
  same("lines at the ends", lines("a\nb", "0\na\nb\nc"), ["+0", " a", " b", "+c"]);
  same("too much to compare", diff("a\n".repeat(900) + "x", "b\n".repeat(900) + "y").length, 1802);

  const chart = await load("chart");
  same("a line with a gap", chart.path([0, 5, 10, 15], [0, 1, null, 2], [0, 15], 2), "M0.0 72.0h0L106.7 36.0M320.0 0.0h0");
  same("the last known", [chart.last([1, null]), chart.last([null]), chart.most([[1, null], [3]])], [1, null, 3]);

  const requests = await load("requests");
  const ended = { outcome: "answered", status: 200, workers: ["http://a"] };
  same(
    "outcomes",
    [{ phase: "waiting" }, ended, { ...ended, workers: ["http://p", "http://d"] }, { ...ended, workers: ["http://a", "http://b"], failed: 1 }, { ...ended, status: 503 }, { outcome: "aborted by client" }, { outcome: "rejected x" }].map((one) => requests.outcome(one).tone),
    ["info", "ok", "ok", "warn", "bad", "warn", "bad"],
  );
  const attempt = (began, failed = "") => ({ began, failed, leg: "plain" });
  const parts = requests.stretches({ ended: 4, first_byte: 3, attempts: [attempt(0, "status 503"), attempt(1)] });
  same("stretches", parts.map((one) => [one.name, one.tone, one.part]), [["attempt 1", "bad", 0.25], ["attempt 2", "wait", 0.5], ["answer", "run", 0.25]]);
  const stale = requests.stretches({ ended: 4, first_byte: 3, attempts: [attempt(0, "closed"), { ...attempt(1, "status 503"), is_again: true }, attempt(2)] });
  same("over a new connection again", stale.map((one) => one.name), ["attempt 1", "again", "attempt 2", "answer"]);
  same("no attempt", requests.stretches({ ended: 0, first_byte: null, attempts: [] }), []);
  same("a candidate of which nothing is known", requests.candidate({ worker: "http://a", reason: "r", load: { in_flight: 2 } }), ["a", "", "2", "?", "?", "?", "?", "r"]);

  const { route } = await load("route");
  const led = (hash) => Object.values(route(hash, ["fleet", "requests", "request"])).map(String);
  same("where addresses lead", ["", "#/fleet?only=trouble", "#/requests", "#/requests/nope", "#/request/a%2Fb", "#/else"].map(led), [
    ["fleet", "", ""], ["fleet", "only=trouble", ""], ["requests", "", ""], ["request", "", "nope"], ["request", "", "a/b"], ["fleet", "", ""],
  ]);

  const { matching } = await load("view_events");
  const happened = [{ kind: "worker", level: "info", text: "A came" }, { kind: "process", level: "error", text: "B died" }];
  const of = (wish) => matching(happened, { text: "", kind: "", trouble: false, ...wish }).map((one) => one.text);
  same("events by kind, level and text", [of({ kind: "worker" }), of({ trouble: true }), of({ text: "a c" })], [["A came"], ["B died"], ["A came"]]);
  return wrong;
})();
