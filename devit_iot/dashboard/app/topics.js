// Image topics in the notation of the configuration; the rules are docs/protocol.md, section 3.

import { Refused } from "./messages.js";
import { isCamera } from "./text.js";

const CAMERA = "{camera}";
const REQUEST = "{request}";
const WILD = new Set([CAMERA, REQUEST, "+", "#"]);
const REQUEST_ID = /^[0-9a-f]{32}$/;

/** One image filter: `filter` is what to subscribe to. */
export class ImageFilter {
  #levels;
  #sources;

  constructor({ pattern, filter }) {
    this.filter = filter;
    this.#levels = pattern.split("/");
    this.#sources = new Set(this.#levels.includes(CAMERA) ? [CAMERA] : ["+", "#"]);
  }

  /**
   * {camera, requestId} of an image on `topic`, requestId null if the topic names none; null if the
   * topic does not match. Throws Refused for an unusable camera or request id.
   */
  match(topic, limits) {
    const parts = topic.split("/");
    let levels = this.#levels;
    if (levels.at(-1) === "#") {
      if (parts.length < levels.length - 1) return null;
      const rest = Array(parts.length - levels.length + 1).fill("#");
      levels = [...levels.slice(0, -1), ...rest];
    }
    const fits = (level, index) => WILD.has(level) || level === parts[index];
    if (parts.length !== levels.length || !levels.every(fits)) return null;

    const chosen = parts.filter((_, index) => this.#sources.has(levels[index]));
    let requestId = null;
    if (levels.at(-1) === REQUEST) {
      requestId = parts.at(-1);
      if (!REQUEST_ID.test(requestId)) throw new Refused("request_id", "no request id in the topic");
    }
    const camera = (chosen.length ? chosen : parts).join("-");
    if (!isCamera(camera, limits)) throw new Refused("camera", "no usable camera in the topic");
    return { camera, requestId };
  }
}
