// A grid of small pictures, each of which can be chosen; arrow keys go from one to the next.

import { el, setText } from "../dom.js";
import { clock, percent } from "../text.js";

export class Shots {
  element = el("ol", { class: "shots" });
  #shots = [];
  #last = null;
  #onChange;

  constructor(onChange = () => {}) {
    this.#onChange = onChange;
    this.element.addEventListener("keydown", (event) => this.#move(event));
  }

  /** Numbers of the chosen pictures. */
  get chosen() {
    return this.#shots.filter((shot) => shot.chosen).map((shot) => shot.picture.id);
  }

  get count() {
    return this.#shots.length;
  }

  /** The first chosen picture, or the first one; undefined if there is none. */
  get example() {
    return (this.#shots.find((shot) => shot.chosen) ?? this.#shots[0])?.picture;
  }

  clear() {
    for (const shot of this.#shots) shot.close();
    this.#shots = [];
    this.#last = null;
    this.element.replaceChildren();
    this.#onChange();
  }

  /** `note(picture)` is the line under each. */
  add(pictures, note = noteOf) {
    for (const picture of pictures) {
      const shot = new Shot(picture, note(picture), (event) => this.#choose(shot, event));
      this.#shots.push(shot);
      this.element.append(shot.element);
    }
    this.#onChange();
  }

  choose(chosen) {
    for (const shot of this.#shots) shot.chosen = chosen;
    this.#onChange();
  }

  /** Show the class that the chosen pictures have now, and choose none. */
  named(name) {
    for (const shot of this.#shots.filter((one) => one.chosen)) shot.name = name;
    this.choose(false);
  }

  /** Take the chosen pictures off the grid. */
  drop() {
    for (const shot of this.#shots.filter((one) => one.chosen)) {
      shot.close();
      shot.element.remove();
    }
    this.#shots = this.#shots.filter((shot) => !shot.chosen);
    this.#onChange();
  }

  #choose(shot, event) {
    const from = this.#shots.indexOf(this.#last);
    const to = this.#shots.indexOf(shot);
    shot.chosen = !shot.chosen;
    if (event.shiftKey && from >= 0) {
      for (const one of this.#shots.slice(Math.min(from, to), Math.max(from, to) + 1)) {
        one.chosen = shot.chosen;
      }
    }
    this.#last = shot;
    this.#onChange();
  }

  #move(event) {
    const at = this.#shots.findIndex((shot) => shot.button === document.activeElement);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1 }[event.key] ?? this.#byRow(at, event.key);
    if (at < 0 || next === null || !this.#shots[next]) return;
    event.preventDefault();
    this.#shots[next].button.focus();
  }

  /** The place in the row below or above, or null for another key. */
  #byRow(at, key) {
    if (key !== "ArrowDown" && key !== "ArrowUp") return null;
    const top = this.#shots[0]?.element.offsetTop;
    const columns = this.#shots.filter((shot) => shot.element.offsetTop === top).length;
    return key === "ArrowDown" ? at + columns : at - columns;
  }
}

class Shot {
  #url;
  #mark = el("span", { class: "mark", dir: "auto" });

  constructor(picture, note, onClick) {
    this.picture = picture;
    this.#url = URL.createObjectURL(new Blob([picture.small], { type: "image/jpeg" }));
    const image = el("img", { alt: "", src: this.#url, loading: "lazy" });
    const line = el("span", { class: "note muted", dir: "auto" }, note);
    this.button = el(
      "button",
      { type: "button", class: "shot", "aria-pressed": "false" },
      image,
      this.#mark,
      line,
    );
    this.button.addEventListener("click", onClick);
    this.element = el("li", {}, this.button);
    this.name = picture.name;
  }

  get chosen() {
    return this.button.getAttribute("aria-pressed") === "true";
  }

  set chosen(chosen) {
    this.button.setAttribute("aria-pressed", String(chosen));
  }

  set name(name) {
    setText(this.#mark, name);
    this.#mark.hidden = name === "";
  }

  close() {
    URL.revokeObjectURL(this.#url);
  }
}

function noteOf({ at, label, confidence }) {
  const said = label === "" ? "no label" : `${label} ${confidence === null ? "" : percent(confidence)}`;
  return `${clock(at)} ${said}`;
}
