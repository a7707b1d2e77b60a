"""Each verb × each bad input: refused with the reason, or done properly; what is refused is the same to the bit."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from networks import MLP, kill
from test_revive import Tied, watched
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

import relume
from relume.artifacts.plan import Action, CurePlan
from relume.errors import RelumeError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@dataclass
class Case:
    """What the verbs are given."""

    model: Any
    findings: Any = None
    batch: Any = field(default_factory=lambda: torch.randn(64, 6, generator=torch.Generator().manual_seed(1)))
    optimizer: Any = None
    box: Any = (-torch.ones(1, 6), torch.ones(1, 6))
    site: str = "Sequential.1@train.py:3"
    units: tuple[int, ...] = (2, 9)


def good(units=(2, 9), dead=(2, 9)):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    kill(model, ["0"], dead)
    case = Case(model, units=units)
    case.findings = watched(model, case.batch)
    case.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return case


# ---- the bad inputs ------------------------------------------------------------------------------------------------


def findings_of_another_model():
    other = MLP()
    kill(other, ["fc1"])
    case = good()
    case.findings, case.site = watched(other, torch.randn(64, 10)), "MLP.relu@train.py:3"
    return case


def on_meta():
    case = good()
    case.model.to("meta")
    return case


def on_two_devices():
    case = good()
    case.model[2].to("meta")
    return case


def fully_dead():
    return good(tuple(range(16)), range(16))


def tied():
    torch.manual_seed(0)
    model, x = Tied(), torch.randn(64, 8)
    kill(model, ["first"])
    box = (-torch.ones(1, 8), torch.ones(1, 8))
    # its activation is a call, so that swap is given the line of it
    findings = watched(model, x)
    return Case(model, findings, x, None, box, findings.sites[0].site.key, (1, 4))


def quantized():
    case = good()
    case.model = torch.ao.quantization.quantize_dynamic(case.model, {nn.Linear})
    return case


def scripted():
    case = good()
    case.model = torch.jit.trace(case.model, case.batch)
    return case


def compiled():
    case = good()
    case.model = torch.compile(case.model)
    return case


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A process group of this process alone."""
    dist.init_process_group("gloo", f"file://{tmp_path_factory.mktemp('group')}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def wrapped_by_fsdp():
    case = good()
    case.model = FullyShardedDataParallel(case.model, device_id=torch.device("cpu"))
    return case


def sharded():
    case = good()
    fully_shard(case.model, mesh=dist.device_mesh.init_device_mesh("cpu", (1,)))
    return case


def optimizer_of_another_model():
    case = good()
    case.optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    return case


def batch_that_does_not_fit():
    case = good()
    case.batch, case.box = torch.randn(64, 7), (-torch.ones(1, 7), torch.ones(1, 7))
    return case


# ---- the verbs -----------------------------------------------------------------------------------------------------


def swap(case):
    # only slopes that learn have anything to do with an optimizer
    return relume.swap(case.model, "relu", "prelu", optimizer=case.optimizer, batch=case.batch)


def revive(case):
    return relume.revive(case.model, case.findings, case.batch, optimizer=case.optimizer)


def prune(case):
    return relume.prune(case.model, case.findings, case.batch)[1]


def certify(case):
    return relume.certify(case.model, *case.box)


def apply(case):
    action = Action("revive_units", case.site, case.units, "", (), {"rule": "gaps"}, "", "")
    return relume.apply(
        case.model, CurePlan({"file": "run.relume"}, (action,)), batch=case.batch, optimizer=case.optimizer
    )


def reviver(case):
    """A training with it; what it could not do is in its report."""
    optimizer = case.optimizer or torch.optim.SGD(case.model.parameters(), lr=0.0)
    with relume.Reviver(case.model, optimizer=case.optimizer, every=1) as found:
        for _ in range(2 if case.optimizer is None else 0):
            F.mse_loss(case.model(case.batch), torch.zeros(())).backward()
            optimizer.step()
    return found


VERBS = (swap, revive, prune, certify, apply, reviver)
DONE, ABSENT = "done", "not given to it"

# bad input → verb → the reason of its refusal; ``...`` for the verbs that are not named
TABLE = {
    findings_of_another_model: {
        revive: "The findings are of MLP", prune: "The findings are of MLP", apply: "The plan is of MLP", ...: ABSENT,
    },
    on_meta: {...: "on the meta device"},
    on_two_devices: {...: "on the meta device"},
    fully_dead: {prune: "a layer needs at least one", ...: DONE},
    tied: {revive: "shared with another layer", prune: "shared", apply: "shared", ...: DONE},
    quantized: {...: "is quantized"},
    scripted: {...: "is scripted"},
    compiled: {...: r"a wrapper of torch\.compile"},
    wrapped_by_fsdp: {...: "is a FullyShardedDataParallel"},
    sharded: {...: "is a DTensor"},
    optimizer_of_another_model: {
        swap: "does not hold 0.weight", revive: "does not hold", apply: "does not hold",
        reviver: "holds none of the parameters", ...: ABSENT,
    },
    batch_that_does_not_fit: {reviver: ABSENT, ...: "fails on the batch"},
}  # fmt: skip


def state(case):
    """All that a refused verb must leave: the objects, their bits, modes and hooks, the optimizer and the streams."""
    tensors = [*case.model.named_parameters(), *case.model.named_buffers()]
    plain = [(name, getattr(t, "_local_tensor", t).detach()) for name, t in tensors]
    return (
        [(name, id(module), module.training) for name, module in case.model.named_modules()],
        [(name, id(t), t.shape, t.device, t.requires_grad) for name, t in tensors],
        [(name, t.numpy().tobytes()) for name, t in plain if t.device.type != "meta"],
        [
            len(getattr(module, hooks))
            for module in case.model.modules()
            for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
        ],
        repr(case.optimizer and copy.deepcopy(case.optimizer.state_dict())),
        torch.get_rng_state().numpy().tobytes(),
    )


CELLS = {(make, verb): row.get(verb, row[...]) for make, row in TABLE.items() for verb in VERBS}
CELLS = {cell: expected for cell, expected in CELLS.items() if expected != ABSENT}


@pytest.mark.parametrize(("make", "verb"), CELLS, ids=lambda each: each.__name__)
def test_each_verb_refuses_each_bad_input_or_does_its_work(make, verb, group):
    expected = CELLS[make, verb]
    case = make()
    before = state(case)
    if expected == DONE:
        assert make is tied or "stopped" not in repr(verb(case))
        return
    with pytest.raises(RelumeError, match=expected) as caught:
        verb(case)
    assert state(case) == before
    assert re.search(r"\[[a-z-]+\]$", str(caught.value))


# ---- files ---------------------------------------------------------------------------------------------------------


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


def truncated(path):
    torch.save(good().model.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-600])


