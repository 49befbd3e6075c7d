// The page: asks its server for the facts of the fleet, then reads everything else from the broker.

import { Announcer } from "./announcer.js";
import { Connection } from "./connection.js";
import { setText } from "./dom.js";
import { Fleet } from "./fleet.js";
import { Inbox } from "./inbox.js";
import { TeachClient } from "./teach/client.js";
import { TeachView } from "./teach/view.js";
import { BoardsView } from "./view/boards.js";
import { CamerasView } from "./view/cameras.js";
import { CollectedView } from "./view/collected.js";
import { HelpView } from "./view/help.js";
import { LatencyView } from "./view/latency.js";
import { NoticesView, refusedText } from "./view/notices.js";
import { SessionView } from "./view/session.js";
import { SummaryView } from "./view/summary.js";
import { TimelineView } from "./view/timeline.js";

const DRAW_MS = 250;
const CALM_DRAW_MS = 1000; // for people who want less motion
const LOGIN = "devit-login"; // in the tab's session storage

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const root = (id) => document.getElementById(id);

async function main() {
  const answer = await fetch("fleet.json");
  const facts = await answer.json();
  setText(root("fleet"), facts.fleet);
  document.title = `${facts.fleet} - devit-iot`;

  const fleet = new Fleet(facts.limits);
  const inbox = new Inbox(facts, fleet);
  const announcer = new Announcer(root("announcer"));
  const teach = new TeachClient(
    facts,
    (text) => connection.ask(text),
    (reason) => fleet.refuse(reason),
  );
  const lesson = new TeachView(teach);
  const views = [
    new SummaryView(root("summary")),
    new CamerasView(root("cameras"), root("no-cameras"), facts.limits.pixels, (reason) =>
      fleet.refuse(reason),
    ),
    new LatencyView(root("latency")),
    new TimelineView(root("timeline")),
    new BoardsView(root("boards"), root("no-boards")),
    new CollectedView(root("collected"), teach, (camera) => lesson.open(camera)),
  ];
  const notices = new NoticesView(root("notices"));
  const denied = new Set();
  let login = storedLogin();
  let phase = "connecting";

  const connection = new Connection(facts, {
    phase(name) {
      if (name === "connecting") denied.clear();
      if (name === "live" && phase === "lost") fleet.event("good", "connected again", Date.now());
      if (name === "lost" && phase === "live") {
        fleet.event("bad", "connection to the broker lost", Date.now());
      }
      phase = name;
      session.show(phase, login?.username ?? null);
      help.show(phase === "unreachable");
      if (phase === "live" && login) sessionStorage.setItem(LOGIN, JSON.stringify(login));
      if (phase === "refused") {
        session.ask(login ? "The broker refused this name or password." : "");
        forget();
      }
    },
    message(topic, payload, retained) {
      if (!teach.take(topic, payload)) inbox.take(topic, payload, retained, Date.now());
    },
    denied(filters) {
      for (const filter of filters) denied.add(filter);
    },
  });
  const help = new HelpView(root("help"), facts.broker, () => connection.start(login));
  const session = new SessionView(
    (given) => {
      login = given;
      connection.start(login);
    },
    () => {
      forget();
      connection.start(login);
    },
  );

  function forget() {
    login = null;
    sessionStorage.removeItem(LOGIN);
    session.show(phase, null);
  }

  let announced = null;
  function draw() {
    if (!document.hidden) {
      const now = Date.now();
      if (phase === "live") fleet.age(now);
      for (const view of views) view.update(fleet, now);
      notices.update(fleet, [...denied]);
      setText(root("footnote"), [`devit-iot ${facts.version}.`, refusedText(fleet)].join(" "));
      for (const event of newEvents(fleet.events, announced)) announcer.say(event.text);
      announced = fleet.events[0] ?? null;
      announcer.update(now);
    }
    setTimeout(draw, calm.matches ? CALM_DRAW_MS : DRAW_MS);
  }

  document.addEventListener("visibilitychange", () => {
    connection.images = !document.hidden;
  });
  connection.start(login);
  draw();
}

/** Events after `last`, the oldest first. */
function newEvents(events, last) {
  const end = last === null ? events.length : events.indexOf(last);
  return events.slice(0, end < 0 ? events.length : end).reverse();
}

function storedLogin() {
  try {
    const { username, password } = JSON.parse(sessionStorage.getItem(LOGIN));
    return typeof username === "string" && typeof password === "string" ? { username, password } : null;
  } catch {
    return null;
  }
}

main();
