// Where the time of the last labels went: one column for each, its stages on top of each other.
//
// `collect`, the time from the first feature to the last one, runs while the slowest part computes,
// so it is a line over the columns and not a piece of them.

import { el, setAttribute, setText, svg } from "../dom.js";
import { STAGES } from "../messages.js";
import { duration } from "../text.js";
import { median } from "./summary.js";

const SHOWN = 60;
const HEIGHT = 160;
const STACKED = ["wait", "decode", "compute", "fuse"];
const MEANING = {
  wait: "in the board's queue",
  decode: "unpacking and resizing the image",
  compute: "the part's network",
  collect: "from the first part's answer to the last one's",
  fuse: "adding the parts up",
};

export class LatencyView {
  #plot = svg("svg", { class: "plot", role: "img", width: "100%", height: HEIGHT });
  #top = el("span", { class: "scale figure" });
  #middle = el("span", { class: "scale figure" });
  #empty = el("p", { class: "muted" }, "The first labels will be drawn here.");
  #figure;
  #medians = new Map();
  #last = null;

  constructor(root) {
    const rows = STAGES.map((stage) => {
      const value = el("td", { class: "figure" });
      this.#medians.set(stage, value);
      const swatch = el("span", { class: `swatch ${stage}`, "aria-hidden": "true" });
      return el(
        "tr",
        {},
        el("th", { scope: "row" }, swatch, stage),
        el("td", { class: "muted meaning" }, MEANING[stage]),
        value,
      );
    });
    this.#figure = el(
      "div",
      { hidden: "" },
      el("div", { class: "plot-area" }, this.#top, this.#middle, this.#plot),
      el("p", { class: "axis muted" }, el("span", {}, "older"), el("span", {}, "last label")),
      el(
        "table",
        { class: "legend" },
        el("caption", { class: "unseen" }, "Median time of each stage"),
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", { scope: "col" }, "Stage"),
            el("th", { scope: "col", class: "meaning" }, "What it is"),
            el("th", { scope: "col", class: "figure" }, "Median"),
          ),
        ),
        el("tbody", {}, ...rows),
      ),
    );
    root.append(this.#empty, this.#figure);
  }

  update(fleet) {
    const last = fleet.labels.at(-1);
    if (last === undefined || last === this.#last) return;
    this.#last = last;
    this.#empty.hidden = true;
    this.#figure.hidden = false;
    const labels = fleet.labels.slice(-SHOWN).map((entry) => entry.label);
    for (const [stage, cell] of this.#medians) {
      setText(cell, duration(median(labels.map((label) => label.latency[stage]))));
    }
    this.#draw(labels);
  }

  #draw(labels) {
    const top = scaleOf(labels);
    setText(this.#top, duration(top));
    setText(this.#middle, duration(top / 2));
    const step = 100 / SHOWN;
    const from = SHOWN - labels.length;
    const y = (ms) => HEIGHT * (1 - Math.min(ms, top) / top);
    const shapes = [line(0.5), line(HEIGHT / 2), line(HEIGHT - 0.5)];
    labels.forEach((label, index) => {
      const x = step * (from + index);
      let sum = 0;
      for (const stage of STACKED) {
        const bottom = y(sum);
        sum += label.latency[stage];
        const rect = { x: `${x + step * 0.14}%`, width: `${step * 0.72}%`, y: y(sum) };
        if (bottom > rect.y) shapes.push(svg("rect", { ...rect, class: stage, height: bottom - rect.y }));
      }
      const collect = y(label.latency.collect);
      shapes.push(
        svg("line", { class: "collect", x1: `${x}%`, x2: `${x + step}%`, y1: collect, y2: collect }),
      );
      if (sum > top || label.latency.collect > top) shapes.push(beyond(x + step / 2));
    });
    this.#plot.replaceChildren(...shapes);
    const spoken = STAGES.map((s) => `${s} ${this.#medians.get(s).textContent}`).join(", ");
    setAttribute(this.#plot, "aria-label", `The last ${labels.length} labels. Median: ${spoken}.`);
  }
}

/** The top of the scale: room for nine of ten labels and half more, on a round number. */
function scaleOf(labels) {
  const peaks = labels.map(({ latency }) =>
    Math.max(latency.collect, STACKED.reduce((sum, stage) => sum + latency[stage], 0)),
  );
  const wanted = 1.5 * peaks.sort((a, b) => a - b)[Math.floor(0.9 * (peaks.length - 1))];
  const power = 10 ** Math.floor(Math.log10(Math.max(wanted, 0.1)));
  return [1, 2, 4, 5, 10].map((factor) => factor * power).find((value) => value >= wanted) ?? power;
}

function line(y) {
  return svg("line", { class: "grid", x1: "0%", x2: "100%", y1: y, y2: y });
}

/** A mark at the top: this label took longer than the scale reaches. */
function beyond(x) {
  return svg("svg", { x: `${x}%`, y: 0, width: 1, height: 8, overflow: "visible" },
    svg("path", { class: "beyond", d: "M0 0l4 6h-8z" }));
}
