// Small helpers without state: elements, text, storage.

const REMEMBERED = 2000; // ids of messages: a message that comes twice is shown once

/** Make an element. Children that are strings become text, never HTML. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Split text into the characters that readers see (graphemes). */
export function graphemes(text) {
  if (!("Segmenter" in Intl)) return Array.from(text);
  return Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment);
}

/** Return a hue (0 to 359) that is always the same for a name. */
export function hue(name) {
  let sum = 7;
  for (const char of name.toLowerCase()) sum = (sum * 31 + char.codePointAt(0)) % 9973;
  return (sum * 137) % 360;
}

/** Fill an avatar with the first character of a name. */
export function paintAvatar(element, name) {
  element.textContent = graphemes(name)[0]?.toUpperCase() ?? "";
  element.style.setProperty("--hue", hue(name));
  return element;
}

export function avatar(name) {
  return paintAvatar(make("span", { className: "dwchat-avatar", ariaHidden: "true" }), name);
}

/** Remember an id; return whether it is new. Of very many ids, the oldest are forgotten. */
export function isNew(ids, id) {
  if (ids.has(id)) return false;
  ids.add(id);
  if (ids.size > REMEMBERED) ids.delete(ids.values().next().value);
  return true;
}

const LINK = /https?:\/\/[^\s<>"]+/g;

/** Return text as nodes, with web addresses as links. */
export function linked(text) {
  const nodes = [];
  let done = 0;
  for (const match of text.matchAll(LINK)) {
    // A full stop or bracket after an address belongs to the sentence, not to the address.
    const address = match[0].replace(/[.,;:!?'）。，、)\]}]+$/, "");
    if (!URL.canParse?.(address)) continue;
    nodes.push(text.slice(done, match.index));
    nodes.push(make("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow ugc" }, address));
    done = match.index + address.length;
  }
  nodes.push(text.slice(done));
  return nodes;
}

const PICTURES = /^(?:\p{Extended_Pictographic}|\p{Emoji_Modifier}|\p{Regional_Indicator}|[\u200d\ufe0f\s])+$/u;

/** Return whether a message consists of one to three emoji. */
export function isJumbo(text) {
  return PICTURES.test(text) && graphemes(text.replace(/\s/g, "")).length <= 3;
}

/** Return a random id. (crypto.randomUUID is missing on pages without HTTPS.) */
export function mark() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Return a storage that never throws; if it is switched off or full, it keeps nothing. */
function shelf(storage) {
  return {
    get(key, fallback = null) {
      try {
        return JSON.parse(storage().getItem(`chat:${key}`)) ?? fallback;
      } catch {
        return fallback;
      }
    },
    set(key, value) {
      try {
        storage().setItem(`chat:${key}`, JSON.stringify(value));
      } catch {
        // The page works without the storage until it is closed.
      }
    },
  };
}

export const tab = shelf(() => sessionStorage); // for this tab, across reloads
export const browser = shelf(() => localStorage); // for all pages of the site, for long
