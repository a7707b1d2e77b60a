"use strict";
// Joins the controls of the page to its charts and tables. All that is computed is computed elsewhere.
relume.page = (() => {
  const { family, curves, depth, charts, networkView } = relume;
  const { written } = relume.numeric;
  const { Session, activationWritten } = relume.session;
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const TABLED = 10; // each tenth sample of a curve stands in its table
  const LONGEST = 20000; // steps
  const EDGES = [1e-12, 1e12]; // of the depth view's figures

  let state = relume.state.parse(location.hash);
  let session = null;
  let playing = false;
  const waiting = {}; // timers, by what they will do

  // ---- the address ---------------------------------------------------------------------------------------------

  // Browsers refuse an address that changes too often: at most each PAUSE ms, and at the end.
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

  // ---- tables --------------------------------------------------------------------------------------------------

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

  const titles = () => state.show.map((name) => family.known(name).title);

  // As charts draw them: lines with few gaps beneath those with many, so that none hides another.
  const drawn = () => [...state.show].sort((a, b) => relume.family.known(a).layer - relume.family.known(b).layer);

  // ---- curves --------------------------------------------------------------------------------------------------

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

  function drawProbe() {
    const { x } = state;
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

  // The number beside a slider, and the same for those who hear it.
  function tell(input, value) {
    const text = typeof value === "number" ? written(value) : value;
    const output = $(`output[for="${input.id}"]`);
    if (output) output.textContent = text;
    if (input.type === "range") input.setAttribute("aria-valuetext", text);
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

  // Several changes of one moment are drawn once.
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

  // ---- the network ---------------------------------------------------------------------------------------------

  const places = () => Object.fromEntries(networkView.VIEWS.map((name) => [name, $(`#network-${name}`)]));

  function drawNetwork() {
    const { network } = session;
    networkView.draw(session, places());
    const dead = network.count("dead", "stuck");
    $("#net-step").textContent = session.step;
    $("#net-loss").textContent = written(network.loss, 3);
    $(".is-dead").classList.toggle("some", dead > 0);
    $("#net-dead").textContent = `${dead} of ${network.units.length}`;
    $("#net-silent").textContent = network.count("silent");
    $("#revive").disabled = dead === 0;
    $("#play").textContent = playing ? "Pause" : "Play";
    $("#play").setAttribute("aria-pressed", String(playing));
    const over = session.broken || session.step >= LONGEST;
    $("#play").disabled = over && !playing;
    $("#step").disabled = playing || over;
    for (const button of $$("#presets button")) {
      button.setAttribute("aria-pressed", String(button.value === session.preset && !session.deeds.length));
    }
    $("#lr").value = Math.log10(network.lr);
    tell($("#lr"), network.lr);
    $("#net-activation").value = network.activation;
  }

  // Said aloud, and tabled, when it rests: not at every step.
  function settle() {
    const { network } = session;
    const dead = network.count("dead", "stuck");
    const words = `Step ${session.step}: loss ${written(network.loss, 3)}, ${dead} of ${network.units.length} units dead.`;
    const ended = session.broken
      ? "The loss is no longer a number. Reset, and take other parameters."
      : session.step >= LONGEST ? `That was ${LONGEST} steps: reset to begin anew.` : "";
    $("#net-ended").textContent = ended;
    $("#net-said").textContent = words;
    fill(
      $("#units"),
      null,
      network.units.map((one) => [
        `${one.layer + 1}.${one.unit + 1}`,
        networkView.STATES[one.state].text,
        `${one.fires} of ${network.x.length}`,
        written(one.steepest, 3),
      ]),
    );
    const outputs = network.predict(network.x);
    fill($("#learned"), null, Array.from(network.x, (x, e) => [x, network.y[e], outputs[e]].map((v) => written(v))));
    const every = Math.max(1, Math.ceil(session.history.length / 40));
    fill(
      $("#over-time"),
      null,
      session.history.filter((_, i) => i % every === 0 || i === session.history.length - 1)
        .map(({ step, loss, dead: gone, silent }) => [step, written(loss, 4), gone, silent]),
    );
    state.net = session.preset;
    state.at = session.step;
    state.deeds = session.deeds;
    remember();
  }

  function begin(preset, deeds = [], at = 0) {
    pause();
    session = new Session(preset, deeds);
    session.run(at);
    drawNetwork();
    settle();
  }

  function act(what, value) {
    session.act(what, value);
    drawNetwork();
    if (!playing) settle();
  }

  function pause() {
    playing = false;
  }

  function frame(before, owed) {
    requestAnimationFrame((now) => {
      if (!playing) return;
      const speed = Number($("#speed").value);
      let steps = owed + (Math.min(now - before, 100) * speed) / 1000;
      const whole = Math.floor(steps);
      steps -= whole;
      for (let i = 0; i < whole; i++) session.advance();
      if (session.broken || session.step >= LONGEST) pause();
      if (whole && (!still.matches || session.step % 25 < whole)) drawNetwork();
      if (playing) return frame(now, steps);
      drawNetwork();
      return settle();
    });
  }

  function play() {
    playing = !playing;
    drawNetwork();
    if (playing) frame(performance.now(), 0);
    else settle();
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
    const sliders = { x: drawProbe, mean: drawOutputs, sd: drawOutputs, scale: drawDepth };
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
    wireNetwork();
    for (const link of $$("nav a")) {
      link.addEventListener("click", (event) => {
        event.preventDefault(); // the address holds the state
        go($(link.getAttribute("href")));
      });
    }
    addEventListener("resize", () => later("network", drawNetwork, 100));
    addEventListener("hashchange", () => {
      if (!location.hash.includes("=")) return;
      state = relume.state.parse(location.hash);
      open();
    });
    $("#copy").addEventListener("click", copy);
  }

  function wireNetwork() {
    for (const button of $$("#presets button")) button.addEventListener("click", () => begin(button.value));
    $("#play").addEventListener("click", play);
    $("#step").addEventListener("click", () => {
      session.advance();
      drawNetwork();
      settle();
    });
    $("#reset").addEventListener("click", () => begin(session.preset));
    $("#revive").addEventListener("click", () => act("revive"));
    $("#lr").addEventListener("input", (event) => act("lr", Number((10 ** Number(event.target.value)).toPrecision(2))));
    $("#net-activation").addEventListener("change", (event) => {
      const name = event.target.value;
      act("act", activationWritten(name, state.parameters[name]));
    });
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

  function open() {
    showControls();
    drawAll();
    begin(state.net, state.deeds, state.at);
  }

  async function start() {
    wire();
    const asked = new URLSearchParams(location.hash.slice(1)).has("net");
    open();
    await charts.mountAll();
    if (asked) go($("#network"));
    relume.ready = true;
  }

  document.addEventListener("DOMContentLoaded", start);
  return { get state() { return state; }, get session() { return session; } };
})();
