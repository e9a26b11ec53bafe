// Runs before the first paint, so that a page in the chosen theme never flashes.
(() => {
  try {
    const chosen = localStorage.getItem("chat:theme");
    if (chosen) document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage is switched off: the system's theme it is.
  }
})();
