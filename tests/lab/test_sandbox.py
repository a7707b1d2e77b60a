"""A trial sees what the user's folder holds, and cannot alter it: real runs of real scripts, by way of Python.

Each test gives a folder and a script; the script runs as a trial does, and afterwards every file of the folder must be
as it was: its content, its mode, its time of change.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import trials

from relume.artifacts.trial import TrialKey
from relume.lab.executors.local import LocalExecutor
from relume.lab.trials import sandbox as sandbox_module
from relume.lab.trials.order import Order, Script
from relume.lab.trials.sandbox import build, root_of
from relume.lab.trials.trial import Place

KEY = TrialKey("elu", 0, 1.0, "confirm")


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "home" / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "x.csv").write_text("1,2\n")
    (folder / "log.txt").write_text("first\n")
    (folder / "model.pt").write_bytes(b"weights of an earlier run")
    (tmp_path / "home" / "shared").mkdir()
    (tmp_path / "home" / "shared" / "labels").write_text("a b")
    return folder


def state(folder):
    """Everything that a trial might alter."""
    found = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()  # rglob follows no links
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(folder))] = (info.st_mode, info.st_mtime_ns, info.st_ino, content)
    return found


class Ran:
    def __init__(self, outcome, log):
        self.trial = outcome.trial
        self.found = outcome.found
        self.log = log

    @property
    def told(self):
        """The last line that the script printed, as JSON."""
        return json.loads(self.log.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def executors(tmp_path_factory):
    """By name: a server of trials, and one in which every folder is linked as one."""
    work = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        made = {name: LocalExecutor(lambda _: place(work), jobs=1, body=f"{name}:plain") for name in BODIES}
        yield made, work
        for executor in made.values():
            executor.close()


BODIES = ("bodies", "bodies_linked")


def place(work):
    return Place(str(work / "one"), str(work / "one.log"))


@pytest.fixture
def run(executors, project):
    """Runs a script as a trial, and holds that the user's files are as they were."""
    made, work = executors

    def run(script, written=(), at=None, linked=False, absolute=False, args=(), **options):
        file = (at or project) / "train.py"
        file.write_text(textwrap.dedent(script))
        before = state(project.parent)
        told = Script(str(file) if absolute else os.path.relpath(file, project), args, False, str(project))
        (outcome,) = made[BODIES[linked]].run([Order(KEY, told, written=written, **options)])
        assert state(project.parent) == before, "the user's files were altered"
        assert trials.left(work) == [], "something was left behind"
        return Ran(outcome, (work / "one.log").read_text())

    return run


@pytest.fixture
def good(run):
    def good(*args, **options):
        ran = run(*args, **options)
        assert ran.trial.status == "finished", ran.log
        return ran

    return good


# ---- what it sees --------------------------------------------------------------------------------------------------


def test_a_trial_sees_the_files_beside_it_and_above_it(project, run, good):
    (project / "helper.py").write_text("from pathlib import Path\nhere = Path(__file__).resolve().parent\n")
    script = """
        import json, os, sys
        from pathlib import Path
        import helper
        assert open("data/x.csv").read() == "1,2\\n"
        assert open("../shared/labels").read() == "a b"
        assert (Path(__file__).resolve().parent / "data" / "x.csv").exists()
        there = sorted(name for name in os.listdir(".") if name != "__pycache__")
        assert there == ["data", "helper.py", "log.txt", "model.pt", "train.py"], there
        assert helper.here == Path.cwd() == Path(__file__).parent, (helper.here, Path.cwd())
        assert os.environ["PWD"] == os.getcwd()
        print(json.dumps(os.getcwd()))
    """
    ran = good(script)
    assert not ran.told.startswith(str(project))
    assert ran.found["local"] == ["helper.py"]
    assert (ran.found["written"], ran.found["resumed"], ran.found["outside"]) == ([], [], [])


def test_data_is_not_copied_and_a_folder_of_many_files_is_one_link(project, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox_module, "MANY", 20)
    (project / "many").mkdir()
    for number in range(21):
        (project / "many" / f"{number}.png").write_text("")
    made = build(tmp_path / "box", project)
    assert (made.cwd / "many").is_symlink()
    assert (made.cwd / "data" / "x.csv").is_symlink()
    assert (made.cwd / "data").is_dir()
    assert not (made.cwd / "data").is_symlink()
    assert sum(f.stat().st_size for f in (tmp_path / "box").rglob("*") if f.is_file() and not f.is_symlink()) == 0


