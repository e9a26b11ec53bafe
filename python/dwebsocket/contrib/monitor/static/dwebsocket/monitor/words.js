// The texts of the page, in the language of the request, and numbers in its style.

const texts = JSON.parse(document.getElementById("dwm-words").textContent);
const language = document.documentElement.lang || undefined;

const whole = new Intl.NumberFormat(language);
const short = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
const moment = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });

/** Return a text; its `{names}` are replaced by the values of `fields`. */
export function words(name, fields = {}) {
  return texts[name].replace(/\{(\w+)\}/g, (all, field) => fields[field] ?? all);
}

export const count = (number) => whole.format(number);

export const decimal = (number) => short.format(number);

/** A rate; empty while it is not known. */
export const rate = (number) => (number === null ? "" : words("perSecond", { number: decimal(number) }));

/** The date and the time of a number of seconds since 1970. */
export const at = (seconds) => moment.format(seconds * 1000);

const UNITS = [["days", 86_400], ["hours", 3600], ["minutes", 60], ["seconds", 1]];

/** The time since then in its greatest unit, so that the text changes seldom. */
export function ago(seconds, now) {
  const past = Math.max(Math.floor(now - seconds), 0);
  const [name, size] = UNITS.find(([, unit]) => past >= unit) ?? UNITS.at(-1);
  // Below a minute, ten seconds are near enough.
  const number = name === "seconds" ? past - (past % 10) : Math.floor(past / size);
  return words(name, { number: count(number) });
}

export function bytes(number) {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (number < 1024) return `${decimal(number)} ${unit}`;
    number /= 1024;
  }
  return `${decimal(number)} GiB`;
}

/** Messages that wait, and their bytes if there are any. */
export const waiting = (messages, size) =>
  size ? `${count(messages)} (${bytes(size)})` : count(messages);

/** Counts by name, such as messages by policy. */
export const parts = (counts) =>
  Object.entries(counts).map(([name, number]) => `${name}: ${count(number)}`).join(", ") || "0";
