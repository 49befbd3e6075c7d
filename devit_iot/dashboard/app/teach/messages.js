// What the process that collects pictures says: docs/protocol.md, section 18. Checked, then frozen.

import { Fields, object, Refused } from "../messages.js";

const MAX_ANSWER = 4 * 2 ** 20;
const MAX_LIST = 64;
const MAX_CAMERAS = 1000;
const MAX_CLASSES = 1000;
const MAX_SMALL = 2 ** 20;

/** Read the retained state; throws Refused. */
export function readState(payload, limits) {
  if (payload.length > limits.json_bytes) throw new Refused("too_large", `${payload.length} bytes`);
  const read = fields(payload, limits);
  return Object.freeze({
    collecting: read.flag("collecting"),
    cameras: new Map(Object.entries(read.counts("cameras")).slice(0, MAX_CAMERAS)),
    size: read.count("size"),
    last: read.count("last"),
    leastCertain: read.count("least_certain"),
    maxMib: read.count("max_mib"),
    maxDays: read.count("max_days"),
    canFit: read.maybe("can_fit", (value) => value === true) === true,
    problem: read.text("problem", ""),
  });
}

/** Read an answer; throws Refused. */
export function readAnswer(payload, limits) {
  if (payload.length > MAX_ANSWER) throw new Refused("too_large", `${payload.length} bytes`);
  const read = fields(payload, limits);
  return Object.freeze({
    id: read.match("id", /^[0-9a-f]{8}$/),
    error: read.text("error", ""),
    pictures: read.list("pictures", MAX_LIST, []).map((entry) => picture(entry, limits)),
    more: read.maybe("more", (value) => value === true) === true,
    classes: new Map(Object.entries(read.counts("classes")).slice(0, MAX_CLASSES)),
    accuracy: read.number("accuracy", 0),
    measured: read.count("measured"),
    unknown: read.number("unknown", 0),
    fitted: read.list("fitted", MAX_CLASSES, []).map((entry) => {
      const one = new Fields(object(entry, "fitted"), limits.text);
      return { name: one.text("name"), images: one.count("images"), recall: one.share("recall") };
    }),
    version: read.text("version", ""),
    note: read.text("note", ""),
  });
}

function picture(entry, limits) {
  const read = new Fields(object(entry, "pictures"), limits.text);
  return Object.freeze({
    id: read.whole("id", Number.MAX_SAFE_INTEGER),
    at: read.number("at_ms"),
    label: read.text("label", ""),
    confidence: read.maybe("confidence", (value) => (typeof value === "number" ? value : null)),
    name: read.text("name", ""),
    given: read.text("given", ""),
    small: bytes(read.text("small", "", MAX_SMALL)),
  });
}

/** The bytes of base64; throws Refused. */
function bytes(text) {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw new Refused("base64", "a picture does not parse");
  }
}

function fields(payload, limits) {
  let value;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch {
    throw new Refused("json", "does not parse");
  }
  return new Fields(object(value, "message"), limits.text);
}
