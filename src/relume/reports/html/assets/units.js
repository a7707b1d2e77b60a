"use strict";
// The grid of a site's units: the one under the pointer, or chosen with the arrow keys, is described below it, with the
// story of how often it fired over the steps.
relume.units = (() => {
  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const UNKNOWN = 4095; // as in drawing.py, like MOST
  const MOST = 4094;

  function percent(code) {
    const share = (100 * code) / MOST;
    if (code && share < 0.1) return "less than 0.1 %";
    return `${share < 99.95 && code ? share.toFixed(1) : Math.round(share)} %`;
  }

  const WIDTH = 400;
  const HIGH = 72;

  function node(name, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // A line of steps through (x, y): each y holds from the previous x to its own.
  const stairs = (points) => points.map(([x, y], i) => `${i ? "V" : `M0 `}${y.toFixed(1)}H${x.toFixed(1)}`).join("");

  // The drawing and the description of one unit; `story` is that of unit_story.py.
  function storyOf(story, units) {
    const { ends, rates, steps, deaths, learning, band } = story;
    const across = (step) => (WIDTH * Math.min(step + 1, steps)) / steps;

    // Below the rate: the band of the pre-activations around 0, on a scale of cube roots, and how far the weights moved.
    function bandOf(unit, top) {
      const known = band.steps.map((step, i) => [step, band.low[unit][i], band.high[unit][i], band.path[unit][i]]);
      const points = known.filter((point) => point.every((x) => x !== null));
      const widest = Math.max(...points.flatMap(([, low, high]) => [Math.abs(low), Math.abs(high)]), 1e-9);
      const y = (x) => (top + 4 + (HIGH / 2) * (1 - Math.cbrt(x / widest))).toFixed(1);
      const edge = (i) => points.map((point) => `${across(point[0]).toFixed(1)} ${y(point[i])}`);
      const far = Math.max(...points.map((point) => point[3]), 1e-9);
      const way = points.map((point) => `${across(point[0]).toFixed(1)} ${(top + HIGH - (HIGH - 8) * (point[3] / far)).toFixed(1)}`);
      return [
        node("path", { d: `M${[...edge(2), ...edge(1).reverse()].join("L")}Z`, class: "story-band" }),
        node("path", { d: `M0 ${y(0)}H${WIDTH}`, class: "story-zero" }),
        node("path", { d: `M${way.join("L")}`, class: "story-way" }),
      ];
    }

    function draw(unit) {
      const shares = ends.map((_, i) => LETTERS.indexOf(rates[i * units + unit]) / (LETTERS.length - 1));
      const top = Math.max(...shares, 0.02);
      const line = stairs(shares.map((share, i) => [across(ends[i]), HIGH - (HIGH - 4) * (share / top)]));
      const parts = [
        node("path", { d: `${line}V${HIGH}H0Z`, class: "story-area" }),
        node("path", { d: line, class: "story-line" }),
      ];
      const death = deaths[unit];
      if (death) parts.push(node("path", { d: `M${across(death[1]).toFixed(1)} 0V${HIGH}`, class: "story-death" }));
      let high = HIGH + 2;
      if (band) {
        parts.push(...bandOf(unit, high));
        high += HIGH + 8;
        if (death) parts.push(node("path", { d: `M${across(death[1]).toFixed(1)} ${high - HIGH - 8}V${high}`, class: "story-death" }));
      }
      if (learning.length) {
        const base = high + 32;
        high += 34;
        const most = Math.max(...learning.map(([, rate]) => rate)) || 1;
        const until = learning.map(([, rate], i) => [across(i + 1 < learning.length ? learning[i + 1][0] : steps), rate]);
        const points = until.map(([x, rate]) => [x, base - 22 * (rate / most)]);
        parts.push(node("path", { d: stairs(points), class: "story-rate" }));
      }
      const axes = { viewBox: `0 0 ${WIDTH} ${high}`, preserveAspectRatio: "none", class: "story", "aria-hidden": "true" };
      return [node("svg", axes, ...parts), `${(100 * top).toFixed(0)} %`];
    }

    function says(unit) {
      const death = deaths[unit];
      if (!death) return "";
      const [after, at, cause, evidence] = death;
      const between = `between steps ${Math.max(after, 0).toLocaleString("en")} and ${at.toLocaleString("en")}`;
      const when = at - after <= 1 ? `at step ${at.toLocaleString("en")}` : between;
      const began = after < 0 ? "It never fired" : `It died ${when}`;
      return cause ? `${began}: ${cause}. ${evidence[0].toUpperCase()}${evidence.slice(1).replace(/\.?$/, ".")}` : `${began}.`;
    }
    return { draw, says };
  }

  function make(place) {
    const [columns, units, together] = ["columns", "units", "together"].map((name) => Number(place.dataset[name]));
    const { rates } = place.dataset;
    const grid = place.querySelector("svg.grid");
    const told = place.querySelector(".reading");
    const cells = Math.ceil(units / together);
    if (!cells) return;
    const rows = Math.ceil(cells / columns);
    const states = Array(cells).fill("");
    for (const path of grid.querySelectorAll("path")) {
      for (const [, x, y, length] of path.getAttribute("d").matchAll(/M(\d+) (\d+)h(\d+)/g)) {
        const first = Number(y) * columns + Number(x);
        states.fill(path.dataset.state, first, first + Number(length));
      }
      path.querySelector("title").remove(); // the line below says more
    }
    const frame = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [name, value] of [["class", "frame"], ["width", 1], ["height", 1]]) frame.setAttribute(name, value);
    let now = 0;
    const data = place.querySelector("script.story");
    const known = data && JSON.parse(data.textContent);
    const story = known && storyOf(known, units);
    const where = place.querySelector(".told");

    function tell(unit) {
      const [drawn, top] = story.draw(unit);
      const rate = document.createElement("p");
      rate.className = "small ends";
      const below = [];
      if (known.band) below.push("its pre-activations around 0, and how far its weights moved (dotted)");
      if (known.learning.length) below.push("the learning rate");
      const rest = below.length ? `; below, ${below.join("; then ")}` : "";
      for (const text of [`up to ${top} of the samples${rest}`, "last step"]) {
        const label = document.createElement("span");
        label.textContent = text;
        rate.append(label);
      }
      const sentence = document.createElement("p");
      sentence.textContent = story.says(unit);
      where.replaceChildren(drawn, rate, sentence);
    }

    function says(cell) {
      const code = 64 * LETTERS.indexOf(rates[2 * cell]) + LETTERS.indexOf(rates[2 * cell + 1]);
      const fires = code === UNKNOWN ? "" : `, fires on ${percent(code)} of the samples`;
      const first = cell * together;
      const last = Math.min(first + together, units) - 1;
      if (first === last) return `Unit ${first.toLocaleString("en")}: ${states[cell]}${fires}`;
      const span = `${first.toLocaleString("en")} to ${last.toLocaleString("en")}`;
      return `Units ${span}: the worst is ${states[cell]}${fires.replace("fires", "the rarest fires")}`;
    }

    function choose(cell) {
      if (cell < 0 || cell >= cells) return;
      now = cell;
      frame.setAttribute("x", cell % columns);
      frame.setAttribute("y", Math.floor(cell / columns) - 0.5);
      grid.append(frame);
      grid.setAttribute("aria-valuenow", cell * together);
      grid.setAttribute("aria-valuetext", says(cell));
      told.textContent = `${says(cell)}.`;
      if (story) tell(cell);
    }

    function point(event) {
      const box = grid.getBoundingClientRect();
      const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      if (x >= 0 && x < 1 && y >= 0 && y < 1) choose(Math.floor(y * rows) * columns + Math.floor(x * columns));
    }

    const label = `Units of ${place.dataset.name}: ${grid.getAttribute("aria-label")}`;
    const settings = { role: "slider", tabindex: 0, "aria-label": label, "aria-valuemin": 0, "aria-valuemax": units - 1 };
    for (const [name, value] of Object.entries(settings)) grid.setAttribute(name, value);
    grid.setAttribute("aria-valuenow", 0);
    grid.setAttribute("aria-valuetext", says(0));
    grid.addEventListener("pointermove", point);
    grid.addEventListener("pointerdown", point);
    grid.addEventListener("focus", () => choose(now));
    grid.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: now - 1, ArrowRight: now + 1, ArrowUp: now - columns, ArrowDown: now + columns };
      const wanted = { ...moves, Home: 0, End: cells - 1 }[event.key];
      if (wanted === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      choose(wanted);
    });
  }

  document.querySelectorAll(".units").forEach(make);
  return {};
})();
