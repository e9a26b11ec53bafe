// How many messages wait stands in the title of the tab.

const title = document.title;

document.addEventListener("unread", ({ count }) => {
  document.title = count ? `(${count}) ${title}` : title;
});
