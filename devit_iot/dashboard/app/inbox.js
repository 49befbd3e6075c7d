// From a message at the broker to the fleet: who it is from, whether it is as documented, and when.

import { cellOf, nodeOf, Reader, Refused, shardOf } from "./messages.js";
import { isCamera } from "./text.js";
import { ImageFilter } from "./topics.js";

const ONE = "1".charCodeAt(0);

export class Inbox {
  #fleet;
  #facts;
  #reader;
  #filters;
  #kinds;
  #cell = ""; // the one of the message that is being read; empty at a broker that is no upper one

  constructor(facts, fleet) {
    this.#fleet = fleet;
    this.#facts = facts;
    this.#reader = new Reader(facts.limits);
    this.#filters = facts.images.map((image) => new ImageFilter(image));
    const { labels, head_labels, states, nodes, aggregators } = facts.topics;
    const { hub, node_updates: updates, connected } = facts.topics;
    this.#kinds = [
      [labels, this.#label],
      [head_labels, this.#headLabel],
      [states, this.#state],
      [nodes, this.#node],
      [aggregators, this.#aggregator],
      [hub, this.#hub],
      [updates, this.#update],
      [connected, this.#bridge],
    ]
      .filter(([filter]) => filter) // an upper broker has no releases, others have no cells
      .map(([filter, take]) => ({ filter: filter.split("/"), take }));
  }

  /** Whatever is not as the protocol says is counted, and changes nothing. */
  take(topic, payload, retained, at) {
    try {
      const levels = topic.split("/");
      const kind = this.#kinds.find(({ filter }) => matches(filter, levels));
      const [cell, own] = this.#facts.cells ? cellOf(topic) : ["", topic];
      this.#cell = cell;
      if (kind) kind.take.call(this, own, payload, at, retained);
      else this.#image(topic, payload, at, retained);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#fleet.refuse(error.reason);
    }
  }

  #label(topic, payload, at, retained) {
    if (payload.length === 0) {
      this.#fleet.forget(this.#fleet.cameras, this.#named(topic.split("/").at(-1)));
      return;
    }
    const label = this.#reader.label(payload);
    if (!isCamera(label.camera, this.#facts.limits)) throw new Refused("camera", "no camera's name");
    this.#fleet.label(this.#named(label.camera), label, at, retained);
  }

  #headLabel(topic, payload) {
    const [camera, head] = topic.split("/").slice(-2);
    const label = payload.length === 0 ? null : this.#reader.label(payload);
    if (label && (label.camera !== camera || label.head !== head)) {
      throw new Refused("camera", "a label on another's topic");
    }
    this.#fleet.headLabel(this.#named(camera), head, label);
  }

  #state(topic, payload) {
    const [camera, head] = topic.split("/").slice(-2);
    const state = payload.length === 0 ? null : this.#reader.state(payload);
    if (state && (state.camera !== camera || state.head !== head)) {
      throw new Refused("camera", "a state on another's topic");
    }
    this.#fleet.headState(this.#named(camera), head, state);
  }

  #node(topic, payload, at) {
    const name = this.#named(nodeOf(topic));
    if (payload.length === 0) this.#fleet.forget(this.#fleet.nodes, name);
    else this.#fleet.node(name, this.#reader.node(payload), at);
  }

  #aggregator(topic, payload, at) {
    const shard = this.#named(shardOf(topic));
    if (payload.length === 0) this.#fleet.forget(this.#fleet.aggregators, shard);
    else this.#fleet.aggregator(shard, this.#reader.aggregator(payload), at);
  }

  #hub(topic, payload, at) {
    this.#fleet.setHub(payload.length === 0 ? null : this.#reader.hub(payload), at);
  }

  #update(topic, payload, at) {
    const name = nodeOf(topic);
    if (payload.length === 0) this.#fleet.updates.delete(name);
    else this.#fleet.update(name, this.#reader.update(payload), at);
  }

  #bridge(_topic, payload, at) {
    if (payload.length === 0) this.#fleet.forgetCell(this.#cell);
    else this.#fleet.cell(this.#cell, payload.length === 1 && payload[0] === ONE, at);
  }

  /** A camera, node or shard as the page calls it: with its cell, if it has one. */
  #named(name) {
    return this.#cell ? `${this.#cell}/${name}` : name;
  }

  #image(topic, payload, at, retained) {
    if (payload.length === 0) return; // a retained picture was removed
    for (const filter of this.#filters) {
      const route = filter.match(topic, this.#facts.limits);
      if (!route) continue;
      this.#fleet.picture(route, topic, payload, at, retained);
      return;
    }
  }
}

function matches(filter, levels) {
  return (
    filter.length === levels.length &&
    filter.every((level, index) => level === "+" || level === levels[index])
  );
}