def test_the_script_is_a_copy_also_among_many_files(project, tmp_path, monkeypatch):
    """So that what it writes beside itself, by its resolved path, stays in the sandbox."""
    monkeypatch.setattr(sandbox_module, "_COPIED", 1)
    for name in ("a.py", "b.py", "data/train.py"):
        (project / name).write_text("pass\n")
    made = build(tmp_path / "box", project, script="data/train.py")
    assert sum((made.cwd / name).is_symlink() for name in ("a.py", "b.py")) == 1
    assert (made.cwd / "data" / "train.py").resolve() == made.cwd / "data" / "train.py"
    assert (made.cwd / "data" / "train.py").read_text() == "pass\n"
    assert str(made.cwd / "data" / "train.py") in made.copies


def test_what_an_earlier_run_wrote_is_not_there(project, run, good):
    (project / "runs" / "a").mkdir(parents=True)
    (project / "runs" / "a" / "last.pt").write_text("x")
    (project / "runs" / "a" / "config").write_text("x")
    script = """
        import os
        assert not os.path.exists("model.pt") and not os.path.exists("runs/a/last.pt")
        assert os.listdir("runs/a") == ["config"]
        assert os.path.exists("log.txt")
    """
    good(script, written=("model.pt", "runs/a/last.pt"))


def test_the_study_itself_is_not_in_the_sandbox(project, tmp_path):
    study = project / "relume-study"
    (study / "trials").mkdir(parents=True)
    made = build(study / "work" / "one", project, without=[study])
    assert not (made.cwd / "relume-study").exists()
    assert (made.cwd / "data").is_dir()


def test_the_project_is_mirrored_from_its_root(project):
    (project.parent / "pyproject.toml").write_text("")
    deep = project / "scripts" / "deep"
    deep.mkdir(parents=True)
    assert root_of(deep) == project.parent
    assert root_of(project) == project.parent
    assert root_of(project.parent.parent) == project.parent.parent.parent


def test_a_script_in_a_folder_beside_runs_in_the_mirror(project, run, good):
    (project.parent / "pyproject.toml").write_text("")
    other = project.parent / "tools"
    other.mkdir()
    script = """
        import json, os, sys
        open("here", "w").close()
        open(os.path.join(os.path.dirname(__file__), "there"), "w").close()
        print(json.dumps(os.path.relpath(sys.path[0])))
    """
    ran = good(script, at=other)
    assert ran.found["written"] == ["../tools/there", "here"]


def test_a_script_in_the_folder_above_is_not_taken_for_written(project, good):
    assert good("print(1)", at=project.parent).found["written"] == []


def test_what_the_script_did_not_walk_through_stays_linked_to_the_end(project, good):
    script = """
        import atexit, json, os
        atexit.register(lambda: print(json.dumps([os.path.islink("../shared"), os.path.islink("many")])))
    """
    (project / "many").mkdir()
    (project / "many" / "x").write_text("")
    assert good(script, linked=True).told == [False, True]  # what lies above is not mirrored with every folder linked
    assert good(script).told == [True, False]


def test_a_script_that_was_given_by_its_absolute_path_runs_in_the_mirror_too(project, good):
    script = """
        from pathlib import Path
        (Path(__file__).parent / "log.txt").write_text("by its own path")
        assert Path(__file__).parent == Path.cwd()
    """
    assert good(script, absolute=True).found["written"] == ["log.txt"]


# ---- what it writes ------------------------------------------------------------------------------------------------

C = """import ctypes
c = ctypes.CDLL(None)
c.fopen.restype = ctypes.c_void_p
c.fputs.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
c.fclose.argtypes = [ctypes.c_void_p]
"""
"""Before code that calls the C library: Python knows nothing of what it writes."""

