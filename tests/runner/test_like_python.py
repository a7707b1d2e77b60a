"""``relume run`` is ``python``: the same script under both, compared byte for byte.

Each script is run by ``python`` and by ``relume run`` in the same folder. Exit status and stdout must be equal; stderr
must be equal once relume's own block, which comes behind the script's last word, is cut out.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path

import pytest

from relume.artifacts.reader import read

RELUME = [Path(sys.executable).with_name("relume"), "run"]
MODULE = [sys.executable, "-m", "relume", "run"]
BLOCK = re.compile(rb"\nrelume \xe2\x86\x92 [^\n]*\nNo activation was watched\.[^\n]*\n(?: [^\n]*\n)*")
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "PYTHONHASHSEED": "0"}
ENV.pop("PYTHONUNBUFFERED", None)


def call(command, folder, **options):
    return subprocess.run(command, cwd=folder, env=ENV, capture_output=True, timeout=120, **options)


def put(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())


def both(folder, *command, clean=lambda text: text, **options):
    """Run a command line by python and by relume; returns python's result, relume's, and relume's block."""
    python = call([sys.executable, *command], folder, **options)
    relume = call([*RELUME, "--out", str(folder / "t.relume"), *command], folder, **options)
    blocks = BLOCK.findall(relume.stderr)
    relume.stderr = BLOCK.sub(b"", relume.stderr)
    assert clean(relume.stdout) == clean(python.stdout)
    assert clean(relume.stderr) == clean(python.stderr)
    assert relume.returncode == python.returncode
    assert b"relume" not in relume.stderr.replace(str(folder).encode(), b"")
    return python, blocks


