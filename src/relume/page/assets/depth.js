"use strict";
// A plain network of 50 layers with random weights: how far its signal carries forward, and its gradient back.
relume.depth = (() => {
  const LAYERS = 50;
  const WIDTH = 64;
  const EXAMPLES = 32;
  const { family } = relume;
  const { Random } = relume.numeric;

  // Variance of a weight, times the number of inputs.
  const INITS = {
    he: () => 2,
    lecun: () => 1,
    linear: () => 1 / 3,
    own: (name, p) => family.gain(name, p) ** 2,
  };

  const drawn = {}; // drawn once per seed: every activation and every init gets the same random numbers

  function numbers(seed) {
    drawn[seed] ??= {
      weights: new Random(seed).normals(LAYERS * WIDTH * WIDTH),
      inputs: new Random(seed + 1).normals(EXAMPLES * WIDTH),
      gradients: new Random(seed + 2).normals(EXAMPLES * WIDTH),
      slopes: new Random(seed + 3).uniforms(LAYERS * EXAMPLES * WIDTH),
    };
    return drawn[seed];
  }

  const meanSquare = (array) => array.reduce((sum, v) => sum + v * v, 0) / array.length;

  // z = h Wᵀ for `h` of shape (EXAMPLES, WIDTH) and the weights of one layer; h W if `back`.
  function through(h, weights, layer, scale, back) {
    const z = new Float64Array(EXAMPLES * WIDTH);
    const start = layer * WIDTH * WIDTH;
    for (let e = 0; e < EXAMPLES; e++) {
      for (let o = 0; o < WIDTH; o++) {
        let sum = 0;
        for (let i = 0; i < WIDTH; i++) {
          sum += h[e * WIDTH + i] * weights[back ? start + i * WIDTH + o : start + o * WIDTH + i];
        }
        z[e * WIDTH + o] = sum * scale;
      }
    }
    return z;
  }

  // Mean square of the pre-activations z of layers 1 to 50, and of the loss's gradient by them when that by the last
  // is drawn from N(0, 1). Weights have variance `scale`² · init / WIDTH; no biases.
  function travel(name, p, init, scale = 1, seed = 1) {
    const key = JSON.stringify([name, p, init, scale, seed]);
    if (known.size > 200) known.clear();
    if (!known.has(key)) known.set(key, computed(name, p, init, scale, seed));
    return known.get(key);
  }

  const known = new Map();

  function computed(name, p, init, scale, seed) {
    const { weights, inputs, gradients, slopes } = numbers(seed);
    const sd = scale * Math.sqrt(INITS[init](name, p) / WIDTH);
    const random = family.known(name).random;
    const s = (layer, i) =>
      random ? p.lower + (p.upper - p.lower) * slopes[layer * EXAMPLES * WIDTH + i] : undefined;
    const all = [];
    let h = inputs;
    for (let layer = 0; layer < LAYERS; layer++) {
      const z = through(h, weights, layer, sd, false);
      all.push(z);
      h = z.map((x, i) => family.value(name, x, p, s(layer, i)));
    }
    let delta = gradients;
    const backward = [meanSquare(delta)];
    for (let layer = LAYERS - 2; layer >= 0; layer--) {
      const arrived = through(delta, weights, layer + 1, sd, true);
      delta = arrived.map((g, i) => g * family.slope(name, all[layer][i], p, s(layer, i)));
      backward.unshift(meanSquare(delta));
    }
    return { forward: all.map(meanSquare), backward };
  }

  return { travel, LAYERS, WIDTH, EXAMPLES, INITS: Object.keys(INITS) };
})();
