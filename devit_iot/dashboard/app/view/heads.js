// A line for each head of a camera: its steady state and since when, or its last label.

import { Children, el, setText } from "../dom.js";
import { percent, span } from "../text.js";

export class HeadLines {
  #children;

  constructor() {
    this.element = el("ul", { class: "heads", hidden: "" });
    this.#children = new Children(this.element, (head) => new HeadLine(head));
  }

  /** `heads` is a map from a head to {label, state}. */
  update(heads, now) {
    const lines = [...heads].sort(([one], [two]) => one.localeCompare(two));
    this.#children.update(lines.map(([head, said]) => [head, { ...said, now }]));
    this.element.hidden = lines.length === 0;
  }
}

class HeadLine {
  #answer = el("span", { class: "answer", dir: "auto" });
  #note = el("span", { class: "muted figure" });

  constructor(head) {
    const name = el("span", { class: "muted head", title: head }, head);
    this.element = el("li", {}, name, this.#answer, this.#note);
  }

  update({ label, state, now }) {
    const answer = state?.state ?? label.label;
    setText(this.#answer, answer);
    this.#answer.title = answer;
    setText(this.#note, state ? `for ${span(now - state.since)}` : percent(label.confidence));
  }
}