SCRIPTS = {
    "imports nothing": "x = 1\n",
    "is empty": "",
    "names and places": """
        \"\"\"The doc.\"\"\"
        import sys
        print(__name__, __file__, __doc__, __package__, __cached__, __annotations__, __builtins__)
        print(type(__loader__).__name__, getattr(__loader__, "name", None), getattr(__loader__, "path", None))
        print(__spec__ and (__spec__.name, __spec__.origin, __spec__.parent, __spec__.loader is __loader__))
        print(sorted(globals()))
        print(sys.argv, sys.path[0], sys.modules["__main__"].__dict__ is globals())
        print(len([p for p in sys.path if p == sys.path[0]]))
    """,
    "annotations grow": "a: int = 1\nprint(__annotations__)\n",
    "if main": "if __name__ == '__main__':\n    print('main')\n",
    "exit none": "import sys; print('a'); sys.exit()",
    "exit 0": "import sys; sys.exit(0)",
    "exit 3": "import sys; print('a', file=sys.stderr); sys.exit(3)",
    "exit true": "import sys; sys.exit(True)",
    "exit text": "import sys; sys.exit('some text')",
    "exit 300": "import sys; sys.exit(300)",
    "exit -1": "import sys; sys.exit(-1)",
    "exit 256": "import sys; sys.exit(256)",
    "exit tuple": "import sys; sys.exit((1, 2))",
    "exit bare": "raise SystemExit",
    "builtin exit": "exit(4)",
    "error": """
        def inner(n):
            return 1 / n

        def outer():
            return inner(0)

        outer()
    """,
    "error on an expression of several lines": "x = [\n    1,\n    int('no'),\n]\n",
    "error with a cause": """
        try:
            try:
                {}["absent"]
            except KeyError as error:
                raise ValueError("second") from error
        except ValueError:
            raise RuntimeError("third")
    """,
    "error group": "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])",
    "error with notes": "e = ValueError('x'); e.add_note('a note'); raise e",
    "error whose str fails": """
        class Bad(Exception):
            def __str__(self):
                raise RuntimeError("no text")
        raise Bad
    """,
    "error in an imported module": "import other\n",
    "import of an absent module": "import absent_module_of_nobody\n",
    "keyboard interrupt raised": "print('before')\nraise KeyboardInterrupt\n",
    "keyboard interrupt of a subclass": "class Mine(KeyboardInterrupt): pass\nraise Mine('x')\n",
    "keyboard interrupt with atexit": """
        import atexit, sys
        atexit.register(print, "at exit")
        atexit.register(print, "at exit, on stderr", file=sys.stderr)
        raise KeyboardInterrupt
    """,
    "keyboard interrupt by a real signal": """
        import os, signal, time
        print("waiting")
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)
    """,
    "signal handled": """
        import os, signal
        signal.signal(signal.SIGINT, lambda *a: print("caught"))
        os.kill(os.getpid(), signal.SIGINT)
    """,
    "death by sigterm": "import os, signal\nprint('x', flush=True)\nos.kill(os.getpid(), signal.SIGTERM)\n",
    "custom excepthook": """
        import sys, traceback
        def hook(kind, error, trace):
            print("hook:", kind.__name__, error, error.__traceback__ is trace)
            print([frame.name for frame in traceback.extract_tb(trace)])
        sys.excepthook = hook
        def f():
            raise ValueError("x")
        f()
    """,
    "excepthook that fails": """
        import sys
        def hook(kind, error, trace):
            raise RuntimeError("the hook")
        sys.excepthook = hook
        raise ValueError("x")
    """,
    "excepthook that exits": """
        import sys
        def hook(kind, error, trace):
            sys.exit(9)
        sys.excepthook = hook
        raise ValueError("x")
    """,
    "sys.last_value at exit": """
        import atexit, sys
        atexit.register(lambda: print(sys.last_type, repr(sys.last_value), sys.last_traceback.tb_lineno))
        raise ValueError("x")
    """,
    "thread that outlives main": """
        import threading, time
        def work():
            time.sleep(0.3)
            print("thread done")
        threading.Thread(target=work).start()
        print("main done")
    """,
    "thread that outlives an error": """
        import threading, time
        def work():
            time.sleep(0.2)
            print("thread done")
        threading.Thread(target=work).start()
        1 / 0
    """,
    "thread that fails": """
        import threading
        def work():
            raise ValueError("in a thread")
        t = threading.Thread(target=work, name="T")
        t.start()
        t.join()
    """,
    "daemon thread": """
        import threading, time
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        print("done")
    """,
    "thread pool that is never shut down": """
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(2)
        print(pool.submit(pow, 2, 5).result())
    """,
    "at exit": """
        import atexit, sys
        atexit.register(print, "first registered")
        atexit.register(print, "on stderr", file=sys.stderr)
        print("main done")
    """,
    "destructor at the end": """
        class Thing:
            def __del__(self):
                print("gone")
        thing = Thing()
    """,
    "fork, child exits": """
        import os, sys
        if os.fork() == 0:
            print("child", flush=True)
            sys.exit(5)
        print("status", os.waitstatus_to_exitcode(os.wait()[1]))
    """,
    "fork, child exits hard": """
        import os
        if os.fork() == 0:
            os._exit(6)
        print("status", os.waitstatus_to_exitcode(os.wait()[1]))
    """,
    "fork, child fails": """
        import os
        if os.fork() == 0:
            raise ValueError("in the child")
        print("status", os.waitstatus_to_exitcode(os.wait()[1]))
    """,
    "fork, child runs off the end": """
        import os
        if os.fork() == 0:
            print("child", flush=True)
        else:
            print("status", os.waitstatus_to_exitcode(os.wait()[1]))
    """,
    "pool by fork": """
        import multiprocessing, os
        def double(x):
            return 2 * x
        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(pool.map(double, range(5)))
    """,
    "pool by spawn": """
        import multiprocessing, sys
        def told(x):
            return x, __name__, sys.argv[1:], sys.modules["__main__"].told is told
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(told, range(3)))
    """,
    "process by spawn that fails": """
        import multiprocessing, sys
        def fail():
            sys.exit(3)
        if __name__ == "__main__":
            p = multiprocessing.get_context("spawn").Process(target=fail)
            p.start()
            p.join()
            print(p.exitcode)
    """,
    "pickle of an own class": """
        import pickle
        class Point:
            def __init__(self, x):
                self.x = x
        text = pickle.dumps(Point(3), 0)
        print(text, pickle.loads(text).x, type(pickle.loads(text)) is Point)
    """,
    "own source": """
        import inspect, sys
        def f():
            return 1  # a comment
        print(inspect.getsource(f), inspect.getsource(sys.modules["__main__"])[:30], inspect.getfile(f))
    """,
    "chdir": "import os, tempfile\nos.chdir(tempfile.gettempdir())\nprint('there')\n",
    "closes stdout": "import sys\nprint('x')\nsys.stdout.close()\n",
    "closes descriptor 1": "import os\nprint('x', flush=True)\nos.close(1)\n",
    "closes descriptor 1 with text in the buffer": "import os\nprint('x')\nos.close(1)\n",
    "replaces stdout": "import io, sys\nprint('x')\nsys.stdout = io.StringIO()\nprint('y')\n",
    "replaces argv": "import sys\nsys.argv = ['me', 'too']\nprint(sys.argv)\n",
    "deletes its main module": "import sys\ndel sys.modules['__main__']\nprint('x')\n",
    "replaces its main module": "import sys\nsys.modules['__main__'] = sys\nprint(__name__)\n",
    "warnings": """
        import warnings
        warnings.warn("mine")
        warnings.warn("old", DeprecationWarning)
    """,
    "byte order mark": b"\xef\xbb\xbfprint('\xc3\xa9')\n",
    "encoding cookie": b"# -*- coding: latin-1 -*-\nprint('\xe9')\n",
    "carriage returns": b"x = '''a\r\nb'''\r\nprint(repr(x))\r\nif x:\r\n    raise ValueError\r\n",
    "future statement": "from __future__ import annotations\nx: absent = 1\nprint(__annotations__)\n",
    "hash bang": "#!/usr/bin/env python\nprint('x')\n",
    "own statistics module": "import statistics, queue\nprint(statistics.MINE, queue.MINE)\n",
    "random stream": "import random\nrandom.seed(1)\nprint(random.random())\n",
    "excepthook on interrupt": """
        import sys
        sys.excepthook = lambda *what: print("hook", what[0])
        raise KeyboardInterrupt
    """,
    "looks for torch and does without": """
        import importlib.util, sys
        spec = importlib.util.find_spec("torch")
        print(spec.name, spec.origin, spec.loader.get_filename("torch"), spec.loader.is_package("torch"))
        print("torch" in sys.modules)
    """,
    "reads stdin": "import sys\nprint(input(), sys.stdin.read())\n",
}
BESIDE = {
    "other.py": "def f():\n    raise ValueError('at import')\nf()\n",
    "statistics.py": "MINE = 'mine'\n",
    "queue.py": "MINE = 'mine'\n",
}
UNENDED = {"death by sigterm"}  # nobody is asked before such a death
UNKNOWN = {"closes descriptor 1 with text in the buffer"}  # python alters the status in its very last flush


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_the_same_under_both(tmp_path, name):
    put(tmp_path, {"x.py": SCRIPTS[name]})
    if "module" in name:
        put(tmp_path, BESIDE)
    python, blocks = both(tmp_path, "x.py", "one", "two", input=b"line 1\nline 2\nline 3")
    recording = read(tmp_path / "t.relume")
    if name in UNENDED:
        assert blocks == []
        assert "finished" not in recording.meta
        return
    assert len(blocks) == 1
    assert recording.meta["exit"] == (0 if name in UNKNOWN else python.returncode)
    assert recording.meta["finished"] is True
    assert recording.meta["script"] == "x.py"
    assert recording.meta["argv"] == ["one", "two"]
    assert {path.name for path in tmp_path.glob("t.relume*")} == {"t.relume"}


