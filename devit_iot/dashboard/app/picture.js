// From the payload of an image message to a file that the browser may decode: docs/protocol.md,
// section 4. The size in its header is read first, because a small file can unpack to gigabytes.

import { Refused } from "./messages.js";

const START = 64;
const SPACE = new Set([0x20, 0x09, 0x0a, 0x0b, 0x0c, 0x0d]);
const KEYS = ["image", "imagebase64", "data"];
const BASE64 = /^[A-Za-z0-9+/=\-_\r\n\t ]*$/;

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
  let from = 0;
  while (from < Math.min(START, payload.length) && SPACE.has(payload[from])) from += 1;
  const start = latin(payload.subarray(from, START));
  if (start.startsWith("{")) return fromBase64(fromJson(payload));
  if (start.startsWith("data:") || BASE64.test(start)) return fromBase64(latin(payload));
  return payload;
}

function fromJson(payload) {
  let fields;
  try {
    fields = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch {
    throw new Refused("json", "does not parse");
  }
  const key = KEYS.find((name) => typeof fields[name] === "string");
  if (key === undefined) throw new Refused("json", `none of ${KEYS.join(", ")} is a text`);
  return fields[key];
}

function fromBase64(text) {
  const trimmed = text.replace(/^[ \t\n\v\f\r]+/, "");
  const data = trimmed.startsWith("data:") ? trimmed.replace(/^[^,]*,?/, "") : trimmed;
  const plain = data.replace(/[ \t\r\n]/g, "").replaceAll("-", "+").replaceAll("_", "/");
  if (plain.length % 4 !== 0) throw new Refused("base64", "does not parse");
  try {
    return Uint8Array.from(atob(plain), (character) => character.charCodeAt(0));
  } catch {
    throw new Refused("base64", "does not parse");
  }
}

/** One character for each byte, without a limit of length. */
function latin(bytes) {
  const parts = [];
  for (let at = 0; at < bytes.length; at += 8192) {
    parts.push(String.fromCharCode(...bytes.subarray(at, at + 8192)));
  }
  return parts.join("");
}

function typeOf(bytes) {
  const is = (text, at) => latin(bytes.subarray(at, at + text.length)) === text;
  if (is("\xff\xd8\xff", 0)) return "image/jpeg";
  if (is("\x89PNG\r\n\x1a\n", 0)) return "image/png";
  if (is("RIFF", 0) && is("WEBP", 8)) return "image/webp";
  throw new Refused("unknown_codec", "neither JPEG, PNG nor WebP");
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

/** Of the first frame header, a marker from C0 to CF but for C4 (tables), C8 and CC. */
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

/** Of the first chunk: lossy, lossless or extended. */
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
