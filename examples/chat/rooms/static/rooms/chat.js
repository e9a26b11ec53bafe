// The page: ties the line, the outbox, the messages and the lists together.

import { Composer } from "./composer.js";
import { askName, hideJoin } from "./join.js";
import { Line } from "./line.js";
import { Log } from "./log.js";
import { Outbox } from "./outbox.js";
import { showPeople, showRooms } from "./people.js";
import { Banner } from "./banner.js";
import { setUpSide } from "./side.js";
import { browser, byId, mark, paintAvatar, tab } from "./tools.js";
import { say, speak } from "./words.js";
import { Typing } from "./typing.js";

const REPLACED = 4001; // close code: the same person came in from another window
const BACK_AGAIN = 30_000; // after a break, those who were here come back without notice

const { room, socket } = document.body.dataset;
const title = document.title;

// Who has the key is the same person, even if the server still sees the former line.
const key = tab.get("key") ?? mark();
tab.set("key", key);

let you = tab.get("name") ?? "";
let people = [];
let expected = new Set();

speak(browser.get("language") ?? navigator.language ?? "en");

const line = new Line(socket);
const outbox = new Outbox(line, room);
const log = new Log((unread) => {
  document.title = unread ? `(${unread}) ${title}` : title;
});
const typing = new Typing();
const banner = new Banner(line, () => enter(you));
const composer = new Composer(room, {
  send: (text) => outbox.add(text),
  typing: () => line.send({ type: "typing" }),
});
setUpSide({ room, onRename: rename });

outbox.addEventListener("change", showPending);
line.addEventListener("state", showPending);
line.addEventListener("state", ({ detail }) => {
  if (detail.state !== "online") typing.clear();
});
line.addEventListener("message", ({ detail }) => (handlers[detail.type] ?? (() => {}))(detail));

const handlers = {
  welcome(event) {
    expected = new Set(people.filter((name) => !event.people.includes(name)));
    setTimeout(() => expected.clear(), BACK_AGAIN);
    setYou(event.you);
    setPeople(event.people);
    showRooms(event.rooms, room);
    log.fill(event.history, you);
    composer.complain("");
    // Coming back must not take the focus from where it is.
    if (hideJoin() || document.activeElement === document.body) composer.focus();
    // Confirmed by the history: it arrived, only its confirmation got lost.
    for (const { id } of event.history) outbox.remove(id);
    outbox.next();
  },
  message(event) {
    typing.stop(event.name);
    log.add(event, you);
    outbox.remove(event.id);
  },
  confirmed: ({ id }) => outbox.remove(id),
  joined({ name, people: now }) {
    setPeople(now);
    if (!expected.delete(name)) log.notice("joined", name);
  },
  left({ name, people: now }) {
    setPeople(now);
    typing.stop(name);
    log.notice("left-room", name);
  },
  rooms: (event) => showRooms(event.rooms, room),
  typing: ({ name }) => typing.start(name),
  error(event) {
    composer.complain(say(event.code, event));
    if (event.code === "too-fast") {
      outbox.later(event.wait);
      setTimeout(() => composer.complain(""), event.wait * 1000 + 1500);
      return;
    }
    const refused = outbox.remove(event.id);
    if (refused) composer.giveBack(refused.text);
  },
  refused(event) {
    line.stop();
    askName(enter, { name: event.suggestion ?? you, error: say(event.code, event) });
  },
  stopped({ code }) {
    if (code === REPLACED) banner.replaced();
  },
};

function enter(name) {
  tab.set("name", name);
  browser.set("name", name);
  you = name;
  line.open(() => ({ type: "join", name, key }));
}

function rename() {
  askName((name) => (name === you ? hideJoin() : enter(name)), { name: you, mayCancel: true });
}

function setYou(name) {
  you = name;
  tab.set("name", name);
  byId("my-name").textContent = name;
  paintAvatar(byId("my-avatar"), name);
}

function setPeople(names) {
  people = names;
  showPeople(names, you);
}

function showPending() {
  log.showPending(outbox.waiting, you, line.state === "online");
}

showRooms([], room);
showPeople([], you);
showPending();
if (you) enter(you);
else askName(enter, { name: browser.get("name") ?? "" });