def test_the_documented_exit_statuses_are_the_tested_ones(tmp_path):
    """The table compares with python; a table on which python itself always exits 0 would prove little."""
    wanted = {"exit 3": 3, "exit 300": 44, "exit -1": 255, "exit text": 1, "error": 1, "keyboard interrupt raised": -2}
    for name, status in wanted.items():
        put(tmp_path, {"x.py": SCRIPTS[name]})
        assert call([sys.executable, "x.py"], tmp_path).returncode == status


@pytest.mark.parametrize(
    "script", ["sub/x.py", "./sub/x.py", "sub/../sub/x.py", "link.py", "sub", "./sub", "sub/", "app.pyz"]
)
def test_script_is_found_as_python_finds_it(tmp_path, script):
    text = textwrap.dedent(SCRIPTS["names and places"]) + "import neighbour\nprint(neighbour.__file__)\n"
    put(tmp_path, {"sub/x.py": text, "sub/__main__.py": text, "sub/neighbour.py": ""})
    (tmp_path / "link.py").symlink_to("sub/x.py")
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.write(tmp_path / "sub/__main__.py", "__main__.py")
        archive.write(tmp_path / "sub/neighbour.py", "neighbour.py")
    python, blocks = both(tmp_path, script, "a")
    assert python.returncode == 0, python.stderr
    assert len(blocks) == 1


