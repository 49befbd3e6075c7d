// One card for each camera: the picture, its label, how sure the fleet is, and which parts it used.

import { Children, el, setAttribute, setText } from "../dom.js";
import { missingParts } from "../fleet.js";
import { readPicture } from "../picture.js";
import { ago, duration, partNames, percent } from "../text.js";
import { HeadLines } from "./heads.js";
import { icon } from "./icons.js";
import { PartChips } from "./parts.js";

const SMALL = 160; // pixels; smaller pictures are enlarged without blur

export class CamerasView {
  #children;
  #empty;

  constructor(root, empty, maxPixels, onRefused) {
    this.#empty = empty;
    this.#children = new Children(root, (name) => new CameraCard(name, maxPixels, onRefused));
  }

  update(fleet, now) {
    const cameras = [...fleet.cameras].sort(([one], [two]) => one.localeCompare(two));
    this.#children.update(cameras.map(([name, camera]) => [name, { camera, now }]));
    this.#empty.hidden = cameras.length > 0;
  }
}

class CameraCard {
  #frame;
  #label = el("p", { class: "label", dir: "auto" });
  #badge = el("p", { class: "badge warn", hidden: "" }, icon("warn"), "Degraded");
  #fill = el("span", { class: "fill" });
  #confidence = el("span", { class: "figure" });
  #chips = new PartChips();
  #parts = el("span", { class: "muted" });
  #age = el("span", { class: "muted" });
  #latency = el("span", { class: "muted figure" });
  #others = el("ol", { class: "others" });
  #details = el("details", {}, el("summary", {}, "Other guesses"), this.#others);
  #heads = new HeadLines();
  #verdict;

  constructor(name, maxPixels, onRefused) {
    this.#frame = new PictureFrame(name, maxPixels, onRefused);
    const title = el("h3", { dir: "auto", title: name }, name);
    this.#verdict = el(
      "div",
      { class: "verdict" },
      el("div", { class: "confidence" }, el("span", { class: "bar" }, this.#fill), this.#confidence),
      el("div", { class: "used" }, this.#chips.element, this.#parts),
      this.#details,
    );
    this.element = el(
      "article",
      { class: "card camera" },
      el("div", { class: "picture" }, this.#frame.element, this.#badge),
      el(
        "div",
        { class: "facts" },
        el("div", { class: "line" }, title, this.#age),
        el("div", { class: "line" }, this.#label, this.#latency),
        this.#heads.element,
        this.#verdict,
      ),
    );
  }

  update({ camera, now }) {
    const { picture, label, at } = camera.choose(now);
    this.#frame.show(picture, label ? "This label's picture was not seen here." : "No picture yet.");
    const old = label !== null && camera.retained && label === camera.label;
    setText(this.#age, old ? "before this page was open" : ago(now - at));
    setText(this.#label, label?.label ?? "No label");
    this.#label.title = label?.label ?? "";
    this.#label.classList.toggle("none", label === null);
    this.#heads.update(camera.heads, now);
    this.#verdict.hidden = label === null;
    this.#badge.hidden = !label?.degraded;
    this.element.classList.toggle("degraded", Boolean(label?.degraded));
    setText(this.#latency, label ? duration(spent(label)) : "");
    if (label) this.#judge(label);
  }

  close() {
    this.#frame.close();
  }

  #judge(label) {
    this.#fill.style.width = `${100 * label.confidence}%`;
    setText(this.#confidence, percent(label.confidence));
    this.#chips.update(label.parts, label.partsUsed);
    const missing = missingParts(label);
    const used = `${label.partsUsed.length} of ${label.parts} parts`;
    setText(this.#parts, missing.length ? `${used}: ${partNames(missing)} missing` : used);
    const others = label.top.slice(1);
    this.#details.hidden = others.length === 0;
    if (!this.#details.open && this.#others.childElementCount === others.length) return;
    this.#others.replaceChildren(
      ...others.map((entry) =>
        el(
          "li",
          {},
          el("span", { dir: "auto", title: entry.label }, entry.label),
          el("span", { class: "figure muted" }, percent(entry.confidence)),
        ),
      ),
    );
  }
}

/** Time in the part that answered last, and in the aggregator; `collect` runs meanwhile. */
export function spent({ latency }) {
  return latency.wait + latency.decode + latency.compute + latency.fuse;
}

/** The picture itself. Holds one blob URL at most. */
class PictureFrame {
  #image;
  #note = el("p", { class: "note muted" });
  #shown = undefined;
  #url = null;
  #maxPixels;
  #onRefused;

  constructor(name, maxPixels, onRefused) {
    this.#maxPixels = maxPixels;
    this.#onRefused = onRefused;
    this.#image = el("img", { alt: `What camera ${name} saw`, hidden: "" });
    this.#image.addEventListener("error", () => this.#blank("This picture does not decode."));
    this.element = el("div", { class: "frame" }, this.#image, this.#note);
  }

  /** A picture, or if it is null `instead` of it. */
  show(picture, instead) {
    if (picture === null) this.#blank(instead);
    if (picture === this.#shown) return;
    this.#shown = picture;
    if (picture === null) return;
    try {
      const { bytes, type, width, height } = readPicture(picture.payload, this.#maxPixels);
      this.close();
      this.#url = URL.createObjectURL(new Blob([bytes], { type }));
      this.#image.src = this.#url;
      this.#image.hidden = false;
      this.#note.hidden = true;
      setAttribute(this.#image, "class", Math.max(width, height) < SMALL ? "small" : null);
    } catch (error) {
      if (error.reason === undefined) throw error;
      this.#onRefused(error.reason);
      this.#blank(`This picture is not shown: ${error.message}.`);
    }
  }

  close() {
    if (this.#url !== null) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }

  #blank(text) {
    this.close();
    this.#image.hidden = true;
    this.#image.removeAttribute("src");
    this.#note.hidden = false;
    setText(this.#note, text);
  }
}
