"""A JAX script as its author writes it; run by ``test_treated_jax.py`` unedited, and as a hand-edited copy."""

import functools
import hashlib

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.nn import relu

inputs = np.random.default_rng(5).normal(size=(128, 6)).astype("float32")
targets = np.abs(inputs).sum(1, keepdims=True)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(16)(x))
        x = relu(nn.Dense(12)(x))
        return jax.nn.softplus(nn.Dense(1)(x))


def plain(params, x):
    hidden = jax.nn.relu(x @ params["first"])
    return jnp.tanh(hidden @ params["second"])


leaky = functools.partial(jax.nn.leaky_relu, negative_slope=0.2)
net, mlp = Net(), eqx.nn.MLP(6, 1, 8, 2, activation=leaky, key=jax.random.PRNGKey(3))
first, second = jax.random.split(jax.random.key(1))
weights, static = eqx.partition(mlp, eqx.is_array)
params = {
    "net": net.init(first, inputs[:1]),
    "mlp": weights,
    "plain": {"first": jax.random.normal(second, (6, 4)), "second": jnp.ones((4, 1))},
}
optimizer = optax.adam(0.01)
state = optimizer.init(params)


@jax.jit
def step(params, state, x, y):
    def loss(params):
        tower = jax.vmap(eqx.combine(params["mlp"], static))
        return jnp.square(plain(params["plain"], x) + tower(x) + net.apply(params["net"], x) - y).mean()

    updates, state = optimizer.update(jax.grad(loss)(params), state)
    return optax.apply_updates(params, updates), state


for start in range(0, 128, 16):
    params, state = step(params, state, inputs[start : start + 16], targets[start : start + 16])
found = b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(params))
print(hashlib.sha256(found).hexdigest())
