// The chat's texts in English and in Chinese; teach() adds texts and languages.

const many = (one, other) => ({ n }) => (n === 1 ? one : other).replace("{n}", n);

const english = {
  "people-here": many("{n} person here", "{n} people here"),
  you: "you",
  conversation: "Conversation",
  messages: "Messages",
  pending: "Not sent yet",
  empty: "Nothing has been said here yet. Say hello!",
  write: "Message",
  send: "Send",
  hint: "Enter sends, Shift + Enter starts a new line",
  left: "{n} left",
  name: "Your name",
  enter: "Enter",
  cancel: "Cancel",
  "join-title": "What should we call you?",
  "join-about": "You are about to enter",
  joined: "{name} joined",
  renamed: "{before} is now {name}",
  rename: "Change",
  "left-room": "{name} left",
  today: "Today",
  yesterday: "Yesterday",
  fresh: "New",
  unread: many("{n} new message", "{n} new messages"),
  latest: "To the latest message",
  sending: "sending…",
  "not-sent": "waiting to be sent",
  "typing-1": "{a} is writing…",
  "typing-2": "{a} and {b} are writing…",
  "typing-more": "Several people are writing…",
  online: "Connected",
  connecting: "Connecting…",
  waiting: "Disconnected",
  stopped: "Paused",
  "bar-connecting": "Connecting again. What you write is kept.",
  "bar-waiting": "No connection. What you write is kept and sent later.",
  "bar-seconds": "Next try in {n} s.",
  "bar-now": "Try now",
  name_empty: "Please type a name with at least one letter or number.",
  name_long: "That name is too long.",
  name_taken: "Somebody here has this name already. How about this one?",
  room_full: "This room is full. Please try another one.",
  too_fast: "One moment: that was a lot at once. The rest is sent shortly.",
  message_empty: "There is nothing to read in that message.",
  message_long: "That is too long, or has too many lines.",
  rooms_full: "There are too many rooms just now. Please try another one.",
  people: "People",
  rooms: "Rooms",
  "new-room": "Open another room",
  open: "Open",
  "room-name": "A room’s name has letters, numbers, - and _.",
  "members-only": "This room is for its members.",
  "read-only": "You may read here.",
  "bar-stopped": "The chat has ended.",
  "bar-again": "Connect again",
  forbidden: "That is not allowed here.",
  too_many: "One moment: that was a lot at once.",
  unavailable: "Not possible just now. It is tried again.",
  invalid: "The server did not understand this page. Please reload it.",
  failed: "Something went wrong on the server. Please try again.",
  timeout: "The server is slow to answer. It is tried again.",
};

const chinese = {
  "people-here": "{n} 人在线",
  you: "你",
  conversation: "对话",
  messages: "消息",
  pending: "尚未发送",
  empty: "这里还没有人说话，打个招呼吧！",
  write: "输入消息",
  send: "发送",
  hint: "按 Enter 发送，Shift + Enter 换行",
  left: "剩余 {n} 字",
  name: "昵称",
  enter: "进入",
  cancel: "取消",
  "join-title": "怎么称呼你？",
  "join-about": "即将进入",
  joined: "{name} 加入了房间",
  renamed: "{before} 改名为 {name}",
  rename: "改名",
  "left-room": "{name} 离开了房间",
  today: "今天",
  yesterday: "昨天",
  fresh: "新消息",
  unread: "{n} 条新消息",
  latest: "回到最新消息",
  sending: "发送中…",
  "not-sent": "等待发送",
  "typing-1": "{a} 正在输入…",
  "typing-2": "{a} 和 {b} 正在输入…",
  "typing-more": "多人正在输入…",
  online: "已连接",
  connecting: "连接中…",
  waiting: "连接已断开",
  stopped: "已暂停",
  "bar-connecting": "正在重新连接，输入的内容会保留。",
  "bar-waiting": "连接已断开，输入的内容会保留，稍后发送。",
  "bar-seconds": "{n} 秒后重试。",
  "bar-now": "立即重试",
  name_empty: "请输入昵称，至少包含一个文字或数字。",
  name_long: "昵称太长。",
  name_taken: "这个昵称已有人使用，换成这个怎么样？",
  room_full: "房间已满，请换一个房间。",
  too_fast: "发送太快了，其余消息稍后发出。",
  message_empty: "消息中没有可显示的内容。",
  message_long: "消息太长或行数过多。",
  rooms_full: "房间太多了，请换一个房间。",
  people: "在线成员",
  rooms: "房间",
  "new-room": "打开另一个房间",
  open: "打开",
  "room-name": "房间名只能包含文字、数字、- 和 _。",
  "members-only": "此房间仅对成员开放。",
  "read-only": "你可以在此阅读。",
  "bar-stopped": "聊天已结束。",
  "bar-again": "重新连接",
  forbidden: "这里不允许这样做。",
  too_many: "请稍等，操作太多了。",
  unavailable: "暂时无法完成，稍后会重试。",
  invalid: "服务器无法理解此页面，请刷新重试。",
  failed: "服务器出错了，请重试。",
  timeout: "服务器响应缓慢，稍后会重试。",
};

const languages = { en: english, zh: chinese };
let current = known(document.documentElement.lang || navigator.language);

function known(tag) {
  const language = tag.toLowerCase().split("-")[0];
  return language in languages ? language : "en";
}

export const language = () => current;

/** Add texts to a known or a new language ("fr"); a value may be a function. */
export function teach(language, words) {
  languages[language] = { ...languages[language], ...words };
}

/** Return the locale for dates: the reader's own if it belongs to the current language. */
export function locale() {
  return navigator.languages.find((tag) => tag.toLowerCase().startsWith(current)) ?? current;
}

/** Return the text for a key, with {placeholders} filled in. */
export function say(key, values = {}) {
  const words = languages[current][key] ?? languages.en[key] ?? key;
  if (typeof words === "function") return words(values);
  return words.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Put a text into an element; it changes when the language changes. */
export function put(element, key, values = {}) {
  element.dataset.t = key;
  element.dataset.values = JSON.stringify(values);
  element.textContent = key && say(key, values);
}

/** Choose the language (a tag such as "zh-CN"), and translate the page. */
export function speak(tag) {
  current = known(tag);
  translate(document);
  document.dispatchEvent(new Event("chat:language"));
}

/** Translate the texts in an element. */
export function translate(root) {
  for (const element of root.querySelectorAll("[data-t]:not([data-t=''])")) {
    element.textContent = say(element.dataset.t, JSON.parse(element.dataset.values ?? "{}"));
  }
  for (const element of root.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", say(element.dataset.tLabel));
    if (element.matches("button")) element.title = say(element.dataset.tLabel);
  }
  for (const element of root.querySelectorAll("[data-t-placeholder]")) {
    element.placeholder = say(element.dataset.tPlaceholder);
  }
}
