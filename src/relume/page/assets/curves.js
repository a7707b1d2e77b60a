"use strict";
// Rows for the charts of values, slopes and outputs. The static pictures use rows made the same way.
relume.curves = (() => {
  const SAMPLES = 261;
  const JUMP = 1e-3;
  const BIN = 0.25;
  const BINS = [-12, 20]; // in bins: outputs from −3 to 5
  const { family } = relume;

  function positions(name, [low, high]) {
    const around = family.known(name).kinks.flatMap((k) => [k - 1e-12 * Math.max(1, k), k, k + 1e-12 * Math.max(1, k)]);
    const even = Array.from({ length: SAMPLES }, (_, i) => Number((low + ((high - low) * i) / (SAMPLES - 1)).toFixed(9)));
    return [...new Set([...even, ...around])].sort((a, b) => a - b);
  }

  // One row for each x: y, from low to high if the slope is random, a new piece after each jump.
  function points(name, part, p, span) {
    const { kinks, random } = family.known(name);
    const f = (x, s) => family[part](name, x, p, s);
    const jumps = kinks.filter((k) => Math.abs(f(k + 1e-12 * Math.max(1, k)) - f(k - 1e-12 * Math.max(1, k))) > JUMP);
    return positions(name, span).map((x) => {
      const ends = random ? [f(x, p.lower), f(x, p.upper)] : [f(x), f(x)];
      return {
        x,
        y: f(x),
        low: Math.min(...ends),
        high: Math.max(...ends),
        curve: name,
        piece: jumps.filter((k) => x > k).length,
        dot: jumps.includes(x),
      };
    });
  }

  // The share of outputs in each bin around a multiple of BIN, for an input of N(mean, sd²).
  function outputs(name, p, mean, sd) {
    const shares = new Float64Array(BINS[1] - BINS[0] + 1);
    const steps = 4000;
    const slopes = family.known(name).random
      ? Array.from({ length: 8 }, (_, i) => p.lower + ((p.upper - p.lower) * (i + 0.5)) / 8)
      : [undefined];
    for (let i = 0; i < steps; i++) {
      const z = -6 + (12 * (i + 0.5)) / steps;
      const mass = ((12 / steps) * Math.exp(-0.5 * z * z)) / Math.sqrt(2 * Math.PI) / slopes.length;
      for (const s of slopes) {
        const bin = Math.round(family.value(name, mean + sd * z, p, s) / BIN) - BINS[0];
        if (bin >= 0 && bin < shares.length) shares[bin] += mass;
      }
    }
    return Array.from(shares, (share, i) => ({ y: (BINS[0] + i) * BIN, share, curve: name }));
  }

  return { points, outputs };
})();
