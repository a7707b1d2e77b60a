"""``torchrun -m relume run``: two ranks with gloo on one machine, watched and bare."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from relume.artifacts.parts import read_run
from relume.artifacts.reader import read
from relume.doctor.combine import combine
from relume.doctor.diagnosis import diagnose

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("this PyTorch is built without torch.distributed", allow_module_level=True)

ENV = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
RELUME = ["-m", "relume", "run", "--every", "1"]
STEPS, BATCH = 60, 16

SCRIPT = f"""
import json, os, sys, time
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
with torch.no_grad():
    net[0].weight[2, 0], net[0].bias[2] = 50.0, 0.0     # fires on rank 1 alone
    net[0].weight[5, 0], net[0].bias[5] = -50.0, 0.0    # on rank 0 alone
    net[0].bias[6] = -100.0                             # on neither
counts = torch.zeros(8, dtype=torch.int64)
if "--count" in sys.argv:
    net[0].register_forward_hook(lambda layer, args, output: (counts.add_((output > 0).sum(0)), None)[1])
ddp = DistributedDataParallel(net)
sgd = torch.optim.SGD(ddp.parameters(), lr=0.0001, momentum=0.9)
draw = torch.Generator().manual_seed(rank)
for step in range({STEPS}):
    x = torch.randn({BATCH}, 4, generator=draw)
    x[:, 0] = 1.0 if rank else -1.0
    sgd.zero_grad()
    ddp(x).pow(2).mean().backward()
    sgd.step()
    EXTRA
torch.save((net.state_dict(), sgd.state_dict(), torch.get_rng_state()), f"end{{rank}}.pt")
if "--count" in sys.argv:
    json.dump(counts.tolist(), open(f"count{{rank}}.json", "w"))
sys.stdout.write(f"rank {{rank}} {{float(net[0].weight.sum())}}\\n")  # in one piece: two processes write to one pipe
sys.stdout.flush()
dist.barrier()
time.sleep(0.3)  # gloo aborts now and then where its threads are at work while it is taken down
dist.destroy_process_group()
"""
ABORTED = "exitcode  : -6"
"""Of a process that gloo has aborted at its end: bare ones too, on a busy machine."""


def launch(folder, *command, extra="pass", launcher=TORCHRUN):
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(SCRIPT.replace("EXTRA", textwrap.indent(extra, " " * 4).strip()))
    for _ in range(3):
        done = subprocess.run([*launcher, *command], cwd=folder, env=ENV, capture_output=True, text=True, timeout=200)
        if ABORTED not in done.stderr:
            break
    return done


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The same training bare and watched: (folder, finished process) of each."""
    folder = tmp_path_factory.mktemp("torchrun")
    bare = launch(folder / "bare", "train.py", "--count")
    watched = launch(folder / "watched", *RELUME, "train.py")
    assert bare.returncode == 0, bare.stderr
    assert watched.returncode == 0, watched.stderr
    return (folder / "bare", bare), (folder / "watched", watched)


def findings(folder: Path):
    return diagnose(combine(*read_run(folder / "run.relume")))


def test_training_is_the_same_bit_by_bit(ran):
    (bare, bare_done), (watched, watched_done) = ran
    assert sorted(watched_done.stdout.splitlines()) == sorted(bare_done.stdout.splitlines())
    for rank in range(2):
        ends = [torch.load(folder / f"end{rank}.pt") for folder in (bare, watched)]
        weights, (momentum, other_momentum) = [end[0] for end in ends], [end[1]["state"] for end in ends]
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
        assert all(torch.equal(v["momentum_buffer"], other_momentum[k]["momentum_buffer"]) for k, v in momentum.items())
        assert torch.equal(ends[0][2], ends[1][2])


def test_each_rank_counts_the_same_as_brute_force(ran):
    (bare, _), (watched, _) = ran
    for rank, name in enumerate(("run.relume", "run.rank1.relume")):
        (record,) = read(watched / name).sites
        assert record.total.fired.tolist() == json.loads((bare / f"count{rank}.json").read_text())
        assert record.total.examples == STEPS * BATCH
    (whole,) = combine(*read_run(watched / "run.relume")).sites
    assert whole.total.examples == 2 * STEPS * BATCH


def test_unit_is_dead_only_if_it_is_silent_on_all_ranks(ran):
    _, (watched, _) = ran
    alone = [diagnose(read(watched / name)).sites[0].dead for name in ("run.relume", "run.rank1.relume")]
    assert [set(dead) & {2, 5, 6} for dead in alone] == [{2, 6}, {5, 6}]
    assert set(findings(watched).sites[0].dead) == set(alone[0]) & set(alone[1])
    assert 6 in findings(watched).sites[0].dead


def test_one_summary_covers_both_ranks(ran):
    _, (watched, done) = ran
    assert done.stderr.count("relume →") == 1
    assert "on each of 2 ranks" in done.stderr
    assert "cut off" not in done.stderr
    assert "relume" not in done.stdout
    assert sorted(path.name for path in watched.glob("*relume*")) == ["run.rank1.relume", "run.relume"]


@pytest.mark.slow
def test_rank_that_is_killed_leaves_files_that_can_be_read(tmp_path):
    extra = "time.sleep(0.03)\nif rank == 1 and step == 50:\n    os.kill(os.getpid(), 9)"
    done = launch(tmp_path / "x", *RELUME, "train.py", extra=extra)
    assert done.returncode != 0
    parts, unseen = read_run(tmp_path / "x/run.relume")
    assert unseen == []
    assert [part.rank for part in parts] == [0, 1]
    assert all(part.recording.sites[0].total.examples >= BATCH for part in parts)
    assert findings(tmp_path / "x").run["finished"] is False


@pytest.mark.slow
def test_recordings_after_an_elastic_restart_are_of_the_last_attempt(tmp_path):
    """Without a process group: gloo finds the first attempt's addresses in 9 of 12 restarts, under python too."""
    (tmp_path / "train.py").write_text(
        textwrap.dedent(
            f"""
            import os
            import torch
            from torch import nn

            net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
            sgd = torch.optim.SGD(net.parameters(), lr=0.01)
            for step in range({STEPS}):
                net(torch.randn({BATCH}, 4)).pow(2).mean().backward()
                sgd.step()
                if step == 20 and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
                    os._exit(1)
            """
        )
    )
    launcher = [*TORCHRUN, "--max-restarts", "1", "--monitor-interval", "0.1"]
    done = subprocess.run([*launcher, *RELUME, "train.py"], cwd=tmp_path, env=ENV, capture_output=True, timeout=200)
    assert done.returncode == 0, done.stderr
    parts, unseen = read_run(tmp_path / "run.relume")
    assert unseen == []
    assert [part.recording.clocks[0].steps for part in parts] == [STEPS, STEPS]


@pytest.mark.slow
def test_fewer_ranks_than_before_are_not_mixed_with_the_old_ones(tmp_path):
    assert launch(tmp_path / "x", *RELUME, "train.py").returncode == 0
    assert launch(tmp_path / "x", *RELUME, "train.py", launcher=[*TORCHRUN[:-1], "1"]).returncode == 0
    assert [part.name for part in read_run(tmp_path / "x/run.relume")[0]] == ["run.relume"]
    assert not (tmp_path / "x/run.rank1.relume").exists()
