// The pictures that are kept, by camera, and where to teach from them; hidden while none are.

import { Children, el, setText } from "../dom.js";
import { count } from "../text.js";

const MIB = 2 ** 20;

export class CollectedView {
  #root;
  #client;
  #text = el("p", { class: "muted" });
  #problem = el("p", { class: "notice warn", hidden: "" });
  #list = el("ul", { class: "collected-cameras" });
  #children;

  /** `onTeach(camera)` opens the dialog. */
  constructor(root, client, onTeach) {
    this.#root = root;
    this.#client = client;
    root.append(el("h2", { id: "collected-title" }, "Teaching"), this.#text, this.#problem, this.#list);
    this.#children = new Children(this.#list, (name) => new Row(name, onTeach));
  }

  update() {
    const { state } = this.#client;
    this.#root.hidden = state === null;
    if (state === null) return;
    const mib = Math.ceil(state.size / MIB);
    setText(
      this.#text,
      `Pictures are kept on the hub and nowhere else: of each camera the last ${state.last} and the ${state.leastCertain} least certain, for ${state.maxDays} days, ${mib} of at most ${state.maxMib} MiB.`,
    );
    const cannot = state.canFit ? "" : "Heads cannot be fitted there: the extra teach is not installed.";
    setText(this.#problem, state.problem || cannot);
    this.#problem.hidden = this.#problem.textContent === "";
    this.#children.update([...state.cameras]);
  }
}

class Row {
  #count = el("span", { class: "figure muted" });

  constructor(name, onTeach) {
    const button = el("button", { type: "button", "data-camera": name }, "Teach");
    button.addEventListener("click", () => onTeach(name));
    const title = el("span", { dir: "auto", class: "name" }, name);
    this.element = el("li", {}, title, this.#count, button);
  }

  update(kept) {
    setText(this.#count, `${count(kept)} pictures`);
  }
}
