// Sets the theme before the first paint: what was chosen here before, else what the system prefers.
(function () {
  var chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // storage is forbidden: the system's choice stands
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
