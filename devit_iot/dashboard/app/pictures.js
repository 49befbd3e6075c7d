// The last pictures of one camera, and which of them a label is about.
//
// The fleet drops images when it is behind, and the page draws fewer than come in. So a picture is
// found by its label's request id: the last level of its topic, or BLAKE2b of topic and payload
// (docs/protocol.md, section 5), computed only for pictures that a label may mean.

import { blake2b } from "../vendor/noble-hashes/blake2.js";

const MAX_PICTURES = 32;
const MAX_BYTES = 8 * 2 ** 20;
const MAX_HASHED = 2 ** 20; // larger ones are taken for the label that comes next

const encoder = new TextEncoder();

/** Keeps the newest pictures: at most 32, and at most 8 MiB of them. */
export class Pictures {
  #kept = []; // oldest first
  #bytes = 0;

  /** False if the payload alone is over the limit. */
  add(topic, payload, requestId, at, retained) {
    if (payload.length > MAX_BYTES) return false;
    this.#kept.push({ topic, payload, requestId, at, retained });
    this.#bytes += payload.length;
    while (this.#kept.length > MAX_PICTURES || this.#bytes > MAX_BYTES) {
      this.#bytes -= this.#kept.shift().payload.length;
    }
    return true;
  }

  /** The newest one that was not retained, or undefined. */
  get newest() {
    return this.#kept.findLast((picture) => !picture.retained);
  }

  /** The picture that a label which came at `at` is about, or undefined. */
  find(requestId, at) {
    return this.#kept.findLast(
      (picture) =>
        picture.at <= at &&
        (picture.requestId === null && picture.payload.length > MAX_HASHED
          ? !picture.retained
          : idOf(picture) === requestId),
    );
  }

  clear() {
    this.#kept = [];
    this.#bytes = 0;
  }
}

function idOf(picture) {
  if (picture.requestId === null) {
    const hash = blake2b.create({ dkLen: 16 });
    hash.update(encoder.encode(`${picture.topic}\0`)).update(picture.payload);
    picture.requestId = Array.from(hash.digest(), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }
  return picture.requestId;
}
