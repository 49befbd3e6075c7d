// The way to the broker: MQTT 3.1.1 in a WebSocket, which every broker with such a listener speaks.

import mqtt from "../vendor/mqtt/mqtt.esm.js";

const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 15000;
const DENIED = 0x80; // in a SUBACK
const BAD_LOGIN = new Set([4, 5]); // in a CONNACK: wrong name or password, not authorized

/**
 * Keeps a connection until `stop`, and tells `listener` what comes:
 *   phase(name): "connecting"; "live"; "lost", it was there; "unreachable", it never was;
 *     "refused", the broker wants another login, and we try no more
 *   message(topic, payload, retained)
 *   denied(filters): subscriptions that the broker does not allow
 */
export class Connection {
  #facts;
  #listener;
  #client = null;
  #tab = Array.from(crypto.getRandomValues(new Uint8Array(4)), hex).join("");
  #images = true;

  constructor(facts, listener) {
    this.#facts = facts;
    this.#listener = listener;
  }

  /** `login` is {username, password}, or null for nobody. */
  start(login) {
    this.stop();
    const client = mqtt.connect(this.#facts.broker, {
      clientId: this.#facts.client_id + this.#tab,
      protocolVersion: 4,
      clean: true,
      keepalive: 60,
      connectTimeout: 10000,
      reconnectPeriod: FIRST_RETRY_MS,
      resubscribe: false,
      queueQoSZero: false,
      timerVariant: "native", // the other ones run code from a blob
      ...login,
    });
    this.#client = client;
    this.#listener.phase("connecting");
    let reached = false;
    client.on("connect", () => {
      reached = true;
      client.options.reconnectPeriod = FIRST_RETRY_MS;
      this.#listener.phase("live");
      const { teach, ...shown } = this.#facts.topics;
      this.#subscribe(Object.values(shown), 1);
      // Only who teaches may read these, so a broker that denies them is not worth a word.
      client.subscribe([teach.state, teach.answer + this.#tab], { qos: 1 });
      if (this.#images) this.#subscribe(this.#imageFilters, 0);
    });
    client.on("message", (topic, payload, packet) => {
      this.#listener.message(topic, payload, packet.retain);
    });
    client.on("error", (error) => {
      if (!BAD_LOGIN.has(error.code)) return; // "close" follows
      this.stop();
      this.#listener.phase("refused");
    });
    client.on("close", () => {
      if (this.#client !== client) return;
      this.#listener.phase(reached ? "lost" : "unreachable");
      client.options.reconnectPeriod = Math.min(
        LONGEST_RETRY_MS,
        1.5 * client.options.reconnectPeriod,
      );
    });
  }

  stop() {
    const client = this.#client;
    this.#client = null;
    client?.end(true);
  }

  /** Publish what a person who teaches asks for; false without a connection. */
  ask(text) {
    if (!this.#client?.connected) return false;
    this.#client.publish(this.#facts.topics.teach.ask + this.#tab, text, { qos: 1 });
    return true;
  }

  /** Whether to receive images: a page that nobody sees does without them. */
  set images(wanted) {
    if (wanted === this.#images) return;
    this.#images = wanted;
    if (!this.#client?.connected) return;
    if (wanted) this.#subscribe(this.#imageFilters, 0);
    else this.#client.unsubscribe(this.#imageFilters);
  }

  get #imageFilters() {
    return this.#facts.images.map((image) => image.filter);
  }

  #subscribe(filters, qos) {
    this.#client.subscribe(filters, { qos }, (_error, _filters, packet) => {
      // one code for each filter; without a packet the connection was lost meanwhile
      const codes = packet?.granted ?? [];
      const denied = filters.filter((_, index) => codes[index] >= DENIED);
      if (denied.length) this.#listener.denied(denied);
    });
  }
}

function hex(byte) {
  return byte.toString(16).padStart(2, "0");
}
