// The form that asks for the admin token.

import { h } from "./dom.js";

// Resolves when a token was entered that the router takes.
export function signIn(api, place) {
  const problem = h("p", { class: "problem", role: "alert" });
  const token = h("input", { type: "password", name: "token", autocomplete: "current-password", required: true });
  const form = h(
    "form",
    { class: "sign-in" },
    h("h1", {}, "Admin token"),
    h("p", {}, "This router asks for the token that its --admin-token-file holds. It stays in this tab until you close it or sign out."),
    h("label", { class: "field" }, h("span", {}, "Token"), token),
    problem,
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Sign in")),
  );
  place.replaceChildren(form);
  token.focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      problem.textContent = "";
      api.signIn(token.value.trim());
      try {
        await api.get("summary");
        resolve();
      } catch (error) {
        problem.textContent = error.status === 401 ? "The router does not take this token." : error.message;
        if (error.status === 401) api.signOut();
        token.select();
      }
    });
  });
}
