"""What a probe sees, what it says it did not see, and that it leaves nothing behind."""

from __future__ import annotations

import copy
import gc
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relume
from relume.errors import WatchError
from relume.torch.watching.schedule import taps


def steps(net, optimizer, count=30, batch=16, width=8):
    for _ in range(count):
        loss = net(torch.randn(batch, width)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def mlp(*dead, width=8, hidden=12):
    net = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 4))
    with torch.no_grad():
        for unit in dead:
            net[0].bias[unit] = -50
    return net


def watched(net, **options):
    options.setdefault("budget", 1.0)
    with relume.watch(net, **options) as watch:
        steps(net, torch.optim.SGD(net.parameters(), lr=1e-3))
    return watch.to_dict()


def test_seven_of_128_units_are_dead_and_born_dead():
    torch.manual_seed(0)
    net = mlp(*range(3, 10), hidden=128)
    (site,) = watched(net)["sites"]
    assert site["dead"] == site["born_dead"] == list(range(3, 10))
    assert site["module"] == "1"
    assert site["call"] == "nn.ReLU"
    assert site["layer"] == "0"
    assert site["units"] == 128
    assert site["died_at"] == {str(unit): 0 for unit in range(3, 10)}
    assert site["last_fired"][3] == -1


def test_a_unit_that_dies_on_the_way_is_dead_since_then_and_not_born_dead():
    torch.manual_seed(0)
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with relume.watch(net, every=1, window=10) as watch:
        steps(net, optimizer, 40)
        with torch.no_grad():
            net[0].bias[5] = -50
        steps(net, optimizer, 40)
    (site,) = watch.to_dict()["sites"]
    assert site["dead"] == [5]
    assert site["born_dead"] == []
    assert site["died_at"] == {"5": 40}
    assert site["last_fired"][5] == 39
    assert site["events"] == [[5, 40, "died"]]


def test_a_unit_that_revives_is_reported():
    torch.manual_seed(0)
    net = mlp(2)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with relume.watch(net, every=1, window=10) as watch:
        steps(net, optimizer, 20)
        with torch.no_grad():
            net[0].bias[2] = 0
        steps(net, optimizer, 20)
    (site,) = watch.to_dict()["sites"]
    assert site["dead"] == []
    assert site["events"] == [[2, 0, "died"], [2, 20, "revived"]]
    assert site["revived_at"] == {"2": 20}


def test_a_unit_that_fires_on_one_percent_is_rare_and_never_dead():
    net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU())
    with torch.no_grad():
        net[0].weight[:] = torch.tensor([[1.0], [0.5]])
    rng = np.random.default_rng(0)
    x = torch.from_numpy(np.where(rng.random((4000, 1)) < 0.006, 1.0, -1.0)).float()
    for seed in range(5):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))
        with relume.watch(net, phase="all", budget=1.0) as watch, torch.no_grad():
            for batch in x[order].split(50):
                net(batch)
        (site,) = watch.to_dict()["sites"]
        assert site["dead"] == []
        assert site["rare"] == [0, 1]


def test_relu6_stuck_at_its_bound_and_leaky_units_that_cannot_die():
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
            with torch.no_grad():
                self.a.bias[1], self.b.bias[2], self.b.bias[3], self.c.bias[4] = 100, -100, 100, -100

        def forward(self, x):
            return F.relu6(self.a(x)) + F.leaky_relu(self.b(x), 0.1) + F.leaky_relu(self.c(x), 0.0)

    six, leaky, zero = watched(Net())["sites"]
    assert six["stuck_high"] == [1]
    assert six["always_on"] == []
    assert leaky["dead"] == []
    assert leaky["one_sided"] == [2, 3]
    assert zero["dead"] == [4]  # a leaky unit with slope 0 is a ReLU


