// What the page knows of the fleet. No element, no network and no clock: times are arguments, in
// milliseconds. Numbers of cameras, boards and events are bounded, whoever writes at the broker.

import { History, LastMinute } from "./history.js";
import { Pictures } from "./pictures.js";
import { ago, partNames, span } from "./text.js";

export const MAX_CAMERAS = 32;
export const MAX_SERVICES = 128;
export const MAX_HEADS = 16;
export const MAX_CELLS = 64;
const CUT = "cut"; // the state of a service whose cell is cut off
const MAX_EVENTS = 100;
const MAX_LABELS = 120;
const SETTLED_MS = 1000; // time without a degraded label until labels count as whole again
const PATIENCE_MS = 2000; // longest time that a picture waits for its label before it is shown without

/**
 * Cameras, boards, aggregators, the last labels and events. At an upper broker the names of all
 * three begin with their cell, `<cell>/`.
 */
export class Fleet {
  cells = new Map(); // cell -> whether its bridge is there; empty unless the broker is an upper one
  cameras = new Map(); // name -> Camera
  nodes = new Map(); // name -> {status, at, history}
  aggregators = new Map(); // shard -> {status, at, history}
  hub = null; // what the hub said last; null: there is none
  updates = new Map(); // node -> how far it is with a release
  labels = []; // {at, camera, label}, oldest first
  labelHistory = new History(); // "whole" or "degraded"
  minute = new LastMinute();
  events = []; // {at, kind, text}, newest first
  refused = new Map(); // reason -> number
  overflow = { cameras: 0, services: 0 }; // messages of those beyond the limits
  #statusMs;
  #degradedAt = 0;

  constructor(limits) {
    this.#statusMs = 1000 * limits.status_s;
  }

  picture(route, topic, payload, at, retained) {
    const camera = this.#camera(route.camera);
    if (!camera) return;
    if (!camera.pictures.add(topic, payload, route.requestId, at, retained)) this.refuse("too_large");
    else if (!retained) camera.waitingSince ??= at;
  }

  /** A label; a retained one was made before the page looked, so it counts in no figure. */
  label(name, label, at, retained) {
    const camera = this.#camera(name);
    if (!camera) return;
    const isAgain = this.cells.size && camera.label?.requestId === label.requestId;
    if (isAgain) return; // a cell's bridge connected again
    camera.take(label, at, retained);
    if (retained) return;
    this.minute.add(label.degraded, at);
    this.labels.push({ at, label });
    if (this.labels.length > MAX_LABELS) this.labels.shift();
    this.#noteDegraded(label, at);
  }

  /** The last label of a head that is not the camera's main one; null: it was deleted. */
  headLabel(camera, head, label) {
    this.#head(camera, head, { label });
  }

  /** The steady state of a head; null: it was deleted. */
  headState(camera, head, state) {
    this.#head(camera, head, { state });
  }

  node(name, status, at) {
    this.#service(this.nodes, name, name, status, at);
  }

  aggregator(shard, status, at) {
    this.#service(this.aggregators, shard, `aggregator ${shard}`, status, at);
  }

  /** Whether a cell's bridge is there; while it is not, nobody knows what of the cell is online. */
  cell(name, connected, at) {
    const before = this.cells.get(name);
    if (before === undefined && this.cells.size >= MAX_CELLS) return;
    this.cells.set(name, connected);
    for (const services of [this.nodes, this.aggregators]) {
      for (const [key, { history, status }] of services) {
        if (cellIn(key) !== name) continue;
        if (!connected && history.last.state !== "offline") history.note(CUT, at);
        else if (connected && history.last.state === CUT) history.note(status.state, at);
      }
    }
    if (connected === (before ?? true)) return;
    this.event(connected ? "good" : "bad", `cell ${name} is ${connected ? "back" : "cut off"}`, at);
  }

  forgetCell(name) {
    this.cells.delete(name);
    for (const members of [this.nodes, this.aggregators, this.cameras]) {
      for (const key of members.keys()) if (cellIn(key) === name) members.delete(key);
    }
  }

  setHub(hub, at) {
    const before = this.hub;
    this.hub = hub;
    if (before && hub && before.summary !== hub.summary) this.event("good", hub.summary, at);
  }

  update(name, update, at) {
    const before = this.updates.get(name);
    if (!before && this.updates.size >= MAX_SERVICES) return;
    this.updates.set(name, update);
    if (before && before.state !== update.state && update.state === "TERMINATED") {
      this.event("bad", `${name}: release ${update.release} failed: ${update.error}`, at);
    }
  }

  /** The retained status or label was removed: the service or camera is no member any more. */
  forget(members, name) {
    members.delete(name);
  }