WAYS = {
    "append to a log": ("open('log.txt', 'a').write('second')", ["log.txt"]),
    "write a log anew": ("open('log.txt', 'w').write('second')", ["log.txt"]),
    "write into the middle": ("f = open('log.txt', 'r+b'); f.seek(2); f.write(b'X'); f.close()", ["log.txt"]),
    "os.open": ("os.write(os.open('log.txt', os.O_WRONLY), b'X')", ["log.txt"]),
    "a new file": ("open('new.txt', 'x').write('new')", ["new.txt"]),
    "remove": ("os.remove('log.txt')", ["log.txt"]),
    "unlink": ("Path('data/x.csv').unlink()", ["data/x.csv"]),
    "replace": ("open('t', 'w').close(); os.replace('t', 'log.txt')", ["log.txt", "t"]),
    "rename": ("os.rename('log.txt', 'old.txt')", ["log.txt", "old.txt"]),
    "rename a folder": ("os.rename('data', 'old'); open('old/x.csv', 'a').write('3')", ["old/x.csv"]),
    "truncate": ("os.truncate('log.txt', 1)", ["log.txt"]),
    "chmod": ("os.chmod('log.txt', 0o600)", ["log.txt"]),
    "utime": ("os.utime('log.txt', (1, 1))", ["log.txt"]),
    "in a folder": (
        "open('data/y.csv', 'w').write('1'); open('data/x.csv', 'a').write('3')",
        ["data/x.csv", "data/y.csv"],
    ),
    "in a new folder": ("os.makedirs('a/b'); open('a/b/c', 'w').write('1')", ["a/b/c"]),
    "a folder taken away": ("shutil.rmtree('data')", ["data/x.csv"]),
    "from inside the folder": ("os.chdir('data'); open('x.csv', 'a').write('3')", ["data/x.csv"]),
    "by a thread": (
        "t = threading.Thread(target=lambda: open('log.txt', 'a').write('2')); t.start(); t.join()",
        ["log.txt"],
    ),
    "sqlite": ("c = sqlite3.connect('log.db'); c.execute('create table t (x)'); c.commit()", ["log.db"]),
    "numpy": ("import numpy; numpy.save('a.npy', numpy.zeros(3))", ["a.npy"]),
    "by a child": (
        "p = os.fork()\nif p == 0:\n    open('log.txt', 'a').write('2')\n    os._exit(0)\nos.waitpid(p, 0)",
        ["log.txt"],
    ),
    "C, at the end": (C + "f = c.fopen(b'log.txt', b'a'); c.fputs(b'2', f); c.fclose(f)", ["log.txt"]),
    "C, anew": (C + "f = c.fopen(b'data/x.csv', b'w'); c.fputs(b'2', f); c.fclose(f)", ["data/x.csv"]),
    "C, into the middle": (C + "d = c.open(b'log.txt', os.O_RDWR); c.write(d, b'X', 1); c.close(d)", ["log.txt"]),
    "C, in other ways": (
        C + "c.truncate(b'log.txt', 1); c.chmod(b'data/x.csv', 0o600); c.mkdir(b'data/a', 0o700)\n"
        "assert c.rename(b'data/x.csv', b'data/a/y.csv') == c.unlink(b'log.txt') == 0",
        ["data/a/y.csv", "data/x.csv", "log.txt"],
    ),
    "C, by a hard link": (
        C + "assert c.linkat(-100, b'log.txt', -100, b'data/new.txt', 0x400) == 0\n"
        "f = c.fopen(b'data/new.txt', b'a'); c.fputs(b'2', f); c.fclose(f)",
        ["data/new.txt", "log.txt"],
    ),
    "another program": (
        "import subprocess\n"
        "subprocess.run('echo 2 >> log.txt; cd data; touch new.txt; mv x.csv y.csv; rm y.csv', shell=True, check=True)",
        ["data/new.txt", "data/x.csv", "data/y.csv", "log.txt"],
    ),
    "another Python": (
        'import subprocess, sys\nsubprocess.run([sys.executable, \'-c\', \'open("log.txt", "a").write("2")\'])',
        ["log.txt"],
    ),
    "h5py": ("import h5py\nwith h5py.File('model.pt', 'w') as f:\n    f['w'] = [1.0]", ["model.pt"]),
    "safetensors": (
        "import numpy, safetensors.numpy as s\ns.save_file({'w': numpy.ones(3)}, 'model.pt')",
        ["model.pt"],
    ),
    "by its absolute path here": ("open(os.path.abspath('log.txt'), 'a').write('2')", ["log.txt"]),
}


