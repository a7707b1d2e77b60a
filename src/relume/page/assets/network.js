"use strict";
// A network 1 → 12 → 12 → 1 that learns a curve by clipped gradient descent on all examples at once, in float64. No drawing.
relume.network = (() => {
  const WIDTH = 12;
  const EXAMPLES = 48;
  const REACH = 2;
  // Largest norm of the gradient, clipped as by PyTorch's clip_grad_norm_. Without it 7 of 11 activations that take over
  // from a dying network end in NaN: its weights are large, and the new outputs of the dead units make a huge loss.
  const CLIP = 10;
  const { family } = relume;
  const { Random } = relume.numeric;

  const target = (x) => Math.sin(2 * x);

  class Network {
    // `shift` is added to the biases of the hidden layers: far below 0, units are born dead.
    constructor({ activation, parameters, lr, seed = 1, shift = 0 }) {
      this.x = Float64Array.from({ length: EXAMPLES }, (_, e) => -REACH + (2 * REACH * e) / (EXAMPLES - 1));
      this.y = this.x.map(target);
      this.lr = lr;
      this.step = 0;
      this.slopes = new Random(seed + 1); // RReLU's
      this.fresh = new Random(seed + 2); // what revived units start from
      const random = new Random(seed);
      const sizes = [1, WIDTH, WIDTH, 1];
      this.layers = [0, 1, 2].map((l) => ({
        inputs: sizes[l],
        units: sizes[l + 1],
        weight: random.normals(sizes[l] * sizes[l + 1]).map((n) => n * Math.sqrt((l < 2 ? 2 : 1) / sizes[l])),
        bias: random.uniforms(sizes[l + 1]).map((u) => (l === 0 ? 2 * REACH * u - REACH : 0) + (l < 2 ? shift : 0)),
      }));
      this.use(activation, parameters);
      this.look();
    }

    // Takes another activation: weights stay, a learned slope begins at its start.
    use(name, parameters = family.defaults(name)) {
      this.activation = name;
      this.learned = family.known(name).parameters.find((p) => p.learnable)?.name;
      this.parameters = [{ ...parameters }, { ...parameters }]; // of each hidden layer
    }

    // Runs the examples `x` through; in training a random slope is drawn, else it is the mean.
    forward(x, training) {
      const count = x.length;
      let h = x;
      const passed = [];
      this.layers.forEach((layer, l) => {
        const z = new Float64Array(count * layer.units);
        for (let e = 0; e < count; e++) {
          for (let o = 0; o < layer.units; o++) {
            let sum = layer.bias[o];
            for (let i = 0; i < layer.inputs; i++) sum += h[e * layer.inputs + i] * layer.weight[o * layer.inputs + i];
            z[e * layer.units + o] = sum;
          }
        }
        const kept = { input: h, z };
        if (l < 2) {
          const p = this.parameters[l];
          const random = training && family.known(this.activation).random;
          if (random) kept.s = z.map(() => p.lower + (p.upper - p.lower) * this.slopes.uniform());
          kept.h = z.map((v, i) => family.value(this.activation, v, p, kept.s?.[i]));
          h = kept.h;
        }
        passed.push(kept);
      });
      return passed;
    }

    predict(x) {
      return this.forward(Float64Array.from(x), false)[2].z;
    }

    // One step of gradient descent on the mean square error. Returns the loss before it.
    train() {
      const passed = this.forward(this.x, true);
      let delta = passed[2].z.map((o, e) => (2 * (o - this.y[e])) / EXAMPLES);
      const loss = passed[2].z.reduce((sum, o, e) => sum + (o - this.y[e]) ** 2, 0) / EXAMPLES;
      const moves = [];
      for (let l = 2; l >= 0; l--) {
        const { inputs, units, weight } = this.layers[l];
        const { input } = passed[l];
        const move = { weight: new Float64Array(weight.length), bias: new Float64Array(units), learned: 0 };
        const before = new Float64Array(EXAMPLES * inputs);
        for (let e = 0; e < EXAMPLES; e++) {
          for (let o = 0; o < units; o++) {
            const d = delta[e * units + o];
            move.bias[o] += d;
            for (let i = 0; i < inputs; i++) {
              move.weight[o * inputs + i] += d * input[e * inputs + i];
              before[e * inputs + i] += d * weight[o * inputs + i];
            }
          }
        }
        moves.unshift(move);
        if (l === 0) break;
        const { z, s } = passed[l - 1];
        const p = this.parameters[l - 1];
        if (this.learned) {
          const by = relume.functions[this.activation].byParameter;
          moves[0].learned = z.reduce((sum, v, i) => sum + before[i] * by(v, p), 0); // of the layer below
        }
        delta = before.map((g, i) => g * family.slope(this.activation, z[i], p, s?.[i]));
      }
      this.move(moves);
      this.step += 1;
      this.look();
      return loss;
    }

    move(moves) {
      const length = Math.hypot(...moves.flatMap(({ weight, bias, learned }) => [...weight, ...bias, learned]));
      const rate = this.lr * Math.min(1, CLIP / (length + 1e-6));
      this.layers.forEach((layer, l) => {
        layer.weight = layer.weight.map((w, i) => w - rate * moves[l].weight[i]);
        layer.bias = layer.bias.map((b, i) => b - rate * moves[l].bias[i]);
        if (l > 0 && this.learned) this.parameters[l - 1][this.learned] -= rate * moves[l].learned;
      });
    }

    // What the examples show now: the loss, and of each hidden unit on how many it fires and how steep it is at most.
    look() {
      const passed = this.forward(this.x, false);
      this.loss = passed[2].z.reduce((sum, o, e) => sum + (o - this.y[e]) ** 2, 0) / EXAMPLES;
      this.units = [0, 1].flatMap((l) =>
        Array.from({ length: WIDTH }, (_, u) => this.judge(l, u, passed[l])),
      );
    }

    judge(layer, unit, { z, h }) {
      const p = this.parameters[layer];
      const threshold = family.threshold(this.activation, p);
      const outputs = Array.from(this.x, (_, e) => h[e * WIDTH + unit]);
      let [fires, steepest] = [0, 0];
      for (let e = 0; e < EXAMPLES; e++) {
        const v = z[e * WIDTH + unit];
        fires += Number(v > threshold);
        steepest = Math.max(steepest, Math.abs(family.slope(this.activation, v, p)));
      }
      return { layer, unit, fires, steepest, outputs, state: this.state(fires, steepest, outputs) };
    }

    // dead: silent on all examples, and no slope left; stuck: no slope left though it fires; silent: silent on all, but
    // it still learns; linear: fires on all.
    state(fires, steepest, outputs) {
      if (!outputs.every(Number.isFinite)) return "broken";
      const hopeless = steepest === 0 || (family.known(this.activation).dies && steepest < relume.data.flatSlope);
      if (hopeless) return fires === 0 ? "dead" : "stuck";
      if (fires === 0) return "silent";
      return fires === EXAMPLES && family.threshold(this.activation, this.parameters[0]) > -Infinity ? "linear" : "fires";
    }

    count(...states) {
      return this.units.filter((unit) => states.includes(unit.state)).length;
    }

    // Gives each dead or stuck unit new weights with which it fires on half of the examples, and takes its outgoing ones
    // to 0; what it gave (a constant) goes into the biases behind it. So no output changes. Returns how many it were.
    revive() {
      const found = this.units.filter((unit) => unit.state === "dead" || unit.state === "stuck");
      for (const l of [0, 1]) {
        const { input } = this.forward(this.x, false)[l]; // the second layer's, when the first is alive again
        for (const one of found) if (one.layer === l) this.restart(one, input);
      }
      this.look();
      return found.length;
    }

    restart({ layer: l, unit, outputs }, input) {
      const [layer, behind] = [this.layers[l], this.layers[l + 1]];
      const weights = this.fresh.normals(layer.inputs).map((n) => n * Math.sqrt(2 / layer.inputs));
      layer.weight.set(weights, unit * layer.inputs);
      const sums = Array.from(this.x, (_, e) =>
        weights.reduce((sum, w, i) => sum + w * input[e * layer.inputs + i], 0),
      ).sort((a, b) => a - b);
      layer.bias[unit] = -(sums[EXAMPLES / 2 - 1] + sums[EXAMPLES / 2]) / 2;
      for (let o = 0; o < behind.units; o++) {
        behind.bias[o] += behind.weight[o * behind.inputs + unit] * outputs[0];
        behind.weight[o * behind.inputs + unit] = 0;
      }
    }
  }

  // A start, and what is done at which step: the same link shows the same network.
  const BURST = ["120.lr.0.3", "140.lr.0.03"];
  const PRESETS = {
    healthy: { activation: "relu", lr: 0.03, seed: 305, shift: 0, events: [] },
    dying: { activation: "relu", lr: 0.03, seed: 305, shift: 0, events: BURST },
    born: { activation: "relu", lr: 0.03, seed: 305, shift: -3, events: [] },
    revived: { activation: "relu", lr: 0.03, seed: 305, shift: 0, events: [...BURST, "300.revive"] },
  };

  return { Network, PRESETS, WIDTH, EXAMPLES, REACH, target };
})();
