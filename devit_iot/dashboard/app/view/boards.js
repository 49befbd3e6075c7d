// The fleet as boards: one card for each node, and one for each aggregator.

import { Children, el, setText } from "../dom.js";
import { isOnline, stateText } from "../fleet.js";
import { count, duration, span } from "../text.js";
import { icon } from "./icons.js";

const HOT = 80; // degrees Celsius, where a Raspberry Pi begins to slow down

export class BoardsView {
  #nodes;
  #aggregators;
  #empty;

  constructor(root, empty) {
    this.#empty = empty;
    const nodes = el("div", { class: "grid" });
    const aggregators = el("div", { class: "strips" });
    root.append(nodes, aggregators);
    this.#nodes = new Children(nodes, (name) => new Board(name, NODE_FACTS));
    this.#aggregators = new Children(
      aggregators,
      (shard) => new Board(`aggregator ${shard}`, AGGREGATOR_FACTS),
    );
  }

  update(fleet, now) {
    const nodes = [...fleet.nodes].sort(
      ([one, { status: a }], [two, { status: b }]) => a.part - b.part || one.localeCompare(two),
    );
    const aggregators = [...fleet.aggregators].sort(([one], [two]) =>
      one.localeCompare(two, "en", { numeric: true }),
    );
    this.#nodes.update(
      nodes.map(([name, service]) => [name, { service, now, update: fleet.updates.get(name) }]),
    );
    this.#aggregators.update(aggregators.map(([shard, service]) => [shard, { service, now }]));
    this.#empty.hidden = nodes.length + aggregators.length > 0;
  }
}

// Term, and what to say for it of a status. Empty text is shown as a dash.
const NODE_FACTS = [
  ["Engine", (status) => engine(status).name],
  ["Runs with", (status) => engine(status).detail],
  ["Latency", (status) => (status.published ? duration(status.decodeMs + status.computeMs) : "")],
  ["Temperature", temperature],
  ["Energy", energy],
  ["Dropped", (status) => withReasons(status.dropped + status.lost, status.drops)],
  ["Features", (status) => count(status.published)],
];
const AGGREGATOR_FACTS = [
  ["Labels", (status) => count(status.labels)],
  ["Degraded", (status) => count(status.degraded)],
  ["Late features", (status) => count(status.late)],
  ["Unanswered", (status) => count(status.unanswered)],
  ["Dropped", (status) => count(status.dropped)],
  ["Waits at most", (status) => duration(1000 * status.deadline)],
];

class Board {
  #facts;
  #badge = el("p", { class: "state" });
  #role = el("p", { class: "role" });
  #release = el("p", { class: "muted small release", hidden: "" });
  #values;
  #problem = el("p", { class: "problem", hidden: "" });
  #footer = el("p", { class: "muted small" });
  #drawn = "";

  constructor(name, facts) {
    this.#facts = facts;
    this.#values = facts.map(() => el("dd", { class: "figure" }));
    const list = el(
      "dl",
      { class: "values" },
      ...facts.map(([term], index) => el("div", {}, el("dt", {}, term), this.#values[index])),
    );
    this.element = el(
      "article",
      { class: "card board" },
      el("div", { class: "line" }, el("h3", { title: name }, name), this.#badge),
      this.#role,
      this.#release,
      list,
      this.#problem,
      this.#footer,
    );
  }

  update({ service, now, update }) {
    const { status } = service;
    const online = isOnline(service);
    this.#state(online, stateText(service, now));
    setText(this.#role, role(status));
    this.#release.hidden = !update;
    if (update) setText(this.#release, releaseText(update));
    this.#facts.forEach(([, say], index) => setText(this.#values[index], say(status) || "–"));
    this.#say(problemOf(status, online, update));
    const since = online ? `up ${span(1000 * status.uptime + now - service.at)}` : "last words";
    const refused = status.refused ? `, ${count(status.refused)} inputs refused` : "";
    setText(this.#footer, `${[since, status.machine, status.version].filter(Boolean).join(" · ")}${refused}`);
  }

  #state(online, text) {
    this.element.classList.toggle("offline", !online);
    if (this.#drawn === text) return;
    this.#drawn = text;
    this.#badge.className = `state ${online ? "good" : "bad"}`;
    this.#badge.replaceChildren(icon(online ? "good" : "bad"), text);
  }

  #say(problem) {
    this.#problem.hidden = problem === "";
    if (problem && this.#problem.textContent !== problem) {
      this.#problem.replaceChildren(icon("warn"), el("span", { dir: "auto" }, problem));
    }
  }
}

function role(status) {
  if (status.shard !== undefined) return `Fuses the parts, shard ${status.shard}`;
  if (!status.fingerprint) return "Spare: the hub has no part for it";
  return `Part ${status.part} of ${status.parts}${replicaText(status)}`;
}

function replicaText({ replica, replicas }) {
  if (replicas > 1) return `, one of ${replicas} that share it`;
  return replica === "0/1" || replica === "auto" ? "" : `, replica ${replica}`;
}

/** The release that the node serves, and how far it is with the next one. */
function releaseText({ release, state, progress, serving, trial }) {
  const serves = serving ? `Serves release ${serving}${trial ? " on trial" : ""}` : "Serves no release";
  if (!release || (release === serving && state === "ACTIVATED")) return serves;
  const far = state === "DOWNLOADING" ? ` ${Math.round(100 * progress)} %` : "";
  return `${serves} · release ${release} ${state}${far}`;
}

/** "native (avx2, float32, 1 threads)" in its two halves. */
function engine({ engine: text }) {
  const [, name, detail] = /^([^(]*) \((.*)\)$/.exec(text) ?? [null, text, ""];
  return { name, detail };
}

function temperature(status) {
  if (status.temperature === null) return "";
  return `${status.temperature.toFixed(1)} °C`;
}

/** Joules that the board took for each feature, and whether they were measured. */
function energy({ energy: joules, energyFrom: source, published }) {
  if (!source || !published) return "";
  return `${(joules / published).toPrecision(2)} J a feature, ${source === "stated" ? "stated" : "measured"}`;
}

function withReasons(total, reasons) {
  const named = Object.entries(reasons).filter(([, number]) => number > 0);
  if (!named.length) return count(total);
  return `${count(total)} (${named.map(([name, number]) => `${name} ${count(number)}`).join(", ")})`;
}

function problemOf(status, online, update) {
  const problems = [];
  if (update?.error) problems.push(update.error);
  if (online && status.problem) problems.push(status.problem);
  if (online && status.throttled) problems.push("heat or a weak power supply slows this board down");
  else if (online && status.temperature >= HOT) problems.push("this board is hot");
  return problems.join("; ");
}
