"use strict";
// Math that JavaScript lacks and the definitions, the depth view and the network need.
relume.numeric = (() => {
  // erf by its series of positive terms, 2x/√π · e^(−x²) · Σ (2x²)ⁿ / (1·3·5·…·(2n+1)): no digit cancels.
  // Abramowitz & Stegun 1964, 7.1.6.
  function erf(x) {
    if (!(Math.abs(x) < 5.95)) return Number.isNaN(x) ? NaN : Math.sign(x); // the rest is below half an ulp of 1
    const square = 2 * x * x;
    let term = 1;
    let sum = 1;
    for (let n = 1; term > sum * 1e-17; n++) {
      term *= square / (2 * n + 1);
      sum += term;
    }
    return ((2 * x) / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  }

  // Park & Miller's generator with the multiplier of 1993, Communications of the ACM 36 (7): exact in doubles, and a
  // few lines in any language. Normal numbers by Box & Muller 1958.
  class Random {
    constructor(seed) {
      this.state = seed;
      for (let i = 0; i < 10; i++) this.uniform(); // small seeds begin with small numbers
    }

    uniform() {
      this.state = (this.state * 48271) % 2147483647;
      return this.state / 2147483647;
    }

    normal() {
      const radius = Math.sqrt(-2 * Math.log(this.uniform()));
      return radius * Math.cos(2 * Math.PI * this.uniform());
    }

    normals(count) {
      return Float64Array.from({ length: count }, () => this.normal());
    }

    uniforms(count) {
      return Float64Array.from({ length: count }, () => this.uniform());
    }
  }

  // Nodes and weights of Gauss and Legendre's quadrature on (0, 1), by Newton's method.
  function legendre(count) {
    const found = [];
    for (let i = 0; i < count; i++) {
      let x = Math.cos((Math.PI * (i + 0.75)) / (count + 0.5));
      let slope = 0;
      for (let round = 0; round < 100; round++) {
        let [before, now] = [1, x];
        for (let n = 2; n <= count; n++) [before, now] = [now, ((2 * n - 1) * x * now - (n - 1) * before) / n];
        slope = (count * (x * now - before)) / (x * x - 1);
        const move = now / slope;
        x -= move;
        if (Math.abs(move) < 1e-15) break;
      }
      found.push([(1 + x) / 2, 1 / ((1 - x * x) * slope * slope)]);
    }
    return found;
  }

  const NODES = legendre(24);

  // ∫ g(x) N(x; mean, sd²) dx, in pieces between whole numbers, where the family has its kinks. `g` gives an array;
  // each of its numbers is integrated.
  function expectation(g, mean, sd) {
    const low = Math.floor(mean - 10 * sd);
    const high = Math.ceil(mean + 10 * sd);
    const parts = Math.max(1, Math.ceil(1 / sd)); // narrow densities need finer pieces
    let sums = null;
    for (let piece = low * parts; piece < high * parts; piece++) {
      for (const [node, weight] of NODES) {
        const x = (piece + node) / parts;
        const z = (x - mean) / sd;
        const mass = ((weight / parts) * Math.exp(-0.5 * z * z)) / (sd * Math.sqrt(2 * Math.PI));
        const values = g(x);
        sums ??= values.map(() => 0);
        values.forEach((value, i) => (sums[i] += mass * value));
      }
    }
    return sums;
  }

  // At most four figures, with a real minus.
  function written(number, digits = 4) {
    if (!Number.isFinite(number)) return Number.isNaN(number) ? "nan" : number > 0 ? "∞" : "−∞";
    if (number !== 0 && (Math.abs(number) < 1e-4 || Math.abs(number) >= 1e6)) {
      return number.toExponential(1).replace("-", "−").replace("e-", "e−").replace("e+", "e");
    }
    return String(Number(number.toPrecision(digits))).replace("-", "−");
  }

  return { erf, Random, expectation, written };
})();
