"""A forked trial is like `python train.py`: what the script sees of its process is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import trials

from relume.errors import StudyError
from relume.lab import capture

FACTS = """
import atexit, gc, json, os, random, resource, signal, sys, threading, warnings
import numpy.random
import __main__
facts = {
    "argv": sys.argv, "orig_argv": sys.orig_argv[1:], "path": sys.path, "flags": str(sys.flags),
    "warnoptions": sys.warnoptions, "filters": [str(f) for f in warnings.filters],
    "signals": {n: str(signal.getsignal(n)) for n in sorted(signal.valid_signals())},
    "blocked": [str(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
    "wakeup": signal.set_wakeup_fd(-1),
    "main": sorted(n for n in vars(__main__) if n != "facts"), "is_main": __main__ is sys.modules["__main__"],
    "name": __name__, "file": __file__, "spec": str(__spec__), "package": __package__,
    "stdin": sys.stdin.read(), "stdout": [sys.stdout.encoding, sys.stdout.errors, sys.stdout.line_buffering],
    "stderr": [sys.stderr.encoding, sys.stderr.errors, sys.stderr.line_buffering],
    "threads": threading.active_count(), "main_thread": threading.current_thread() is threading.main_thread(),
    "gc": [gc.isenabled(), gc.get_threshold()], "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
    "switch": sys.getswitchinterval(), "recursion": sys.getrecursionlimit(), "umask": os.umask(0o22),
    "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")),
    "priority": os.getpriority(os.PRIO_PROCESS, 0),
    "environment": {k: v for k, v in os.environ.items() if k != "_"},
    "trace": [str(sys.gettrace()), str(sys.getprofile()), str(sys.excepthook), str(sys.displayhook)],
    "leader": os.getpgrp() == os.getpid(),
}
print(json.dumps(facts))
"""


def as_python(folder, environment):
    done = subprocess.run(
        [sys.executable, "train.py", "--epochs", "2"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("preload", [(), ("numpy", "numpy.random", "json")], ids=["bare", "numpy"])
def test_a_script_sees_what_it_would_see_under_python(tmp_path, monkeypatch, preload):
    monkeypatch.setenv("PYTHONPATH", trials.HERE)
    folder = tmp_path / "project"
    folder.mkdir()
    order = trials.order(folder, FACTS, args=("--epochs", "2"))
    with trials.executor(tmp_path / "out", preload=preload) as executor:
        (outcome,) = executor.run([order])
        assert executor.why_not_forked == ""
    log = trials.said(tmp_path / "out")
    assert outcome.trial.status == "finished", log
    seen = json.loads(log)
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PWD": str(folder)}
    for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR"):
        environment[f"{name}_NUM_THREADS"] = "1"
    environment |= {"VECLIB_MAXIMUM_THREADS": "1", "RAYON_NUM_THREADS": "1", **capture.ENVIRONMENT}
    expected = as_python(folder, environment)
    assert seen == expected


def test_random_numbers_do_not_come_from_the_server(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", trials.HERE)
    text = "import random, numpy, torch\nprint(random.random(), numpy.random.rand(), torch.rand(1).item())\n"
    orders = [trials.order(tmp_path, text, seed) for seed in (0, 1)]
    with trials.executor(tmp_path / "out", preload=("numpy.random", "torch")) as executor:
        list(executor.run(orders))
    drawn = [trials.said(tmp_path / "out", seed).split() for seed in (0, 1)]
    assert all(one != other for one, other in zip(*drawn, strict=True)), drawn


def test_a_script_ends_as_under_the_interpreter(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", trials.HERE)
    text = """
        import atexit, threading, time, weakref
        class Thing: pass
        thing = Thing()
        weakref.finalize(thing, print, "finalized")
        atexit.register(print, "at exit")
        kept = open("kept.txt", "w")
        kept.write("buffered")
        threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
        print("end", end="")
    """
    with trials.executor(tmp_path / "out") as executor:
        (outcome,) = executor.run([trials.order(tmp_path, text)])
    ours = trials.said(tmp_path / "out")
    done = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ours == done.stdout
    assert outcome.found["written"] == ["kept.txt"]


def test_a_users_module_replaces_one_that_the_server_has_imported(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", trials.HERE)
    (tmp_path / "colorsys.py").write_text("whose = 'mine'\n")
    order = trials.order(tmp_path, "import colorsys\nprint(colorsys.whose)\n")
    with trials.executor(tmp_path / "out", preload=("colorsys",)) as executor:
        list(executor.run([order]))
    assert trials.said(tmp_path / "out") == "mine\n"


def test_the_server_runs_no_user_code(tmp_path, monkeypatch):
    folder = tmp_path / "home" / "project"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text("open('trace', 'a').write('x')\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([trials.HERE, str(folder)]))
    text = "import sys\nassert 'model' not in sys.modules\nimport model\nprint(open('trace').read())\n"
    order = trials.order(folder, text)
    with trials.executor(tmp_path / "out", preload=("json", "model")) as executor:
        (outcome,) = executor.run([order])
    assert outcome.trial.status == "finished", trials.said(tmp_path / "out")
    assert trials.said(tmp_path / "out") == "x\n", "it was imported once, by the trial"
    assert not (folder / "trace").exists()


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n", "other thread"),
        ("import sys\nsys.modules['tensorflow'] = sys\n", "tensorflow is loaded"),
        ("import os\nos._exit(3)\n", "it ended during its imports"),
    ],
)
def test_trials_import_for_themselves_if_forking_is_unsafe(tmp_path, monkeypatch, module, why):
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "threaded.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([trials.HERE, str(tmp_path / "extra")]))
    folder = tmp_path / "home" / "project"
    folder.mkdir(parents=True)
    order = trials.order(folder, "import sys\nprint('threaded' in sys.modules)\n")
    with trials.executor(tmp_path / "out", preload=("threaded",)) as executor:
        (outcome,) = executor.run([order])
        assert why in executor.why_not_forked
        assert len(list(executor.run([order]))) == 1
    assert outcome.trial.status == "finished"
    assert trials.said(tmp_path / "out") == "False\n"


@pytest.fixture
def marked(tmp_path, monkeypatch):
    """A project, and two installed modules that know which process has imported them."""
    (tmp_path / "extra").mkdir()
    for name in ("seaborn", "late"):
        (tmp_path / "extra" / f"{name}.py").write_text("import os\nby = os.getpid()\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([trials.HERE, str(tmp_path / "extra")]))
    folder = tmp_path / "home" / "project"
    folder.mkdir(parents=True)
    return folder


EARLY_AND_LATE = """
import seaborn as early
import os
def main():
    import late
    print(os.getppid(), early.by, late.by, os.getpid())
