// Which view an address of the page (what is behind #) means. Pure.

// What the entry of a list is shown by: people write its address below that of the list.
const ONE_OF = { requests: "request" };

// `views` are the names that there are.
export function route(hash, views) {
  const [path, query] = (hash.slice(1) || "/fleet").split("?");
  const [, name, ...rest] = path.split("/");
  const id = decodeURIComponent(rest.join("/"));
  const view = views.includes(name) ? name : "fleet";
  return { view: id && ONE_OF[view] ? ONE_OF[view] : view, query: new URLSearchParams(query), id };
}