def hostile(path):
    torch.save({"model": Hostile(path.with_name("mark"))}, path)


def hostile_in_the_old_format(path):
    torch.save({"model": Hostile(path.with_name("mark"))}, path, _use_new_zipfile_serialization=False)


def empty(path):
    path.touch()


def of_20_gb(path):
    with path.open("wb") as file:
        file.write(b"\x80\x02")  # as a file of PyTorch begins; the rest takes no space on the disk
        file.truncate(20 << 30)


READERS = {
    "audit": lambda path, case: relume.audit(path),
    "revive": lambda path, case: relume.revive(case.model, path, case.batch, optimizer=case.optimizer),
    "prune": lambda path, case: relume.prune(case.model, path, case.batch),
    "apply": lambda path, case: relume.apply(case.model, path, batch=case.batch, optimizer=case.optimizer),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "spoil", [truncated, hostile, hostile_in_the_old_format, empty, of_20_gb], ids=lambda each: each.__name__
)
def test_a_file_that_is_not_what_it_should_be_is_refused(spoil, reader, tmp_path):
    path = tmp_path / "model.pt"
    spoil(path)
    case, size = good(), path.stat().st_size
    before = state(case)
    with pytest.raises(RelumeError, match=re.escape(str(path))) as caught:
        READERS[reader](path, case)
    assert state(case) == before
    assert path.stat().st_size == size
    assert [each.name for each in tmp_path.iterdir()] == ["model.pt"]  # nothing was run
    assert re.search(r"\[[a-z-]+\]$", str(caught.value))


def test_a_reviver_of_tied_weights_says_why_and_leaves_them():
    case = tied()
    before = state(case)[2]
    assert "shared" in repr(reviver(case))
    assert state(case)[2] == before


def test_every_verb_works_on_a_good_input():
    """The table's refusals are due to what is bad in them."""
    for verb in VERBS:
        assert "stopped" not in repr(verb(good()))
