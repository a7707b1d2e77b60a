"use strict";
// The reader's settings, and their form in the address: #show=relu,elu&elu.alpha=2&x=1.5&init=own&net=dying&at=300&right=elu~1
relume.state = (() => {
  const { family } = relume;
  const FIXED = { x: 1, mean: 0, sd: 1, init: "he", scale: 1, seed: 1 };
  const LIMITS = { x: [-5, 8], mean: [-3, 3], sd: [0.1, 3], scale: [0.5, 2], seed: [1, 999] };

  function fresh() {
    return {
      show: [...relume.data.chosen],
      parameters: Object.fromEntries(family.names().map((name) => [name, family.defaults(name)])),
      ...FIXED,
      guide: 1, // the guided step, 1 to 5, or 0 without the guide; in that case the next five apply
      net: "healthy",
      at: 0,
      deeds: [],
      left: relume.session.SIDES[0],
      right: relume.session.SIDES[1],
      unit: relume.data.unit,
    };
  }

  const within = (value, [low, high]) => Math.min(high, Math.max(low, value));

  function readNumber(text, limits, otherwise) {
    const value = Number(text);
    return text.trim() !== "" && Number.isFinite(value) ? within(value, limits) : otherwise;
  }

  function readParameter(state, name, p, text) {
    if (p.choices) return p.choices.includes(text) ? text : state.parameters[name][p.name];
    return readNumber(text, [p.low, p.high], state.parameters[name][p.name]);
  }

  // A part that cannot be read keeps its default, so an old or mistyped link still opens.
  function parse(hash) {
    const state = fresh();
    const told = new URLSearchParams(hash.replace(/^#/, ""));
    for (const [key, text] of told) {
      const [name, parameter] = key.split(".");
      if (key === "show") {
        const known = text.split(",").filter((one) => family.names().includes(one));
        if (known.length) state.show = family.names().filter((one) => known.includes(one));
      } else if (Object.hasOwn(LIMITS, key)) state[key] = readNumber(text, LIMITS[key], state[key]);
      else if (key === "init" && relume.depth.INITS.includes(text)) state.init = text;
      else if (key === "guide") state.guide = Math.round(readNumber(text, [1, 5], 1));
      else if (key === "unit") state.unit = Math.round(readNumber(text, [1, relume.network.WIDTH], state.unit + 1)) - 1;
      else if (key === "left" || key === "right") state[key] = relume.session.tidy(text) ?? state[key];
      else if (key === "net" && Object.hasOwn(relume.session.PRESETS, text)) state.net = text;
      else if (key === "at") state.at = Math.round(readNumber(text, [0, relume.session.LONGEST], 0));
      else if (key === "do") state.deeds = text.split(",").filter(relume.session.read);
      else if (parameter && family.names().includes(name)) {
        const p = family.known(name).parameters.find((one) => one.name === parameter);
        if (p) state.parameters[name][parameter] = readParameter(state, name, p, text);
      }
    }
    if (["net", "at", "do", "left", "right"].some((key) => told.has(key))) state.guide = 0;
    state.seed = Math.round(state.seed);
    const { lower, upper } = state.parameters.rrelu;
    if (lower > upper) state.parameters.rrelu.lower = upper;
    return state;
  }

  // Only what differs from the defaults.
  function format(state) {
    const told = [];
    const usual = fresh();
    if (state.show.join() !== usual.show.join()) told.push(`show=${state.show.join()}`);
    for (const name of family.names()) {
      for (const [parameter, value] of Object.entries(state.parameters[name])) {
        if (value !== usual.parameters[name][parameter]) told.push(`${name}.${parameter}=${value}`);
      }
    }
    for (const key of Object.keys(FIXED)) if (state[key] !== usual[key]) told.push(`${key}=${state[key]}`);
    if (state.guide > 1) told.push(`guide=${state.guide}`);
    if (!state.guide) {
      told.push(`net=${state.net}`);
      for (const key of ["at", "left", "right"]) if (state[key] !== usual[key]) told.push(`${key}=${state[key]}`);
      if (state.deeds.length) told.push(`do=${state.deeds.join()}`);
    }
    if (state.unit !== usual.unit) told.push(`unit=${state.unit + 1}`);
    return told.length ? `#${told.join("&")}` : "";
  }

  return { parse, format, fresh };
})();
