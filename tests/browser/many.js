// A fleet of 500: which rows are touched when three workers change. Comes to what was seen.
(async () => {
  const { view } = await import("/page/view_fleet.js");
  const worker = (number, running) => ({
    id: `http://gpu-${number}:8000`,
    role: "regular",
    state: "ready",
    reason: "",
    models: ["m"],
    since: 0,
    inflight: running,
    breaker: { state: "closed", reason: "" },
    load: { running, waiting: 0, kv_usage: 0.25 },
    load_is_old: false,
    drained: false,
    labels: {},
    traffic: null,
  });
  const workers = new Map();
  for (let number = 0; number < 500; number += 1) {
    const one = worker(number, 6);
    workers.set(one.id, one);
  }
  const app = { state: { at: 100, router: null, planes: new Map(), workers, ids: null }, events: [], now: () => 100 };
  const shown = view(app, new URLSearchParams());
  const place = document.body.appendChild(document.createElement("div"));
  place.append(shown.node);
  shown.update();
  const rows = place.querySelectorAll("tr[data-worker]").length;

  const touched = new Set();
  const watch = (records) => {
    for (const { target } of records) {
      const element = target.nodeType === Node.TEXT_NODE ? target.parentElement : target;
      touched.add(element.closest("tr[data-worker]")?.dataset.worker ?? element.closest("[class]")?.className ?? element.tagName);
    }
  };
  const observer = new MutationObserver(watch);
  observer.observe(place, { subtree: true, childList: true, characterData: true, attributes: true });
  shown.update();
  watch(observer.takeRecords());
  const idle = [...touched];
  for (const number of [3, 77, 499]) workers.set(`http://gpu-${number}:8000`, worker(number, 7));
  shown.update();
  watch(observer.takeRecords());
  observer.disconnect();
  shown.leave();
  place.remove();
  return { rows, idle, touched: [...touched].sort() };
})();
