"use strict";
// The activations by name, with the reader's parameters. Their functions are generated.
relume.family = (() => {
  const known = (name) => relume.data.activations[name];
  const names = () => Object.keys(relume.data.activations);
  const defaults = (name) => Object.fromEntries(known(name).parameters.map((p) => [p.name, p.default]));
  const value = (name, x, p, s) =>
    s === undefined ? relume.functions[name].value(x, p) : relume.functions[name].drawnValue(x, p, s);
  const slope = (name, x, p, s) =>
    s === undefined ? relume.functions[name].slope(x, p) : relume.functions[name].drawnSlope(x, p, s);

  // The pre-activation above which a unit fires; −∞ if it always fires.
  function threshold(name, p) {
    const by = known(name).firesAbove;
    const word = known(name).parameters.find((parameter) => parameter.choices);
    return by[word ? p[word.name] : ""] ?? -Infinity;
  }

  // What an input of N(mean, sd²) becomes: mean, variance, E[f²], E[f′²] and the share of exact zeros. Over a random
  // slope too, uniform between its ends: Simpson's rule is exact for a square.
  function moments(name, p, mean = 0, sd = 1) {
    const both = (f) => (x) => {
      if (!known(name).random) return [f(name, x, p), f(name, x, p) ** 2];
      const [low, middle, high] = [p.lower, (p.lower + p.upper) / 2, p.upper].map((s) => f(name, x, p, s));
      return [middle, (low ** 2 + 4 * middle ** 2 + high ** 2) / 6];
    };
    const [values, slopes] = [both(value), both(slope)];
    const inside = (x) => [...values(x), slopes(x)[1], Number(value(name, x, p) === 0)];
    const [first, second, steep, zeros] = relume.numeric.expectation(inside, mean, sd);
    return { mean: first, variance: second - first ** 2, second, steep, zeros };
  }

  const gain = (name, p) => 1 / Math.sqrt(moments(name, p).second);

  return { known, names, defaults, value, slope, threshold, moments, gain };
})();
