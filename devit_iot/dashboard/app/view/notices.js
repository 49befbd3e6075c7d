// What a person should know now, above everything else: banners that stay as long as it is so.

import { Children, el, setText } from "../dom.js";
import { isOnline, MAX_CAMERAS, MAX_SERVICES, missingParts } from "../fleet.js";
import { count, partNames } from "../text.js";
import { icon } from "./icons.js";

export class NoticesView {
  #children;

  constructor(root) {
    this.#children = new Children(root, (_, { kind }) => new Notice(kind));
  }

  /** `denied` are subscriptions that the broker did not allow. */
  update(fleet, denied) {
    this.#children.update([...notices(fleet, denied)].map((notice) => [notice.key, notice]));
  }
}

class Notice {
  #text = el("span");

  constructor(kind) {
    this.element = el("p", { class: `notice ${kind}` }, icon(kind), this.#text);
  }

  update({ text }) {
    setText(this.#text, text);
  }
}

function* notices(fleet, denied) {
  for (const [cell, connected] of fleet.cells) {
    if (connected) continue;
    yield {
      key: `cell ${cell}`,
      kind: "bad",
      text: `Cell ${cell} is cut off: it goes on by itself, and what is shown of it is old.`,
    };
  }
  const aggregators = [...fleet.aggregators.values()];
  if (aggregators.length && !aggregators.some(isOnline)) {
    yield { key: "aggregator", kind: "bad", text: "No aggregator is online: there are no labels." };
  }
  const last = fleet.labels.at(-1)?.label;
  if (last && fleet.labelHistory.last?.state === "degraded") {
    const missing = missingParts(last);
    const lacking = missing.length ? `: the last label lacks ${partNames(missing)}` : "";
    yield {
      key: "degraded",
      kind: "warn",
      text: `Degraded${lacking}. Labels go on, with less accuracy.`,
    };
  }
  const other = otherBundles(fleet);
  if (other.length) {
    yield {
      key: "bundle",
      kind: "warn",
      text: `Another bundle than the aggregator's runs on ${other.join(", ")}: what they compute is not used.`,
    };
  }
  yield* releaseNotices(fleet.hub);
  if (denied.length) {
    yield {
      key: "denied",
      kind: "warn",
      text: `The broker does not let this user read ${denied.join(", ")}.`,
    };
  }
  if (fleet.overflow.cameras) {
    yield {
      key: "cameras",
      kind: "info",
      text: `Only the first ${MAX_CAMERAS} cameras are shown.`,
    };
  }
  if (fleet.overflow.services) {
    yield {
      key: "services",
      kind: "info",
      text: `Only the first ${MAX_SERVICES} boards are shown.`,
    };
  }
}

function* releaseNotices(hub) {
  if (!hub) return;
  if (hub.state !== "online") {
    yield { key: "hub", kind: "warn", text: "The hub is away: releases and parts stay as they are." };
  } else if (hub.paused) {
    yield { key: "hub", kind: "info", text: "The hub is paused: it gives nothing out and decides nothing." };
  } else if (hub.inProgress) {
    const far = hub.percentage === null ? "" : `: ${hub.percentage} %`;
    yield { key: "hub", kind: "info", text: `Release ${hub.latest} is on its way${far}.` };
  } else if (hub.latest !== hub.installed) {
    yield { key: "hub", kind: "info", text: `Release ${hub.latest} is offered.` };
  }
}

function otherBundles(fleet) {
  const ours = new Set([...fleet.aggregators.values()].map(({ status }) => status.fingerprint));
  if (!ours.size) return [];
  return [...fleet.nodes]
    .filter(([, { status }]) => status.fingerprint && !ours.has(status.fingerprint))
    .filter(([, node]) => isOnline(node))
    .map(([name]) => name);
}

/** Messages that were not as the protocol says, for the foot of the page; empty if there are none. */
export function refusedText(fleet) {
  const reasons = [...fleet.refused].map(([reason, number]) => `${reason} ${count(number)}`);
  return reasons.length ? `Messages not shown, by reason: ${reasons.join(", ")}.` : "";
}
