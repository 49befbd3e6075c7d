// The parts of a fleet as chips: filled if there, hollow with a stroke through it if missing.

import { el } from "../dom.js";

const MAX_CHIPS = 16;

export class PartChips {
  element = el("span", { class: "chips", "aria-hidden": "true" }); // the words beside it say it
  #drawn = "";

  update(parts, present) {
    const there = new Set(present);
    const drawn = `${parts}:${present}`;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const chips = Array.from({ length: Math.min(parts, MAX_CHIPS) }, (_, part) =>
      el("span", { class: there.has(part) ? "chip" : "chip missing" }, String(part)),
    );
    this.element.replaceChildren(...chips);
  }
}
