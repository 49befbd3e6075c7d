// Four figures that say at a glance how the fleet fares.

import { el, setText } from "../dom.js";
import { count, duration, percent } from "../text.js";
import { spent } from "./cameras.js";
import { PartChips } from "./parts.js";

const MINUTE_MS = 60000;

export class SummaryView {
  #chips = new PartChips();
  #parts = new Figure("Parts online", this.#chips.element);
  #rate = new Figure("Labels in the last minute");
  #latency = new Figure("Time to a label, median");
  #degraded = new Figure("Degraded in the last minute");

  constructor(root) {
    root.append(...[this.#parts, this.#rate, this.#latency, this.#degraded].map((f) => f.element));
  }

  update(fleet, now) {
    const { parts, partsOnline } = fleet;
    const { labels, degraded } = fleet.minute.sum(now);
    this.#chips.update(parts, partsOnline);
    const lacking = parts > 0 && partsOnline.length < parts;
    this.#parts.show(parts ? `${partsOnline.length} of ${parts}` : "–", lacking);
    this.#rate.show(count(labels), false);
    const recent = fleet.labels.filter(({ at }) => now - at <= MINUTE_MS);
    const times = recent.map(({ label }) => spent(label));
    this.#latency.show(times.length ? duration(median(times)) : "–", false);
    this.#degraded.show(labels ? percent(degraded / labels) : "–", degraded > 0);
  }
}

class Figure {
  #value = el("dd", { class: "value figure" });

  constructor(term, ...more) {
    this.element = el("div", { class: "tile card" }, el("dt", {}, term), this.#value);
    if (more.length) this.element.append(el("dd", { class: "more" }, ...more));
  }

  show(text, alarming) {
    setText(this.#value, text);
    this.element.classList.toggle("alarming", alarming);
  }
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
