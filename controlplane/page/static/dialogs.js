// Questions that stand above the page. The browser's own dialog keeps the focus in, and gives it back.

import { h } from "./dom.js";

let number = 0;

// Shows a form; `act` does what is asked for and may throw, which is then shown. Resolves to whether it was done.
export function ask({ title, text, parts = [], verb, tone = "", act }) {
  number += 1;
  const [titled, told] = [`dialog-${number}`, `dialog-${number}-text`];
  const problem = h("p", { class: "problem", role: "alert" });
  const yes = h("button", { type: "submit", class: `primary ${tone}` }, verb);
  const no = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id: titled }, title),
    text ? h("p", { id: told }, text) : null,
    ...parts,
    problem,
    h("div", { class: "buttons" }, no, yes),
  );
  const dialog = h("dialog", { "aria-labelledby": titled, "aria-describedby": text ? told : null }, form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let done = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      yes.disabled = true;
      problem.textContent = "";
      try {
        await act(new FormData(form));
        done = true;
        dialog.close();
      } catch (error) {
        problem.textContent = error.message;
        yes.disabled = false;
      }
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
    dialog.showModal();
  });
}

// A field of such a form, with its label.
export function field(label, name, { hint = null, ...props } = {}) {
  return h(
    "label",
    { class: "field" },
    h("span", {}, label),
    h("input", { name, autocomplete: "off", spellcheck: "false", ...props }),
    hint ? h("small", {}, hint) : null,
  );
}
