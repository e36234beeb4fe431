// Making and changing elements. Nothing here, or anywhere on the page, takes text for markup.

export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function s(tag, props = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// Text in an element that is touched only when it is another one.
export function words(element) {
  const node = element.appendChild(document.createTextNode(""));
  return (text) => {
    const said = String(text);
    if (node.data !== said) node.data = said;
  };
}

export function attribute(element, name) {
  let known = element.getAttribute(name);
  return (value) => {
    if (known === value) return;
    known = value;
    if (value === null) element.removeAttribute(name);
    else element.setAttribute(name, value);
  };
}

export function hiding(element) {
  return (is) => {
    if (element.hidden !== is) element.hidden = is;
  };
}

// Keeps one child for each item, in their order, behind the child `after`. `make` returns { node, update }; what stays is
// neither moved nor made anew.
export function keyed(parent, keyOf, make, after = null) {
  let known = new Map();
  return (items) => {
    const now = new Map(items.map((item) => [keyOf(item), item]));
    for (const [key, entry] of known) if (!now.has(key)) entry.node.remove();
    let place = after ? after.nextSibling : parent.firstChild;
    for (const [key, item] of now) {
      const entry = known.get(key) ?? make(item);
      now.set(key, entry);
      entry.update(item);
      if (entry.node === place) place = place.nextSibling;
      else parent.insertBefore(entry.node, place);
    }
    known = now;
  };
}
