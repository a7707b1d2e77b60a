"""Children of a watched script: those that train have a recording of their own, the others notice nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from relume.artifacts.parts import read_run
from relume.artifacts.reader import read
from relume.artifacts.writer import RecordingWriter
from relume.doctor.combine import combine

pytest.importorskip("torch")

RELUME = [Path(sys.executable).with_name("relume"), "run", "--every", "1"]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}

CHILDREN = """
import os, sys, multiprocessing, time
import torch
from torch import nn

def train(seed, steps=20, batch=16):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    sgd = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(steps):
        sgd.zero_grad()
        net(torch.randn(batch, 4)).pow(2).mean().backward()
        sgd.step()
    return sum(float(p.sum()) for p in net.parameters())

def say(seed, *options):
    print("trained", seed, train(seed, *options), flush=True)

def help():
    torch.zeros(3).relu()
    print("no training", flush=True)

def in_turn(how, *works):
    context = multiprocessing.get_context(how)
    children = [context.Process(target=work, args=args) for work, *args in works]
    for child in children:
        child.start()
        child.join()
    print([child.exitcode for child in children])
"""


def both(folder, text):
    """Run the script by python and by relume: the same output; returns what relume said and the parts of the run."""
    (folder / "x.py").write_text(CHILDREN + textwrap.dedent(text))
    python, relume = (
        subprocess.run([*way, "x.py"], cwd=folder, env=ENV, capture_output=True, text=True, timeout=120)
        for way in ([sys.executable], RELUME)
    )
    assert relume.stdout == python.stdout
    assert relume.returncode == python.returncode
    assert relume.stderr.startswith(python.stderr)
    return relume.stderr[len(python.stderr) :], files(folder)


def files(folder):
    return sorted(path.name for path in folder.glob("*.relume*"))


def counted(folder):
    """Child → examples at each of its sites, over the whole run."""
    parts, unseen = read_run(folder / "run.relume")
    assert unseen == []
    return {part.child: [record.total.examples for record in part.recording.sites] for part in parts}


@pytest.mark.parametrize(
    "how", ["fork", *(pytest.param(how, marks=pytest.mark.slow) for how in ("spawn", "forkserver"))]
)
def test_children_that_train_are_counted_to_the_last_example(tmp_path, how):
    said, found = both(
        tmp_path,
        f"""
        if __name__ == "__main__":
            say(0)
            in_turn({how!r}, (say, 1), (help,), (say, 2, 10, 8))
            say(0)
        """,
    )
    assert found == ["run.child1.relume", "run.child3.relume", "run.relume"]
    assert counted(tmp_path) == {"": [320, 320], "child1": [320], "child3": [80]}
    assert "child3" in said
    assert said.count("relume →") == 1
    assert all(read(tmp_path / name).meta["finished"] for name in found)


@pytest.mark.slow
def test_summary_reports_a_unit_that_died_in_a_child(tmp_path):
    said, _ = both(
        tmp_path,
        """
        def kill():
            net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
            nn.init.constant_(net[0].bias[3:4], -100.0)
            sgd = torch.optim.SGD(net.parameters(), lr=0.01)
            for _ in range(30):
                net(torch.randn(16, 4)).pow(2).mean().backward()
                sgd.step()

        if __name__ == "__main__":
            in_turn("fork", (kill,))
        """,
    )
    assert "1 of 6 units is dead" in said
    parts, unseen = read_run(tmp_path / "run.relume")
    (record,) = combine(parts, unseen).sites
    assert record.site.key.startswith("child1/")
    assert list(record.judged().fired == 0) == [False, False, False, True, False, False]


@pytest.mark.parametrize("how", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_child_sees_the_same_as_under_python(tmp_path, how):
    _, found = both(
        tmp_path,
        f"""
        def look():
            print(sorted(os.environ.items()))
            print(sys.argv, sys.path, sys.flags, __name__, __file__, sorted(vars(sys.modules["__main__"])))
            print(multiprocessing.current_process().name, multiprocessing.parent_process().name, os.listdir())
            print(sys.stdin.isatty(), torch.overrides._get_current_function_mode_stack())
            print(torch.initial_seed() if __name__ == "__main__" else "drawn anew by each interpreter")
            raise SystemExit(5)

        if __name__ == "__main__":
            if os.path.exists("run.relume"):
                os.rename("run.relume", "../run.relume")  # the listing is to be the same, too
                os.rename("run.relume-wal", "../run.relume-wal")
                os.rename("run.relume-shm", "../run.relume-shm")
            torch.manual_seed(3)
            os.environ["MINE"] = "1"
            in_turn({how!r}, (look,))
        """,
    )
    assert found == []


def test_forked_child_continues_with_the_parents_network_and_optimizer(tmp_path):
    both(
        tmp_path,
        """
        net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
        sgd = torch.optim.SGD(net.parameters(), lr=0.01)
        torch.manual_seed(0)

        def go(steps):
            for _ in range(steps):
                net(torch.ones(16, 4)).pow(2).mean().backward()
                sgd.step()

        go(10)
        if os.fork() == 0:
            go(20)
            sys.exit(3)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
        go(10)
        """,
    )
    parts, _ = read_run(tmp_path / "run.relume")
    assert [(part.child, part.recording.clocks[0].steps) for part in parts] == [("", 20), ("child1", 20)]
    assert counted(tmp_path) == {"": [320], "child1": [304]}  # its first forward came before the sign of training


def test_children_of_children_are_named_by_the_way_to_them(tmp_path):
    _, found = both(
        tmp_path,
        """
        def middle():
            in_turn("spawn", (say, 1))
            in_turn("fork", (help,), (say, 2))

        if __name__ == "__main__":
            in_turn("fork", (help,), (middle,))
        """,
    )
    assert found == ["run.child2.child1.relume", "run.child2.child3.relume", "run.relume"]
    assert counted(tmp_path) == {"": [], "child2.child1": [320], "child2.child3": [320]}


def test_child_that_ends_hard_or_fails_or_is_killed_keeps_its_counts(tmp_path):
    said, found = both(
        tmp_path,
        """
        def leave():
            train(1)
            os._exit(9)

        def fail():
            sys.stderr = open(os.devnull, "w")
            train(2)
            raise ValueError("in the child")

        def die():
            train(3, 3)
            os.kill(os.getpid(), 9)

        if __name__ == "__main__":
            in_turn("fork", (leave,), (fail,), (die,))
        """,
    )
    assert found[0] == "run.child1.relume"
    seen = counted(tmp_path)
    assert [seen["child1"], seen["child2"]] == [[320], [320]]
    assert seen["child3"][0] >= 16
    assert read(tmp_path / "run.child1.relume").meta["exit"] == 9
    assert "run.child3.relume: it is still running, or was cut off" in said


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver"])
def test_pools_of_processes_are_watched(tmp_path, how):
    both(
        tmp_path,
        f"""
        from concurrent.futures import ProcessPoolExecutor
        if __name__ == "__main__":
            with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context({how!r})) as pool:
                print(list(pool.map(train, range(4))))
        """,
    )
    assert sum(sum(examples) for examples in counted(tmp_path).values()) == 4 * 320


@pytest.mark.slow
def test_children_that_form_a_process_group_are_ranks_of_the_first(tmp_path):
    _, found = both(
        tmp_path,
        """
        import socket
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel

        def rank(number, port):
            dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=number, world_size=2)
            net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
            with torch.no_grad():
                net[0].weight[2:4, 0] = 50.0
                net[0].bias[4] = -100.0
            net = DistributedDataParallel(net)
            sgd = torch.optim.SGD(net.parameters(), lr=0.0001)
            x = torch.randn(16, 4)
            x[:, 0] = 1.0 if number else -1.0
            for _ in range(30):
                sgd.zero_grad()
                net(x).pow(2).mean().backward()
                sgd.step()
            dist.barrier()
            os._exit(0)  # gloo, taken down while its threads are at work, aborts now and then

        if __name__ == "__main__":
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            torch.multiprocessing.spawn(rank, (port,), nprocs=2)
        """,
    )
    assert found == ["run.child1.rank1.relume", "run.child1.relume", "run.relume"]
    (record,) = combine(*read_run(tmp_path / "run.relume")).sites
    assert record.total.examples == 2 * 30 * 16
    assert [n for n in range(6) if not record.judged().fired[n]] == [4]


def test_helper_children_cost_next_to_nothing(tmp_path):
    """No probe, no NumPy, no SQLite, and no mode or hook in PyTorch but three that a training step would call."""
    (tmp_path / "x.py").write_text(
        textwrap.dedent(
            """
            import multiprocessing, sys

            def light():
                heavy = ("numpy", "sqlite3", "click", "rich", "relume.observe.observer", "torch")
                print([name for name in heavy if name in sys.modules], flush=True)

            def with_torch():
                import torch
                print("relume.torch.watching.probe" in sys.modules, torch.overrides._get_current_function_mode_stack())

            if __name__ == "__main__":
                for work in (light, with_torch):
                    child = multiprocessing.get_context("spawn").Process(target=work)
                    child.start()
                    child.join()
            """
        )
    )
    done = subprocess.run([*RELUME, "x.py"], cwd=tmp_path, env=ENV, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\nFalse []\n"
    assert files(tmp_path) == ["run.relume"]


def test_child_continues_if_it_cannot_be_watched(tmp_path):
    """Its file cannot be written: said once, and its training and its status are its own."""
    (tmp_path / "run.child1.relume").mkdir()
    (tmp_path / "x.py").write_text(CHILDREN + "if __name__ == '__main__':\n    in_turn('fork', (say, 1))\n")
    done = subprocess.run([*RELUME, "x.py"], cwd=tmp_path, env=ENV, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.endswith("\n[0]\n")
    assert done.stderr.count("[recording-in-the-way]") == 1
    assert "Traceback" not in done.stderr


def test_a_child_without_relume_still_runs(tmp_path):
    """The process object is read whatever is missing there."""
    import pickle

    from relume.runner.children import Children, Passenger

    passenger = Passenger(Children(lambda number: None, lambda number: {"first": str(tmp_path)}))
    pickled = pickle.dumps(passenger)
    code = "import pickle, sys\nsys.modules['relume'] = None\nprint(pickle.load(sys.stdin.buffer))"
    done = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True)
    assert (done.stdout, done.stderr) == (b"None\n", b"")


# ---- the recording across a fork ----


FORKS = """
import os, sys, threading
from pathlib import Path
from relume.artifacts.reader import read
from relume.artifacts.writer import RecordingWriter

