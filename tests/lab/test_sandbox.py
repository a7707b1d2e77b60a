"""A trial sees what the user's folder holds, and cannot alter it: real runs of real scripts, in each of the three ways.

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
from relume.lab.trials.forked import OutputPlace
from relume.lab.trials.sandbox import root_of
from relume.lab.trials.spec import Script, TrialSpec

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


WAYS = {"overlay": "bodies", "landlock": "bodies_locked", "python": "bodies_mirrored", "linked": "bodies_linked"}
"""By way: the module of a server that goes it. "linked": as "landlock", with nothing copied but the script."""

MIRRORS = pytest.mark.parametrize("way", ["landlock", "python"], indirect=True)
OVERLAY = pytest.mark.parametrize("way", ["overlay"], indirect=True)
LINKED = pytest.mark.parametrize("way", ["linked"], indirect=True)


@pytest.fixture(params=["overlay", "landlock", "python"])
def way(request):
    """How this machine is asked to isolate; one that its kernel lacks is said by every trial, and fails here."""
    return request.param


@pytest.fixture(scope="module")
def executors(tmp_path_factory):
    """By way: a server of trials."""
    top = tmp_path_factory.mktemp("logs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", trials.HERE)
        made = {
            way: LocalExecutor(lambda _, way=way: OutputPlace(str(top / way)), jobs=1, body=f"{module}:plain")
            for way, module in WAYS.items()
        }
        yield made, top
        for executor in made.values():
            executor.close()


@pytest.fixture
def run(executors, project, way):
    """Runs a script as a trial, and holds that the user's files are as they were."""
    made, logs = executors

    def run(script, written=(), at=None, absolute=False, args=(), **options):
        file = (at or project) / "train.py"
        file.write_text(textwrap.dedent(script))
        before = state(project.parent)
        told = Script(str(file) if absolute else os.path.relpath(file, project), args, False, str(project))
        (outcome,) = made[way].run([TrialSpec(KEY, told, written=written, **options)])
        assert state(project.parent) == before, "the user's files were altered"
        assert trials.left(made[way]) == [], "something was left behind"
        return Ran(outcome, (logs / way).read_text())

    return run


@pytest.fixture
def good(run):
    def good(*args, **options):
        ran = run(*args, **options)
        assert ran.trial.status == "finished", f"{ran.trial.error}\n{ran.log}"
        return ran

    return good


def refused(ran):
    """Whether a script failed, as it may not write where it wrote."""
    return ran.trial.status == "failed" and "[Errno 13]" in ran.log


# ---- what it sees --------------------------------------------------------------------------------------------------


def test_a_trial_sees_the_files_next_to_it_and_above_it(project, good, way):
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
    assert (ran.told == str(project)) == (way == "overlay"), "an overlay is seen at the user's own path"
    assert ran.found["local"] == ["helper.py"]
    assert (ran.found["written"], ran.found["resumed"], ran.found["outside"]) == ([], [], [])


@LINKED
def test_large_files_and_folders_of_many_files_are_linked_and_the_script_is_a_copy(project, good):
    script = """
        import json, os
        from pathlib import Path
        print(json.dumps([name for name in sorted(os.listdir()) if os.path.islink(name)]))
        assert Path(__file__).resolve() == Path.cwd() / "train.py"
    """
    assert good(script).told == ["data", "log.txt", "model.pt"]


