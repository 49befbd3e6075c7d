// The dialog in which a person teaches: pictures, classes, the fit, live and back again.

import { setText } from "../dom.js";
import { Classes } from "./classes.js";
import { NotDone } from "./client.js";
import { Rectangle } from "./rectangle.js";
import { Report } from "./report.js";
import { Shots } from "./shots.js";

const HEAD = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;
const DEFAULT = "default";
const byId = (id) => document.getElementById(id);

export class TeachView {
  #client;
  #dialog = byId("teach");
  #camera = "";
  #offset = 0;
  #busy = 0;
  #shots = new Shots(() => this.#count());
  #classes = new Classes((name) => this.#mark(name));
  #report = new Report();
  #rectangle = new Rectangle(byId("teach-rectangle"));
  #head = byId("teach-head");
  #order = byId("teach-order");
  #name = byId("teach-class");
  #status = byId("teach-status");

  constructor(client) {
    this.#client = client;
    byId("teach-shots").append(this.#shots.element);
    byId("teach-classes").append(this.#classes.element);
    byId("teach-report").append(this.#report.element);
    this.#head.addEventListener("change", () => {
      byId("teach-rectangle").open = false;
      this.#reload(true);
    });
    this.#order.addEventListener("change", () => this.#reload(false));
    byId("teach-more").addEventListener("click", () => this.#show());
    byId("teach-all").addEventListener("click", () => this.#shots.choose(true));
    byId("teach-refresh").addEventListener("click", () => this.#reload(false));
    byId("teach-delete").addEventListener("click", () => this.#delete());
    byId("teach-close").addEventListener("click", () => this.#dialog.close());
    byId("teach-make").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make();
    });
    byId("teach-fit").addEventListener("click", () => this.#fit());
    byId("teach-live").addEventListener("click", () => this.#live());
    byId("teach-undo").addEventListener("click", () => this.#undo());
    byId("teach-rectangle").addEventListener("toggle", () => this.#outline());
    this.#dialog.addEventListener("keydown", (event) => this.#key(event));
    this.#dialog.addEventListener("close", () => {
      this.#shots.clear();
      this.#rectangle.close();
      byId("teach-rectangle").open = false;
    });
  }

  /** Teach the camera `camera`. */
  open(camera) {
    this.#camera = camera;
    setText(byId("teach-title"), `Teach ${camera}`);
    this.#say("");
    this.#dialog.showModal();
    this.#reload(true);
  }

  #reload(other) {
    if (other) {
      this.#classes.clear();
      this.#report.clear();
      byId("teach-live").disabled = true;
    }
    this.#shots.clear();
    this.#offset = 0;
    this.#show();
  }

  async #show() {
    const order = this.#order.value;
    await this.#do("", { do: "pictures", camera: this.#camera, order, offset: this.#offset }, (answer) => {
      this.#shots.add(answer.pictures);
      this.#offset += answer.pictures.length;
      this.#classes.update(answer.classes);
      byId("teach-more").hidden = !answer.more;
      if (!this.#shots.count) this.#say("No picture yet. They come with the camera's next labels.");
    });
  }

  /** Draw over the first chosen picture. */
  #outline() {
    if (!byId("teach-rectangle").open) return;
    this.#rectangle.over(this.#camera, this.#head.value.trim(), this.#shots.example?.small);
  }

  #make() {
    const name = this.#name.value.trim();
    if (!name) return;
    this.#classes.make(name);
    this.#name.value = "";
    if (this.#shots.chosen.length) this.#mark(name);
  }

  async #mark(name) {
    const pictures = this.#shots.chosen;
    if (!pictures.length) {
      this.#say("Choose pictures at first.");
      return;
    }
    await this.#do("", { do: "mark", pictures, name }, (answer) => {
      this.#shots.named(name);
      this.#classes.update(answer.classes);
    });
  }

  async #delete() {
    const pictures = this.#shots.chosen;
    if (!pictures.length) this.#say("Choose pictures at first.");
    else await this.#do("", { do: "delete", pictures }, () => this.#shots.drop());
  }

  async #fit() {
    const each = byId("teach-each").checked;
    await this.#do("Fitting", { do: "fit", each }, (answer) => {
      this.#report.show(answer);
      byId("teach-live").disabled = false;
      this.#say("Fitted. It is not live yet.");
    });
  }

  async #live() {
    await this.#do("Going live", { do: "live", cameras: [this.#camera] }, (answer) => {
      this.#say(answer.note || `Live: version ${answer.version} answers for ${this.#camera}.`);
    });
  }

  async #undo() {
    await this.#do("Going back", { do: "undo" }, (answer) => {
      const now = answer.version
        ? `Version ${answer.version} answers again.`
        : "The head answers no more; the camera has the head that it had.";
      this.#say(answer.note || now);
    });
  }

  /** Ask with the head's name, and hand on the answer; what is not done is said. */
  async #do(words, what, then) {
    const head = this.#head.value.trim();
    if (!HEAD.test(head) || head === DEFAULT) {
      this.#say("A head is called by 1 to 64 of A-Z a-z 0-9 _ -, a letter or digit first, and not default.", "bad");
      return;
    }
    const camera = this.#camera;
    this.#hold(1);
    this.#say(words ? `${words} …` : "");
    try {
      const answer = await this.#client.ask({ ...what, head });
      if (camera === this.#camera) then(answer);
    } catch (error) {
      if (!(error instanceof NotDone)) throw error;
      this.#say(error.message, "bad");
    } finally {
      this.#hold(-1);
    }
  }

  #hold(by) {
    this.#busy += by;
    this.#dialog.setAttribute("aria-busy", String(this.#busy > 0));
  }

  #say(text, kind = "info") {
    setText(this.#status, text);
    this.#status.className = `notice ${kind}`;
    this.#status.hidden = text === "";
  }

  #count() {
    const { chosen, count } = this.#shots;
    setText(byId("teach-count"), chosen.length ? `${chosen.length} of ${count} chosen` : `${count} shown`);
  }

  /** Digits give classes and `a` chooses all, unless a text is being written. */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName) && event.target.type !== "checkbox") return;
    const isDigit = /^[0-9]$/.test(event.key) && this.#classes.press(Number(event.key));
    if (event.key === "a") this.#shots.choose(true);
    if (isDigit || event.key === "a") event.preventDefault();
  }
}
