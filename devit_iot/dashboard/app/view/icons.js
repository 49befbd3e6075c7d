// Signs that say by their shape what colours say too.

import { svg } from "../dom.js";

const PATHS = {
  good: "M3 8.5l3.2 3.2L13 4.8",
  bad: "M4 4l8 8M12 4l-8 8",
  warn: "M8 2.2L14.6 13.6H1.4zM8 6.2v3.6M8 11.6v.4",
  info: "M8 1.8a6.2 6.2 0 100 12.4A6.2 6.2 0 008 1.8zM8 7.2v4M8 4.6v.4",
};

/** An icon of 16 x 16 for text beside it, which says the same. */
export function icon(kind) {
  return svg(
    "svg",
    { class: `icon ${kind}`, viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
    svg("path", { d: PATHS[kind] }),
  );
}