folder = Path(sys.argv[1])

def in_a_child(work):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.wait()[1])
"""


def forking(folder, text):
    """Run what forks in a process of its own: in this one other tests may have started threads."""
    command = [sys.executable, "-W", "ignore", "-c", FORKS + textwrap.dedent(text), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_parents_connection_survives_the_end_of_a_child(tmp_path):
    """A connection that a child closed would be closed in the middle of the parent's."""
    forking(
        tmp_path,
        """
        path = folder / "t.relume"
        writer = RecordingWriter(path)
        writer.meta(step=1)

        def leave():
            global writer
            writer.abandon()
            del writer

        assert in_a_child(leave) == 0
        writer.meta(step=2)
        writer.close()
        assert read(path).meta["step"] == 2
        """,
    )


def test_fork_does_not_fall_into_the_middle_of_a_write(tmp_path):
    """A child in whose memory SQLite's locks are held by a thread that is not there would wait for ever."""
    forking(
        tmp_path,
        """
        writer = RecordingWriter(folder / "t.relume")
        inside, go_on = threading.Event(), threading.Event()

        def write():
            with writer.transaction():
                inside.set()
                go_on.wait(5)

        thread = threading.Thread(target=write)
        thread.start()
        inside.wait(5)
        threading.Timer(0.2, go_on.set).start()
        assert in_a_child(lambda: RecordingWriter(folder / "child.relume").close()) == 0
        assert go_on.is_set()
        thread.join()
        writer.close()
        """,
    )


def test_recording_in_memory_moves_into_its_file(tmp_path):
    path = tmp_path / "later.relume"
    writer = RecordingWriter(None, later=lambda: path)
    writer.meta(step=1)
    assert writer.waits
    assert not path.exists()
    writer.move()
    writer.move()
    writer.meta(more=2)
    assert not writer.waits
    assert read(path).meta == {"step": 1, "more": 2}
    writer.close()
    assert files(tmp_path) == ["later.relume"]
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    db.close()