main()
"""


def told(top, seed):
    """(server, who imported early, who imported late, itself) of a trial."""
    return [int(word) for word in trials.said(top, seed).split()]


def test_the_server_imports_the_scripts_first_imports_and_then_those_of_its_first_run(tmp_path, marked):
    orders = [trials.order(marked, EARLY_AND_LATE, seed) for seed in (0, 1)]
    with trials.executor(tmp_path / "out") as executor:
        first, _ = executor.run(orders)
        assert {"seaborn", "late"} <= set(executor.preload)
    assert {"seaborn", "late"} <= set(first.found["installed"])
    server, early, late, itself = told(tmp_path / "out", 0)
    assert (early, late) == (itself, itself)
    assert told(tmp_path / "out", 1)[:3] == [server, server, server], "one server, and it has imported both"


def test_a_server_from_which_a_trial_still_runs_imports_nothing(tmp_path, marked):
    """It could not say that another trial has ended, nor end one whose time is over."""
    place = tmp_path / "now"
    place.mkdir()
    text = f"""
import os, sys, time
seed = int(sys.argv[1])
while seed == 1 and not os.path.exists({str(place / "2")!r}):
    time.sleep(0.01)
if seed == 2:
    os.mkdir({str(place / "2")!r})
print(os.getppid())
"""
    orders = [trials.order(marked, text, seed, args=("{seed}",), timeout=60) for seed in range(3)]
    with trials.executor(tmp_path / "out", jobs=2) as executor:
        outcomes = list(executor.run(orders))
    assert {outcome.trial.status for outcome in outcomes} == {"finished"}
    servers = [trials.said(tmp_path / "out", seed) for seed in range(3)]
    assert servers[0] == servers[1] != servers[2]


def test_another_server_imports_nothing_if_the_first_run_shows_that_forking_is_unsafe(tmp_path, marked):
    late = marked.parent.parent / "extra" / "late.py"
    late.write_text(late.read_text() + "import threading\nthreading.Thread(target=input, daemon=True).start()\n")
    late.write_text(late.read_text().replace("target=input", "target=threading.Event().wait"))
    orders = [trials.order(marked, EARLY_AND_LATE, seed) for seed in range(3)]
    with trials.executor(tmp_path / "out") as executor:
        outcomes = list(executor.run(orders))
        assert "other thread" in executor.why_not_forked
    assert {outcome.trial.status for outcome in outcomes} == {"finished"}
    first, *others = (told(tmp_path / "out", seed) for seed in range(3))
    assert all(server != first[0] and early == late == itself for server, early, late, itself in others)


def test_a_missing_server_is_reported(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import os\nos._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([trials.HERE, str(tmp_path)]))
    order = trials.order(tmp_path, "print(1)\n")
    with trials.executor(tmp_path / "out") as executor, pytest.raises(StudyError, match="it ended during its imports"):
        list(executor.run([order]))


def test_warming_does_not_change_pytorch():
    code = """
import torch
before = torch.random.get_rng_state()
from relume.torch.treatment.warm import warm
warm()
assert torch.equal(torch.random.get_rng_state(), before)
assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
import os
assert len(os.listdir("/proc/self/task")) == 1, "no thread may be running where one forks"
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)
