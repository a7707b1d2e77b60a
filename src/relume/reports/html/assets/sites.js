"use strict";
// The table of all sites: sort by any column, search, one page at a time.
relume.sites = (() => {
  const told = document.getElementById("rows");
  const table = document.getElementById("sites");
  if (!told || !table) return {};
  const { rows, texts, columns, page, sites } = JSON.parse(told.textContent);
  const [NUMBER, NAME, CALL, SOURCE, DEAD, FIRES, PROVISIONAL, DRAWN, LINE] = [0, 1, 2, 3, 6, 10, 12, 13, 14];
  for (const row of rows) {
    row[CALL] = texts[row[CALL]];
    row[SOURCE] = `${texts[row[SOURCE]]}:${row[LINE]}`;
  }
  const left = document.getElementById("left");
  if (left && rows.length < sites) {
    left.hidden = false;
    left.querySelector("span").textContent = rows.length.toLocaleString("en");
  }
  const find = document.getElementById("find");
  let shown = rows;
  let first = 0;

  function element(tag, className, ...children) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children);
    return made;
  }

  function cell(row, column) {
    const value = row[column];
    if (column === NUMBER) {
      const link = row[DRAWN] ? element("a", "", String(value)) : String(value);
      if (row[DRAWN]) link.href = `#site-${value}`;
      return element("td", "number", link);
    }
    if (column === NAME) {
      const head = element("th", "where", element("code", "", value), " ", element("small", "", row[CALL]));
      head.scope = "row";
      return head;
    }
    if (column === SOURCE) return element("td", "in", value);
    if (column === FIRES) return element("td", "number", value === null ? "" : `${Math.round(value * 100)} %`);
    const mark = column === DEAD && row[PROVISIONAL] && value ? "~" : "";
    return element("td", "number", value ? mark + value.toLocaleString("en") : "·");
  }

  function draw() {
    const part = shown.slice(first, first + page);
    table.tBodies[0].replaceChildren(...part.map((row) => element("tr", "", ...columns.map((c) => cell(row, c)))));
    const span = document.getElementById("span");
    if (!span) return;
    const from = shown.length ? first + 1 : 0;
    span.textContent = `${from.toLocaleString("en")} to ${(first + part.length).toLocaleString("en")} of ${shown.length.toLocaleString("en")}`;
    document.getElementById("back").disabled = first === 0;
    document.getElementById("on").disabled = first + page >= shown.length;
  }

  function compare(a, b) {
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  }

  function sort(column, descending) {
    rows.sort((a, b) => (descending ? compare(b[column], a[column]) : compare(a[column], b[column])));
    search();
    for (const head of table.tHead.rows[0].cells) {
      if (Number(head.dataset.column) === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  function search() {
    const wanted = find?.value.trim().toLowerCase() ?? "";
    shown = wanted ? rows.filter((row) => `${row[NAME]} ${row[CALL]} ${row[SOURCE]}`.toLowerCase().includes(wanted)) : rows;
    if (find) document.getElementById("found").textContent = wanted ? `${shown.length.toLocaleString("en")} found` : "";
    first = 0;
    draw();
  }

  for (const head of table.tHead.rows[0].cells) {
    const column = Number(head.dataset.column);
    const button = element("button", "sort", ...head.childNodes);
    button.type = "button";
    head.append(button);
    const words = column === NAME || column === SOURCE || column === NUMBER;
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      sort(column, now ? now === "ascending" : !words);
    });
  }
  find?.addEventListener("input", search);

  // A link to a site opens it.
  function open() {
    const site = location.hash.startsWith("#site-") ? document.getElementById(location.hash.slice(1)) : null;
    if (site) site.open = true;
  }
  addEventListener("hashchange", open);
  open();
  document.getElementById("back")?.addEventListener("click", () => { first -= page; draw(); });
  document.getElementById("on")?.addEventListener("click", () => { first += page; draw(); });
  if (document.getElementById("span")) draw();
  return { sort };
})();
