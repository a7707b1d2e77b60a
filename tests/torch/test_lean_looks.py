"""Lean looks, which see less than the whole step: what they may miss, and that they leave nothing behind."""

from __future__ import annotations

import copy
import io
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules import module as modules

import relume
from relume.framework import Look, Plan


@pytest.fixture(autouse=True)
def nothing_compiled():
    """What other tests compiled in this process must not make the looks wide."""
    if "torch._dynamo.eval_frame" in sys.modules:
        torch._dynamo.reset()


def planned(watch, plan):
    """Let a watch follow a plan: its looks, from the first step on."""
    watch._observer._budget.plan = lambda step, stale, urgent=False: Plan(Look.WIDE, 1) if urgent else plan(step)
    return watch


def watching(net, wide_each=16, row=1, **options):
    """A watch of every step, with a wide look at each so many and lean ones between them, in rows."""
    wide = lambda step: step < 2 or step % wide_each == 0  # noqa: E731 - a shorthand
    left = lambda step: min(row, wide_each - step % wide_each)  # noqa: E731 - as above
    return planned(
        relume.watch(net, **options), lambda step: Plan(Look.WIDE, 1) if wide(step) else Plan(Look.LEAN, left(step))
    )


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 2))


def step(net, optimizer, x=None):
    out = net(torch.randn(16, 8) if x is None else x)
    loss = out.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def hooks_of(net):
    return [hook for m in net.modules() for hook in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]


def test_modules_get_no_attributes():
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    inside, everywhere = [], []
    net[2].register_forward_hook(lambda *_: inside.append(len(hooks_of(net))))
    with watching(net) as watch:
        for _ in range(8):
            step(net, optimizer)
            everywhere.append(len(modules._global_forward_hooks))
    assert set(inside) == {1}
    assert everywhere[-1] == 1  # lean looks were taken by it
    assert len(modules._global_forward_hooks) == len(modules._global_forward_pre_hooks) == 0
    assert watch.to_dict()["run"]["looked"] == 8


def test_a_forward_that_raises_leaves_no_hook_and_no_mode():
    class Fragile(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()
            self.breaks = False

        def forward(self, x):
            x = self.body[:2](x)
            if self.breaks:
                raise ValueError("planted")
            return self.body[2:](x)

    net = Fragile()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with watching(net) as watch:
        for _ in range(6):
            step(net, optimizer)
        net.breaks = True
        with pytest.raises(ValueError, match="planted"):
            net(torch.randn(16, 8))
        assert hooks_of(net) == []
        assert torch._C._len_torch_function_stack() == 0
        net.breaks = False
        step(net, optimizer)
    assert watch.to_dict()["run"]["looked"] == 7


def test_a_model_is_copied_and_saved_between_the_steps_of_a_watched_training():
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with watching(net):
        for _ in range(6):
            step(net, optimizer)
            twin = copy.deepcopy(net)
            torch.save(net, io.BytesIO())
            assert hooks_of(twin) == []


def test_a_module_that_is_called_at_a_second_place_later_is_distinguished():
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.relu = nn.Linear(8, 12), nn.Linear(12, 12), nn.ReLU()
            self.late = False

        def forward(self, x):
            x = self.relu(self.first(x))
            if self.late:
                x = self.relu(self.second(x))
            return x

    torch.manual_seed(0)
    net = Late()
    with torch.no_grad():
        net.second.bias[3] = -50
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with watching(net, window=1_000) as watch:
        for n in range(60):
            net.late = n >= 20
            step(net, optimizer)
    one, other = watch.to_dict()["sites"]
    assert one["samples"] == 60 * 16
    assert 30 * 16 < other["samples"] < 40 * 16  # from the look on that follows the first call
    assert 3 in other["dead"]
    assert 3 not in one["dead"]


def test_a_part_that_comes_late_is_found_within_16_looks():
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = mlp(), nn.Sequential(nn.Linear(2, 5), nn.ReLU())
            self.grown = False

        def forward(self, x):
            return self.head(self.body(x)) if self.grown else self.body(x)

    net = Growing()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with watching(net, window=1_000) as watch:
        for n in range(80):
            net.grown = n >= 20
            step(net, optimizer)
    samples = [site["samples"] for site in watch.to_dict()["sites"]]
    assert samples[:2] == [80 * 16] * 2
    assert samples[2] >= (60 - 16) * 16


def test_a_short_run_says_why_its_units_died():
    """Only wide looks see what a layer was given: a run of 15 looks has some that are not its first."""
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with relume.watch(net) as watch:
        for number in range(15):
            if number == 6:
                with torch.no_grad():
                    net[0].bias[1] = -100.0
            step(net, optimizer, torch.randn(64, 8))
    dead = watch.to_dict()["sites"][0]
    assert dead["cause"]["1"]["kind"] != "unknown", dead["cause"]


def test_functions_at_late_places_are_counted_from_the_next_look():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 12), nn.Linear(12, 12)
            self.late = False

        def forward(self, x):
            x = F.relu(self.a(x))
            return F.relu(self.b(x)) if self.late else x

    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with watching(net, window=1_000) as watch:
        for n in range(40):
            net.late = n >= 20
            step(net, optimizer)
    assert [site["samples"] for site in watch.to_dict()["sites"]] == [40 * 16, 19 * 16]