def test_prelu_units_are_judged_by_their_learned_slope():
    net = nn.Sequential(nn.Linear(8, 8), nn.PReLU(8))
    with torch.no_grad():
        net[0].bias[:3] = -100
        net[1].weight[1] = 0
    net[1].weight.requires_grad_(False)
    (site,) = watched(net)["sites"]
    assert site["dead"] == [1]
    assert site["one_sided"] == [0, 2]


def test_saturated_units_of_sigmoid_tanh_and_elu():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)
            with torch.no_grad():
                self.fc.bias[2] = -60
                self.fc.bias[5] = 60

        def forward(self, x):
            x = self.fc(x)
            return torch.sigmoid(x) + torch.tanh(x) + F.elu(x)

    sigmoid, tanh, elu = watched(Net())["sites"]
    assert sigmoid["saturated"] == tanh["saturated"] == [2, 5]
    assert elu["saturated"] == [2]
    assert sigmoid["dead"] == tanh["dead"] == elu["dead"] == []


def test_a_nan_is_its_own_finding():
    net = mlp()
    with torch.no_grad():
        net[0].bias[4] = float("nan")
    report = watched(net)
    (site,) = report["sites"]
    assert 4 in site["non_finite"]
    assert 4 not in site["dead"]
    assert report["findings"][0]["slug"] == "non_finite"
    assert report["findings"][0]["severity"] == "error"


def test_a_clamped_loss_and_a_clamped_weight_are_not_activations():
    torch.manual_seed(0)
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with relume.watch(net, budget=1.0) as watch:
        for _ in range(10):
            score = net(torch.randn(16, 8))
            loss = F.relu(1 - score).mean() + torch.clamp(1 + score, min=0).mean()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                net[2].weight.clamp_(min=0)
    assert [site["call"] for site in watch.to_dict()["sites"]] == ["nn.ReLU"]


def test_positive_weights_are_not_an_activation_and_are_listed():
    class Monotone(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.w = nn.Linear(8, 8), nn.Parameter(torch.randn(4, 8))

        def forward(self, x):
            return F.relu(self.fc(x)) @ F.relu(self.w).t()

    report = watched(Monotone())
    assert [site["layer"] for site in report["sites"]] == ["fc"]
    assert [row["what"] for row in report["not_observed"]] == ["F.relu"]
    assert "parameter" in report["not_observed"][0]["why"]


def test_integer_and_complex_tensors_are_listed_and_nothing_breaks():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            counts = torch.relu((x * 3).long())
            waves = torch.fft.fft(self.fc(x))
            return torch.relu(self.fc(x)) + counts.sum() + torch.tanh(waves).abs()

    report = watched(Net())
    assert [site["activation"] for site in report["sites"]] == ["relu"]
    assert {row["what"] for row in report["not_observed"]} == {"torch.relu", "torch.tanh"}


def test_two_models_of_one_class_are_two_sites_each():
    torch.manual_seed(0)
    online = mlp(1)
    target = copy.deepcopy(online)

    class Agent(nn.Module):
        def __init__(self):
            super().__init__()
            self.online, self.target = online, target

        def forward(self, x):
            with torch.no_grad():
                goal = self.target(x)
            return self.online(x) - goal

    report = watched(Agent())
    assert sorted(site["module"] for site in report["sites"]) == ["online.1", "target.1"]
    assert [site["dead"] for site in report["sites"]] == [[1], [1]]


def test_gan_sites_count_by_their_own_optimizers():
    torch.manual_seed(0)
    generator, discriminator = mlp(3), mlp(6, width=4)
    both = nn.ModuleDict({"g": generator, "d": discriminator})
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-4)
    d_optimizer = torch.optim.SGD(discriminator.parameters(), lr=1e-4)
    with relume.watch(both, budget=1.0) as watch:
        for _ in range(20):
            for _ in range(3):
                fake = generator(torch.randn(16, 8)).detach()
                d_optimizer.zero_grad()
                (discriminator(fake).mean() - discriminator(torch.randn(16, 4)).mean()).backward()
                d_optimizer.step()
            g_optimizer.zero_grad()
            discriminator(generator(torch.randn(16, 8))).mean().backward()
            g_optimizer.step()
    report = watch.to_dict()
    clocks = {clock["name"]: clock["steps"] for clock in report["run"]["clocks"]}
    assert clocks == {"Adam": 20, "SGD": 60}
    by_module = {site["module"]: site for site in report["sites"]}
    assert by_module["g.1"]["dead"] == [3]
    assert by_module["g.1"]["steps"] == 20
    assert by_module["d.1"]["dead"] == [6]
    assert by_module["d.1"]["steps"] == 60


