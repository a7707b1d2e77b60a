"""What becomes of trials on this machine: every end that a script can have, and nothing left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import trials

from relume.errors import StudyError
from relume.lab.executors import local


@pytest.fixture(autouse=True)
def bodies(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", trials.HERE)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """One executor for all tests that need nothing of it but to run."""
    top = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", trials.HERE)
        with trials.executor(top, preload=("json",)) as executor:
            yield executor, top


@pytest.fixture
def folder(tmp_path):
    """The user's: a trial may not alter what lies in the folder above it."""
    made = tmp_path / "home" / "project"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def run(warm, folder):
    executor, top = warm

    def run(text, **options):
        (outcome,) = executor.run([trials.order(folder, text, **options)])
        assert trials.left(executor) == [], "something was left behind"
        return outcome.trial, trials.said(top)

    return run


# ---- how a trial ends ----------------------------------------------------------------------------------------------


def test_a_script_that_ends_well_is_finished_with_its_metrics(run):
    trial, said = run("print('loss', 0.5)\nprint('loss', 0.25)\n")
    assert (trial.status, trial.error, said) == ("finished", "", "loss 0.5\nloss 0.25\n")
    assert trial.metrics == {"loss": ((0.0, 0.5), (1.0, 0.25))}


def test_the_log_of_a_trial_has_all_its_output(run):
    text = """
        import os, subprocess, sys
        print("out", flush=True)
        print("err", file=sys.stderr)
        os.write(1, b"descriptor\\n")
        subprocess.run(["echo", "child"])
    """
    assert run(text)[1] == "out\ndescriptor\nchild\nerr\n"  # stderr comes last


def test_the_log_of_a_killed_trial_has_its_output(run):
    text = """
        import os, sys
        print("out", flush=True)
        print("err", file=sys.stderr)
        os.write(2, b"by C\\n")
        os.abort()
    """
    assert run(text)[1] == "out\nerr\nby C\n"


@pytest.mark.parametrize(
    ("regex", "source"), [("", "stdout"), (r"loss (\S+)", "--metric"), (r"bar (\S+)", "--metric"), (r"no (\d)", "")]
)
def test_metrics_are_read_from_stdout_and_stderr_is_only_a_fallback(tmp_path, folder, regex, source):
    """By the body of ``relume compare``."""
    text = """
        import sys
        for step in range(3):
            print("loss 7", end="\\r")
            print("loss", step / 2)
            print("bar", 7, "loss=9", file=sys.stderr)
    """
    with trials.executor(tmp_path / "out", body="relume.lab.trials.child:run_trial") as executor:
        (outcome,) = executor.run([trials.order(folder, text, plan=None, regex=regex)])
    found = {where: dict(curves) for where, curves in outcome.found["sources"].items()}
    values = {where: [v for curve in curves.values() for _, v in curve] for where, curves in found.items()}
    assert values.get("stdout") == [0, 0.5, 1]
    assert values["stderr"] == [9, 9, 9]
    assert outcome.trial.metrics["loss"][0][1] == 0
    if source == "--metric":
        assert values[source] == ([0, 0.5, 1] if "loss" in regex else [7, 7, 7])
    assert trials.said(tmp_path / "out").count("bar") == 3


def test_a_site_is_named_from_the_folder_in_which_the_script_began(tmp_path, folder):
    """By the body of ``relume compare``; the way to the sandbox is nobody's business."""
    text = """
        import os, torch
        net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
        os.chdir("/")
        net(torch.ones(1, 2)).sum().backward()
    """
    with trials.executor(tmp_path / "out", body="relume.lab.trials.child:run_trial") as executor:
        (outcome,) = executor.run([trials.order(folder, text, plan=None)])
    assert [site["key"] for site in outcome.found["plan"]["sites"]] == ["Sequential.1@train.py:5"]


