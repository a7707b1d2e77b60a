"use strict";
// A network 2 → 8 → 1 that learns to tell dots from rings, by clipped gradient descent on all examples, in float64.
// It draws nothing.
relume.network = (() => {
  const WIDTH = 8;
  const EXAMPLES = 80;
  // Largest norm of the gradient; it is clipped as PyTorch's clip_grad_norm_ does.
  const CLIP = 10;
  const { family } = relume;
  const { Random } = relume.numeric;

  // Dots (target 1) fill a disc in a sunflower pattern; rings (target −1) surround it.
  function examples() {
    const half = EXAMPLES / 2;
    const random = new Random(7);
    return Array.from({ length: EXAMPLES }, (_, e) => {
      const k = e % half;
      const [angle, radius, target] =
        e < half
          ? [k * Math.PI * (3 - Math.sqrt(5)), 0.62 * Math.sqrt((k + 0.5) / half), 1]
          : [(2 * Math.PI * (k + 0.6 * random.uniform())) / half, 1.05 + 0.35 * random.uniform(), -1];
      return { x: [radius * Math.cos(angle), radius * Math.sin(angle)], target };
    });
  }

  const DATA = examples();

  class Network {
    // `shift` is added to the biases of the units; if it is far below 0, units are born dead.
    constructor({ activation, parameters, lr, seed = 1, shift = 0 }) {
      this.lr = lr;
      this.slopes = new Random(seed + 1); // RReLU's
      this.fresh = new Random(seed + 2); // initial weights of revived units
      const random = new Random(seed);
      this.weight = random.normals(2 * WIDTH); // x and y of each unit
      this.bias = random.uniforms(WIDTH).map((u) => u - 0.5 + shift);
      this.out = random.normals(WIDTH).map((n) => n / Math.sqrt(WIDTH));
      this.offset = 0;
      this.use(activation, parameters);
      this.look();
    }

    // Changes the activation: weights stay, a learned slope starts at its initial value.
    use(name, parameters = family.defaults(name)) {
      this.activation = name;
      this.learned = family.known(name).parameters.find((p) => p.learnable)?.name;
      this.parameters = { ...parameters };
    }

    // Everything that training changes, so that the reader can go back in time.
    save() {
      const { weight, bias, out, offset, activation, parameters, lr, slopes, fresh } = this;
      return { weight: [...weight], bias: [...bias], out: [...out], offset, activation, parameters: { ...parameters }, lr, drawn: [slopes.state, fresh.state] };
    }

    load({ weight, bias, out, offset, activation, parameters, lr, drawn }) {
      [this.weight, this.bias, this.out] = [weight, bias, out].map((array) => Float64Array.from(array));
      [this.offset, this.lr, this.slopes.state, this.fresh.state] = [offset, lr, ...drawn];
      this.use(activation, parameters);
      this.look();
    }

    preActivation(u, [x, y]) {
      return this.weight[2 * u] * x + this.weight[2 * u + 1] * y + this.bias[u];
    }

    output(point) {
      let sum = this.offset;
      for (let u = 0; u < WIDTH; u++) {
        sum += this.out[u] * family.value(this.activation, this.preActivation(u, point), this.parameters);
      }
      return sum;
    }

    // Forward pass: z and h have an entry for each example and unit, and so has s if slopes are drawn (in training).
    forward(training) {
      const { activation, parameters: p } = this;
      const [z, h] = [new Float64Array(EXAMPLES * WIDTH), new Float64Array(EXAMPLES * WIDTH)];
      const s = training && family.known(activation).random ? new Float64Array(EXAMPLES * WIDTH) : null;
      let loss = 0;
      const error = DATA.map(({ x, target }, e) => {
        let output = this.offset;
        for (let u = 0, i = e * WIDTH; u < WIDTH; u++, i++) {
          z[i] = this.preActivation(u, x);
          if (s) s[i] = p.lower + (p.upper - p.lower) * this.slopes.uniform();
          h[i] = family.value(activation, z[i], p, s?.[i]);
          output += this.out[u] * h[i];
        }
        loss += (output - target) ** 2 / EXAMPLES;
        return output - target;
      });
      return { z, h, s, error, loss };
    }

    // The gradient of the mean square error with respect to all parameters.
    backward({ z, h, s, error }) {
      const p = this.parameters;
      const by = relume.functions[this.activation].byParameter;
      const found = { weight: new Float64Array(2 * WIDTH), bias: new Float64Array(WIDTH), out: new Float64Array(WIDTH), offset: 0, learned: 0 };
      DATA.forEach(({ x: [x, y] }, e) => {
        const d = (2 * error[e]) / EXAMPLES;
        found.offset += d;
        for (let u = 0; u < WIDTH; u++) {
          const i = e * WIDTH + u;
          const arrives = d * this.out[u];
          const g = arrives * family.slope(this.activation, z[i], p, s?.[i]);
          found.out[u] += d * h[i];
          found.bias[u] += g;
          found.weight[2 * u] += g * x;
          found.weight[2 * u + 1] += g * y;
          if (this.learned) found.learned += arrives * by(z[i], p);
        }
      });
      return found;
    }

    // One step of gradient descent. Returns the loss before it.
    train() {
      const passed = this.forward(true);
      const { weight, bias, out, offset, learned } = this.backward(passed);
      const rate = this.lr * Math.min(1, CLIP / (Math.hypot(...weight, ...bias, ...out, offset, learned) + 1e-6));
      this.weight = this.weight.map((w, i) => w - rate * weight[i]);
      this.bias = this.bias.map((b, u) => b - rate * bias[u]);
      this.out = this.out.map((w, u) => w - rate * out[u]);
      this.offset -= rate * offset;
      if (this.learned) this.parameters[this.learned] -= rate * learned;
      this.look();
      return passed.loss;
    }

    // The current state: the loss, and for each unit its pre-activations, the number of examples on which it fires and
    // its largest slope.
    look() {
      const passed = this.forward(false);
      this.loss = passed.loss;
      this.units = Array.from({ length: WIDTH }, (_, u) => this.judge(u, passed));
    }

    judge(u, { z, h }) {
      const threshold = family.threshold(this.activation, this.parameters);
      const [before, outputs] = [z, h].map((all) => DATA.map((_, e) => all[e * WIDTH + u]));
      const fires = before.filter((v) => v > threshold).length;
      const steepest = Math.max(...before.map((v) => Math.abs(family.slope(this.activation, v, this.parameters))));
      return { before, outputs, fires, steepest, state: this.state(fires, steepest, outputs) };
    }

    // The norm of the gradient that reaches each unit's weights.
    gradients() {
      const { weight, bias } = this.backward(this.forward(false));
      return Array.from(bias, (b, u) => Math.hypot(weight[2 * u], weight[2 * u + 1], b));
    }

    // dead: does not fire on any example, and its slope is 0; stuck: fires, but its slope is 0; silent: does not fire, but
    // still learns; linear: fires on all examples.
    state(fires, steepest, outputs) {
      if (!outputs.every(Number.isFinite)) return "broken";
      const hopeless = steepest === 0 || (family.known(this.activation).dies && steepest < relume.data.flatSlope);
      if (hopeless) return fires === 0 ? "dead" : "stuck";
      if (fires === 0) return "silent";
      return fires === EXAMPLES && family.threshold(this.activation, this.parameters) > -Infinity ? "linear" : "fires";
    }

    count(...states) {
      return this.units.filter((unit) => states.includes(unit.state)).length;
    }

    get correct() {
      return DATA.filter(({ x, target }) => this.output(x) * target > 0).length;
    }

    // Gives each dead or stuck unit new weights with which it fires on half of the examples, and takes its outgoing one
    // to 0; what it gave (a constant) goes into the offset. So no output changes.
    revive() {
      this.units.forEach(({ state, outputs }, u) => {
        if (state !== "dead" && state !== "stuck") return;
        this.weight.set(this.fresh.normals(2), 2 * u);
        this.bias[u] = 0;
        const sums = DATA.map(({ x }) => this.preActivation(u, x)).sort((a, b) => a - b);
        this.bias[u] = -(sums[EXAMPLES / 2 - 1] + sums[EXAMPLES / 2]) / 2;
        this.offset += this.out[u] * outputs[0];
        this.out[u] = 0;
      });
      this.look();
    }
  }

  return { Network, DATA, WIDTH, EXAMPLES };
})();
