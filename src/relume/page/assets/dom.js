"use strict";
// Helpers with which the page's scripts write to it.
relume.dom = (() => {
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

  function cells(tag, contents, head) {
    const row = document.createElement("tr");
    contents.forEach((content, i) => {
      const cell = document.createElement(tag === "th" || i === 0 ? "th" : "td");
      if (cell.tagName === "TH") cell.scope = head ? "col" : "row";
      else cell.className = "number";
      cell.textContent = content;
      row.append(cell);
    });
    return row;
  }

  function fill(table, columns, rows) {
    const headings = [...table.tHead.rows[0].cells].map((head) => head.textContent);
    if (columns && columns.join() !== headings.join()) table.tHead.replaceChildren(cells("th", columns, true));
    table.tBodies[0].replaceChildren(...rows.map((row) => cells("td", row, false)));
    relume.tables.refresh(table);
  }

  // Shows the number next to a slider, and tells it to screen readers.
  function tell(input, value) {
    const text = typeof value === "number" ? relume.numeric.written(value) : value;
    const output = $(`output[for="${input.id}"]`);
    if (output) output.textContent = text;
    if (input.type === "range") input.setAttribute("aria-valuetext", text);
  }

  return { $, $$, fill, tell };
})();