def test_gradient_accumulation_counts_all_forwards_of_a_step():
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with relume.watch(net, every=1, window=100) as watch:
        for _ in range(10):
            for _ in range(4):
                net(torch.randn(5, 8)).mean().backward()
            optimizer.step()
    report = watch.to_dict()
    assert report["run"]["steps"] == report["run"]["looked"] == 10
    assert report["sites"][0]["examples"] == 200


def test_lbfgs_runs_its_forwards_inside_the_step():
    torch.manual_seed(0)
    net = mlp(0)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3)
    x = torch.randn(16, 8)

    def closure():
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        return loss

    with relume.watch(net, budget=1.0) as watch:
        for _ in range(5):
            optimizer.step(closure)
    (site,) = watch.to_dict()["sites"]
    assert 0 in site["dead"]
    assert site["examples"] >= 5 * 16


def test_without_an_optimizer_backward_passes_are_the_steps():
    torch.manual_seed(0)
    net = mlp(2)
    with relume.watch(net, budget=1.0) as watch:
        for _ in range(12):
            net(torch.randn(16, 8)).square().mean().backward()
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter -= 1e-3 * parameter.grad
                    parameter.grad = None
    report = watch.to_dict()
    assert report["sites"][0]["dead"] == [2]
    assert report["sites"][0]["steps"] == 12


def test_a_trained_model_and_a_loader_need_no_optimizer():
    torch.manual_seed(0)
    net = mlp(2).eval()
    with relume.watch(net, phase="all", budget=1.0) as watch, torch.inference_mode():
        for _ in range(25):
            net(torch.randn(16, 8))
    report = watch.to_dict()
    assert report["sites"][0]["dead"] == [2]
    assert report["run"]["steps"] == 25
    assert report["sites"][0]["examples"] == 400


def test_evaluation_passes_do_not_count_by_default():
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with relume.watch(net, every=1, window=100) as watch:
        for _ in range(6):
            steps(net, optimizer, 1, batch=4)
            net.eval()
            net(torch.randn(100, 8))
            net.train()
    assert watch.to_dict()["sites"][0]["examples"] == 24


def test_training_mode_under_no_grad_counts():
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with relume.watch(net, every=1, window=100) as watch:
        for _ in range(6):
            with torch.no_grad():
                net(torch.randn(10, 8))  # a rollout
            steps(net, optimizer, 1, batch=4)
    assert watch.to_dict()["sites"][0]["examples"] == 6 * 14


def test_the_encoder_uses_its_fast_path_as_without_watching():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(3, 5, 16)
    with torch.no_grad():
        bare = encoder(x)
        with relume.watch(encoder, phase="all", budget=1.0) as watch:
            for _ in range(3):
                assert torch.equal(encoder(x), bare)
    assert "fast path" in watch.to_dict()["not_observed"][0]["what"]


def test_a_users_own_mode_and_default_device_stay_in_order():
    from torch.overrides import TorchFunctionMode

    class Mine(TorchFunctionMode):
        calls = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            Mine.calls += 1
            return func(*args, **(kwargs or {}))

    torch.manual_seed(0)
    net = mlp(1)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    watch = relume.watch(net, budget=1.0)
    with torch.device("cpu"):
        with Mine():
            watch.start()
            steps(net, optimizer, 3)
        with torch.device("meta"):
            assert torch.empty(1).device.type == "meta"
        steps(net, optimizer, 3)
        watch.stop()
    assert Mine.calls > 0
    assert torch._C._len_torch_function_stack() == 0
    assert watch.to_dict()["sites"][0]["dead"] == [1]