def test_a_second_model_with_its_own_optimizer_is_found_at_once(tmp_path):
    from relume.artifacts.writer import RecordingWriter
    from relume.framework import FRAMEWORKS
    from relume.observe.observer import Observer

    observer = Observer(RecordingWriter(tmp_path / "t.relume"))
    observer.watch(FRAMEWORKS[0])
    for _ in range(3):  # as in cross-validation
        net = mlp()
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
        for _ in range(10):
            step(net, optimizer)
    observer.finish()
    from relume.artifacts.reader import read

    assert [site.total.samples for site in read(tmp_path / "t.relume").sites] == [160] * 6


def vmapped(net, x):
    torch.func.vmap(net)(x)


def traced(net, x):
    torch.jit.trace(net, x, check_trace=False)


def exported(net, x):
    torch.export.export(net, (x,))


def differentiated(net, x):
    torch.func.grad(lambda x: net(x).sum())(x)


@pytest.mark.parametrize("what", [vmapped, traced, exported, differentiated])
@pytest.mark.parametrize("thorough", [True, False])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_transform_of_a_known_network_is_not_counted_and_does_not_end_the_watching(what, thorough, capsys):
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with relume.watch(net, every=1) if thorough else watching(net) as watch:
        for n in range(8):
            if n == 5:
                what(net, torch.randn(16, 8))
            step(net, optimizer)
    assert capsys.readouterr().err == ""
    assert [site["samples"] for site in watch.to_dict()["sites"]] == [8 * 16] * 2


def test_the_users_hooks_work_as_before():
    def trained(watched):
        net = mlp()
        seen = []
        net[1].register_forward_pre_hook(lambda m, args: (args[0] + 0.5,))
        net[1].register_forward_hook(lambda m, args, out: seen.append(out.sum().item()) or out * 2)
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
        torch.manual_seed(1)
        watch = watching(net)
        if watched:
            watch.start()
        for _ in range(8):
            step(net, optimizer)
        watch.stop()
        return seen, [p.tolist() for p in net.parameters()]

    assert trained(True) == trained(False)


def test_consecutive_looks_count_the_same_as_single_ones():
    """Told of together: five looks, three steps passed over, and so on, against counts by hand."""
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    fired, seen = torch.zeros(12), []
    with watching(net) as watch:
        plan = iter([Plan(Look.WIDE, 1)] * 3 + [Plan(Look.LEAN, 5), Plan(Look.OFF, 3)] * 10)
        planned(watch, lambda step: next(plan))
        for number in range(4 + 8 * 5):
            x = torch.randn(16, 8)
            if number < 4 or (number - 4) % 8 < 5:
                fired += (net[0](x) > 0).sum(0)
                seen.append(number)
            step(net, optimizer, x)
    record = watch._observer._sites[0].record
    assert watch.to_dict()["run"]["looked"] == len(seen) == record.total.looks
    assert record.total.fired.tolist() == fired.tolist()
    assert record.total.examples == 16 * len(seen)


def test_a_series_of_looks_that_the_end_cuts_off_is_counted():
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with watching(net) as watch:
        planned(watch, lambda step: Plan(Look.LEAN, 10) if step >= 4 else Plan(Look.WIDE, 1))
        for _ in range(4 + 6):
            step(net, optimizer)
    run = watch.to_dict()["run"]
    assert run["steps"] == run["looked"] == 10
    assert watch._observer._sites[0].record.total.looks == 10


def test_two_watches_of_one_network_count_the_same():
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with watching(net) as one, watching(net) as other:
        for _ in range(40):
            step(net, optimizer)
    first, second = (watch._observer._sites[0].record.total for watch in (one, other))
    assert first.looks == second.looks == 40
    assert first.fired.tolist() == second.fired.tolist()
