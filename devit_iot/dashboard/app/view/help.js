// When the broker cannot be reached: why that may be, and what to do.

import { el } from "../dom.js";
import { icon } from "./icons.js";

export class HelpView {
  #root;

  /** `broker` is the address that was tried, `retry` tries it again at once. */
  constructor(root, broker, retry) {
    this.#root = root;
    const { hostname, port, protocol } = new URL(broker);
    const again = el("button", { type: "button", class: "main" }, "Try again now");
    again.addEventListener("click", retry);
    root.append(
      el("h2", { id: "help-title" }, icon("bad"), "No WebSocket listener answers"),
      el("p", {}, "The browser cannot reach the broker at ", el("code", {}, broker), ". It tries again by itself."),
      el("p", {}, "If the broker runs, it has no listener for browsers there, or a firewall or an untrusted certificate is in between."),
      el("h3", {}, "mosquitto"),
      el("p", {}, "Add these lines to mosquitto.conf and restart it:"),
      el("pre", { tabindex: "0" }, el("code", {}, lines(port, protocol))),
      el("h3", {}, "EMQX and RabbitMQ"),
      el(
        "p",
        {},
        "EMQX listens at ",
        el("code", {}, `ws://${hostname}:8083/mqtt`),
        " by itself. RabbitMQ does at ",
        el("code", {}, `ws://${hostname}:15675/ws`),
        " after ",
        el("code", {}, "rabbitmq-plugins enable rabbitmq_web_mqtt"),
        ".",
      ),
      el("h3", {}, "Another address"),
      el("p", {}, "Tell the page's server: ", el("code", {}, "devit dashboard --websocket ws://host:port/path")),
      el("div", { class: "actions" }, again),
    );
  }

  show(wanted) {
    this.#root.hidden = !wanted;
  }
}

function lines(port, protocol) {
  const listener = `listener ${port}\nprotocol websockets`;
  if (protocol === "ws:") return listener;
  return `${listener}\ncertfile /etc/mosquitto/broker.crt\nkeyfile /etc/mosquitto/broker.key`;
}
