// The messages that the page reads, as docs/protocol.md has them: checked, then frozen.
// Whatever is not as documented throws Refused; unknown fields are skipped.

import { isPlain } from "./text.js";

/** A message that is not what the protocol says; `reason` is one of a few short words. */
export class Refused extends Error {
  constructor(reason, message) {
    super(message);
    this.reason = reason;
  }
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const REQUEST = /^[0-9a-f]{32}$/;
const UPDATE_STATE =
  /^(?:CREATED|DOWNLOAD(?:ING|ED)|INSTALL(?:ING|ED)|ACTIVAT(?:ING|ED)|TERMINATED)$/;
const MAX_PARTS = 65535;
const MAX_KEYS = 1000;

export const STAGES = ["wait", "decode", "compute", "collect", "fuse"];

/** Reads labels, states and statuses within the `limits` that the server states. */
export class Reader {
  #limits;
  #decoder = new TextDecoder("utf-8", { fatal: true });

  constructor(limits) {
    this.#limits = limits;
  }

  label(payload) {
    const read = this.#fields(payload);
    const parts = read.whole("parts", MAX_PARTS);
    const used = read.list("parts_used", MAX_PARTS).map((part) => whole(part, parts - 1, "part"));
    return Object.freeze({
      requestId: read.match("request_id", REQUEST),
      camera: read.text("camera"),
      label: read.text("label"),
      confidence: read.share("confidence"),
      top: read.list("top5", 5).map((entry) => {
        const ranked = new Fields(object(entry, "top5"), this.#limits.text);
        return Object.freeze({ label: ranked.text("label"), confidence: ranked.share("confidence") });
      }),
      partsUsed: Object.freeze([...new Set(used)].sort((a, b) => a - b)),
      parts,
      degraded: read.flag("degraded"),
      head: read.text("head", "default"),
      latency: Object.freeze(read.times("latency_ms")),
    });
  }

  state(payload) {
    const read = this.#fields(payload);
    const since = Date.parse(read.text("since"));
    if (!Number.isFinite(since)) throw new Refused("json", "since is no moment");
    return Object.freeze({
      camera: read.text("camera"),
      head: read.text("head"),
      state: read.text("state"),
      before: read.text("before", ""),
      since,
    });
  }

  node(payload) {
    const read = this.#fields(payload);
    return Object.freeze({
      ...status(read),
      name: read.match("node", NAME),
      part: read.whole("part", MAX_PARTS),
      replica: read.text("replica", "0/1"),
      engine: read.text("engine", ""),
      machine: read.text("machine", ""),
      received: read.count("received"),
      published: read.count("published"),
      dropped: read.count("dropped"),
      lost: read.count("lost"),
      decodeMs: read.number("decode_ms", 0),
      computeMs: read.number("compute_ms", 0),
      temperature: read.maybe("temperature_c", (value) => number(value, "temperature_c")),
      throttled: read.maybe("throttled", (value) => flag(value, "throttled")),
      drops: Object.freeze(read.drops("drops")),
      replicas: read.count("replicas"),
      energy: read.number("energy_j", 0),
      energyFrom: read.match("energy_from", /^(?:rapl|pmic|stated)?$/, ""),
    });
  }

  /** What the hub says of the fleet's releases. */
  hub(payload) {
    const read = this.#fields(payload);
    return Object.freeze({
      state: read.match("state", /^(?:online|offline)$/),
      installed: read.text("installed_version", ""),
      latest: read.text("latest_version", ""),
      inProgress: read.maybe("in_progress", (value) => flag(value, "in_progress")) ?? false,
      percentage: read.maybe("update_percentage", (value) => whole(value, 100, "update_percentage")),
      summary: read.text("release_summary", ""),
      paused: read.maybe("paused", (value) => flag(value, "paused")) ?? false,
    });
  }

  /** How far a node is with a release. */
  update(payload) {
    const read = this.#fields(payload);
    return Object.freeze({
      release: read.count("release"),
      state: read.match("state", UPDATE_STATE),
      part: read.maybe("part", (value) => whole(value, MAX_PARTS, "part")),
      progress: Math.min(1, Math.max(0, read.number("progress", 0))),
      error: read.text("error", ""),
      serving: read.count("serving"),
      trial: read.maybe("trial", (value) => flag(value, "trial")) ?? false,
    });
  }

  aggregator(payload) {
    const read = this.#fields(payload);
    return Object.freeze({
      ...status(read),
      shard: read.text("shard"),
      labels: read.count("labels"),
      degraded: read.count("degraded"),
      late: read.count("late"),
      dropped: read.count("dropped"),
      unanswered: read.count("unanswered"),
      partsOnline: Object.freeze(
        read.list("parts_online", MAX_PARTS, []).map((part) => whole(part, MAX_PARTS, "part")),
      ),
      deadline: read.number("deadline_s", 0),
    });
  }

  #fields(payload) {
    if (payload.length > this.#limits.json_bytes) {
      throw new Refused("too_large", `${payload.length} bytes`);
    }
    let value;
    try {
      value = JSON.parse(this.#decoder.decode(payload));
    } catch {
      throw new Refused("json", "does not parse");
    }
    return new Fields(object(value, "message"), this.#limits.text);
  }
}

/** What both statuses share. */
function status(read) {
  return {
    state: read.match("state", /^(?:online|offline)$/),
    fingerprint: read.text("fingerprint"),
    parts: read.whole("parts", MAX_PARTS),
    version: read.text("version", ""),
    uptime: read.number("uptime_s", 0),
    refused: Object.values(read.counts("refused")).reduce((sum, value) => sum + value, 0),
    problem: read.text("problem", ""),
  };
}

/** Typed access to one JSON object. A method with a default takes it for a missing field. */
export class Fields {
  #object;
  #limit;

  constructor(fields, limit) {
    this.#object = fields;
    this.#limit = limit;
  }

  text(name, missing, limit = this.#limit) {
    const value = this.#take(name, missing);
    if (typeof value !== "string" || !isPlain(value, limit)) {
      throw new Refused("text", `${name} is no plain text`);
    }
    return value;
  }

  match(name, pattern, missing) {
    const value = this.text(name, missing);
    if (!pattern.test(value)) throw new Refused("json", `${name} is not as documented`);
    return value;
  }

  number(name, missing) {
    return number(this.#take(name, missing), name);
  }

  share(name) {
    const value = this.number(name);
    if (value < 0 || value > 1) throw new Refused("json", `${name} is no probability`);
    return value;
  }

  whole(name, largest) {
    return whole(this.#take(name), largest, name);
  }

  count(name) {
    return whole(this.#take(name, 0), Number.MAX_SAFE_INTEGER, name);
  }

  flag(name) {
    return flag(this.#take(name), name);
  }

  maybe(name, read) {
    const value = this.#take(name, null);
    return value === null ? null : read(value);
  }

  list(name, longest, missing) {
    const value = this.#take(name, missing);
    if (!Array.isArray(value) || value.length > longest) {
      throw new Refused("json", `${name} is no list, or too long`);
    }
    return value;
  }

  /** Name to number of times. */
  counts(name) {
    return this.#map(name, (value) => whole(value, Number.MAX_SAFE_INTEGER, name), {});
  }

  /** Camera to reason to number, summed over the cameras. */
  drops(name) {
    const total = Object.create(null);
    const read = (value) => new Fields({ value }, this.#limit).counts("value");
    const cameras = this.#map(name, read, {});
    for (const reasons of Object.values(cameras)) {
      for (const [reason, value] of Object.entries(reasons)) {
        total[reason] = (total[reason] ?? 0) + value;
      }
    }
    return total;
  }

  /** The stages of a label's latency in ms; a missing one is 0. */
  times(name) {
    const times = this.#map(name, (value) => number(value, name));
    return Object.fromEntries(STAGES.map((stage) => [stage, Math.max(0, times[stage] ?? 0)]));
  }

  #map(name, read, missing) {
    const entries = Object.entries(object(this.#take(name, missing), name));
    if (entries.length > MAX_KEYS || entries.some(([key]) => !isPlain(key, this.#limit))) {
      throw new Refused("text", `${name} has a key that is no plain text`);
    }
    return Object.fromEntries(entries.map(([key, value]) => [key, read(value)]));
  }

  #take(name, missing) {
    const value = Object.hasOwn(this.#object, name) ? this.#object[name] : missing;
    if (value === undefined) throw new Refused("json", `${name} is missing`);
    return value;
  }
}

export function object(value, name) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Refused("json", `${name} is no object`);
  }
  return value;
}

function number(value, name) {
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw new Refused("json", `${name} is no number`);
  }
  return value;
}

function whole(value, largest, name) {
  if (!Number.isSafeInteger(value) || value < 0 || value > largest) {
    throw new Refused("json", `${name} is no whole number up to ${largest}`);
  }
  return value;
}

function flag(value, name) {
  if (typeof value !== "boolean") throw new Refused("json", `${name} is neither true nor false`);
  return value;
}

/** [cell, topic within the cell] of a topic at an upper broker, `cells/<cell>/...`. */
export function cellOf(topic) {
  const [first, cell, ...own] = topic.split("/");
  if (first !== "cells" || !NAME.test(cell ?? "") || !own.length) {
    throw new Refused("topic", "no cell in the topic");
  }
  return [cell, own.join("/")];
}

/** The node's name in its status topic, `devit/v1/<fleet>/nodes/<node>/status`. */
export function nodeOf(topic) {
  const name = topic.split("/")[4] ?? "";
  if (!NAME.test(name)) throw new Refused("node", "no usable node name in the topic");
  return name;
}

/** The shard's number in an aggregator's status topic. */
export function shardOf(topic) {
  const shard = topic.split("/")[4] ?? "";
  if (!/^\d{1,5}$/.test(shard)) throw new Refused("json", "no shard in the topic");
  return shard;
}
