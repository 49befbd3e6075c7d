// What a fitted head is worth: accuracy, each class, and the pictures that it gets wrong.

import { el } from "../dom.js";
import { percent } from "../text.js";
import { Shots } from "./shots.js";

export class Report {
  element = el("section", { class: "report", "aria-label": "What the fit found", hidden: "" });
  #wrong = new Shots();

  clear() {
    this.#wrong.clear();
    this.element.hidden = true;
    this.element.replaceChildren();
  }

  show(answer) {
    this.clear();
    const { accuracy, measured, unknown, fitted, pictures, more, note } = answer;
    const below = unknown ? ` Below ${percent(unknown)} it says unknown.` : "";
    this.element.append(
      el("p", { class: "accuracy" }, `${percent(accuracy)} right of ${measured} pictures that no fit had seen.${below}`),
      el(
        "ul",
        { class: "recalls" },
        ...fitted.map(({ name, images, recall }) =>
          el("li", {}, el("bdi", {}, name), ` ${percent(recall)} of ${images}`),
        ),
      ),
    );
    if (note) this.element.append(el("p", { class: "muted" }, note));
    if (pictures.length) {
      const line = more ? "The surest wrong answers; some pictures may have the wrong class:" : "Wrong answers; some pictures may have the wrong class:";
      this.#wrong.add(pictures, ({ name, given }) => `${name}, taken for ${given}`);
      this.element.append(el("p", {}, line), this.#wrong.element);
    }
    this.element.hidden = false;
  }
}