def test_stop_leaves_nothing_behind_and_start_resumes():
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    before = (
        torch.autograd.backward,
        torch.overrides.has_torch_function,
        torch.optim.Optimizer.__init__,
        torch.compile,
    )
    watch = relume.watch(net, every=1)
    for _ in range(2):
        watch.start()
        steps(net, optimizer, 5)
        watch.stop()
        assert torch._C._len_torch_function_stack() == 0
        assert taps._subscribers == ()
        assert not torch.nn.modules.module._global_forward_pre_hooks
        assert not torch.nn.modules.module._global_forward_hooks
        assert not torch.optim.Optimizer.step.__globals__["_global_optimizer_post_hooks"]
        after = (
            torch.autograd.backward,
            torch.overrides.has_torch_function,
            torch.optim.Optimizer.__init__,
            torch.compile,
        )
        assert after == before
        steps(net, optimizer, 5)
    report = watch.to_dict()
    assert report["run"]["steps"] == 10
    assert report["sites"][0]["total_examples"] == 160


def test_no_object_of_the_user_is_kept_alive():
    import weakref

    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    watch = relume.watch(net, budget=1.0)
    with watch:
        steps(net, optimizer, 3)
    weight = weakref.ref(net[0].weight)
    watch._model = None
    del net, optimizer, watch
    gc.collect()
    assert weight() is None


def test_an_error_in_the_counting_is_reported_once_and_the_training_continues(capsys):
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    watch = relume.watch(net, budget=1.0)
    with watch:
        steps(net, optimizer, 2)
        for site in watch._observer._probes[0].sites:
            site.accumulator._visits = None  # planted
        steps(net, optimizer, 20)
    assert capsys.readouterr().err.count("own-fault") == 1
    assert torch._C._len_torch_function_stack() == 0
    assert watch.to_dict()["run"]["fault"].startswith("a bug in relume, please report it: AttributeError")


@pytest.mark.parametrize("part", ["_observer", "_sites", "is_here"])
def test_an_error_anywhere_around_a_look_never_reaches_the_training(part, capsys):
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    watch = relume.watch(net, budget=1.0)
    with watch:
        steps(net, optimizer, 3)
        looking = watch._observer._probes[0]._looking
        looking._observer.leave()
        setattr(looking, part, None)  # planted
        steps(net, optimizer, 20)
    assert capsys.readouterr().err.count("own-fault") == 1
    assert "NoneType" in watch.to_dict()["run"]["fault"]
    assert taps._subscribers == ()