@pytest.mark.parametrize(("at_least", "copied"), [(0, 2), (60, 1)])
def test_copies_for_a_trial_are_bounded_in_size(tmp_path, project, at_least, copied):
    for number in range(5):
        (project / f"{number}.bin").write_bytes(bytes(40))
    code = f"""
import os, sys
from pathlib import Path
from relume.lab.trials import mirror
mirror.MOST, mirror.AT_LEAST = 100, {at_least}
os.chdir({str(tmp_path)!r})
made = mirror.Mirror.of(Path("work").absolute(), Path({str(project)!r}))
made.enter()
print(sum(not os.path.islink(name) for name in os.listdir() if name.endswith(".bin")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{copied}\n"


def test_files_of_an_earlier_trial_are_not_there(project, good):
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


def test_a_trial_does_not_see_the_study(project, executors, way):
    study = project / "relume-study"
    (study / "trials").mkdir(parents=True)
    (project / "train.py").write_text("import os\nprint(sorted(os.listdir()))\n")
    order = TrialSpec(KEY, Script("train.py", (), False, str(project)))
    executor = LocalExecutor(
        lambda _: OutputPlace(str(study / "trials" / "log"), str(study)), body=f"{WAYS[way]}:plain"
    )
    with executor:
        (outcome,) = executor.run([order])
    assert outcome.trial.status == "finished"
    assert "relume-study" not in (study / "trials" / "log").read_text()
    assert outcome.found["written"] == []


def test_the_project_is_protected_from_its_root(project):
    (project.parent / "pyproject.toml").write_text("")
    deep = project / "scripts" / "deep"
    deep.mkdir(parents=True)
    assert root_of(deep) == project.parent
    assert root_of(project) == project.parent
    assert root_of(project.parent.parent) == project.parent.parent.parent
    assert root_of(Path.home()) == Path.home()


def test_a_script_in_a_sibling_folder_writes_next_to_itself(project, good):
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


def test_a_script_in_the_folder_above_is_not_reported_as_written(project, good):
    assert good("print(1)", at=project.parent).found["written"] == []


def test_a_script_with_an_absolute_path_writes_next_to_itself_too(project, good):
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

WRITES = {
    "append to a log": ("open('log.txt', 'a').write('second')", ["log.txt"]),
    "write a log anew": ("open('log.txt', 'w').write('second')", ["log.txt"]),
    "write into the middle": ("f = open('log.txt', 'r+b'); f.seek(2); f.write(b'X'); f.close()", ["log.txt"]),
    "os.open": ("os.write(os.open('log.txt', os.O_WRONLY), b'X')", ["log.txt"]),
    "a new file": ("open('new.txt', 'x').write('new')", ["new.txt"]),
    "remove": ("os.remove('log.txt')", ["log.txt"]),
    "unlink": ("Path('data/x.csv').unlink()", ["data/x.csv"]),
    "replace": ("open('t', 'w').close(); os.replace('t', 'log.txt')", ["log.txt"]),
    "rename": ("os.rename('log.txt', 'old.txt')", ["log.txt", "old.txt"]),
    "rename a folder": ("os.rename('data', 'old'); open('old/x.csv', 'a').write('3')", ["data/x.csv", "old/x.csv"]),
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
        ["data/new.txt", "data/x.csv", "log.txt"],
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
    "by a link of the script's own": (
        "os.symlink('log.txt', 'latest'); open('latest', 'w').write('2')\n"
        "os.symlink(os.path.abspath('data'), 'there'); open('there/x.csv', 'a').write('2')",
        ["data/x.csv", "latest", "log.txt", "there"],
    ),
    "by a descriptor": ("f = open('log.txt'); open(f'/proc/self/fd/{f.fileno()}', 'w').write('2')", ["log.txt"]),
    "a folder taken away and made again": (
        "shutil.rmtree('data'); os.mkdir('data'); open('data/y.csv', 'w').write('1')",
        ["data/x.csv", "data/y.csv"],
    ),
    "a folder in the place of another": (
        "os.mkdir('new'); open('new/x.csv', 'w').write('1'); os.rename('data', 'old'); os.rename('new', 'data')",
        ["data/x.csv", "old/x.csv"],
    ),
}


@pytest.fixture(scope="module")
def plain():
    """By way: what plain Python leaves behind."""
    return {}


@pytest.mark.parametrize("writes", WRITES)
def test_every_way_of_writing_leaves_the_users_files_unchanged(project, good, plain, writes):
    """The files' contents in the trial are those of the same script in a copy of the folder."""
    code, written = WRITES[writes]
    ending = """
files = [p for p in sorted(top.rglob('*')) if p.is_file() and p.suffix in ('', '.txt', '.csv')]
found = {str(p.relative_to(top)): p.read_text() for p in files}
print(json.dumps(found))
"""
    script = "import json, os, shutil, sqlite3, threading\nfrom pathlib import Path\ntop = Path.cwd()\n" + code + ending
    ran = good(script)
    assert ran.found["written"] == written
    if writes not in plain:
        copy = shutil.copytree(project, project.parent.parent / "plain")
        done = subprocess.run([sys.executable, "train.py"], cwd=copy, capture_output=True, text=True, check=True)
        plain[writes] = json.loads(done.stdout)
    assert ran.told == plain[writes]


LARGE = {
    "at the end": ("open('log.txt', 'a').write('2')", "first\n2"),
    "anew": ("open('log.txt', 'w').write('2')", "2"),
    "by os.open": ("os.write(os.open('log.txt', os.O_RDWR), b'F')", "First\n"),
    "by a link of the script's own": ("os.symlink('log.txt', 'l'); open('l', 'w').write('2')", "2"),
    "its mode": ("os.chmod('log.txt', 0o600)", "first\n"),
    "its times": ("os.utime('log.txt', (1, 1))", "first\n"),
    "its length": ("os.truncate('log.txt', 2)", "fi"),
    "its name": ("os.rename('log.txt', 'old'); os.rename('old', 'log.txt')", "first\n"),
    "PyTorch": (
        "import torch; torch.save(1, 'log.txt'); open('log.txt', 'w').write(str(torch.ones(1)))",
        "tensor([1.])",
    ),
}


@LINKED
@pytest.mark.parametrize("writes", LARGE)
def test_a_large_file_that_python_changes_replaces_its_link(good, writes):
    code, content = LARGE[writes]
    ran = good(f"import json, os\n{code}\nprint(json.dumps(open('log.txt').read()))\n")
    assert ran.told == content


DENIED = {
    "C, a large file": C + "print(json.dumps(c.open(b'log.txt', os.O_WRONLY)))",
    "C, a large file's length": C + "print(json.dumps(c.truncate(b'log.txt', 1)))",
    "C, in a folder of many files": C + "print(json.dumps(c.open(b'data/y.csv', os.O_WRONLY | os.O_CREAT, 0o600)))",
    "C, another name for a large file": C + "print(json.dumps(c.linkat(-100, b'log.txt', -100, b'n', 0x400)))",
    "another program": "print(json.dumps(-(os.system('(echo 2 >> log.txt) 2> /dev/null') != 0)))",
}