def test_script_by_its_absolute_path(tmp_path):
    put(tmp_path, {"sub/x.py": SCRIPTS["names and places"]})
    both(tmp_path, str(tmp_path / "sub/x.py"))


def test_script_by_a_path_through_the_parent(tmp_path):
    put(tmp_path, {"sub/x.py": SCRIPTS["names and places"]})
    (tmp_path / "here").mkdir()
    both(tmp_path / "here", "../sub/x.py")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "mine"],
        ["-m"],
        ["--help"],
        ["--"],
        ["--", "a", "--"],
        ["-q"],
        ["--budget=9"],
        ["", " ", "a b"],
        ["-"],
        ["é"],
    ],
    ids=str,
)
def test_arguments_after_the_script_belong_to_the_script(tmp_path, arguments):
    put(tmp_path, {"x.py": "import sys\nprint(sys.argv)\n"})
    both(tmp_path, "x.py", *arguments)


def test_arguments_that_are_not_text(tmp_path):
    put(tmp_path, {"x.py": "import os, sys\nprint(os.fsencode(sys.argv[1]))\n"})
    both(tmp_path, "x.py", b"\xff\xfe")


# ---- python -m ----

FACTS = """
    import sys
    print(__name__, __file__, __spec__.name, __spec__.origin, repr(__package__), __cached__, sys.argv, sys.path[0])
    print(sys.modules["__main__"].__dict__ is globals(), __loader__ is __spec__.loader, sorted(globals()))
"""
PACKAGE = {
    "single.py": FACTS,
    "pkg/__init__.py": "import sys\nprint('pkg imported', sys.argv)\n",
    "pkg/__main__.py": FACTS,
    "pkg/tool.py": textwrap.dedent(FACTS) + "from . import helper\nfrom .helper import word\nprint(word)\n",
    "pkg/helper.py": "word = 'helped'\n",
    "pkg/fails.py": "def f():\n    raise ValueError('x')\nf()\n",
    "pkg/leaves.py": "import sys\nsys.exit(7)\n",
    "pkg/interrupts.py": "raise KeyboardInterrupt\n",
    "pkg/spawns.py": """
        import multiprocessing
        def f(x):
            return x, __name__
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(f, [1, 2]))
                pool.close()
                pool.join()  # a pool that is torn down loses what its worker has not flushed
    """,
    "broken/__init__.py": "import absent_dependency\n",
    "broken/tool.py": "print('never')\n",
    "raising/__init__.py": "raise ValueError('at import')\n",
    "raising/tool.py": "",
    "leaving/__init__.py": "import sys\nsys.exit(3)\n",
    "leaving/tool.py": "",
    "early/__init__.py": "from . import tool\n",
    "early/tool.py": "print(__name__)\n",
    "space/tool.py": FACTS,
}


def without_runpy(text):
    """Python shows how ``-m`` came to the module; relume has no such frames to show."""
    return re.sub(rb'  File "<frozen runpy>", line \d+, in \w+\n', b"", text)


@pytest.mark.parametrize(
    "module",
    [
        "single",
        "pkg",
        "pkg.tool",
        "pkg.fails",
        "pkg.leaves",
        "pkg.interrupts",
        "pkg.spawns",
        "early.tool",
        "space.tool",
    ],
)
def test_module_is_the_same_under_both(tmp_path, module):
    put(tmp_path, PACKAGE)
    _, blocks = both(tmp_path, "-m", module, "a", "--out", "b", clean=without_runpy)
    assert len(blocks) == 1


@pytest.mark.parametrize("module", ["broken.tool", "raising.tool", "leaving.tool"])
def test_module_in_a_package_that_fails_on_import_ends_as_under_python(tmp_path, module):
    put(tmp_path, PACKAGE)
    python, _ = both(tmp_path, "-m", module, clean=without_runpy)
    assert python.returncode in (1, 3)


# ---- hard exits and closed streams ----


def test_hard_exit_keeps_the_status_the_summary_and_the_recording(tmp_path):
    put(tmp_path, {"x.py": "import os\nprint('said', flush=True)\nprint('in the buffer')\nos._exit(7)\n"})
    python, blocks = both(tmp_path, "x.py")
    assert python.returncode == 7
    assert python.stdout == b"said\n"
    assert len(blocks) == 1
    assert read(tmp_path / "t.relume").meta["exit"] == 7