ENDS = {
    "an error": ("raise ValueError('no')", "failed", "status 1"),
    "a status": ("import sys; sys.exit(3)", "failed", "status 3"),
    "status 0": ("import sys; sys.exit(0)", "finished", ""),
    "os._exit": ("import os; os._exit(0)", "failed", "exit status 0, and no result: did it call os._exit?"),
    "a crash": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "failed", "killed by SIGSEGV"),
    "an abort": ("import os; os.abort()", "failed", "killed by SIGABRT"),
    "SIGTERM": ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "failed", "killed by SIGTERM"),
    "no Python": ("def", "failed", "ScriptError: train.py is not valid Python"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_trial_is_reported_as_it_ended(run, end):
    code, status, error = ENDS[end]
    trial, said = run(code)
    assert trial.status == status, said
    assert trial.error.startswith(error)
    assert (trial.error == "") == (error == "")


def test_a_missing_script_fails_with_the_reason(warm, tmp_path, folder):
    (outcome,) = warm[0].run([trials.order(folder, script="nowhere.py")])
    assert outcome.trial.status == "failed"
    assert "There is no script nowhere.py" in outcome.trial.error


def test_a_script_that_hangs_is_ended_at_its_timeout_with_all_its_children(run, tmp_path):
    text = """
        import os, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sleep", "1000"], env={"MARK": os.environ["MARK"]})
        os.fork()
        print("begun", flush=True)
        time.sleep(1000)
    """
    mark = str(tmp_path)
    trial, said = run(text, timeout=1.0, environment={"MARK": mark})
    assert (trial.status, trial.error) == ("timeout", "ended after 1 s, its timeout")
    assert "begun" in said
    assert 1.0 <= trial.seconds < 20
    assert trials.processes(mark) == []


def test_a_trial_that_is_killed_is_started_again_once_and_then_failed(run, tmp_path):
    text = f"""
        import os, signal
        tries = os.open({str(tmp_path / "tries")!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(tries, b".")
        if os.stat(tries).st_size < {{}}:
            os.kill(os.getpid(), signal.SIGKILL)
    """
    trial, _ = run(text.format(3))
    assert trial.status == "finished"
    (tmp_path / "tries").unlink()
    trial, _ = run(text.format(9))
    assert (trial.status, (tmp_path / "tries").stat().st_size) == ("failed", 3)
    assert "killed three times" in trial.error


def test_a_body_that_fails_is_a_failed_trial(tmp_path, folder):
    with trials.executor(tmp_path / "out", body="bodies:broken") as executor:
        (outcome,) = executor.run([trials.order(folder, "")])
    assert (outcome.trial.status, outcome.trial.error) == ("failed", "RuntimeError: the body")


def test_a_script_that_ends_by_os_exit_is_finished_with_what_it_logged(tmp_path, folder):
    """By the body of ``relume compare``; a status other than 0 is a failure."""
    text = """
        import os, sys, time
        while time.process_time() < 0.3:
            pass
        print("loss", 0.5, flush=True)
        os._exit(int(sys.argv[1]))
    """
    orders = [trials.order(folder, text, s, args=("{seed}",), plan=None, regex=r"loss (\S+)") for s in (0, 3)]
    with trials.executor(tmp_path / "out", body="relume.lab.trials.child:run_trial") as executor:
        good, bad = executor.run(orders)
    assert (good.trial.status, bad.trial.status) == ("finished", "failed"), trials.said(tmp_path / "out")
    assert [point[1] for curve in good.trial.metrics.values() for point in curve] == [0.5]
    assert 0.15 <= good.trial.cpu_seconds < 0.4
    assert 0.15 <= good.trial.seconds < 10
    assert "plan" in good.found


def test_a_trial_that_fails_on_a_full_disk_is_not_recorded_as_failed(tmp_path, folder, monkeypatch):
    """Every disk is full where ten petabytes must be free."""
    monkeypatch.setattr(local, "LEAST_ROOM", 10**16)
    orders = [trials.order(folder, "import sys; sys.exit(int(sys.argv[1]))", s, args=("{seed}",)) for s in (0, 1)]
    with trials.executor(tmp_path / "out") as executor:
        running = executor.run(orders)
        assert next(running).trial.status == "finished"
        with pytest.raises(StudyError, match=r"is full.*It was not recorded.*\[study-unwritable\]"):
            next(running)


# ---- what it costs -------------------------------------------------------------------------------------------------


def test_processor_time_counts_the_children_and_memory_is_the_most_that_it_had(run):
    text = """
        import os, time
        def burn():
            began = time.process_time()
            while time.process_time() - began < 0.3:
                pass
        block = bytearray(150_000_000)
        block[::4096] = b"x" * len(block[::4096])
        del block
        children = [os.fork() or (burn(), os._exit(0)) for _ in range(2)]
        for child in children:
            os.waitpid(child, 0)
        burn()
    """
    trial, _ = run(text)
    assert 0.85 < trial.cpu_seconds < 3.0
    assert 150e6 < trial.peak_memory < 400e6
    assert trial.seconds >= 0.3


def test_threads_are_pinned(run):
    _, said = run("import os\nprint(os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'])\n", threads=3)
    assert said == "3 3\n"


# ---- what it leaves behind -----------------------------------------------------------------------------------------

LEAVES = {
    "a child": "subprocess.Popen(['sleep', '1000'])",
    "a child of its own session": "subprocess.Popen(['sleep', '1000'], start_new_session=True)",
    "a daemon": "subprocess.run(['sh', '-c', 'setsid sleep 1000 > /dev/null 2>&1 < /dev/null &'])",
    "a forked daemon": "os.fork() or (os.setsid(), os.fork() and os._exit(0), os.chdir('/'), time.sleep(1000))",
    "a pool": "multiprocessing.Pool(2); os.kill(os.getpid(), 6)",
}


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("leaves", LEAVES)
def test_processes_of_a_finished_trial_are_ended(tmp_path, leaves, jobs, folder):
    """Also while another trial runs, whose own children live on."""
    text = f"""
        import multiprocessing, os, subprocess, sys, time
        if sys.argv[1] == "0":
            {LEAVES[leaves]}
        else:
            child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
            while not os.path.exists({str(tmp_path / "go")!r}):
                time.sleep(0.01)
            assert child.poll() is None
            child.kill()
    """
    orders = [trials.order(folder, text, seed, args=("{seed}",)) for seed in range(jobs)]
    with trials.executor(tmp_path / "out", jobs=jobs) as executor:
        running = executor.run(orders)
        first = next(running)
        assert first.order.key.seed == 0
        latest = time.monotonic() + 60
        while len(left := sleeping(tmp_path)) != jobs - 1 and time.monotonic() < latest:
            time.sleep(0.05)  # the other trial's child may not have begun
        assert len(left) == jobs - 1
        (tmp_path / "go").touch()
        statuses = [outcome.trial.status for outcome in running]
    assert statuses == ["finished"] * (jobs - 1)
    assert trials.processes(str(tmp_path)) == []


def sleeping(top):
    return [pid for pid in trials.processes("sleep\x001000") if of(pid, top)]


def of(pid, top):
    try:
        return os.readlink(f"/proc/{pid}/cwd").startswith(str(top))
    except OSError:
        return False


def test_data_loaders_of_pytorch_work_and_end_with_the_trial(tmp_path, folder):
    text = """
        import torch
        from torch.utils.data import DataLoader, TensorDataset
        data = TensorDataset(torch.arange(64.0))
        kept = iter(DataLoader(data, batch_size=8, num_workers=2, persistent_workers=True))
        print("sum", sum(float(batch[0].sum()) for batch in DataLoader(data, batch_size=8, num_workers=2)))
        next(kept)
    """
    with trials.executor(tmp_path / "out", preload=("torch",)) as executor:
        (outcome,) = executor.run([trials.order(folder, text)])
        assert executor.why_not_forked == ""
    assert outcome.trial.metrics == {"sum": ((0.0, 2016.0),)}, trials.said(tmp_path / "out")
    assert trials.processes(str(tmp_path)) == []


# ---- several at a time ---------------------------------------------------------------------------------------------


def test_as_many_trials_run_at_a_time_as_there_are_jobs(tmp_path, folder):
    text = f"""
        import os, sys, time
        place = {str(tmp_path / "now")!r}
        os.mkdir(f"{{place}}/{{sys.argv[1]}}")
        latest = time.monotonic() + 20
        while len(os.listdir(place)) < 3 and sys.argv[1] < "3":
            assert time.monotonic() < latest
            time.sleep(0.01)
        assert len(os.listdir(place)) <= 3
        os.rmdir(f"{{place}}/{{sys.argv[1]}}") if sys.argv[1] > "2" else None
        print("at", 1)
    """
    (tmp_path / "now").mkdir()
    orders = [trials.order(folder, text, seed, args=("{seed}",)) for seed in range(3)]
    taken = []
    with trials.executor(tmp_path / "out", jobs=3) as executor:
        outcomes = list(executor.run(taken.append(o) or o for o in orders))
    assert sorted(o.order.key.seed for o in outcomes) == [0, 1, 2]
    assert {o.trial.status for o in outcomes} == {"finished"}


def test_a_trial_is_accepted_only_if_it_can_start(tmp_path, folder):
    orders = [trials.order(folder, "", seed) for seed in range(4)]
    taken = []
    with trials.executor(tmp_path / "out", jobs=1) as executor:
        for outcome in executor.run(taken.append(o) or o for o in orders):
            assert taken[-1] is outcome.order


def test_the_modules_of_the_first_trial_are_imported_for_the_others(tmp_path, folder):
    text = "import sys\nprint('colorsys' in sys.modules)\nimport colorsys\n"
    orders = [trials.order(folder, text, seed) for seed in range(3)]
    with trials.executor(tmp_path / "out") as executor:
        outcomes = list(executor.run(orders))
        assert "colorsys" in executor.preload
        assert [trials.said(tmp_path / "out", seed) for seed in range(3)] == ["False\n", "True\n", "True\n"]
    assert "colorsys" in outcomes[0].found["installed"]
    assert "installed" not in outcomes[1].found


def test_a_survey_lists_the_users_modules(warm, tmp_path, folder):
    (folder / "net").mkdir()
    (folder / "net" / "__init__.py").write_text("from . import parts\n")
    (folder / "net" / "parts.py").write_text("")
    (outcome,) = warm[0].run([trials.order(folder, "import net\n", plan=None)])
    assert outcome.found["local"] == ["net/__init__.py", "net/parts.py"]
    assert outcome.found["plan"] == "found"


def test_gpus_are_shared_out(tmp_path, folder):
    text = "import os, time\nprint(os.environ['CUDA_VISIBLE_DEVICES'])\ntime.sleep(0.2)\n"
    orders = [trials.order(folder, text, seed, gpus=gpus) for seed, gpus in enumerate((1, 1, 2, 0.5, 0.5))]
    with trials.executor(tmp_path / "out", jobs=4, gpus=("a", "b")) as executor:
        list(executor.run(orders))
        seen = [trials.said(tmp_path / "out", seed).strip() for seed in range(5)]
        assert sorted(seen[:2]) == ["a", "b"]
        assert seen[2] == "a,b"
        assert seen[3] == seen[4]
        with pytest.raises(StudyError, match=r"needs 3 GPUs, but this machine shows 2.*\[too-few-gpus\]"):
            list(executor.run([trials.order(folder, gpus=3)]))


@pytest.mark.parametrize(("jobs", "seen"), [(0, "a"), (1, "-")])
def test_once_a_trial_was_seen_to_use_a_gpu_each_gets_one_of_its_own(tmp_path, folder, monkeypatch, jobs, seen):
    """Unless the number of jobs was asked for."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-")
    text = "import os\nkept = open('/dev/urandom')\nprint(os.environ['CUDA_VISIBLE_DEVICES'])\n"
    orders = [trials.order(folder, text, seed) for seed in range(3)]
    with trials.executor(tmp_path / "out", jobs=jobs, gpus=("a",), body="bodies_gpu:plain") as executor:
        list(executor.run(orders[:1]))
        list(executor.run(orders[1:]))
        assert executor.why_not_forked == ""
    assert [trials.said(tmp_path / "out", seed).strip() for seed in range(3)] == ["-", seen, seen]


def test_running_trials_are_ended_and_not_recorded_when_the_time_is_over(tmp_path, folder):
    text = "import sys, time\nif sys.argv[1] == '1':\n    time.sleep(1000)\n"
    orders = [trials.order(folder, text, seed, args=("{seed}",)) for seed in range(3)]
    with trials.executor(tmp_path / "out") as executor:

        def given():
            yield orders[0]
            executor.until = time.monotonic() + 0.5
            yield from orders[1:]

        assert [outcome.order.key.seed for outcome in executor.run(given())] == [0]
        assert executor.out_of_time
    assert trials.processes(str(tmp_path)) == []


def test_closing_ends_running_trials(tmp_path, folder):
    text = "import sys, time\nprint('begun', flush=True)\nif sys.argv[1] == '1':\n    time.sleep(1000)\n"
    orders = [trials.order(folder, text, seed, args=("{seed}",)) for seed in range(2)]
    executor = trials.executor(tmp_path / "out", jobs=2)
    running = executor.run(orders)
    assert next(running).order.key.seed == 0
    running.close()
    assert trials.processes(str(tmp_path)) == []
    assert next(iter(executor.run(orders[:1]))).trial.status == "finished"  # it can be used again
    executor.close()


INTERRUPTED = """
import sys, trials
folder = sys.argv[1]
text = "import sys, time\\nprint('begun', flush=True)\\ntime.sleep(1000 if sys.argv[1] == '1' else 0)\\n"
orders = [trials.order(folder, text, seed, args=("{seed}",)) for seed in range(2)]
with trials.executor(folder + "/out", jobs=2) as executor:
    try:
        for outcome in executor.run(orders):
            print(outcome.order.key.seed, outcome.trial.status, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def test_ctrl_c_ends_everything_and_finished_trials_are_recorded(tmp_path):
    driver = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=trials.HERE
    )
    assert driver.stdout.readline() == "0 finished\n"
    trials.wait_until(lambda: os.path.exists(trials.log(f"{tmp_path}/out", 1)))
    driver.send_signal(signal.SIGINT)
    assert driver.communicate(timeout=60)[0] == "interrupted\n"
    assert trials.processes(str(tmp_path)) == []
    assert sorted(os.listdir(tmp_path / "out")) == ["0.log", "1.log"]
