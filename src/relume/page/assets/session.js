"use strict";
// Two networks with the same start, the reader's actions by step, and the results. The same start and the
// same actions give the same numbers, so a link can hold them. An action is written "120.lr.0.2", "300.revive" or
// "150.act.elu~1": the learning rate applies to both networks, the other two to the left one.
relume.session = (() => {
  const { Network } = relume.network;
  const { family } = relume;
  const LONGEST = 5000; // steps

  // A start, and the actions by step. With this seed and burst, units fall silent on both sides; few other seeds do that.
  const START = { lr: 0.2, seed: 50454, shift: 0 };
  const BURST = ["120.lr.0.8", "130.lr.0.2"];
  const PRESETS = {
    healthy: { ...START, events: [] },
    dying: { ...START, events: BURST },
    born: { ...START, shift: -2, events: [] },
    revived: { ...START, events: [...BURST, "300.revive"] },
  };
  const SIDES = ["relu", "leaky_relu~0.2"]; // at PyTorch's slope of 0.01, 6 of 8 units are still silent at step 600

  function written(name, parameters) {
    return [name, ...family.known(name).parameters.map((p) => parameters[p.name])].join("~");
  }

  // "elu~2" as ["elu", { alpha: 2 }]; a part that cannot be read keeps its default.
  function activationRead(text) {
    const [name, ...values] = text.split("~");
    if (!family.names().includes(name)) return null;
    const parameters = family.defaults(name);
    family.known(name).parameters.forEach((p, i) => {
      if (p.choices ? p.choices.includes(values[i]) : values[i] !== undefined && Number.isFinite(Number(values[i]))) {
        parameters[p.name] = p.choices ? values[i] : Number(values[i]);
      }
    });
    return [name, parameters];
  }

  // The canonical text of the settings; null if it does not name an activation.
  const tidy = (text) => activationRead(text) && written(...activationRead(text));

  function read(text) {
    const [, step, what, value] = /^(\d{1,6})\.(lr|revive|act)\.?(.*)$/.exec(text) ?? [];
    if (what === undefined) return null;
    if (what === "lr" && !(Number(value) > 0 && Number(value) <= 10)) return null;
    if (what === "act" && !activationRead(value)) return null;
    return { step: Number(step), what, value };
  }

  class Session {
    constructor(preset = "healthy", deeds = [], sides = SIDES) {
      this.preset = Object.hasOwn(PRESETS, preset) ? preset : "healthy";
      this.sides = sides;
      const { events, ...start } = PRESETS[this.preset];
      this.networks = sides.map(activationRead).map(([activation, parameters]) => new Network({ ...start, activation, parameters }));
      this.deeds = deeds.filter(read);
      const first = Math.min(...this.deeds.map((deed) => read(deed).step));
      this.waiting = [...events.filter((event) => read(event).step <= first), ...this.deeds].map(read).sort((a, b) => a.step - b.step);
      this.history = []; // by step
      this.step = 0;
      this.due();
    }

    get broken() {
      return this.networks.some(({ loss }) => !Number.isFinite(loss));
    }

    get over() {
      return this.step >= LONGEST || (this.broken && this.step === this.history.length - 1);
    }

    // The activation of a side at this step, as the reader set it, without learned changes.
    chosen(side) {
      const swaps = this.deeds.map(read).filter(({ step, what }) => side === 0 && what === "act" && step <= this.step);
      return tidy(swaps.at(-1)?.value ?? this.sides[side]);
    }

    // Performs the reader's action now and keeps it for the link. Later actions are dropped.
    act(what, value = "") {
      const deed = `${this.step}.${what}${value === "" ? "" : `.${value}`}`;
      if (!read(deed)) return;
      const replaced = what === "lr" ? `${this.step}.lr.` : null; // a slider in motion
      this.deeds = this.deeds.filter((one) => read(one).step <= this.step && !(replaced && one.startsWith(replaced)));
      this.deeds.push(deed);
      this.history.length = this.step;
      this.waiting = [read(deed)];
      this.due();
    }

    carryOut({ what, value }) {
      const [left] = this.networks;
      if (what === "lr") for (const network of this.networks) network.lr = Number(value);
      if (what === "act") left.use(...activationRead(value));
      if (what === "revive") left.revive();
      left.look();
    }

    due() {
      while (this.waiting.length && this.waiting[0].step <= this.step) this.carryOut(this.waiting.shift());
      this.history.push(this.networks.map((network) => ({
        kept: network.save(), loss: network.loss, states: network.units.map(({ state }) => state),
      })));
    }

    advance() {
      if (this.over) return;
      this.step += 1;
      if (this.step < this.history.length) return this.restore();
      for (const network of this.networks) network.train();
      this.due();
    }

    restore() {
      this.networks.forEach((network, side) => network.load(this.history[this.step][side].kept));
    }

    // Moves back or forward to a step.
    go(to) {
      if (to < this.history.length) {
        this.step = Math.max(0, to);
        return this.restore();
      }
      this.step = this.history.length - 1;
      this.restore();
      while (this.step < to && !this.over) this.advance();
    }
  }

  return { Session, PRESETS, SIDES, LONGEST, tidy, read };
})();