def test_hard_exit_by_its_imported_name_and_from_a_thread(tmp_path):
    put(
        tmp_path,
        {
            "x.py": """
                import threading, time
                from os import _exit
                threading.Thread(target=lambda: _exit(8)).start()
                time.sleep(20)
            """
        },
    )
    python, blocks = both(tmp_path, "x.py")
    assert python.returncode == 8
    assert len(blocks) == 1


@pytest.mark.parametrize("stream", [1, 2])
@pytest.mark.parametrize("text", ["print('x')\n", "import sys\nprint('x')\nsys.exit('text')\n", "1 / 0\n"])
def test_started_with_a_closed_stream(tmp_path, stream, text):
    put(tmp_path, {"x.py": text})

    def shell(*command):
        return call(["sh", "-c", f'"$@" {stream}>&-', "sh", *command], tmp_path)

    python = shell(sys.executable, "x.py")
    relume = shell(*RELUME, "--out", "t.relume", "x.py")
    assert relume.stdout == python.stdout
    assert BLOCK.sub(b"", relume.stderr) == python.stderr
    assert relume.returncode == python.returncode
    assert read(tmp_path / "t.relume").meta["finished"] is True


@pytest.mark.parametrize(
    "text",
    [
        "import sys\nsys.stderr.close()\n",
        "import os\nos.close(2)\n",
        "import os\nos.close(2)\nos._exit(4)\n",
        "import sys\nsys.stderr = None\n",
    ],
)
def test_script_that_closes_stderr_keeps_its_status_and_recording(tmp_path, text):
    put(tmp_path, {"x.py": "print('x', flush=True)\n" + text})
    python = call([sys.executable, "x.py"], tmp_path)
    relume = call([*RELUME, "--out", "t.relume", "x.py"], tmp_path)
    assert relume.returncode == python.returncode
    assert relume.stdout == python.stdout
    assert b"Traceback" not in relume.stderr
    assert read(tmp_path / "t.relume").meta["finished"] is True


@pytest.mark.parametrize("status", [0, 3])
def test_a_reader_of_stderr_that_went_away_alters_neither_status_nor_stdout(tmp_path, status):
    put(tmp_path, {"x.py": f"import atexit, sys\natexit.register(print, 'at exit')\nprint('x')\nsys.exit({status})\n"})
    for way in ([sys.executable], RELUME):
        reader, writer = os.pipe()
        os.close(reader)
        try:
            done = subprocess.run(
                [*way, "x.py"], cwd=tmp_path, env=ENV, stderr=writer, stdout=subprocess.PIPE, timeout=60
            )
        finally:
            os.close(writer)
        assert done.returncode == status
        assert done.stdout == b"x\nat exit\n"
    assert read(tmp_path / "run.relume").meta["exit"] == status


