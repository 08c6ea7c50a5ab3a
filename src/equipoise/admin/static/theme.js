// The theme a person chose, set before anything is painted; without a choice the system's applies.
// A classic script: modules run only after the page is parsed.
(() => {
  try {
    const chosen = localStorage.getItem("equipoise.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // Storage may be forbidden; the system's theme is as good.
  }
})();
