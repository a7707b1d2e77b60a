"""On a Ray cluster trials are what they are here, also when a node is lost on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import trials

SCRIPT = """
import json, os, random, sys, time
seed = int(sys.argv[1])
draw = random.Random(seed)
for step in range(10):
    print("loss", draw.random() / (1 + seed), flush=True)
    time.sleep(float(sys.argv[2]))
if seed == 3:
    raise ValueError("this one fails")
print("threads", os.environ["OMP_NUM_THREADS"])
open("written.txt", "w").write("x")
"""

RUN = """
import json, os, sys
import trials
from relume.lab.executors.ray import RayExecutor
top, address, count, pause, told = sys.argv[1:]
orders = [trials.order(top + "/home/project", seed=s, args=("{seed}", pause)) for s in range(int(count))]
executor = RayExecutor(trials.places(top + "/out"), address, body="bodies:plain")
with executor:
    for outcome in executor.run(orders):
        trial = outcome.trial
        row = [trial.key.seed, trial.status, dict(trial.metrics), trial.error, outcome.found.get("written")]
        print(json.dumps(row), flush=True)
"""

CLUSTER = """
import os, sys, time
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(nodes[-1], allow_graceful=False)
print("removed", flush=True)
sys.stdin.readline()
cluster.shutdown()
"""


@pytest.fixture
def top(tmp_path):
    project = tmp_path / "home" / "project"
    project.mkdir(parents=True)
    (project / "train.py").write_text(SCRIPT)
    return tmp_path


def environment():
    return {**os.environ, "PYTHONPATH": trials.HERE, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}


def start(code, *args):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=trials.HERE,
    )


def local(top, count, pause, monkeypatch):
    """The same trials on this machine, by seed."""
    monkeypatch.setenv("PYTHONPATH", trials.HERE)
    orders = [trials.order(top / "home" / "project", seed=s, args=("{seed}", pause)) for s in range(count)]
    with trials.executor(top / "here", jobs=2) as executor:
        return {o.order.key.seed: (o.trial, o.found.get("written")) for o in executor.run(orders)}


def compare(top, rows, expected):
    """Trial by trial the same, and each once."""
    assert sorted(row[0] for row in rows) == sorted(expected)
    for seed, status, metrics, error, written in rows:
        trial, wrote = expected[seed]
        assert (status, error, written) == (trial.status, trial.error, wrote)
        assert metrics == json.loads(json.dumps(dict(trial.metrics)))
        assert trials.said(top / "out", seed) == trials.said(top / "here", seed) or status == "failed"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_trials_on_ray_equal_local_trials(top, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # another cluster, which "local" is not
    with start(RUN, top, "local", 4, "0", "") as run:
        said, _ = run.communicate(timeout=120)
    rows = [json.loads(line) for line in said.splitlines()]
    compare(top, rows, local(top, 4, "0", monkeypatch))
    assert {row[0]: row[1] for row in rows} == {0: "finished", 1: "finished", 2: "finished", 3: "failed"}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_lost_node_changes_no_trial(top, monkeypatch):
    with start(CLUSTER) as cluster:
        address = cluster.stdout.readline().strip()
        with start(RUN, top, address, 12, "0.2", "") as run:
            first = [run.stdout.readline()]
            cluster.stdin.write("\n")
            cluster.stdin.flush()
            assert cluster.stdout.readline() == "removed\n"
            rest, _ = run.communicate(timeout=200)
        rows = [json.loads(line) for line in [*first, *rest.splitlines()]]
        cluster.communicate("\n", timeout=60)
    compare(top, rows, local(top, 12, "0.2", monkeypatch))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_trial_outlives_a_killed_driver(top):
    with start(CLUSTER) as cluster:
        address = cluster.stdout.readline().strip()
        with start(RUN, top, address, 3, "100", "") as run:
            trials.wait_until(lambda: running(), 120)
            run.send_signal(signal.SIGKILL)
        trials.wait_until(lambda: not running(), 60)
        cluster.communicate("\n\n", timeout=60)


def running():
    """Trials that run now, by their working folders on the nodes."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if "/relume-" in (where := os.readlink(entry)) and where.endswith("/work/home/project"):
                found.append(where)
        except OSError:
            continue
    return found


def test_a_node_that_does_not_see_the_folder_says_so(top, monkeypatch):
    """What a node does is done here, with a mark that no folder has."""
    from relume.lab.executors import ray as module

    monkeypatch.setenv("PYTHONPATH", trials.HERE)
    order = trials.order(top / "home" / "project", args=("3", "0"))
    told, _ = module.run_here(order.to_dict(), "bodies:plain", module._mark(order))
    assert told["trial"]["status"] == "failed"  # as the script does with this seed
    assert "does not see" not in told["trial"]["error"]
    told, _ = module.run_here(order.to_dict(), "bodies:plain", "another")
    assert told["trial"]["error"].startswith(f"this node does not see {top}/home/project: put it on")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_missing_cluster_is_an_error_that_says_so(top):
    code = """
        import sys
        import trials
        from relume.errors import StudyError
        from relume.lab.executors.ray import RayExecutor
        try:
            list(RayExecutor(trials.places(sys.argv[1]), "127.0.0.1:1").run([trials.order(sys.argv[1], "")]))
        except StudyError as error:
            print(error.slug)
    """
    with start(code, top) as run:
        assert run.communicate(timeout=250)[0] == "ray-unreachable\n"
