// What an operator does to workers, each with a question before it.

import { workerPath } from "./api.js";
import { ask, field } from "./dialogs.js";
import { h } from "./dom.js";
import { consequence } from "./fleet.js";
import { place } from "./format.js";

const VERBS = {
  drain: { title: "Drain", done: "drains", tone: "" },
  undrain: { title: "Undrain", done: "takes requests again", tone: "" },
  remove: { title: "Remove", done: "is being removed", tone: "danger" },
};

export async function change(app, verb, id) {
  const worker = app.state.workers.get(id);
  if (!worker) return;
  const { title, done, tone } = VERBS[verb];
  const wasDone = await ask({
    title: `${title} ${place(id)}?`,
    text: consequence(verb, worker, [...app.state.workers.values()]),
    verb: title,
    tone,
    act: () => (verb === "remove" ? app.api.delete(workerPath(id)) : app.api.post(workerPath(id, `/${verb}`))),
  });
  if (wasDone) app.say(`${place(id)} ${done}.`);
}

export async function add(app) {
  const role = h(
    "label",
    { class: "field" },
    h("span", {}, "Role"),
    h("select", { name: "role" }, ...["regular", "prefill", "decode"].map((name) => h("option", { value: name }, name))),
  );
  let url = "";
  const wasDone = await ask({
    title: "Add a worker",
    text: "It gets requests as soon as its health checks pass.",
    parts: [
      field("URL", "url", { type: "url", required: true, placeholder: "http://gpu-1:8000" }),
      role,
      field("Weight", "weight", { type: "number", step: "any", min: "0", value: "1", hint: "Its share beside the others, under every policy." }),
    ],
    verb: "Add",
    act: async (form) => {
      url = form.get("url").trim();
      const wish = { url };
      if (form.get("role") !== "regular") wish.role = form.get("role");
      if (form.get("weight") !== "1") wish.weight = Number(form.get("weight"));
      await app.api.post("workers", wish);
    },
  });
  if (wasDone) app.say(`${place(url)} was added.`);
}