def test_a_users_exception_passes_through_and_the_watching_continues():
    class Once(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.calls = nn.Linear(8, 8), 0

        def forward(self, x):
            self.calls += 1
            if self.calls == 3:
                raise KeyError("mine")
            return F.relu(self.fc(x))

    net = Once()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with relume.watch(net, every=1) as watch:
        with pytest.raises(KeyError, match="mine"):
            steps(net, optimizer, 5)
        steps(net, optimizer, 5)
    assert watch.to_dict()["run"]["steps"] == 7


def test_vmap_and_dispatch_modes_are_not_touched_and_are_listed():
    from torch.utils.flop_counter import FlopCounterMode

    net = mlp()
    with relume.watch(net, phase="all", budget=1.0) as watch:
        torch.func.vmap(lambda row: net(row))(torch.randn(4, 8))
    assert "torch.func" in watch.to_dict()["not_observed"][0]["why"]

    with FlopCounterMode(display=False) as bare:
        net(torch.randn(4, 8))
    with relume.watch(net, phase="all", budget=1.0) as watch:
        net(torch.randn(4, 8))
        with FlopCounterMode(display=False) as counted:
            net(torch.randn(4, 8))
    assert counted.get_total_flops() == bare.get_total_flops()


FORKING = """
import json, torch, relume
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 4))
with torch.no_grad():
    net[0].bias[1] = -50
optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
data = torch.utils.data.TensorDataset(torch.randn(64, 8))
with relume.watch(net, budget=1.0) as watch:
    for _ in range(2):
        loader = torch.utils.data.DataLoader(data, batch_size=16, num_workers=1, multiprocessing_context="fork")
        for (x,) in loader:
            net(x).mean().backward()
            optimizer.step()
print(json.dumps(watch.to_dict()))
"""


def test_forked_data_loader_workers_do_not_watch():
    # in a process of its own: this one may have loaded JAX, which warns of every fork
    done = subprocess.run([sys.executable, "-W", "error", "-c", FORKING], capture_output=True, check=True, timeout=120)
    report = json.loads(done.stdout)
    assert done.stderr == b""
    assert report["run"]["steps"] == 8
    assert report["sites"][0]["dead"] == [1]


def test_watch_refuses_bad_models_and_bad_options():
    with pytest.raises(WatchError, match=r"given a function; .*not-a-module"):
        relume.watch(lambda x: x).start()
    with pytest.raises(WatchError, match="budget is 0"):
        relume.watch(mlp(), budget=0)
    with pytest.raises(WatchError, match="every is 0"):
        relume.watch(mlp(), every=0)
    with pytest.raises(WatchError, match="phase is 'test'"):
        relume.watch(mlp(), phase="test")


def test_every_gives_the_same_counts_on_every_run():
    reports = []
    for _ in range(2):
        torch.manual_seed(0)
        net = mlp()
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
        with relume.watch(net, every=3) as watch:
            steps(net, optimizer, 50)
        reports.append(watch.to_dict())
    assert reports[0]["sites"] == reports[1]["sites"]
    assert reports[0]["run"]["looked"] == 17


def test_a_rollout_in_one_step_ends_the_look_and_not_the_counting():
    torch.manual_seed(0)
    net = mlp(1, hidden=64)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with relume.watch(net, budget=0.5, window=1000) as watch:  # the first three steps are looked at in any case
        for _ in range(3):
            with torch.no_grad():
                for _ in range(2000):
                    net(torch.randn(1, 8))
            steps(net, optimizer, 1)
    (site,) = watch.to_dict()["sites"]
    assert 1 in site["dead"]
    assert site["examples"] < 6000


def test_a_rollout_in_one_step_is_seen_to_its_end_with_every():
    torch.manual_seed(0)
    net = mlp(1, hidden=64)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    with relume.watch(net, every=2, window=1000) as watch:
        for _ in range(2):
            with torch.no_grad():
                for _ in range(2000):
                    net(torch.randn(1, 8))
            steps(net, optimizer, 1)
    (site,) = watch.to_dict()["sites"]
    assert site["samples"] > 2000


def scripted_part():
    return torch.jit.script(nn.Sequential(nn.Linear(6, 6), nn.Sequential(nn.ReLU())))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit's own
@pytest.mark.parametrize("whole", [False, True])
def test_scripted_and_traced_modules_are_listed_once_each(whole):
    traced = torch.jit.trace(nn.Sequential(nn.Linear(6, 2), nn.ReLU()), torch.zeros(3, 6))
    parts = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), scripted_part(), traced)
    net = torch.jit.script(nn.Sequential(nn.Linear(4, 6), nn.ReLU())) if whole else parts
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with relume.watch(net, every=1) as watch:
        for _ in range(5):
            optimizer.zero_grad()
            net(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
    report = watch.to_dict()
    listed = [row["where"] for row in report["not_observed"] if row["what"] == "torch.jit"]
    assert listed == (["RecursiveScriptModule"] if whole else ["Sequential.2", "Sequential.3"])
    assert len(report["sites"]) == (0 if whole else 1)
