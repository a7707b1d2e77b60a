"""Training steps written as users of each library write them; their units' counts are known from NumPy.

Run by ``test_watching_jax.py``: ``planted_jax.py KIND``. Weights and inputs are small multiples of 1/8 and what is
counted is not trained, so that ``expected.json`` holds the very numbers.
"""

import hashlib
import json
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

kind = sys.argv[1]
STEPS, BATCH = 24, 32
rng = np.random.default_rng(3)
inputs = rng.integers(-8, 9, size=(STEPS, BATCH, 6)).astype("float32") / 8
targets = rng.normal(size=(STEPS, BATCH, 1)).astype("float32")
w1 = rng.integers(-4, 5, size=(6, 8)).astype("float32") / 8
b1 = rng.integers(-2, 3, size=8).astype("float32") / 8
b1[2], b1[5] = -50, 50  # dead, always on
w2 = rng.integers(-4, 5, size=(8, 5)).astype("float32") / 8
w3 = rng.normal(size=(5, 1)).astype("float32")
optimizer = optax.adam(1e-2)


def frozen_but_last(gradients):
    """The hidden layers stay as they are, so that the counts can be known."""
    return jax.tree.map(lambda g: g if g.shape == (5, 1) else jnp.zeros_like(g), gradients)


def plain():
    def model(params, x, key):
        h = jax.nn.relu(x @ params["fc1"]["w"] + params["fc1"]["b"])  # LINE first plain
        h = jax.random.bernoulli(key, 0.5, h.shape) * h * 2 if kind == "dropout" else h
        h = jax.nn.leaky_relu(h @ params["fc2"]["w"], 0.125)  # LINE second plain
        return h @ params["out"]["w"]

    if kind == "remat":
        model = jax.checkpoint(model)
    if kind == "vmap":
        one = model
        model = lambda params, x, key: jax.vmap(one, (None, 0, None))(params, x, key)  # noqa: E731

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, x, y, key):
        print("traced")
        loss = lambda params: ((model(params, x, key) - y) ** 2).mean()  # noqa: E731
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(frozen_but_last(gradients), state, params)
        return optax.apply_updates(params, updates), state, value

    params = jax.tree.map(jnp.array, {"fc1": {"w": w1, "b": b1}, "fc2": {"w": w2}, "out": {"w": w3}})
    state = optimizer.init(params)
    for i in range(STEPS):
        params, state, _ = step(params, state, inputs[i], targets[i], jax.random.key(i))
    return params


def epochs():
    """Six steps of training in one call, by ``lax.scan``."""

    def step(carry, batch):
        params, state = carry
        x, y = batch

        def loss(params):
            h = jax.nn.relu(x @ params["w1"] + params["b1"])  # LINE first scan
            return ((jax.nn.leaky_relu(h @ params["w2"], 0.125) @ params["w3"] - y) ** 2).mean()  # LINE second scan

        gradients = jax.grad(loss)(params)
        updates, state = optimizer.update(frozen_but_last(gradients), state, params)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def epoch(params, state, xs, ys):
        return jax.lax.scan(step, (params, state), (xs, ys))[0]

    params = jax.tree.map(jnp.array, {"w1": w1, "b1": b1, "w2": w2, "w3": w3})
    state = optimizer.init(params)
    for i in range(0, STEPS, 6):
        params, state = epoch(params, state, inputs[i : i + 6], targets[i : i + 6])
    return params


def linen():
    from flax import linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Dense(8, name="fc1")(x))  # LINE first linen
            x = nn.leaky_relu(nn.Dense(5, use_bias=False, name="fc2")(x), 0.125)  # LINE second linen
            return nn.Dense(1, use_bias=False, name="out")(x)

    net = Net()

    @jax.jit
    def step(params, state, x, y):
        loss = lambda params: ((net.apply({"params": params}, x) - y) ** 2).mean()  # noqa: E731
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(frozen_but_last(gradients), state, params)
        return optax.apply_updates(params, updates), state, value

    given = {"fc1": {"kernel": w1, "bias": b1}, "fc2": {"kernel": w2}, "out": {"kernel": w3}}
    params = jax.tree.map(jnp.array, given)
    state = optimizer.init(params)
    for i in range(STEPS):
        params, state, _ = step(params, state, inputs[i], targets[i])
    return params


def nnx():
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.fc1 = nnx.Linear(6, 8, rngs=rngs)
            self.fc2 = nnx.Linear(8, 5, use_bias=False, rngs=rngs)
            self.out = nnx.Linear(5, 1, use_bias=False, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.fc1(x))  # LINE first nnx
            x = nnx.leaky_relu(self.fc2(x), 0.125)  # LINE second nnx
            return self.out(x)

    net = Net(nnx.Rngs(0))
    net.fc1.kernel[...], net.fc1.bias[...] = jnp.array(w1), jnp.array(b1)
    net.fc2.kernel[...], net.out.kernel[...] = jnp.array(w2), jnp.array(w3)
    trainer = nnx.Optimizer(net, optimizer, wrt=nnx.Param)

    @nnx.jit
    def step(net, trainer, x, y):
        gradients = nnx.grad(lambda net: ((net(x) - y) ** 2).mean())(net)
        trainer.update(net, frozen_but_last(gradients))

    for i in range(STEPS):
        step(net, trainer, inputs[i], targets[i])
    return nnx.state(net, nnx.Param)


def equinox():
    import equinox as eqx

    class Net(eqx.Module):
        fc1: eqx.nn.Linear
        fc2: eqx.nn.Linear
        out: eqx.nn.Linear

        def __call__(self, x):
            x = jax.nn.relu(self.fc1(x))  # LINE first equinox
            x = jax.nn.leaky_relu(self.fc2(x), 0.125)  # LINE second equinox
            return self.out(x)

    def linear(kernel, bias=None):
        layer = eqx.nn.Linear(*kernel.shape, use_bias=bias is not None, key=jax.random.key(0))
        layer = eqx.tree_at(lambda each: each.weight, layer, jnp.array(kernel.T))
        return layer if bias is None else eqx.tree_at(lambda each: each.bias, layer, jnp.array(bias))

    net = Net(linear(w1, b1), linear(w2), linear(w3))
    state = optimizer.init(eqx.filter(net, eqx.is_array))

    @eqx.filter_jit
    def step(net, state, x, y):
        gradients = eqx.filter_grad(lambda net: ((jax.vmap(net)(x) - y) ** 2).mean())(net)
        last = jax.tree.map(lambda g: g if g.shape == (1, 5) else jnp.zeros_like(g), gradients)
        updates, state = optimizer.update(last, state, net)
        return eqx.apply_updates(net, updates), state

    for i in range(STEPS):
        net, state = step(net, state, inputs[i], targets[i])
    return eqx.filter(net, eqx.is_array)


kinds = {"scan": epochs, "linen": linen, "nnx": nnx, "equinox": equinox}
trained = kinds.get(kind, plain)()
final = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(trained))
print("weights", hashlib.sha256(final).hexdigest())

first = inputs @ w1 + b1
second = np.maximum(first, 0) @ w2
with open("expected.json", "w") as file:
    json.dump({"first": (first > 0).sum(1).tolist(), "second": (second > 0).sum(1).tolist()}, file)