@pytest.fixture(scope="module")
def plain():
    """By way: what plain Python leaves behind."""
    return {}


@pytest.mark.parametrize("linked", [False, True], ids=["", "with folders linked as one"])
@pytest.mark.parametrize("way", WAYS)
def test_writing_in_every_way_leaves_the_users_files_as_they_are(project, good, plain, way, linked):
    """The files' contents in the trial are those of the same script in a copy of the folder."""
    code, written = WAYS[way]
    ending = """
files = [p for p in sorted(top.rglob('*')) if p.is_file() and p.suffix in ('', '.txt', '.csv')]
found = {str(p.relative_to(top)): p.read_text() for p in files}
print(json.dumps(found))
"""
    script = "import json, os, shutil, sqlite3, threading\nfrom pathlib import Path\ntop = Path.cwd()\n" + code + ending
    ran = good(script, linked=linked)
    passing = ("-journal", ".tmp")
    assert [path for path in ran.found["written"] if not any(part in path for part in passing)] == written
    if way not in plain:
        copy = shutil.copytree(project, project.parent.parent / "plain")
        done = subprocess.run([sys.executable, "train.py"], cwd=copy, capture_output=True, text=True, check=True)
        plain[way] = json.loads(done.stdout)
    assert ran.told == plain[way]


def test_walking_sees_what_lies_in_folders_that_are_one_link(project, run, good):
    (project / "data" / "deep").mkdir()
    (project / "data" / "deep" / "y.csv").write_text("")
    (project / "data" / "round").symlink_to(project, target_is_directory=True)
    script = """
        import os
        from pathlib import Path
        walked = sorted(f for _, _, files in os.walk("data") for f in files)
        assert walked == ["x.csv", "y.csv"], walked
        assert len(list(Path(".").rglob("*.csv"))) == 2
    """
    good(script, linked=True)


def test_a_file_of_the_users_cannot_be_altered_by_a_path_that_leaves_the_sandbox(project, run, good):
    script = f"open({str(project / 'log.txt')!r}, 'a').write('x')\n"
    ran = run(script)
    assert ran.trial.status == "failed"
    assert "relume keeps a trial from altering this file" in ran.log
    resolved = "from pathlib import Path\nPath('log.txt').resolve().write_text('x')\n"
    assert run(resolved).trial.status == "failed"


def test_a_file_that_the_script_itself_has_made_by_its_absolute_path_is_every_trials(project, run):
    made = str(project / "out.txt")
    script = f"open({made!r}, 'a').write('x')\nimport os\nos.system('echo y >> {made}')\n"
    with pytest.raises(AssertionError, match="were altered"):
        run(script)
    before = (project / "out.txt").read_text()
    assert run(script).trial.status == "failed"  # no survey has told of it
    with pytest.raises(AssertionError, match="were altered"):
        run(script, written=(made,))
    assert (before, (project / "out.txt").read_text()) == ("xy\n", "xy\nxy\n")


def test_paths_among_the_arguments_are_those_of_the_sandbox(project, good):
    script = """
        import os, sys
        data, out, far = sys.argv[1], sys.argv[2].partition("=")[2], sys.argv[3]
        assert open(data + "/x.csv").read() == "1,2\\n"
        open(data + "/x.csv", "a").write("3")
        os.mkdir(out)
        open(out + "/model", "w").write("x")
        assert far == "/usr" and sys.argv[4] == "data"
    """
    ran = good(script, args=(str(project / "data"), f"--out={project / 'out'}", "/usr", "data"))
    assert ran.found["written"] == ["data/x.csv", "out/model"]


def test_what_c_code_would_write_by_a_path_that_leaves_the_sandbox_is_refused(project, run, good):
    ran = good(
        f"{C}print(c.open({str(project / 'log.txt').encode()!r}, os.O_WRONLY))\n".replace("import c", "import os, c")
    )
    assert ran.told == -1


