"""A trial's seed changes what the script and its trainers seed, and nothing that a library seeds for itself."""

from __future__ import annotations

import pickle
import random
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import treating

from relume.torch.watching.where import places
from relume.treatment.seeding import STRIDE, remapped

treated = treating.treated

SEEDINGS = {
    "torch.manual_seed": lambda u: (torch.manual_seed(u), torch.rand(3).tolist())[1],
    "torch.random.manual_seed": lambda u: (torch.random.manual_seed(u), torch.rand(3).tolist())[1],
    "random.seed": lambda u: (random.seed(u), random.random())[1],
    "random.Random": lambda u: random.Random(u).random(),
    "numpy.random.default_rng": lambda u: np.random.default_rng(u).random(3).tolist(),
    "Generator.manual_seed": lambda u: torch.rand(3, generator=torch.Generator().manual_seed(u)).tolist(),
    "Generator(device).manual_seed": lambda u: torch.rand(3, generator=torch.Generator("cpu").manual_seed(u)).tolist(),
}
IN_32_BITS = {
    "numpy.random.seed": lambda u: (np.random.seed(u), np.random.rand(3).tolist())[1],  # noqa: NPY002
    "numpy.random.RandomState": lambda u: np.random.RandomState(u).rand(3).tolist(),
}


@pytest.mark.parametrize("call", [*SEEDINGS, *IN_32_BITS])
def test_a_seeding_call_takes_the_trials_seed(call):
    draw, modulus = (SEEDINGS[call], 2**64) if call in SEEDINGS else (IN_32_BITS[call], 2**32)
    plain, other = draw(7), draw((7 + 3 * STRIDE) % modulus)
    with treated(None, seed=0):
        assert draw(7) == plain
    with treated(None, seed=3):
        assert draw(7) == other != plain
    with treated(None, seed=3, remap=False):
        assert draw(7) == plain
    assert draw(7) == plain


@pytest.mark.parametrize("call", [*SEEDINGS, *IN_32_BITS])
def test_a_kept_seed_is_the_same_in_every_trial(call):
    draw = {**SEEDINGS, **IN_32_BITS}[call]
    plain, line = draw(7), draw.__code__.co_firstlineno
    place = f"{places.shown_path(__file__)}:{line}"
    with treated(None, seed=3, keep=(place,)):
        assert draw(7) == plain
    with treated(None, seed=3, keep=(f"{places.shown_path(__file__)}:{line + 100}",)):
        assert draw(7) != plain


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.rand(3).tolist(),
        lambda: random.random(),
        lambda: np.random.rand(3).tolist(),  # noqa: NPY002
        lambda: (torch.seed(), torch.rand(3).tolist())[1],
        lambda: (random.seed(), random.random())[1],
        lambda: random.Random().random(),
        lambda: np.random.default_rng().random(3).tolist(),
        lambda: (np.random.seed(), np.random.rand(3).tolist())[1],  # noqa: NPY002
        lambda: np.random.RandomState().rand(3).tolist(),
        lambda: (g := torch.Generator(), g.seed(), torch.rand(3, generator=g).tolist())[2],
    ],
)
def test_an_unseeded_script_is_repeatable_by_the_trials_seed(draw):
    drawn = []
    for seed in (0, 0, 1):
        with treated(None, seed=seed):
            drawn.append(draw())
    assert drawn[0] == drawn[1] != drawn[2]


def test_an_unseeded_generator_is_pytorchs_default_only_in_the_first_trial():
    plain = torch.rand(3, generator=torch.Generator()).tolist()
    with treated(None, seed=0):
        assert torch.rand(3, generator=torch.Generator()).tolist() == plain
    with treated(None, seed=1):
        assert torch.rand(3, generator=torch.Generator()).tolist() != plain


def library(name: str, file: str, source: str) -> types.ModuleType:
    """A module as if it were installed."""
    module = types.ModuleType(name)
    exec(compile(source, file, "exec"), module.__dict__)
    return module


SEEDS = """
import random, numpy, torch
def seed_everything(u):
    random.seed(u); numpy.random.seed(u); torch.manual_seed(u)
    return random.random(), numpy.random.rand(), torch.rand(1).item(), numpy.random.default_rng(u).random()
"""


def test_trainers_are_remapped_and_other_libraries_are_not():
    site = str(Path(torch.__file__).parents[1])
    data = library("some_data", f"{site}/some_data/data.py", SEEDS)
    trainer = library("lightning.fabric.seed", f"{site}/lightning/fabric/seed.py", SEEDS)
    plain = data.seed_everything(5)
    with treated(None, seed=2):
        assert data.seed_everything(5) == plain
        assert all(a != b for a, b in zip(trainer.seed_everything(5), plain, strict=True))


def test_pytorchs_internal_seeding_is_not_remapped():
    def order():
        torch.manual_seed(3)
        data = torch.utils.data.TensorDataset(torch.arange(6))
        loader = torch.utils.data.DataLoader(data, batch_size=2, shuffle=True)
        return [batch[0].tolist() for batch in loader]

    torch.manual_seed(3 + 0)
    plain = order()
    with treated(None, seed=0):
        assert order() == plain
    with treated(None, seed=1):
        first = order()
        assert first != plain
        assert order() == first


def test_generators_are_not_changed():
    kind, state = torch.Generator, np.random.RandomState
    with treated(None, seed=1):
        assert isinstance(torch.Generator(), kind)
        assert isinstance(torch.default_generator, torch.Generator)
        assert isinstance(np.random.RandomState(3), state)
        assert isinstance(np.random.mtrand._rand, np.random.RandomState)
        assert isinstance(pickle.loads(pickle.dumps(np.random.RandomState(3))), state)
        generator = torch.Generator().manual_seed(3)
        copied = torch.Generator()
        copied.set_state(generator.get_state())
        assert torch.equal(torch.rand(2, generator=generator), torch.rand(2, generator=copied))
        parts = torch.utils.data.random_split(range(6), [3, 3], generator=torch.Generator().manual_seed(1))
        assert [len(part) for part in parts] == [3, 3]


def test_seeds_of_trials_do_not_collide():
    reached = {remapped(u, k) for u in range(200) for k in range(200)}
    assert len(reached) == 200 * 200
    assert remapped(-1, 0) == -1


def test_a_manual_seed_that_dynamo_has_wrapped_is_remapped_too():
    import torch._dynamo

    assert "torch._dynamo" in sys.modules
    with treated(None, seed=3):
        torch.manual_seed(7)
        assert torch.initial_seed() == (7 + 3 * STRIDE) % 2**64
