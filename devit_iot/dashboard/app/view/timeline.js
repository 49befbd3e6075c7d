// Who was there and when: a row for each board, and one for whether labels rested on all parts.

import { Children, el, setAttribute, setText, svg } from "../dom.js";
import { clock, span } from "../text.js";
import { icon } from "./icons.js";

const MINUTE_MS = 60000;
const WINDOWS = [1, 5, 30]; // minutes
const SHOWN_EVENTS = 30;
const STATES = {
  online: "online",
  offline: "offline",
  silent: "silent",
  cut: "cut off",
  whole: "all parts",
  degraded: "degraded",
};

export class TimelineView {
  #minutes = 5;
  #rows;
  #start = el("span");
  #events = el("ol", { class: "events", tabindex: "0", "aria-label": "Events, the newest first" });
  #none = el("p", { class: "muted" }, "Nothing has happened since this page was opened.");
  #drawn = null;
  #opened = null;

  constructor(root) {
    const rows = el("div", { class: "rows" });
    this.#rows = new Children(rows, (key) => new Row(key));
    root.append(
      el("div", { class: "line" }, el("h2", { id: "timeline-title" }, "Timeline"), this.#choice()),
      rows,
      el("p", { class: "axis muted" }, this.#start, el("span", {}, "now")),
      el(
        "p",
        { class: "keys muted small", "aria-hidden": "true" },
        el("span", { class: "key there" }),
        "there",
        el("span", { class: "key degraded" }),
        "degraded",
        el("span", { class: "key gone" }),
        "gone",
      ),
      el("h3", {}, "Events"),
      this.#none,
      this.#events,
    );
  }

  update(fleet, now) {
    this.#opened ??= now;
    // While the page is younger than the window, its own age is enough, but for the first minute.
    const age = Math.max(MINUTE_MS, now - this.#opened);
    const start = now - Math.min(age, MINUTE_MS * this.#minutes);
    setText(this.#start, `${span(now - start)} ago`);
    const services = [
      ...[...fleet.nodes].sort(([one], [two]) => one.localeCompare(two)),
      ...[...fleet.aggregators].sort(([one], [two]) => one.localeCompare(two, "en", { numeric: true })),
    ].map(([, service]) => [service.title, service.history]);
    const rows = [["labels", fleet.labelHistory], ...services];
    this.#rows.update(rows.map(([key, history]) => [key, { history, start, now }]));
    this.#list(fleet.events.slice(0, SHOWN_EVENTS));
  }

  #choice() {
    const name = "timeline-minutes";
    const options = WINDOWS.map((minutes) => {
      const input = el("input", { type: "radio", name, value: minutes, id: `${name}-${minutes}` });
      input.checked = minutes === this.#minutes;
      input.addEventListener("change", () => {
        this.#minutes = minutes;
      });
      return el("label", { for: input.id }, input, el("span", {}, `${minutes} min`));
    });
    return el("fieldset", { class: "choice" }, el("legend", { class: "unseen" }, "Show the last"), ...options);
  }

  #list(events) {
    if (events[0] === this.#drawn) return;
    this.#drawn = events[0];
    this.#none.hidden = events.length > 0;
    this.#events.hidden = events.length === 0;
    this.#events.replaceChildren(
      ...events.map(({ at, kind, text }) =>
        el("li", {}, icon(kind), el("time", { class: "figure muted" }, clock(at)), el("span", {}, text)),
      ),
    );
  }
}

class Row {
  #strip = svg("svg", { class: "strip", role: "img", width: "100%", height: 14 });
  #name;

  constructor(name) {
    this.#name = name;
    const title = el("span", { class: "row-name", title: name }, name);
    this.element = el("div", { class: "row" }, title, this.#strip);
  }

  update({ history, start, now }) {
    const percent = (time) => (100 * (time - start)) / (now - start);
    const shapes = [svg("rect", { class: "track", width: "100%", height: 14, rx: 3 })];
    for (const { state, from, to } of history.between(start, now)) {
      const x = `${percent(from)}%`;
      const width = `${percent(to) - percent(from)}%`;
      shapes.push(svg("rect", { class: `stretch ${state}`, x, width, y: tall(state) ? 0 : 6, height: tall(state) ? 14 : 2 }));
      if (!tall(state)) shapes.push(cross(x));
    }
    this.#strip.replaceChildren(...shapes);
    const { state, at } = history.last ?? {};
    const words = state ? `${STATES[state]} for ${span(now - at)}` : "nothing yet";
    setAttribute(this.#strip, "aria-label", `${this.#name}: ${words}`);
  }
}

function tall(state) {
  return state !== "offline" && state !== "silent" && state !== "cut";
}

/** Where a board went: seen without colours too. */
function cross(x) {
  return svg("svg", { x, y: 2, width: 10, height: 10, overflow: "visible" },
    svg("path", { class: "cross", d: "M1 1l8 8M9 1l-8 8" }));
}
