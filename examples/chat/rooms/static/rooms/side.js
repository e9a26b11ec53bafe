// The side with rooms and people: a drawer on phones. Theme and language.

import { isRoomName, roomAddress } from "./people.js";
import { browser, byId } from "./tools.js";
import { language, say, speak } from "./words.js";

const THEMES = ["auto", "light", "dark"];

export function setUpSide({ room, onRename }) {
  const side = byId("side");
  const opener = byId("open-side");

  function show(open) {
    side.classList.toggle("open", open);
    byId("shade").hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    if (open) byId("close-side").focus();
  }

  function hide() {
    if (!side.classList.contains("open")) return;
    show(false);
    opener.focus();
  }

  opener.addEventListener("click", () => show(true));
  byId("close-side").addEventListener("click", hide);
  byId("shade").addEventListener("click", hide);
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
  byId("rename").addEventListener("click", () => {
    hide();
    onRename();
  });
  setUpNewRoom(room);
  setUpTheme();
  byId("language").addEventListener("click", () => {
    const next = language() === "zh" ? "en" : "zh";
    browser.set("language", next);
    speak(next);
  });
  document.addEventListener("chat:language", showLanguage);
  showLanguage();
}

function setUpNewRoom(room) {
  const field = byId("room-name");
  field.addEventListener("input", () => field.setCustomValidity(""));
  byId("new-room").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = field.value.trim();
    if (!name) return;
    if (!isRoomName(name)) {
      field.setCustomValidity(say("room-name"));
      field.reportValidity();
    } else if (name !== room) {
      location.assign(roomAddress(name));
    }
  });
}

function setUpTheme() {
  const button = byId("theme");

  function describe() {
    const theme = document.documentElement.dataset.theme ?? "auto";
    button.title = say("theme", { theme: say(`theme-${theme}`) });
    button.setAttribute("aria-label", button.title);
  }

  button.addEventListener("click", () => {
    const root = document.documentElement;
    const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "auto") + 1) % THEMES.length];
    root.dataset.theme = next;
    try {
      localStorage.setItem("chat:theme", next); // read by theme.js before the first paint
    } catch {
      // Then it holds until the page is closed.
    }
    describe();
  });
  document.addEventListener("chat:language", describe);
  describe();
}

/** The button offers the other language, in its own words. */
function showLanguage() {
  const chinese = language() === "zh";
  const button = byId("language");
  button.textContent = chinese ? "En" : "中";
  button.lang = chinese ? "en" : "zh-CN";
  button.title = chinese ? "English" : "中文";
  button.setAttribute("aria-label", button.title);
}
