"use strict";
// The theme: the reader's choice if there is one, else that of the system. Runs in the head, before the page is drawn.
globalThis.relume ??= {};

relume.theme = (() => {
  const KEY = "relume-theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  // A file:// page may have no storage: then the choice lasts as long as the page.
  function remembered() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  }

  function remember(name) {
    try {
      localStorage.setItem(KEY, name);
    } catch {
      // nothing to do: only the choice is not remembered
    }
  }

  const current = () => root.dataset.theme ?? (system.matches ? "dark" : "light");

  function show() {
    for (const button of document.querySelectorAll("button.theme")) {
      button.setAttribute("aria-pressed", String(current() === "dark"));
    }
  }

  function set(name) {
    root.dataset.theme = name;
    remember(name);
    show();
  }

  root.classList.add("scripted");
  const known = remembered();
  if (known === "light" || known === "dark") root.dataset.theme = known;
  system.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    show();
    for (const button of document.querySelectorAll("button.theme")) {
      button.addEventListener("click", () => set(current() === "dark" ? "light" : "dark"));
    }
  });
  return { current, set };
})();