  refuse(reason) {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1);
  }

  event(kind, text, at) {
    this.events.unshift({ at, kind, text });
    this.events.length = Math.min(this.events.length, MAX_EVENTS);
  }

  /** Services of which nothing was heard for too long count as offline: their will never came. */
  age(now) {
    for (const services of [this.nodes, this.aggregators]) {
      for (const service of services.values()) {
        if (service.history.last.state === "online" && now - service.at > this.#statusMs) {
          service.history.note("silent", now);
          this.event("bad", `${service.title} has been silent for ${span(now - service.at)}`, now);
        }
      }
    }
  }

  /** The number of parts, 0 while nobody said. */
  get parts() {
    const [known] = [...this.aggregators.values(), ...this.nodes.values()];
    return known?.status.parts ?? this.labels.at(-1)?.label.parts ?? 0;
  }

  /** Parts with a live board, in each cell: as the aggregators see it, else as the boards say. */
  get partsOnline() {
    if (!this.cells.size) return this.#partsOnlineIn("");
    const [first, ...rest] = [...this.cells.keys()].map((cell) => this.#partsOnlineIn(cell));
    return first.filter((part) => rest.every((parts) => parts.includes(part)));
  }

  #partsOnlineIn(cell) {
    const inCell = (services) =>
      [...services].filter(([key]) => cellIn(key) === cell).map(([, service]) => service);
    const live = inCell(this.aggregators).filter(isOnline);
    const parts = live.length
      ? live.flatMap((service) => service.status.partsOnline)
      : inCell(this.nodes).filter(isOnline).map((service) => service.status.part);
    return [...new Set(parts)].sort((a, b) => a - b);
  }

  #camera(name) {
    let camera = this.cameras.get(name);
    if (!camera && this.cameras.size < MAX_CAMERAS) {
      camera = new Camera(name);
      this.cameras.set(name, camera);
    }
    if (!camera) this.overflow.cameras += 1;
    return camera;
  }

  /** Note what changed of a head; one of which nothing is left goes. */
  #head(name, head, change) {
    const isGone = Object.values(change).every((value) => value === null);
    const heads = (isGone ? this.cameras.get(name) : this.#camera(name))?.heads;
    if (!heads || (!heads.has(head) && (isGone || heads.size >= MAX_HEADS))) return;
    const known = { label: null, state: null, ...heads.get(head), ...change };
    if (known.label || known.state) heads.set(head, known);
    else heads.delete(head);
  }

  #service(services, key, title, status, at) {
    const known = services.get(key);
    if (!known && services.size >= MAX_SERVICES) {
      this.overflow.services += 1;
      return;
    }
    const service = known ?? { title, history: new History() };
    const before = service.history.last;
    services.set(key, Object.assign(service, { status: lastWords(status, known), at }));
    const isCut = this.cells.get(cellIn(key)) === false && status.state === "online";
    if (isCut) service.history.note(CUT, at);
    else if (service.history.note(status.state, at) && before) {
      if (status.state === "offline") this.event("bad", `${title} went offline`, at);
      else this.event("good", `${title} is back after ${span(at - before.at)}`, at);
    }
  }

  #noteDegraded(label, at) {
    const before = this.labelHistory.last;
    if (label.degraded) this.#degradedAt = at;
    else if (at - this.#degradedAt < SETTLED_MS) return;
    if (!this.labelHistory.note(label.degraded ? "degraded" : "whole", at)) return;
    if (label.degraded) {
      this.event("warn", `labels lack ${partNames(missingParts(label))}`, at);
    } else if (before) {
      this.event("good", `labels are whole again after ${span(at - before.at)}`, at);
    }
  }
}

/** One camera: its pictures, its last label, and which picture and label to show together. */
class Camera {
  constructor(name) {
    this.name = name;
    this.pictures = new Pictures();
    this.heads = new Map(); // head -> {label, state}; either may be null, of the main head the label is
    this.shown = { picture: null, label: null, at: 0 };
    this.label = null;
    this.labelAt = 0;
    this.retained = false; // whether the label was
    this.waitingSince = null; // when the first picture after the last label came
  }

  take(label, at, retained) {
    this.label = label;
    this.labelAt = at;
    this.retained = retained;
    this.waitingSince = null;
  }

  /**
   * {picture, label, at} to show now; either may be null. A label comes with the picture that it is
   * about; a picture whose label stays away is shown without one.
   */
  choose(now) {
    const { label, labelAt } = this;
    const picture = label && this.pictures.find(label.requestId, labelAt);
    const newest = this.pictures.newest;
    if (newest && this.waitingSince !== null && now - this.waitingSince > PATIENCE_MS) {
      this.shown = { picture: newest, label: null, at: newest.at };
    } else if (picture) {
      this.shown = { picture, label, at: labelAt };
    } else if (label && (this.shown.picture === null || now - this.shown.at > PATIENCE_MS)) {
      this.shown = { picture: null, label, at: labelAt };
    }
    return this.shown;
  }
}

/** A last will was written before the service did anything: its figures are those seen before. */
function lastWords(status, known) {
  const will = status.state === "offline" && status.uptime === 0;
  return will && known ? Object.freeze({ ...known.status, state: status.state }) : status;
}

/** The cell that a name begins with; empty if it names none. */
function cellIn(name) {
  return name.includes("/") ? name.split("/", 1)[0] : "";
}

export function isOnline(service) {
  return service.history.last.state === "online";
}

/** The parts that a label lacks. */
export function missingParts(label) {
  const used = new Set(label.partsUsed);
  const missing = [];
  for (let part = 0; part < label.parts && missing.length <= 100; part += 1) {
    if (!used.has(part)) missing.push(part);
  }
  return missing;
}

/** The state of a service in words. */
export function stateText(service, now) {
  const { state, at } = service.history.last;
  if (state === "online") return "Online";
  if (state === CUT) return `Cut off with its cell, ${ago(now - at)}`;
  return state === "silent" ? `Silent for ${span(now - service.at)}` : `Offline, ${ago(now - at)}`;
}