def test_summary_comes_after_all_output_of_the_script(tmp_path):
    put(tmp_path, {"x.py": "import sys\nprint('a' * 3000)\nprint('err', file=sys.stderr)\n"})
    done = subprocess.run([*RELUME, "x.py"], cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.stdout.index(b"aaa") < done.stdout.index(b"No activation was watched")
    assert done.stdout.index(b"err") < done.stdout.index(b"No activation was watched")


def test_summary_comes_after_a_thread_that_outlives_main(tmp_path):
    put(tmp_path, {"x.py": SCRIPTS["thread that outlives main"]})
    done = subprocess.run([*RELUME, "x.py"], cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.stdout.index(b"thread done") < done.stdout.index(b"No activation was watched")


def test_hard_exit_at_exit_brings_no_second_summary(tmp_path):
    put(tmp_path, {"x.py": "import atexit, os\natexit.register(os._exit, 5)\n"})
    python, blocks = both(tmp_path, "x.py")
    assert python.returncode == 5
    assert len(blocks) == 1
    assert read(tmp_path / "t.relume").meta["exit"] == 0


# ---- signals from outside ----


LISTENING = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
"""Starts a program that SIGINT reaches: what is started in the background inherits that it is ignored."""


@pytest.mark.parametrize("way", ["python", "relume"])
def test_interrupt_from_outside_dies_by_the_signal(tmp_path, way):
    put(tmp_path, {"x.py": "import time\nprint('ready', flush=True)\ntime.sleep(30)\n"})
    command = [sys.executable] if way == "python" else [*RELUME, "--out", "t.relume"]
    with subprocess.Popen(
        [sys.executable, "-c", LISTENING, *command, "x.py"],
        cwd=tmp_path,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert stdout == b""
    stderr = BLOCK.sub(b"", stderr).decode()
    assert stderr == (
        f'Traceback (most recent call last):\n  File "{tmp_path}/x.py", line 3, in <module>\n    time.sleep(30)\n'
        "KeyboardInterrupt\n"
    )
    if way == "relume":
        assert read(tmp_path / "t.relume").meta["exit"] == -signal.SIGINT


# ---- the recording's place, and the two ways to call ----


def test_recording_is_written_to_the_given_path_although_the_script_changes_folder(tmp_path):
    put(tmp_path, {"x.py": "import os\nos.makedirs('away')\nos.chdir('away')\n"})
    done = call([*RELUME, "--out", "t.relume", "x.py"], tmp_path)
    assert b"No activation was watched" in done.stderr
    assert read(tmp_path / "t.relume").meta["finished"] is True
    assert list((tmp_path / "away").iterdir()) == []


def test_without_out_the_recording_is_run_relume(tmp_path):
    put(tmp_path, {"sub/x.py": ""})
    call([*RELUME, "sub/x.py"], tmp_path)
    assert read(tmp_path / "run.relume").meta["script"] == "sub/x.py"


def test_console_command_and_module_are_the_same(tmp_path):
    put(tmp_path, {"x.py": textwrap.dedent(SCRIPTS["names and places"]) + "raise ValueError('x')\n"})
    ours = call([*RELUME, "--out", "t.relume", "x.py", "a"], tmp_path)
    module = call([*MODULE, "--out", "t.relume", "x.py", "a"], tmp_path)
    assert (ours.returncode, ours.stdout, ours.stderr) == (module.returncode, module.stdout, module.stderr)
    assert ours.returncode == 1
    python = call([sys.executable, "x.py", "a"], tmp_path)
    assert ours.stdout == python.stdout


def test_quiet_prints_nothing_and_records(tmp_path):
    put(tmp_path, {"x.py": "print('x')\n"})
    done = call([*RELUME, "-q", "x.py"], tmp_path)
    assert (done.stdout, done.stderr) == (b"x\n", b"")
    assert read(tmp_path / "run.relume").meta["finished"] is True


def test_own_modules_that_share_the_names_of_relumes_do_not_spoil_the_summary(tmp_path):
    names = (
        "rich.py",
        "terminal.py",
        "judge.py",
        "statistics.py",
        "json/__init__.py",
        "inspect.py",
        "numpy/__init__.py",
    )
    put(
        tmp_path,
        {"x.py": "import statistics, json\nprint(statistics.__file__, json.__file__)\n", **dict.fromkeys(names, "")},
    )
    _, blocks = both(tmp_path, "x.py")
    assert len(blocks) == 1


def test_python_options_apply_under_relume(tmp_path):
    put(
        tmp_path,
        {"x.py": "import sys, warnings\nprint(sys.flags.optimize, __debug__, sys.path[0])\nwarnings.warn('x')\n"},
    )
    for options in (["-O"], ["-W", "ignore"], ["-W", "error"], ["-X", "dev"], ["-P"]):
        python = call([sys.executable, *options, "x.py"], tmp_path)
        relume = call([sys.executable, *options, *MODULE[1:], "x.py"], tmp_path)
        if "-P" in options:  # no folder of the script's on the path: what is first is the installation's
            python.stdout = relume.stdout = b""
        assert relume.stdout == python.stdout, options
        assert BLOCK.sub(b"", relume.stderr) == python.stderr, options
        assert relume.returncode == python.returncode, options


@pytest.mark.parametrize(
    "text", ["import sys\nprint('never'\n", "x = = 1\n", "return 1\n", "a\0b\n", b"\xff\xfe\x00binary"]
)
def test_a_file_that_is_not_python_prints_nothing_on_stdout_and_fails_under_both(tmp_path, text):
    """A stated difference: python shows the line and exits 1; relume says one paragraph and exits 4."""
    put(tmp_path, {"x.py": text})
    assert call([sys.executable, "x.py"], tmp_path).returncode == 1
    done = call([*RELUME, "x.py"], tmp_path)
    assert done.returncode == 4
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "run.relume").exists()
