"""``relume run`` given what cannot be run or watched, options out of range, and places it cannot write to."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from relume.artifacts.reader import read

RELUME = Path(sys.executable).with_name("relume")
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(folder, *arguments, **options):
    options = {"cwd": folder, "env": ENV, "capture_output": True, "text": True, "timeout": 120} | options
    return subprocess.run([RELUME, "run", *arguments], **options)


def script(folder, text, name="x.py"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
    return name


def refused(done, *words):
    """One paragraph on stderr that says these words, exit 4, and nothing else."""
    assert done.returncode == 4, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    return done.stderr


# ---- what cannot be run ----


def test_no_script(tmp_path):
    refused(run(tmp_path), "Usage:", "SCRIPT")


def test_script_that_does_not_exist(tmp_path):
    text = refused(run(tmp_path, "absent.py"), "absent.py", "-m MODULE", "[script-absent]")
    assert text.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_folder_without_main(tmp_path):
    (tmp_path / "sub").mkdir()
    text = refused(run(tmp_path, "sub"), "sub", "[script-absent]")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"\x7fELF\x02\x01\x01\x00\x00\x00", "x.py"),
        (b"\xff\xfe\xfd", "x.py"),
        (b"print('never'\n", "line 1"),
        (b"a = 1\nb = = 2\n", "line 2"),
        (b"if 1:\nx\n", "line 2"),
    ],
)
def test_file_that_is_not_python(tmp_path, content, word):
    text = refused(run(tmp_path, script(tmp_path, content)), "x.py is not valid Python", word, "[script-not-python]")
    assert text.count("\n") == 1
    assert not (tmp_path / "run.relume").exists()


def test_module_that_does_not_exist(tmp_path):
    for name in ("absent_module", "os.absent", "json.decoder.absent", ".x", ""):
        refused(run(tmp_path, "-m", name), f"module {name} ", "[module-absent]")


def test_package_without_main(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/__init__.py").touch()
    refused(run(tmp_path, "-m", "pkg"), "pkg.__main__", "[module-absent]")


def test_module_that_is_not_python(tmp_path):
    script(tmp_path, "x = = 1\n", "bad.py")
    refused(run(tmp_path, "-m", "bad"), "bad is not valid Python", "line 1", "[script-not-python]")


def test_script_that_cannot_be_read(tmp_path):
    script(tmp_path, "print(1)\n")
    (tmp_path / "x.py").chmod(0)
    if os.access(tmp_path / "x.py", os.R_OK):
        pytest.skip("this user may read every file")
    refused(run(tmp_path, "x.py"), "x.py", "ermission")


def test_script_from_a_pipe(tmp_path):
    """As ``python <(generate)``: bash gives a path that is no regular file."""
    done = subprocess.run(
        ["bash", "-c", f"{RELUME} run -q --out t.relume <(echo 'print(1 + 1)')"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


# ---- options ----


@pytest.mark.parametrize(
    "options",
    [
        ["--budget", "0"], ["--budget", "0%"], ["--budget", "-1"], ["--budget", "abc"], ["--budget", "nan"],
        ["--budget", "inf"],
        ["--budget", "101%"], ["--budget", "1.5"], ["--budget", ""], ["--budget", "%"],
        ["--window", "0"], ["--window", "-5"], ["--window", "many"], ["--window", "1.5"],
        ["--every", "0"], ["--every", "-1"], ["--every", "x"],
        ["--dead-after", "0"], ["--dead-after", "M"], ["--dead-after", "1.5"], ["--dead-after", "nan"],
    ],
    ids="=".join,
)  # fmt: skip
def test_option_out_of_range(tmp_path, options):
    script(tmp_path, "print('never')\n")
    refused(run(tmp_path, *options, "x.py"), "Usage: relume run", options[0])
    assert not (tmp_path / "run.relume").exists()


@pytest.mark.parametrize("option", ["--budjet", "--no-such", "-z"])
def test_unknown_option_is_named(tmp_path, option):
    script(tmp_path, "print('never')\n")
    refused(run(tmp_path, option, "x.py"), "No such option", option)


@pytest.mark.parametrize(
    ("options", "share"),
    [([], 0.02), (["--budget", "5%"], 0.05), (["--budget", "0.1"], 0.1), (["--budget", "100%"], 1.0)],
)
def test_budget_is_a_share(tmp_path, options, share):
    script(tmp_path, "")
    assert run(tmp_path, "-q", *options, "x.py").returncode == 0
    assert read(tmp_path / "run.relume").meta["budget"] == share


@pytest.mark.parametrize(
    ("text", "number"), [("10M", 10_000_000), ("1.5k", 1_500), ("2_000", 2_000), ("1e6", 1_000_000), ("1b", 10**9)]
)
def test_dead_after_is_a_number_of_examples(tmp_path, text, number):
    script(tmp_path, "")
    assert run(tmp_path, "-q", "--dead-after", text, "x.py").returncode == 0
    assert read(tmp_path / "run.relume").meta["dead_after"] == number


def test_options_are_stored_in_the_recording(tmp_path):
    script(tmp_path, "")
    run(tmp_path, "-q", "--window", "7", "--every", "3", "x.py")
    meta = read(tmp_path / "run.relume").meta
    assert (meta["window"], meta["every"]) == (7, 3)


# ---- where it is written ----


def test_out_in_a_folder_that_does_not_exist(tmp_path):
    script(tmp_path, "print('never')\n")
    refused(run(tmp_path, "--out", "no/such/t.relume", "x.py"), "no/such/t.relume", "--out", "[recording-not-writable]")


def test_out_below_a_file(tmp_path):
    script(tmp_path, "print('never')\n")
    refused(run(tmp_path, "--out", "x.py/t.relume", "x.py"), "x.py/t.relume", "[recording-not-writable]")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder in which not even root can write")
def test_out_in_a_folder_that_is_not_writable(tmp_path):
    script(tmp_path, "print('never')\n")
    refused(run(tmp_path, "--out", "/proc/t.relume", "x.py"), "/proc/t.relume", "--out", "[recording-not-writable]")


def test_out_with_a_name_longer_than_the_system_takes(tmp_path):
    script(tmp_path, "print('never')\n")
    refused(run(tmp_path, "--out", "x" * 300, "x.py"), "xxx", "--out", "[recording-not-writable]")


@pytest.mark.parametrize("content", [b"precious", b"x" * 100, b"SQLite format 3\0 but not really", b"\0" * 4096])
def test_out_that_names_a_file_of_another_program(tmp_path, content):
    script(tmp_path, "print('never')\n")
    (tmp_path / "notes.txt").write_bytes(content)
    refused(
        run(tmp_path, "--out", "notes.txt", "x.py"), "notes.txt", "not overwritten", "--out", "[recording-in-the-way]"
    )
    assert (tmp_path / "notes.txt").read_bytes() == content


def test_out_that_names_the_script_itself(tmp_path):
    script(tmp_path, "print('never')\n")
    refused(run(tmp_path, "--out", "x.py", "x.py"), "not overwritten")
    assert (tmp_path / "x.py").read_text() == "print('never')\n"


def test_out_that_names_a_database_of_another_program(tmp_path):
    script(tmp_path, "print('never')\n")
    db = sqlite3.connect(tmp_path / "other.db")
    db.execute("CREATE TABLE t (x)")
    db.close()
    before = (tmp_path / "other.db").read_bytes()
    refused(run(tmp_path, "--out", "other.db", "x.py"), "other.db", "[recording-in-the-way]")
    assert (tmp_path / "other.db").read_bytes() == before


@pytest.mark.parametrize("out", [".", "/dev/null", ""])
def test_out_that_names_no_file(tmp_path, out):
    script(tmp_path, "print('never')\n")
    refused(run(tmp_path, "--out", out, "x.py"), "[recording-in-the-way]")


def test_old_recording_and_empty_file_are_overwritten(tmp_path):
    (tmp_path / "run.relume").touch()
    script(tmp_path, "")
    assert run(tmp_path, "-q", "x.py", "first").returncode == 0
    assert read(tmp_path / "run.relume").meta["argv"] == ["first"]
    assert run(tmp_path, "-q", "x.py", "second").returncode == 0
    assert read(tmp_path / "run.relume").meta["argv"] == ["second"]


def test_old_recording_stays_if_the_script_cannot_be_started(tmp_path):
    script(tmp_path, "")
    run(tmp_path, "-q", "x.py", "first")
    for arguments in (["absent.py"], ["--budget", "0", "x.py"], ["-m", "absent"]):
        assert run(tmp_path, *arguments).returncode == 4
    assert read(tmp_path / "run.relume").meta["argv"] == ["first"]


def test_recording_that_another_run_is_writing_is_not_touched(tmp_path):
    script(tmp_path, "import sys\nprint('ready', flush=True)\nsys.stdin.read()\n", "slow.py")
    script(tmp_path, "print('never')\n")
    first = subprocess.Popen(
        [RELUME, "run", "slow.py"], cwd=tmp_path, env=ENV, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert first.stdout.readline() == "ready\n"
    refused(run(tmp_path, "x.py"), "run.relume", "another run", "--out", "[recording-in-use]")
    _, stderr = first.communicate("")
    assert first.returncode == 0
    assert "No activation was watched" in stderr
    assert read(tmp_path / "run.relume").meta["script"] == "slow.py"


def test_script_that_removes_its_recording_keeps_its_status(tmp_path):
    script(tmp_path, "import os, sys\nos.remove('run.relume')\nsys.exit(3)\n")
    done = run(tmp_path, "x.py")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "[own-fault]" in done.stderr


# ---- nothing to watch ----


def test_script_that_raises_and_one_that_exits_3_pass_their_status_through(tmp_path):
    assert run(tmp_path, script(tmp_path, "raise ValueError\n")).returncode == 1
    assert run(tmp_path, script(tmp_path, "raise SystemExit(3)\n")).returncode == 3


def test_script_without_a_framework(tmp_path):
    done = run(tmp_path, script(tmp_path, "print('x')\n"))
    assert done.returncode == 0
    assert "No activation was watched. The script did not import PyTorch, TensorFlow, Keras or JAX." in done.stderr


def test_script_that_imports_torch_and_does_nothing(tmp_path):
    pytest.importorskip("torch")
    done = run(tmp_path, script(tmp_path, "import torch\n"))
    assert done.returncode == 0
    assert "No activation was watched. The script took no training step" in done.stderr


def test_script_that_trains_without_an_activation(tmp_path):
    pytest.importorskip("torch")
    text = """
        import torch
        line = torch.nn.Linear(2, 1)
        sgd = torch.optim.SGD(line.parameters(), lr=0.1)
        for _ in range(5):
            line(torch.ones(3, 2)).sum().backward()
            sgd.step()
    """
    done = run(tmp_path, script(tmp_path, text))
    assert done.returncode == 0
    assert "No activation was watched. relume saw training, but no supported activation" in done.stderr


def test_script_that_trains_in_jax_without_jit_is_warned_about_what_is_watched(tmp_path):
    pytest.importorskip("jax")
    text = """
        import jax, jax.numpy as jnp
        loss = lambda w: (jax.nn.relu(jnp.ones((4, 3)) @ w) ** 2).mean()
        w = jnp.ones((3, 2))
        for _ in range(3):
            w = w - 0.1 * jax.grad(loss)(w)
        print(float(w.sum()))
    """
    done = run(tmp_path, script(tmp_path, text))
    assert done.returncode == 0, done.stderr
    assert "a function under jax.jit that takes gradients" in " ".join(done.stderr.split())


# ---- light ----

LOADED = """
import runpy, sys
sys.argv = {argv!r}
try:
    runpy.run_module("relume", run_name="__main__")
