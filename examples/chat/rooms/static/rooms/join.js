// The question for the name.

import { byId } from "./tools.js";
import { say } from "./words.js";

const dialog = byId("join");
const form = byId("join-form");
const field = byId("name");
const error = byId("join-error");
const cancel = byId("join-cancel");
let answer = () => {};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const name = field.value.trim();
  if (!name) {
    complain(say("name-empty"));
    return;
  }
  complain("");
  byId("join-go").disabled = true; // until the server has let the page in, or not
  answer(name);
});
cancel.addEventListener("click", () => dialog.close());
// Without a name there is nothing to go back to.
dialog.addEventListener("cancel", (event) => cancel.hidden && event.preventDefault());

function complain(words) {
  error.textContent = words;
  field.ariaInvalid = words ? "true" : "false";
}

/** Ask, and call back with the name; the dialog stays open until hideJoin(). */
export function askName(callback, { name = "", error: words = "", mayCancel = false } = {}) {
  answer = callback;
  cancel.hidden = !mayCancel;
  byId("join-go").disabled = false;
  field.value = name;
  complain(words);
  if (!dialog.open) dialog.showModal();
  field.focus();
  field.select();
}

/** Return whether it was open. */
export function hideJoin() {
  const open = dialog.open;
  if (open) dialog.close();
  return open;
}
