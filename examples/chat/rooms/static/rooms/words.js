// What the page says, in English and in Chinese.

const many = (one, other) => ({ n }) => (n === 1 ? one : other).replace("{n}", n);

const english = {
  skip: "Skip to the message box",
  brand: "Chat",
  side: "Rooms and people",
  close: "Close",
  rooms: "Rooms",
  open: "Open",
  "new-room": "Open another room",
  people: "People",
  "people-here": many("{n} person here", "{n} people here"),
  you: "you",
  rename: "Change your name",
  theme: "Theme: {theme}",
  "theme-auto": "like the system",
  "theme-light": "light",
  "theme-dark": "dark",
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
  idle: "",
  online: "Connected",
  connecting: "Connecting…",
  waiting: "Disconnected",
  stopped: "Paused",
  "bar-connecting": "Connecting again. What you write is kept.",
  "bar-waiting": "No connection. What you write is kept and sent later.",
  "bar-seconds": "Next try in {n} s.",
  "bar-now": "Try now",
  "bar-replaced": "This chat goes on in another window.",
  "bar-here": "Use it here",
  "name-empty": "Please type a name with at least one letter or number.",
  "name-long": "That name is too long: {limit} characters at most.",
  "name-taken": "Somebody here has this name already. How about this one?",
  "room-full": "This room is full. Please try another one.",
  "room-name": "Letters, numbers and hyphens make a room's name.",
  "room-long": "That name is too long: {limit} characters at most.",
  "too-many-rooms": "There are too many rooms. Please join an existing one.",
  "too-fast": "One moment: that was a lot at once. The rest is sent shortly.",
  "message-empty": "There is nothing to read in that message.",
  "message-long": "That is too long: {limit} characters and {lines} lines at most.",
  "bad-request": "The server did not understand this page. Please reload it.",
};

const chinese = {
  skip: "跳到输入框",
  brand: "聊天室",
  side: "房间和成员",
  close: "关闭",
  rooms: "房间",
  open: "打开",
  "new-room": "打开其他房间",
  people: "在线成员",
  "people-here": "{n} 人在线",
  you: "你",
  rename: "修改昵称",
  theme: "主题：{theme}",
  "theme-auto": "跟随系统",
  "theme-light": "浅色",
  "theme-dark": "深色",
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
  idle: "",
  online: "已连接",
  connecting: "连接中…",
  waiting: "连接已断开",
  stopped: "已暂停",
  "bar-connecting": "正在重新连接，输入的内容会保留。",
  "bar-waiting": "连接已断开，输入的内容会保留，稍后发送。",
  "bar-seconds": "{n} 秒后重试。",
  "bar-now": "立即重试",
  "bar-replaced": "此聊天已在另一个窗口打开。",
  "bar-here": "在此继续",
  "name-empty": "请输入昵称，至少包含一个文字或数字。",
  "name-long": "昵称太长，最多 {limit} 个字符。",
  "name-taken": "这个昵称已有人使用，换成这个怎么样？",
  "room-full": "房间已满，请换一个房间。",
  "room-name": "房间名只能包含文字、数字和连字符。",
  "room-long": "房间名太长，最多 {limit} 个字符。",
  "too-many-rooms": "房间太多了，请加入已有的房间。",
  "too-fast": "发送太快了，其余消息稍后发出。",
  "message-empty": "消息中没有可显示的内容。",
  "message-long": "消息太长，最多 {limit} 个字符、{lines} 行。",
  "bad-request": "服务器无法理解此页面，请刷新重试。",
};

const languages = { en: english, zh: chinese };
let current = "en";

export const language = () => current;

/** Return the locale for dates: the reader's own where it is of the language in use. */
export function locale() {
  return navigator.languages.find((tag) => tag.toLowerCase().startsWith(current)) ?? document.documentElement.lang;
}

/** Return the words for a key, with {placeholders} filled in. */
export function say(key, values = {}) {
  const words = languages[current][key] ?? english[key] ?? key;
  if (typeof words === "function") return words(values);
  return words.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Put words into an element, so that they change when the language does. */
export function put(element, key, values = {}) {
  element.dataset.t = key;
  element.dataset.values = JSON.stringify(values);
  element.textContent = say(key, values);
}

/** Choose the language (a tag such as "zh-CN") and translate what is on the page. */
export function speak(tag) {
  current = tag.toLowerCase().startsWith("zh") ? "zh" : "en";
  document.documentElement.lang = current === "zh" ? "zh-CN" : "en";
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = say(element.dataset.t, JSON.parse(element.dataset.values ?? "{}"));
  }
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", say(element.dataset.tLabel));
    if (element.matches("button")) element.title = say(element.dataset.tLabel);
  }
  for (const element of document.querySelectorAll("[data-t-placeholder]")) {
    element.placeholder = say(element.dataset.tPlaceholder);
  }
  document.dispatchEvent(new CustomEvent("chat:language"));
}