except SystemExit as leave:
    assert not leave.code, leave.code
print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""
HEAVY = ["numpy", "rich", "torch", "jax", "keras", "tensorflow", "onnx", "ray", "jinja2", "altair", "sqlite3"]


@pytest.mark.parametrize(
    "argv",
    [["--help"], *([name, "--help"] for name in ("run", "report", "check", "diff", "combine")), ["--version"]],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(argv):
    code = LOADED.format(argv=["relume", *argv], heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "[]\n"
    assert "relume" in done.stdout


def test_import_of_relume_loads_no_framework_and_not_even_numpy():
    code = f"import sys, relume; print([name for name in {HEAVY!r} if name in sys.modules], relume.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("[] ")


def test_run_of_a_script_without_a_framework_loads_none(tmp_path):
    names = [name for name in HEAVY if name in ("torch", "jax", "keras", "tensorflow", "onnx", "ray")]
    text = f"import atexit, sys\natexit.register(lambda: print([n for n in {names!r} if n in sys.modules]))\n"
    assert run(tmp_path, script(tmp_path, text)).stdout == "[]\n"


# ---- settings ----


def recorded_with(folder, *arguments, **environment):
    """The options that a run wrote down, without a script that trains."""
    script(folder, "print('ran')")
    done = run(folder, *arguments, "x.py", env={**ENV, **environment})
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
    (file,) = folder.glob("*.relume")
    meta = read(file).meta
    file.unlink()
    return {"out": file.name} | {name: meta[name] for name in ("budget", "window", "every")}


def test_settings_of_a_run_come_from_pyproject_the_environment_and_flags_in_this_order(tmp_path):
    assert recorded_with(tmp_path) == {"out": "run.relume", "budget": 0.02, "window": None, "every": None}
    (tmp_path / "pyproject.toml").write_text(
        '[tool.relume]\nbudget = "1%"\nmax-dead = "5%"\nwindow = 50\n[tool.relume.run]\nwindow = 20\nout = "p.relume"'
    )
    assert recorded_with(tmp_path) == {"out": "p.relume", "budget": 0.01, "window": 20, "every": None}
    there = {"RELUME_BUDGET": "3%", "RELUME_EVERY": "7", "RELUME_OUT": "e.relume"}
    assert recorded_with(tmp_path, **there) == {"out": "e.relume", "budget": 0.03, "window": 20, "every": 7}
    flags = ("--budget", "0.04", "--window", "9", "--out", "f.relume")
    assert recorded_with(tmp_path, *flags, **there) == {"out": "f.relume", "budget": 0.04, "window": 9, "every": 7}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[tool.relume.run]\nbudgt = "1%"', ["'budgt'", "Did you mean 'budget'?", "[unknown-setting]"]),
        ('[tool.relume.run]\nmax-dead = "1%"', ["'max-dead'", "[unknown-setting]"]),
        ('[tool.relume]\nbudgt = "1%"', ["'budgt'", "[unknown-setting]"]),
        ("[tool.relume.run]\nis-module = true", ["'is-module'", "[unknown-setting]"]),
        ("[tool.relume.run]\nevery = 0", ["every", "[settings]"]),
    ],
)
def test_an_invalid_setting_is_refused_before_the_script_runs(tmp_path, text, words):
    script(tmp_path, "print('ran')")
    (tmp_path / "pyproject.toml").write_text(text)
    refused(run(tmp_path, "x.py"), *words)
