"use strict";
// Connects the page's controls to its charts and tables. Other scripts compute everything.
relume.page = (() => {
  const { family, curves, depth, charts, lesson } = relume;
  const { written } = relume.numeric;
  const { $, $$, fill, tell } = relume.dom;
  const TABLED = 10; // a curve's table has every tenth sample
  const EDGES = [1e-12, 1e12]; // of the depth view's figures

  let state = relume.state.parse(location.hash);
  const waiting = {}; // timers, by task

  // ---- the address ---------------------------------------------------------------------------------------------

  // Browsers refuse an address that changes too often, so it changes once per PAUSE ms at most, and at the end.
  const PAUSE = 200;
  let lastWritten = -Infinity;

  function remember() {
    clearTimeout(waiting.address);
    const since = performance.now() - lastWritten;
    if (since < PAUSE) waiting.address = setTimeout(remember, PAUSE - since);
    else writeAddress();
  }

  function writeAddress() {
    lastWritten = performance.now();
    const hash = relume.state.format(state);
    history.replaceState(null, "", hash || location.pathname + location.search);
    $("#link").value = location.href;
  }

  // ---- curves --------------------------------------------------------------------------------------------------

  const titles = () => state.show.map((name) => family.known(name).title);

  // The order in which charts draw: lines with few gaps first, those with many on top, so that none hides another.
  const drawn = () => [...state.show].sort((a, b) => relume.family.known(a).layer - relume.family.known(b).layer);

  function drawCurves() {
    for (const part of ["value", "slope"]) {
      const made = drawn().map((name) => curves.points(name, part, state.parameters[name], relume.data.span));
      charts.update(part, "curves", made.flat());
      const [low, high] = relume.data.span;
      const xs = Array.from({ length: 27 }, (_, i) => Number((low + ((high - low) * i * TABLED) / 260).toFixed(9)));
      const rows = xs.map((x) => [written(x), ...state.show.map((name) => written(family[part](name, x, state.parameters[name])))]);
      fill($(`#${part} table`), ["x", ...titles()], rows);
    }
    drawProbe();
  }

  function drawProbe(x = state.x) {
    for (const part of ["value", "slope"]) {
      const rows = drawn().map((name) => ({ x, y: family[part](name, x, state.parameters[name]), curve: name }));
      charts.update(part, "probe", rows);
    }
    $("#at-x").textContent = written(x);
    const rows = state.show.map((name) => {
      const p = state.parameters[name];
      return [family.known(name).title, written(family.value(name, x, p)), written(family.slope(name, x, p))];
    });
    fill($("#reading"), null, rows);
  }

  // Hovering reads off the x under the pointer; pressing or dragging keeps it.
  function read(event, place) {
    const view = charts.views[place.closest("figure").id];
    if (!view) return;
    const [low, high] = relume.data.span;
    const at = view.scale("x").invert(event.clientX - place.getBoundingClientRect().left - view.origin()[0]);
    const x = Math.min(high, Math.max(low, Math.round(at * 20) / 20));
    if (event.buttons) {
      state.x = x;
      showControls();
      remember();
    }
    drawProbe(x);
  }

  function wireReading(place) {
    place.addEventListener("pointerdown", (event) => {
      place.setPointerCapture(event.pointerId);
      read(event, place);
    });
    place.addEventListener("pointermove", (event) => read(event, place));
    place.addEventListener("pointerleave", () => drawProbe());
  }

  function showControls() {
    for (const one of $$(".legend li")) one.hidden = !state.show.includes(one.dataset.activation);
    for (const box of $$("#choose input")) box.checked = state.show.includes(box.value);
    for (const group of $$(".sliders[data-activation]")) group.hidden = !state.show.includes(group.dataset.activation);
    $("#no-sliders").hidden = state.show.some((name) => family.known(name).parameters.length);
    for (const input of $$("[data-parameter]")) {
      const value = state.parameters[input.dataset.of][input.dataset.parameter];
      input.value = value;
      tell(input, value);
    }
    for (const key of ["x", "mean", "sd", "scale"]) {
      $(`#${key}`).value = state[key];
      tell($(`#${key}`), state[key]);
    }
    $("#init").value = state.init;
  }

  function setParameter(input) {
    const { of: name, parameter } = input.dataset;
    const mine = state.parameters[name];
    mine[parameter] = input.type === "range" ? Number(input.value) : input.value;
    if (parameter === "lower" && mine.lower > mine.upper) mine.upper = mine.lower;
    if (parameter === "upper" && mine.upper < mine.lower) mine.lower = mine.upper;
    showControls();
    later("curves", drawCurves);
    later("outputs", drawOutputs);
    later("depth", drawDepth, 200);
  }

  // Several changes at once are drawn once.
  function later(name, draw, pause = 0) {
    clearTimeout(waiting[name]);
    waiting[name] = setTimeout(() => {
      draw();
      remember();
    }, pause);
  }

  // ---- a normal input ------------------------------------------------------------------------------------------

  function drawOutputs() {
    const { mean, sd } = state;
    const made = state.show.map((name) => curves.outputs(name, state.parameters[name], mean, sd));
    charts.update("outputs", "outputs", drawn().flatMap((name) => made[state.show.indexOf(name)]));
    fill(
      $("#outputs table"),
      ["output", ...titles()],
      made[0].map(({ y }, i) => [written(y), ...made.map((rows) => `${(100 * rows[i].share).toFixed(1)} %`)]),
    );
    const rows = state.show.map((name) => {
      const p = state.parameters[name];
      const told = family.moments(name, p, mean, sd);
      return [
        family.known(name).title,
        ...[told.mean, told.variance, told.second, told.steep].map((v) => written(Math.abs(v) < 1e-12 ? 0 : v)),
        `${(100 * told.zeros).toFixed(1)} %`,
        written(family.gain(name, p)),
      ];
    });
    fill($("#moments"), null, rows);
  }

  // ---- depth ---------------------------------------------------------------------------------------------------

  function drawDepth() {
    const all = state.show.map((name) => depth.travel(name, state.parameters[name], state.init, state.scale, state.seed));
    for (const part of ["forward", "backward"]) {
      const rows = drawn().flatMap((curve) =>
        all[state.show.indexOf(curve)][part].map((size, layer) => ({
          layer: layer + 1,
          size: Math.min(EDGES[1], Math.max(EDGES[0], Number.isFinite(size) ? size : EDGES[1])),
          curve,
        })),
      );
      charts.update(part, "sizes", rows);
      const table = all[0][part].map((_, layer) => [String(layer + 1), ...all.map((one) => one[part][layer].toPrecision(3))]);
      fill($(`#${part} table`), ["layer", ...titles()], table);
    }
    const ends = state.show.map((name, i) => [
      family.known(name).title,
      written(all[i].forward.at(-1) / all[i].forward[0], 3),
      written(all[i].backward[0], 3),
    ]);
    fill($("#travelled"), null, ends);
  }

  // ---- all of it -----------------------------------------------------------------------------------------------

  function wire() {
    for (const box of $$("#choose input")) {
      box.addEventListener("change", () => {
        const chosen = $$("#choose input:checked").map((one) => one.value);
        if (!chosen.length) box.checked = true;
        else state.show = chosen;
        showControls();
        drawAll();
      });
    }
    for (const input of $$("[data-parameter]")) input.addEventListener("input", () => setParameter(input));
    $("#usual").addEventListener("click", () => {
      state.parameters = relume.state.fresh().parameters;
      showControls();
      drawAll();
    });
    for (const place of $$("#value .drawing, #slope .drawing")) wireReading(place);
    const sliders = { x: () => drawProbe(), mean: drawOutputs, sd: drawOutputs, scale: drawDepth };
    for (const [key, draw] of Object.entries(sliders)) {
      $(`#${key}`).addEventListener("input", (event) => {
        state[key] = Number(event.target.value);
        tell(event.target, state[key]);
        later(key, draw, key === "scale" ? 100 : 0);
      });
    }
    $("#init").addEventListener("change", (event) => {
      state.init = event.target.value;
      later("depth", drawDepth);
    });
    $("#redraw").addEventListener("click", () => {
      state.seed = (state.seed % 999) + 1;
      later("depth", drawDepth);
    });
    lesson.wire(remember);
    for (const link of $$("nav a")) {
      link.addEventListener("click", (event) => {
        event.preventDefault(); // the address holds the state
        go($(link.getAttribute("href")));
      });
    }
    addEventListener("resize", () => later("lesson", lesson.draw, 100));
    addEventListener("hashchange", () => {
      if (!location.hash.includes("=")) return;
      state = relume.state.parse(location.hash);
      open(false);
    });
    $("#copy").addEventListener("click", copy);
  }

  function go(section) {
    section.scrollIntoView();
    section.focus({ preventScroll: true });
  }

  async function copy() {
    writeAddress();
    $("#link").select();
    try {
      await navigator.clipboard.writeText(location.href);
      $("#copied").textContent = "Copied.";
    } catch {
      $("#copied").textContent = "Selected: press Ctrl C.";
    }
  }

  function drawAll() {
    drawCurves();
    drawOutputs();
    drawDepth();
    remember();
  }

  function open(moving) {
    lesson.open(state, moving);
    showControls();
    drawAll();
  }

  // A link opens the section of its first setting.
  function asked() {
    const [first] = location.hash.slice(1).split(/[=.]/);
    if (["init", "scale", "seed"].includes(first)) return $("#deep");
    if (["mean", "sd"].includes(first)) return $("#normal");
    return ["show", "x", ...family.names()].includes(first) ? $("#curves") : null;
  }

  async function start() {
    const section = asked();
    wire();
    open(location.hash.length < 2);
    await charts.mountAll();
    if (section) go(section);
    relume.ready = true;
  }

  document.addEventListener("DOMContentLoaded", start);
  return { get state() { return state; }, get session() { return lesson.session; } };
})();
