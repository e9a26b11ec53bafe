// The elements for messages, days and notices.

import { avatar, hue, isJumbo, linked, make } from "./text.js";
import { locale, put, say } from "./words.js";

/** Return a message; `follows`: the message before it is of the same person. */
export function row({ name, text, at }, mine, follows) {
  const element = make("li", { className: `dwchat-message${mine ? " mine" : ""}${follows ? " follow" : ""}` });
  element.style.setProperty("--hue", hue(name));
  const who = make("bdi", { className: follows || mine ? "dwchat-hidden" : "dwchat-by" }, name);
  const when = time(new Date(at));
  if (!follows && !mine) element.append(avatar(name));
  if (follows) {
    when.className = "dwchat-when";
    element.append(who);
  } else {
    element.append(make("div", { className: "dwchat-meta" }, who, when));
  }
  const className = isJumbo(text) ? "dwchat-bubble jumbo" : "dwchat-bubble";
  const bubble = make("div", { className, dir: "auto" }, ...linked(text));
  element.append(make("div", { className: "dwchat-row" }, bubble, ...(follows ? [when] : [])));
  return element;
}

/** Return a message that is not confirmed yet. */
export function pendingRow({ text }, name, online) {
  const element = row({ text, name, at: Date.now() }, true, true);
  const words = make("span", { className: "dwchat-when" });
  put(words, online ? "sending" : "not-sent");
  element.querySelector("time").replaceWith(words);
  return element;
}

export function notice(key, values) {
  const text = make("span");
  put(text, key, values);
  return make("li", { className: "dwchat-notice" }, text, time(new Date()));
}

export function day(at) {
  return make("li", { className: "dwchat-day" }, make("time", { dateTime: at.toISOString() }, dayWords(at)));
}

/** Return the line above the messages that came while the window was in the background. */
export function fresh() {
  const words = make("span");
  put(words, "fresh");
  return make("li", { className: "dwchat-fresh" }, words);
}

/** Write the times in the current language. */
export function retime(list) {
  for (const element of list.querySelectorAll("time")) {
    const at = new Date(element.dateTime);
    element.textContent = element.closest(".dwchat-day") ? dayWords(at) : clock(at);
  }
}

const clock = (at) => at.toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" });

const time = (at) => make("time", { dateTime: at.toISOString(), title: at.toLocaleString(locale()) }, clock(at));

function dayWords(at) {
  const today = new Date();
  const yesterday = new Date(today);
  yesterday.setDate(today.getDate() - 1);
  if (at.toDateString() === today.toDateString()) return say("today");
  if (at.toDateString() === yesterday.toDateString()) return say("yesterday");
  return at.toLocaleDateString(locale(), { weekday: "long", day: "numeric", month: "long" });
}
