"use strict";
// Makes the charts of a page live: each picture is replaced by Vega's drawing of the specification next to it.
relume.charts = (() => {
  const PAPER = 680; // A4 without margins, in CSS pixels
  const views = {};

  const rows = {}; // rows that scripts have set, by chart and data set, even before the chart is live

  function prepared(id, told) {
    const spec = { ...JSON.parse(told), width: "container" };
    for (const part of [spec, ...(spec.layer ?? [])]) {
      const given = rows[id]?.[part.data?.name];
      if (given) part.data.values = given;
    }
    return spec;
  }

  // If anything fails, the picture stays: it shows the same chart.
  async function mount(figure) {
    const { id } = figure;
    const told = figure.querySelector("script.spec");
    const place = figure.querySelector(".drawing");
    if (!told || views[id]) return;
    const fresh = document.createElement("div");
    fresh.className = "live";
    fresh.setAttribute("aria-hidden", "true"); // screen readers read the container's description and the table
    const picture = [...place.children];
    place.append(fresh);
    const before = { ...rows[id] };
    const options = { actions: false, renderer: "svg", defaultStyle: false, tooltip: false, hover: false, logLevel: 1 };
    const { view } = await vegaEmbed(fresh, prepared(id, told.textContent), options);
    views[id] = view;
    for (const old of picture) old.remove();
    for (const [name, given] of Object.entries(rows[id] ?? {})) if (before[name] !== given) await update(id, name, given);
  }

  // Gives the data set `name` of the chart `id` new rows.
  async function update(id, name, given) {
    rows[id] = { ...rows[id], [name]: given };
    if (views[id]) await views[id].data(name, given).runAsync();
  }

  // A sheet is narrower than most screens: there a chart is drawn for its width, so that letters keep their size.
  addEventListener("beforeprint", () => {
    for (const view of Object.values(views)) view.width(Math.min(view.width(), PAPER)).run();
  });
  addEventListener("afterprint", () => dispatchEvent(new Event("resize")));

  const mountAll = () => Promise.all([...document.querySelectorAll("figure.chart")].map(mount));

  return { mount, mountAll, update, views };
})();
