"use strict";
// The lesson: its controls, five guided steps, and playback. The numbers come from session.js.
relume.lesson = (() => {
  const { lessonView: view } = relume;
  const { written: figures } = relume.numeric;
  const { Session, SIDES: USUAL, LONGEST, tidy } = relume.session;
  const { WIDTH, EXAMPLES } = relume.network;
  const { family } = relume;
  const { $, $$, fill, tell } = relume.dom;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const SPEED = 60; // steps per second, outside the guided steps
  const SIDES = ["left", "right"];

  let state = null; // the page's state
  let remember = null;
  let session = null;
  let playing = null; // { to, speed } while it plays

  const places = () => Object.fromEntries(view.VIEWS.map((name) => [name, $(`#${name}`)]));
  const chapter = (guide) => $(`#guide button[value="${guide}"]`);
  const dead = (side) => session.networks[side].count("dead", "stuck");

  // ---- drawing -------------------------------------------------------------------------------------------------

  function draw() {
    view.draw(session, state.unit, places());
    SIDES.forEach(drawSide);
    const shown = chapter(state.guide);
    for (const button of $$("#guide button")) {
      button.setAttribute("aria-current", button === shown ? "step" : "false");
      button.parentElement.classList.toggle("current", button === shown);
    }
    $("#free").hidden = Boolean(shown);
    $("#lesson").dataset.guide = state.guide;
    for (const place of $$("#lesson .unit")) place.textContent = state.unit + 1;
    $("#next").textContent = state.guide === 5 ? "Start again" : "Next";
    $("#play").textContent = playing ? "Pause" : "Play";
    $("#play").setAttribute("aria-pressed", String(Boolean(playing)));
    $("#play").disabled = session.over && !playing;
    $("#step").disabled = Boolean(playing) || session.over;
    $("#revive").disabled = dead(0) === 0;
    $("#scrub").max = view.span(session);
    $("#scrub").value = session.step;
    tell($("#scrub"), session.step);
    $("#lr").value = Math.log10(session.networks[0].lr);
    tell($("#lr"), session.networks[0].lr);
    $("#preset").value = session.preset;
  }

  function drawSide(side, i) {
    const network = session.networks[i];
    const select = $(`#${side}`);
    const value = session.chosen(i);
    if (![...select.options].some((option) => option.value === value)) {
      select.add(new Option(`${family.known(network.activation).title} (${value.split("~").slice(1).join(", ")})`, value));
    }
    select.value = value;
    $(`#name-${side}`).textContent = select.selectedOptions[0].text;
    $(`#dead-${side}`).textContent = dead(i);
    $(`#dead-${side}`).parentElement.classList.toggle("some", dead(i) > 0);
    $(`#correct-${side}`).textContent = network.correct;
    const one = network.units[state.unit];
    const gradient = network.gradients()[state.unit];
    $(`#fires-${side}`).textContent = `${one.fires} of ${EXAMPLES}`;
    $(`#gradient-${side}`).textContent = figures(gradient, 2);
    $$(`#lamps-${side} button`).forEach((lamp, u) => {
      const { state: name } = network.units[u];
      lamp.className = name;
      lamp.textContent = view.STATES[name].mark || u + 1;
      lamp.setAttribute("aria-label", `Unit ${u + 1}: ${view.STATES[name].text}`);
      lamp.setAttribute("aria-checked", String(u === state.unit));
      lamp.tabIndex = u === state.unit ? 0 : -1;
    });
  }

  // Announces the result and fills the table when the lesson pauses, not at every step.
  function settle() {
    const both = SIDES.map((side, i) => `${side}, ${dead(i)} of ${WIDTH} units dead, ${session.networks[i].correct} of ${EXAMPLES} correct, loss ${figures(session.networks[i].loss, 3)}`);
    const sentence = state.guide ? chapter(state.guide).parentElement.querySelector("p").textContent : "";
    $("#said").textContent = `${sentence} Step ${session.step}: ${both.join("; ")}.`.trim();
    $("#ended").textContent = session.broken
      ? "The loss is NaN or infinite. Go back in time, or start over with another learning rate."
      : session.step >= LONGEST ? `That was ${LONGEST} steps. Go back in time, or start over.` : "";
    const gradients = session.networks.map((network) => network.gradients());
    fill($("#units"), null, session.networks[0].units.map((_, u) => [
      String(u + 1),
      ...session.networks.flatMap(({ units }, i) => [view.STATES[units[u].state].text, `${units[u].fires} of ${EXAMPLES}`, figures(gradients[i][u], 3)]),
    ]));
    const every = Math.max(1, Math.ceil(session.history.length / 40));
    const gone = (one) => one.states.filter((name) => name === "dead" || name === "stuck").length;
    fill($("#over-time"), null, session.history.flatMap((sides, step) =>
      step % every === 0 || step === session.history.length - 1 ? [[step, ...sides.flatMap((one) => [figures(one.loss), gone(one)])]] : [],
    ));
    state.net = session.preset;
    state.at = session.step;
    state.deeds = session.deeds;
    remember();
  }

  function show() {
    draw();
    if (!playing) settle();
  }

  // ---- time ----------------------------------------------------------------------------------------------------

  function play(to, speed) {
    playing = { to, speed };
    let [before, owed] = [performance.now(), 0];
    const mine = playing;
    requestAnimationFrame(function frame(now) {
      if (playing !== mine) return;
      owed += (Math.min(now - before, 100) * speed) / 1000;
      before = now;
      const whole = Math.floor(owed);
      owed -= whole;
      for (let i = 0; i < whole && session.step < to; i++) session.advance();
      if (session.over || session.step >= to) playing = null;
      if (!playing || (whole && (!still.matches || session.step % 25 < whole))) show();
      if (playing) requestAnimationFrame(frame);
    });
    draw();
  }

  // Plays a guided step from its first step to its last; jumps there if the reader prefers reduced motion.
  function guide(number, moving = !still.matches) {
    const { from, to, speed } = chapter(number).dataset;
    playing = null;
    state.guide = number;
    [state.left, state.right] = USUAL;
    const told = session?.preset === "dying" && !session.deeds.length && session.sides.join() === USUAL.join();
    if (!told) session = new Session("dying");
    session.go(Number(moving ? from : to));
    if (moving) play(Number(to), Number(speed));
    else show();
  }

  // The reader has left the guided tour: hide its text.
  function alone(does) {
    playing = null;
    state.guide = 0;
    does();
    show();
  }

  function open(given, moving = false) {
    state = given;
    if (state.guide) return guide(state.guide, moving && !still.matches);
    return alone(() => begin(state.net, state.deeds, state.at));
  }

  function begin(preset, deeds = [], at = 0) {
    session = new Session(preset, deeds, [state.left, state.right]);
    session.go(at);
  }

  function select(unit, side) {
    state.unit = (unit + WIDTH) % WIDTH;
    show();
    if (side) $(`#lamps-${side} [aria-checked=true]`).focus();
  }

  // ---- wiring --------------------------------------------------------------------------------------------------

  function wire(changed) {
    remember = changed;
    const lead = (number) => {
      state.unit = relume.data.unit;
      guide(number);
    };
    for (const button of $$("#guide button")) button.addEventListener("click", () => lead(Number(button.value)));
    $("#next").addEventListener("click", () => lead((state.guide % 5) + 1));
    $("#play").addEventListener("click", () => {
      if (playing) {
        playing = null;
        return show();
      }
      const { to, speed } = chapter(state.guide)?.dataset ?? {};
      if (session.step < to) return play(Number(to), Number(speed)); // continue a guided step
      state.guide = 0;
      return play(LONGEST, SPEED);
    });
    $("#step").addEventListener("click", () => alone(() => session.advance()));
    $("#reset").addEventListener("click", () => alone(() => begin(session.preset)));
    $("#revive").addEventListener("click", () => alone(() => session.act("revive")));
    $("#swap").addEventListener("click", () => alone(() => session.act("act", state.right)));
    $("#preset").addEventListener("change", (event) => alone(() => begin(event.target.value)));
    $("#scrub").addEventListener("input", (event) => alone(() => session.go(Number(event.target.value))));
    $("#lr").addEventListener("input", (event) => {
      state.guide = 0;
      session.act("lr", Number((10 ** Number(event.target.value)).toPrecision(2)));
      show();
    });
    SIDES.forEach(wireSide);
    const time = $("#time");
    const scrub = (event) => {
      const box = time.getBoundingClientRect();
      alone(() => session.go(view.stepAt(session, event.clientX - box.left, box.width)));
    };
    time.addEventListener("pointerdown", (event) => {
      time.setPointerCapture(event.pointerId);
      scrub(event);
    });
    time.addEventListener("pointermove", (event) => event.buttons && scrub(event));
  }

  function wireSide(side, i) {
    for (const option of $(`#${side}`).options) option.value = tidy(option.value);
    $(`#${side}`).addEventListener("change", (event) => alone(() => {
      state[side] = event.target.value; // the same story and the same step, with another activation
      begin(session.preset, session.deeds, session.step);
    }));
    $(`#plane-${side}`).addEventListener("click", (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      select(view.nearest(session.networks[i], (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height));
    });
    $$(`#lamps-${side} button`).forEach((lamp, u) => {
      lamp.addEventListener("click", () => select(u));
      lamp.addEventListener("keydown", ({ key }) => {
        const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
        if (move) select(u + move, side);
      });
    });
  }

  return { open, wire, draw, get session() { return session; } };
})();
