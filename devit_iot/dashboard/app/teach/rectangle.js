// The rectangle that a head looks at: drawn over a picture, or written as numbers, and said as TOML.
//
// The configuration is a file on the hub, which no message changes: so the page says what to put there.

import { el, setAttribute, setText, svg } from "../dom.js";

const LEAST = 0.01; // docs/protocol.md, section 15: a hundredth of a side
const BARE = /^[A-Za-z0-9_-]+$/;
const SIDES = [
  ["x", "Left"],
  ["y", "Top"],
  ["w", "Width"],
  ["h", "Height"],
];

export class Rectangle {
  #box = { x: 0, y: 0, w: 1, h: 1 };
  #camera = "";
  #head = "";
  #url = "";
  #from = null;
  #image = el("img", { alt: "", draggable: "false" });
  #shade = svg("path", { "fill-rule": "evenodd" });
  #stage;
  #fields = new Map();
  #text = el("textarea", { readonly: "", rows: "8", spellcheck: "false", "aria-label": "Text for the configuration" });
  #copied = el("span", { class: "muted", role: "status" });

  constructor(element) {
    const over = svg("svg", { viewBox: "0 0 1 1", preserveAspectRatio: "none", "aria-hidden": "true" }, this.#shade);
    this.#stage = el("div", { class: "rectangle-stage" }, this.#image, over);
    const copy = el("button", { type: "button" }, "Copy");
    copy.addEventListener("click", () => this.#copy());
    element.append(
      el("p", {}, "Draw over the picture, with the mouse or a finger, what the head shall look at; or write it, as shares of the picture."),
      this.#stage,
      el("div", { class: "teach-bar" }, ...SIDES.map(([key, name]) => this.#field(key, name))),
      el("p", {}, "This page cannot set it: put the text into the aggregators' configuration, and restart them. A head that is fitted here learned from whole pictures; one for the rectangle is taught with the command."),
      this.#text,
      el("div", { class: "teach-bar" }, copy, this.#copied),
    );
    this.#stage.addEventListener("pointerdown", (event) => this.#begin(event));
    this.#stage.addEventListener("pointermove", (event) => this.#draw(event));
    for (const end of ["pointerup", "pointercancel"]) {
      this.#stage.addEventListener(end, () => (this.#from = null));
    }
    this.#show();
  }

  /** Draw for a head of a camera, over `small`, the bytes of a JPEG, if there is one. */
  over(camera, head, small) {
    this.close();
    this.#camera = camera;
    this.#head = head;
    if (small) this.#url = URL.createObjectURL(new Blob([small], { type: "image/jpeg" }));
    setAttribute(this.#image, "src", this.#url || null);
    setAttribute(this.#image, "alt", `A picture of ${camera}`);
    this.#stage.hidden = !this.#url;
    this.#show();
  }

  close() {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = "";
    this.#from = null;
  }

  #field(key, name) {
    const input = el("input", { type: "number", min: "0", max: "1", step: "0.01", inputmode: "decimal" });
    input.addEventListener("change", () => {
      const value = Number(input.value);
      if (Number.isFinite(value)) this.#box = within({ ...this.#box, [key]: value });
      this.#show();
    });
    this.#fields.set(key, input);
    return el("label", {}, name, input);
  }

  #begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.#stage.setPointerCapture(event.pointerId);
    this.#from = this.#place(event);
  }

  #draw(event) {
    if (this.#from === null) return;
    const [x, y] = this.#place(event);
    const [left, top] = this.#from;
    this.#box = within({
      x: Math.min(x, left),
      y: Math.min(y, top),
      w: Math.abs(x - left),
      h: Math.abs(y - top),
    });
    this.#show();
  }

  /** Where the pointer is, as shares of the picture. */
  #place(event) {
    const { left, top, width, height } = this.#stage.getBoundingClientRect();
    return [inside((event.clientX - left) / width), inside((event.clientY - top) / height)];
  }

  #show() {
    const { x, y, w, h } = this.#box;
    this.#shade.setAttribute("d", `M0 0H1V1H0Z M${x} ${y}h${w}v${h}h${-w}Z`);
    for (const [key, input] of this.#fields) input.value = String(this.#box[key]);
    this.#text.value = textOf(this.#camera, this.#head, this.#box);
    setText(this.#copied, "");
  }

  async #copy() {
    this.#text.select();
    try {
      await navigator.clipboard.writeText(this.#text.value);
      setText(this.#copied, "Copied.");
    } catch {
      // Browsers have no clipboard for pages without TLS, but for what a person selects.
      setText(this.#copied, "Selected: press Ctrl and C.");
    }
  }
}

/** The rectangle with three decimals, within the picture, no side under a hundredth. */
function within({ x, y, w, h }) {
  const left = Math.min(rounded(x), 1 - LEAST);
  const top = Math.min(rounded(y), 1 - LEAST);
  return {
    x: left,
    y: top,
    w: rounded(Math.min(Math.max(w, LEAST), 1 - left)),
    h: rounded(Math.min(Math.max(h, LEAST), 1 - top)),
  };
}

function rounded(share) {
  return Math.round(inside(share) * 1000) / 1000;
}

function inside(share) {
  return Math.min(Math.max(share, 0), 1);
}

function textOf(camera, head, { x, y, w, h }) {
  return [
    `[crops.${quoted(camera)}.${quoted(head)}]`,
    ...Object.entries({ x, y, w, h }).map(([key, value]) => `${key} = ${value.toFixed(3)}`),
    "",
    `# devit teach BUNDLE --data photos/ --name ${BARE.test(head) ? head : "NAME"} --crop ${[x, y, w, h].join(",")}`,
  ].join("\n");
}

/** A key of TOML. */
function quoted(key) {
  return BARE.test(key) ? key : JSON.stringify(key);
}
