"use strict";
// Draws the lesson: the plane with each unit's line and the decision boundary, one unit's examples on f(x), and both
// networks over time. Colors are those of the theme, with a light fallback, because the drawings are also saved as stills.
relume.lessonView = (() => {
  const { DATA, WIDTH } = relume.network;
  const { family } = relume;
  const color = (name) => `var(--${name}, ${relume.data.tokens[name]})`;
  const STATES = {
    fires: { color: "healthy", mark: "", text: "fires on some examples" },
    linear: { color: "always-on", mark: "–", text: "fires on all: linear" },
    silent: { color: "rare", mark: "○", text: "silent, but still learns" },
    dead: { color: "dead", mark: "✕", text: "dead: silent, slope 0" },
    stuck: { color: "dead", mark: "□", text: "stuck: fires, slope 0" },
    broken: { color: "unknown", mark: "?", text: "NaN or infinite" },
  };
  const VIEW = 1.8; // the plane is drawn from −VIEW to VIEW
  const round = (v) => Math.round(v * 10) / 10;
  const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${round(x)},${round(y)}`).join("");
  const text = (x, y, words, options = "") => `<text x="${round(x)}" y="${round(y)}" fill="${color("muted")}" font-size="13" ${options}>${words}</text>`;

  function example({ target }, x, y, radius) {
    const shape = `<circle cx="${round(x)}" cy="${round(y)}"`;
    return target > 0
      ? `${shape} r="${radius}" fill="${color("ink")}"/>`
      : `${shape} r="${radius - 0.5}" fill="${color("raised")}" stroke="${color("muted")}" stroke-width="1.5"/>`;
  }

  // ---- the plane -----------------------------------------------------------------------------------------------

  // Closed lines around the points where `f` is positive, by marching squares; outside the view `f` counts as negative.
  // Clockwise around a cell, each crossing out of the positive part connects to the next crossing into it.
  function contour(f, cells = 44) {
    const at = (i) => -VIEW + (2 * VIEW * i) / cells;
    const side = cells + 3;
    const inside = (i) => i >= 0 && i <= cells;
    const values = Array.from({ length: side * side }, (_, k) => {
      const [i, j] = [(k % side) - 1, Math.floor(k / side) - 1];
      return inside(i) && inside(j) ? f([at(i), at(j)]) : -1;
    });
    const value = (i, j) => values[(j + 1) * side + i + 1];
    const [leads, places] = [new Map(), new Map()];
    for (let j = -1; j <= cells; j++) {
      for (let i = -1; i <= cells; i++) {
        const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
        const crossings = [];
        corners.forEach((a, k) => {
          const b = corners[(k + 1) % 4];
          const [p, q] = [value(...a), value(...b)];
          if (p > 0 === q > 0) return;
          const key = `${a[0] + b[0]},${a[1] + b[1]}`;
          const t = p / (p - q);
          places.set(key, [at(a[0] + t * (b[0] - a[0])), at(a[1] + t * (b[1] - a[1]))]);
          crossings.push({ key, out: p > 0 });
        });
        crossings.forEach(({ key, out }, k) => out && leads.set(key, crossings[(k + 1) % crossings.length].key));
      }
    }
    const loops = [];
    while (leads.size) {
      const loop = [];
      for (let key = leads.keys().next().value; leads.has(key); ) {
        loop.push(places.get(key));
        const next = leads.get(key);
        leads.delete(key);
        key = next;
      }
      loops.push(loop);
    }
    return loops;
  }

  // The part of the square in which w · x + b > 0, as corners, and where its edge cuts the square.
  function half(wx, wy, b) {
    const corners = [[-VIEW, -VIEW], [VIEW, -VIEW], [VIEW, VIEW], [-VIEW, VIEW]];
    const z = ([x, y]) => wx * x + wy * y + b;
    const [part, cut] = [[], []];
    corners.forEach((p, k) => {
      const q = corners[(k + 1) % 4];
      if (z(p) > 0) part.push(p);
      if (z(p) > 0 === z(q) > 0) return;
      const t = z(p) / (z(p) - z(q));
      const crossing = [p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])];
      part.push(crossing);
      cut.push(crossing);
    });
    return { part, cut };
  }

  function plane({ networks }, side, unit, wide) {
    const network = networks[side];
    const to = ([x, y]) => [((x + VIEW) / (2 * VIEW)) * wide, ((VIEW - y) / (2 * VIEW)) * wide];
    const parts = network.units.map(({ state }, u) => ({ u, state, ...half(network.weight[2 * u], network.weight[2 * u + 1], network.bias[u]) }));
    const chosen = parts[unit];
    const lines = parts.map(({ u, state, cut }) =>
      cut.length < 2 ? "" : `<path d="${path(cut.map(to))}" stroke="${color(STATES[state].color)}" stroke-width="${u === unit ? 4 : 1.75}"${STATES[state].color === "dead" ? ' stroke-dasharray="6 4"' : ""}/>`,
    );
    const boundary = Number.isFinite(network.loss) ? contour((point) => network.output(point)) : [];
    const shape = boundary.map((loop) => `${path(loop.map(to))}Z`).join("");
    const radius = wide < 260 ? 3 : 4;
    return (
      `<path d="${shape}" fill="${color("ink")}" fill-opacity="0.07" fill-rule="evenodd"/>` +
      `<path d="${chosen.part.length ? `${path(chosen.part.map(to))}Z` : ""}" fill="${color(STATES[chosen.state].color)}" fill-opacity="0.13"/>` +
      `<g fill="none" stroke-linecap="round">${lines.join("")}</g>` +
      `<path d="${shape}" fill="none" stroke="${color("ink")}" stroke-width="2.5" stroke-linejoin="round"/>` +
      DATA.map((one) => example(one, ...to(one.x), radius)).join("")
    );
  }

  // The unit whose line is nearest to a point of the plane, given from 0 to 1 from its upper left corner.
  function nearest(network, right, down) {
    const point = [(2 * right - 1) * VIEW, (1 - 2 * down) * VIEW];
    const distances = network.units.map((_, u) => Math.abs(network.preActivation(u, point)) / Math.hypot(network.weight[2 * u], network.weight[2 * u + 1]));
    return distances.indexOf(Math.min(...distances));
  }

  // ---- one unit ------------------------------------------------------------------------------------------------

  const Z = [-4, 3]; // range of pre-activations drawn; an example outside it is drawn at the edge
  const F = [-1, 3];
  const UNIT_HIGH = 190;

  function unit({ networks }, side, chosen, wide) {
    const network = networks[side];
    const { before, outputs, state } = network.units[chosen];
    const clamp = (v, [low, high]) => Math.max(low, Math.min(high, v));
    const px = (z) => 10 + ((clamp(z, Z) - Z[0]) / (Z[1] - Z[0])) * (wide - 20);
    const py = (f) => 8 + ((F[1] - clamp(f, F)) / (F[1] - F[0])) * (UNIT_HIGH - 34);
    const zs = Array.from({ length: 201 }, (_, i) => Z[0] + ((Z[1] - Z[0]) * i) / 200);
    const curve = zs.map((z) => [z, family.value(network.activation, z, network.parameters)]).filter(([, f]) => f >= F[0] && f <= F[1]);
    const tone = color(STATES[state].color);
    const dots = before.map((z, e) => (Number.isFinite(z) ? example(DATA[e], px(z), py(outputs[e]), 4) : ""));
    return (
      `<path d="M10,${round(py(0))}H${wide - 10}M${round(px(0))},8V${UNIT_HIGH - 26}" stroke="${color("rule")}" stroke-width="1.5"/>` +
      [-4, -2, 0, 2].map((z) => text(px(z), UNIT_HIGH - 8, String(z).replace("-", "−"), `text-anchor="${z === -4 ? "start" : "middle"}"`)).join("") +
      `<path d="${path(curve.map(([z, f]) => [px(z), py(f)]))}" fill="none" stroke="${tone}" stroke-width="3" stroke-linejoin="round"/>` +
      `<g fill-opacity="0.85">${dots.join("")}</g>`
    );
  }

  // ---- over time -----------------------------------------------------------------------------------------------

  const [LOSS_HIGH, ROW, LABEL] = [92, 6, 22];
  const TIME_HIGH = 22 + LOSS_HIGH + 2 * (LABEL + WIDTH * ROW) + 6;
  const DECADES = [-3, 1];
  const MARGIN = 46; // pixels to the left of the first step

  const span = (session) => Math.max(relume.data.end, session.history.length - 1);

  // Runs of equal state in a row, as [state, first step, step after the last].
  function stretches(history, side, u) {
    const found = [];
    history.forEach((both, step) => {
      const state = both[side].states[u];
      if (found.at(-1)?.[0] === state) found.at(-1)[2] = step + 1;
      else found.push([state, step, step + 1]);
    });
    return found;
  }

  const pen = (side, line) => `<path d="${line}" fill="none" stroke="${color("ink")}" stroke-width="2.25" stroke-linejoin="round"${side ? ' stroke-dasharray="2 3.5"' : ""}/>`;

  function time(session, chosen, wide) {
    const { history, networks } = session;
    const last = span(session);
    const px = (step) => MARGIN + (step / last) * (wide - MARGIN - 8);
    const py = (loss) => 22 + ((DECADES[1] - Math.max(DECADES[0], Math.min(DECADES[1], Math.log10(loss)))) / (DECADES[1] - DECADES[0])) * LOSS_HIGH;
    const every = Math.ceil(history.length / 500);
    const curve = (side) =>
      path(history.map((both, step) => [step, both[side].loss]).filter(([step, loss]) => loss > 0 && Number.isFinite(loss) && (step % every === 0 || step === history.length - 1)).map(([step, loss]) => [px(step), py(loss)]));
    const grid = [10, 1, 0.1, 0.01, 0.001].map((v) => `<path d="M${MARGIN},${round(py(v))}H${wide - 8}" stroke="${color("rule")}"/>${v === 10 || v === 0.1 || v === 0.001 ? text(MARGIN - 8, py(v) + 4, v, 'text-anchor="end"') : ""}`);
    const usual = history[0][0].kept.lr;
    const fast = stretches(history.map((both) => [{ states: [String(both[0].kept.lr)] }]), 0, 0).filter(([lr]) => Number(lr) > usual);
    const bands = fast.map(([lr, from, to]) => `<rect x="${round(px(from))}" y="16" width="${round(Math.max(3, px(to) - px(from)))}" height="${TIME_HIGH - 16}" fill="${color("accent")}" fill-opacity="0.16"/>${text(px(from), 11, `rate ${lr}`, 'text-anchor="middle"')}`);
    const strips = networks.map((network, side) => {
      const top = 22 + LOSS_HIGH + 6 + side * (LABEL + WIDTH * ROW) + LABEL;
      const rows = network.units.flatMap((_, u) =>
        stretches(history, side, u).map(([state, from, to]) => {
          const dark = STATES[state].color === "dead";
          return `<rect x="${round(px(from))}" y="${top + u * ROW + (dark ? 2 : 0.5)}" width="${round(px(to) - px(from))}" height="${dark ? 2 : ROW - 1}" fill="${color(STATES[state].color)}"/>`;
        }),
      );
      const frame = `<path d="M${MARGIN - 6},${top + (chosen + 0.5) * ROW}l-8,-4v8z" fill="${color("ink")}"/>`;
      return pen(side, `M${MARGIN},${top - 10}h24`) + text(MARGIN + 32, top - 6, family.known(network.activation).title) + rows.join("") + frame;
    });
    const now = round(px(session.step));
    return (
      grid.join("") + bands.join("") + strips.join("") +
      pen(0, curve(0)) + pen(1, curve(1)) +
      `<path d="M${now},16V${TIME_HIGH}" stroke="${color("accent")}" stroke-width="2"/><circle cx="${now}" cy="16" r="6" fill="${color("accent")}"/>`
    );
  }

  // ---- all of it -----------------------------------------------------------------------------------------------

  const VIEWS = {
    "plane-left": [(wide) => wide, (session, chosen, wide) => plane(session, 0, chosen, wide), 340],
    "plane-right": [(wide) => wide, (session, chosen, wide) => plane(session, 1, chosen, wide), 340],
    "unit-left": [() => UNIT_HIGH, (session, chosen, wide) => unit(session, 0, chosen, wide), 320],
    "unit-right": [() => UNIT_HIGH, (session, chosen, wide) => unit(session, 1, chosen, wide), 320],
    time: [() => TIME_HIGH, time, 900],
  };

  function svg(name, session, chosen, wide = VIEWS[name][2]) {
    const [high, draw] = VIEWS[name];
    return (
      `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${wide} ${high(wide)}" aria-hidden="true" focusable="false" ` +
      `font-family="system-ui, 'Liberation Sans', sans-serif">${draw(session, chosen, wide)}</svg>`
    );
  }

  // Drawn at the width of its container, so that letters keep their size.
  function draw(session, chosen, places) {
    for (const [name, at] of Object.entries(places)) at.innerHTML = svg(name, session, chosen, Math.max(120, Math.round(at.clientWidth)));
  }

  // The step at a distance, in points, from the left edge of the drawing over time.
  const stepAt = (session, x, wide) => Math.round(Math.max(0, Math.min(1, (x - MARGIN) / (wide - MARGIN - 8))) * span(session));

  return { draw, svg, nearest, stepAt, span, STATES, VIEWS: Object.keys(VIEWS) };
})();
