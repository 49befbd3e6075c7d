// From the payload of an image message to a file that the browser may decode: docs/protocol.md,
// section 4. The size in its header is read first, because a small file can unpack to gigabytes.

import { Refused } from "./messages.js";

const START = 64;
const WHITE = /^[ \t\n\v\f\r]+/;
const KEYS = ["image", "imagebase64", "data"];
const BASE64 = /^[A-Za-z0-9+/=\-_\\ \t\n\v\f\r]*$/;
const QUOTED = /^b?(["'])/;
// Numbers that JSON has not.
const NO_NUMBER = /([:[,]\s*)[-+]?(?:nan|inf(?:inity)?)(?=\s*[,}\]])/gi;
const MAX_NO_NUMBERS = 1000;

/** {bytes, type, width, height} of an image message; throws Refused. */
export function readPicture(payload, maxPixels) {
  const bytes = unwrap(payload);
  const type = typeOf(bytes);
  const [width, height] = sizeOf(bytes, type);
  if (width * height > maxPixels) throw new Refused("too_large", `${width} x ${height} pixels`);
  return { bytes, type, width, height };
}

/** The image file in a message: raw, as base64 text, or in a JSON object. */
export function unwrap(payload) {
  if (payload.length === 0) throw new Refused("empty", "empty payload");
  if (kindOf(payload) !== null) return payload;
  const text = textOf(payload);
  const start = text.slice(0, START).replace(WHITE, "");
  if (start.startsWith("{")) return fromJson(untilNul(text));
  const bare = unquoted(start);
  if (isDataUrl(bare) || BASE64.test(bare)) return fromBase64(untilNul(text));
  return payload;
}

/** One character for each byte of UTF-8, without the mark that Windows puts before text. */
function textOf(payload) {
  const mark = latin(payload.subarray(0, 3));
  for (const [start, name] of [["\xff\xfe", "utf-16le"], ["\xfe\xff", "utf-16be"]]) {
    if (mark.startsWith(start)) {
      try {
        const text = new TextDecoder(name, { fatal: true }).decode(payload);
        return latin(new TextEncoder().encode(text));
      } catch {
        return latin(payload);
      }
    }
  }
  return latin(mark === "\xef\xbb\xbf" ? payload.subarray(3) : payload);
}

/** `text` without the end of a C string and the rest of the buffer behind it. */
function untilNul(text) {
  return text.split("\0", 1)[0];
}

/** `text` without the quotes of JSON, or those that Python puts around bytes. */
function unquoted(text) {
  const found = QUOTED.exec(text);
  if (found === null) return text;
  const inside = text.slice(found[0].length);
  return inside.endsWith(found[1]) ? inside.slice(0, -1) : inside;
}

function isDataUrl(start) {
  return /^data:|;base64,/i.test(start);
}

/** The picture of the first field that holds one. */
function fromJson(text) {
  const fields = parsed(text);
  const problems = [];
  for (const key of KEYS.filter((name) => typeof fields[name] === "string")) {
    try {
      return fromBase64(fields[key]);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      problems.push(error);
    }
  }
  if (problems.length === 0) throw new Refused("json", `none of ${KEYS.join(", ")} is a text`);
  throw problems.find((problem) => problem.reason !== "empty") ?? problems[0];
}

/** The JSON object, also one with line breaks inside strings, NaN or infinity. */
function parsed(text) {
  try {
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    const json = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    try {
      return JSON.parse(json);
    } catch {
      let left = MAX_NO_NUMBERS;
      const mended = json.replace(/[\r\n\t]/g, "").replace(NO_NUMBER, (all, before) => {
        left -= 1;
        return left < 0 ? all : `${before}null`;
      });
      return JSON.parse(mended);
    }
  } catch {
    throw new Refused("json", "does not parse");
  }
}

function fromBase64(text) {
  const bare = unquoted(text.trim()).trim();
  const plain = (isDataUrl(bare.slice(0, START)) ? afterHead(bare) : bare)
    .replace(/\\\//g, "/")
    .replace(/\\[nr]|[ \t\n\v\f\r]/g, "")
    .replaceAll("-", "+")
    .replaceAll("_", "/");
  let end = plain.length;
  while (plain[end - 1] === "=") end -= 1;
  const body = plain.slice(0, end);
  if (body === "") throw new Refused("empty", "holds no image");
  if (/[^A-Za-z0-9+/]/.test(body) || body.length % 4 === 1) {
    throw new Refused("base64", "does not parse");
  }
  const file = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
  if (kindOf(file) === null) throw new Refused("unknown_codec", "neither JPEG, PNG nor WebP");
  return file;
}

/** What follows the head of a data URL, without its percent signs. */
function afterHead(url) {
  const signs = { "2b": "+", "2f": "/", "3d": "=", "0d": "", "0a": "" };
  const data = url.replace(/^[^,]*,?/, "");
  return data.replace(/%(2b|2f|3d|0d|0a)/gi, (_, code) => signs[code.toLowerCase()]);
}

/** One character for each byte, without a limit of length. */
function latin(bytes) {
  const parts = [];
  for (let at = 0; at < bytes.length; at += 8192) {
    parts.push(String.fromCharCode(...bytes.subarray(at, at + 8192)));
  }
  return parts.join("");
}

/** The media type by the file's first bytes, or null. */
function kindOf(bytes) {
  const is = (text, at) => latin(bytes.subarray(at, at + text.length)) === text;
  if (is("\xff\xd8\xff", 0)) return "image/jpeg";
  if (is("\x89PNG\r\n\x1a\n", 0)) return "image/png";
  if (is("RIFF", 0) && is("WEBP", 8)) return "image/webp";
  return null;
}

function typeOf(bytes) {
  const kind = kindOf(bytes);
  if (kind === null) throw new Refused("unknown_codec", "neither JPEG, PNG nor WebP");
  return kind;
}

/** [width, height] as the file's header states it. */
function sizeOf(bytes, type) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (type === "image/png") return [view.getUint32(16), view.getUint32(20)];
    return type === "image/jpeg" ? jpegSize(view) : webpSize(view);
  } catch (error) {
    if (error instanceof RangeError) throw new Refused("damaged", "the file ends in its header");
    throw error;
  }
}

/** The size in the first frame header, a marker from C0 to CF but for C4 (tables), C8 and CC. */
function jpegSize(view) {
  let at = 2;
  for (;;) {
    while (view.getUint8(at) !== 0xff) at += 1;
    while (view.getUint8(at) === 0xff) at += 1;
    const marker = view.getUint8(at);
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return [view.getUint16(at + 6), view.getUint16(at + 4)];
    }
    at += 1 + (isBare(marker) ? 0 : view.getUint16(at + 1));
  }
}

/** Whether a marker stands alone, without a length: 00, 01, restarts, start of image. */
function isBare(marker) {
  return marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8);
}

/** The size in the first chunk: lossy, lossless or extended. */
function webpSize(view) {
  const u24 = (at) => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
  switch (view.getUint8(15)) {
    case 0x20: // "VP8 "
      return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
    case 0x4c: { // "VP8L"
      const bits = view.getUint32(21, true);
      return [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
    }
    case 0x58: // "VP8X"
      return [u24(24) + 1, u24(27) + 1];
    default:
      throw new Refused("damaged", "no WebP chunk that has a size");
  }
}
