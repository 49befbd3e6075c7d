// The only way by which anything gets onto the page: elements made by name, and text as text.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. `attributes` are set as attributes, `class` too; a child is an element, a text, or
 * nothing (null, undefined, false).
 */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** A new element of SVG. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  element.append(...children.filter((child) => child || child === 0));
  return element;
}

/** Set, or remove if `value` is null or false; nothing if it is so already. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** Set the text if it is another one: a live region speaks, and a selection ends, at each change. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Keep the children of `parent` in step with `items`: one view each, made by `make(key, item)`,
 * told by `view.update(item)`, closed by `view.close?.()` and found again by its key.
 */
export class Children {
  #parent;
  #make;
  #views = new Map();

  constructor(parent, make) {
    this.#parent = parent;
    this.#make = make;
  }

  /** `items` are [key, item] in the order in which they shall stand. */
  update(items) {
    const wanted = new Set(items.map(([key]) => key));
    for (const [key, view] of this.#views) {
      if (wanted.has(key)) continue;
      view.close?.();
      view.element.remove();
      this.#views.delete(key);
    }
    let before = null;
    for (const [key, item] of items) {
      if (!this.#views.has(key)) this.#views.set(key, this.#make(key, item));
      const view = this.#views.get(key);
      view.update(item);
      const place = before ? before.nextElementSibling : this.#parent.firstElementChild;
      if (place !== view.element) this.#parent.insertBefore(view.element, place);
      before = view.element;
    }
  }
}
