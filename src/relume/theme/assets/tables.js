"use strict";
// Columns of `table.sortable` sort on a click: numbers by size, words by the alphabet, blanks last.
relume.tables = (() => {
  const NUMBER = /^[+\-−]?(\d+\.?\d*|\.\d+)([eE][+\-−]?\d+)?\s*%?$/;

  function key(text) {
    const bare = text.trim().replaceAll(",", "").replaceAll("−", "-");
    return NUMBER.test(bare) ? Number(bare.replace("%", "")) : bare.toLowerCase();
  }

  function compare(a, b) {
    const blank = (k) => k === "" || k === "–" || k === "·";
    if (blank(a) || blank(b)) return Number(blank(a)) - Number(blank(b));
    if (typeof a === typeof b) return typeof a === "number" ? a - b : a.localeCompare(b);
    return typeof a === "number" ? -1 : 1;
  }

  function sort(table, column, descending) {
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row) => [key(row.cells[column].dataset.sort ?? row.cells[column].textContent), row]);
    const blank = (k) => k === "" || k === "–" || k === "·";
    keyed.sort(([a], [b]) => (descending && !blank(a) && !blank(b) ? -compare(a, b) : compare(a, b)));
    body.append(...keyed.map(([, row]) => row));
    [...table.tHead.rows[0].cells].forEach((head, i) => {
      if (i === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }

  function make(table) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (head.querySelector("button.sort")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, column, head.getAttribute("aria-sort") === "ascending"));
    });
  }

  // Call this after a script has changed the rows or headings: they sort too, and the rows keep the chosen order.
  function refresh(table) {
    if (!table.classList.contains("sortable")) return;
    make(table);
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const order = head.getAttribute("aria-sort");
      if (order) sort(table, column, order === "descending");
    });
  }

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("table.sortable").forEach(make));
  return { sort, refresh };
})();