@LINKED
@pytest.mark.parametrize("writes", DENIED)
def test_other_writes_through_a_link_are_denied_by_the_kernel(good, writes):
    assert good(f"import json, os\n{DENIED[writes]}\n").told == -1


@LINKED
def test_writing_in_a_folder_of_many_files_is_refused(project, run):
    ran = run("open('data/y.csv', 'w')\n")
    assert refused(ran), ran.log
    assert "relume keeps trials from changing this file" in ran.log
    assert all(refused(run(f"import os\n{code}\n")) for code in ("os.remove('data/x.csv')", "os.mkdir('data/new')"))


ABSOLUTE = {
    "a file": "open({log!r}, 'a').write('x')",
    "a resolved file": "from pathlib import Path; Path('log.txt').resolve().write_text('x'); open({log!r}, 'a')",
    "by the shell": "import os, sys; sys.exit(os.system('echo y >> {log}') != 0 and '[Errno 13]')",
    "removed": "import os; os.remove({log!r})",
    "moved": "import os; os.rename({log!r}, 'mine')",
    "made over": "import os; os.replace('train.py', {log!r})",
    "its mode": "import os; os.chmod({log!r}, 0o600)",
    "a new file": "open({log!r} + '2', 'w')",
    "a new folder": "import os; os.mkdir({log!r} + '2')",
    "a database": "import sqlite3; sqlite3.connect({log!r})",
}


@OVERLAY
@pytest.mark.parametrize("writes", ABSOLUTE)
def test_an_absolute_path_works_like_any_other(project, good, writes):
    good(ABSOLUTE[writes].format(log=str(project / "log.txt")))


@pytest.mark.parametrize(
    ("way", "writes"),
    [*(("landlock", w) for w in ABSOLUTE), *(("python", w) for w in ABSOLUTE if "shell" not in w)],
    indirect=["way"],
)
def test_a_path_that_leaves_the_mirror_cannot_change_the_users_files(project, run, writes):
    ran = run(ABSOLUTE[writes].format(log=str(project / "log.txt")))
    assert refused(ran), ran.log


@OVERLAY
def test_absolute_paths_among_the_arguments_are_not_redirected(project, good):
    (project / "out").mkdir()
    script = """
        import os, sys
        data, out, far = sys.argv[1], sys.argv[2].partition("=")[2], sys.argv[3]
        assert open(data + "/x.csv").read() == "1,2\\n"
        open(data + "/x.csv", "a").write("3")
        open(out + "/model", "w").write("x")
        assert far == "/usr" and sys.argv[4] == "data"
    """
    ran = good(script, args=(str(project / "data"), f"--out={project / 'out'}", "/usr", "data"))
    assert ran.found["written"] == ["data/x.csv", "out/model"]


def test_writes_outside_the_folder_are_reported(project, tmp_path, way, monkeypatch):
    (tmp_path / "temporary").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("PYTHONPATH", trials.HERE)
    elsewhere = str(tmp_path / "elsewhere" / "out")
    text = f"import os, tempfile\nopen({elsewhere!r}, 'w').close()\nos.remove({elsewhere!r})\ntempfile.mkstemp()\n"
    with trials.executor(tmp_path / "out", body=f"{WAYS[way]}:plain") as executor:
        (outcome,) = executor.run([trials.order(project, text, plan=None)])
    assert (outcome.trial.status, outcome.found["outside"]) == ("finished", [elsewhere])


# ---- checkpoints ---------------------------------------------------------------------------------------------------


def test_a_script_that_resumes_from_its_own_checkpoint_is_reported(project, run, good):
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
    assert ran.found["written"] == ["model.pt"]
    again = good(script, written=tuple(ran.found["written"]))
    assert again.found["resumed"] == []


def test_a_checkpoint_that_c_code_reads_is_reported(project, good):
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
    ran = good(script)
    assert ran.found["resumed"] == ran.found["written"] == ["last.h5"]


def test_a_file_that_was_opened_for_writing_but_not_changed_was_not_written(project, good):
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
    ran = good(script)
    assert (ran.found["written"], ran.found["resumed"]) == ([], [])


def test_a_checkpoint_that_does_not_exist_yet_is_not_resumed_from(project, good):
    script = """
        try:
            open("none.pt")
        except FileNotFoundError:
            open("none.pt", "w").write("x")
    """
    ran = good(script)
    assert (ran.found["written"], ran.found["resumed"]) == (["none.pt"], [])


def test_a_log_that_is_only_appended_to_is_not_a_checkpoint(project, run, good):
    ran = good("open('log.txt', 'a').write('x'); open('log.txt').read()\n")
    assert (ran.found["written"], ran.found["resumed"]) == (["log.txt"], [])


def test_files_that_pytorch_writes_by_itself_are_reported(good):
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
