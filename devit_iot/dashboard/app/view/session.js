// The state of the connection in the page's head, and the login.

import { setText } from "../dom.js";

const WORDS = {
  connecting: "Connecting",
  live: "Live",
  lost: "Connection lost, trying again",
  unreachable: "No connection",
  refused: "Not signed in",
};

export class SessionView {
  #state = document.getElementById("connection");
  #text = document.querySelector("#connection .text");
  #signIn = document.getElementById("sign-in");
  #signOut = document.getElementById("sign-out");
  #dialog = document.getElementById("login");
  #error = document.getElementById("login-error");
  #user = document.getElementById("login-user");
  #password = document.getElementById("login-password");

  /** `onLogin({username, password})` and `onLogout()`. */
  constructor(onLogin, onLogout) {
    this.#signIn.addEventListener("click", () => this.ask(""));
    this.#signOut.addEventListener("click", onLogout);
    document.getElementById("login-cancel").addEventListener("click", () => this.#dialog.close());
    document.getElementById("login-form").addEventListener("submit", () => {
      const login = { username: this.#user.value, password: this.#password.value };
      this.#password.value = "";
      onLogin(login);
    });
  }

  /** `user` is who is signed in, or null. */
  show(phase, user) {
    this.#state.dataset.phase = phase;
    setText(this.#text, phase === "live" && user ? `Live as ${user}` : WORDS[phase]);
    this.#signOut.hidden = user === null;
    this.#signIn.hidden = user !== null || phase === "live";
  }

  /** Open the login, with what went wrong before, if anything did. */
  ask(problem) {
    this.#error.hidden = problem === "";
    setText(this.#error, problem);
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#user.focus();
  }
}