def test_what_is_written_elsewhere_is_told(project, good, tmp_path):
    elsewhere = tmp_path / "home" / "out"
    script = f"""
        import os, tempfile
        open({str(elsewhere)!r}, "w").close()
        os.remove({str(elsewhere)!r})
        tempfile.mkstemp()
    """
    assert good(script).found["outside"] == [str(elsewhere)]


# ---- checkpoints ---------------------------------------------------------------------------------------------------


def test_a_script_that_goes_on_from_a_checkpoint_of_its_own_is_told(project, run, good):
    script = """
        import os
        done = open("model.pt", "rb").read() if os.path.exists("model.pt") else b""
        open("data/x.csv").read()
        with open("tmp", "wb") as f:
            f.write(done + b"more")
        os.replace("tmp", "model.pt")
    """
    ran = good(script)
    assert ran.found["resumed"] == ["model.pt"]
    assert ran.found["written"] == ["model.pt", "tmp"]
    again = good(script, written=tuple(ran.found["written"]))
    assert again.found["resumed"] == []


def test_a_checkpoint_that_c_code_reads_is_told(project, good):
    (project / "last.h5").write_bytes(b"")
    script = """
        import h5py, os
        try:
            h5py.File("last.h5", "r")
        except OSError:
            pass
        with h5py.File("last.h5", "w") as file:
            file["step"] = 1
    """
    ran = good(script, plan=None)
    assert ran.found["resumed"] == ran.found["written"] == ["last.h5"]


def test_a_file_that_was_opened_to_be_written_and_is_as_it_was_was_not_written(project, good):
    import sqlite3

    with sqlite3.connect(project / "data" / "rows.db") as rows:
        rows.execute("create table t (x)")
    rows.close()
    script = """
        import mmap, sqlite3
        assert sqlite3.connect("data/rows.db").execute("select * from t").fetchall() == []
        with open("model.pt", "r+b") as file:
            assert mmap.mmap(file.fileno(), 0)[:7] == b"weights"
    """
    ran = good(script, plan=None)
    assert (ran.found["written"], ran.found["resumed"]) == ([], [])


def test_a_checkpoint_that_is_not_there_yet_is_not_gone_on_from(project, good):
    script = """
        try:
            open("none.pt")
        except FileNotFoundError:
            open("none.pt", "w").write("x")
    """
    ran = good(script, plan=None)
    assert (ran.found["written"], ran.found["resumed"]) == (["none.pt"], [])


def test_a_log_that_is_only_appended_to_is_no_checkpoint(project, run, good):
    ran = good("open('log.txt', 'a').write('x'); open('log.txt').read()\n")
    assert (ran.found["written"], ran.found["resumed"]) == (["log.txt"], [])


def test_what_pytorch_writes_by_itself_does_not_go_through_a_link(project, run, good):
    script = """
        import os, torch
        old = open("model.pt", "rb").read()
        torch.save({"w": torch.ones(3)}, "model.pt")
        assert torch.load("model.pt")["w"].sum() == 3
        os.chdir("data")
        torch.save(torch.ones(1), "x.csv")
    """
    ran = good(script)
    assert ran.found["written"] == ["data/x.csv", "model.pt"]
    assert ran.found["resumed"] == ["model.pt"]


def test_sandboxes_side_by_side_have_their_links_in_common_and_not_their_fate(project, tmp_path):
    (project / "photo.png").write_text("yours")
    one, other = (build(tmp_path / name, project) for name in ("one", "other"))
    assert (one.cwd / "photo.png").lstat().st_ino == (other.cwd / "photo.png").lstat().st_ino
    (one.cwd / "photo.png").unlink()
    (one.cwd / "photo.png").write_text("mine")
    assert (other.cwd / "photo.png").read_text() == (project / "photo.png").read_text() == "yours"
    sandbox_module.remove(sandbox_module.pool(tmp_path / "one"))
    assert (other.cwd / "photo.png").read_text() == "yours"
    assert (build(tmp_path / "third", project).cwd / "photo.png").read_text() == "yours"


def test_where_a_file_has_one_name_only_the_links_are_made_anew(project, tmp_path, monkeypatch):
    def link(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", link)
    for name in ("one", "other"):
        made = build(tmp_path / name, project)
        assert (made.cwd / "data" / "x.csv").readlink() == project / "data" / "x.csv"
