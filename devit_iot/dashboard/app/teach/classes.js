// The classes of a head as buttons: each gives itself to the chosen pictures.

import { el } from "../dom.js";

const MOST_KEYS = 9;

export class Classes {
  element = el("div", { class: "classes", role: "group", "aria-label": "Classes" });
  #names = [];
  #counts = new Map();
  #onPick;

  constructor(onPick) {
    this.#onPick = onPick;
  }

  /** Forget the classes of another head. */
  clear() {
    this.#names = [];
    this.update(new Map());
  }

  /** A class without pictures. */
  make(name) {
    if (!this.#names.includes(name)) this.#names.push(name);
    this.update(this.#counts);
  }

  /** Number of pictures by class. */
  update(counts) {
    this.#counts = counts;
    for (const name of counts.keys()) if (!this.#names.includes(name)) this.#names.push(name);
    this.element.replaceChildren(
      ...this.#names.map((name, index) => this.#button(name, index)),
      ...(this.#names.length ? [this.#none()] : []),
    );
  }

  /** Give the class of a digit; false if there is none. */
  press(digit) {
    if (digit === 0) this.#onPick("");
    else if (digit > this.#names.length) return false;
    else this.#onPick(this.#names[digit - 1]);
    return true;
  }

  #button(name, index) {
    const key = index < MOST_KEYS ? el("kbd", {}, String(index + 1)) : null;
    const count = el("span", { class: "figure muted" }, String(this.#counts.get(name) ?? 0));
    const button = el(
      "button",
      { type: "button", class: "class", "data-name": name },
      key,
      el("span", { dir: "auto" }, name),
      count,
    );
    button.addEventListener("click", () => this.#onPick(name));
    return button;
  }

  #none() {
    const button = el(
      "button",
      { type: "button", class: "class quiet" },
      el("kbd", {}, "0"),
      "No class",
    );
    button.addEventListener("click", () => this.#onPick(""));
    return button;
  }
}
