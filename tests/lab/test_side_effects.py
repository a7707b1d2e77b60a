"""What a script does besides training: told by a survey, plainly, with the line that does it."""

from __future__ import annotations

import pytest
import trials


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    top = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", trials.HERE)
        with trials.executor(top) as executor:
            yield executor, top


@pytest.fixture
def found(warm, tmp_path):
    folder = tmp_path / "home" / "project"
    folder.mkdir(parents=True)

    def found(text, **options):
        (outcome,) = warm[0].run([trials.order(folder, text, **{"plan": None, **options})])
        assert outcome.trial.status == "finished", trials.said(warm[1])
        return outcome.found

    return found


STARTS = {
    "a Python": ("subprocess.run([sys.executable, '-c', 'pass'])", "`python"),
    "a Python by the shell": ("subprocess.run('python -c pass', shell=True)", "`python -c pass`"),
    "a launcher": ("subprocess.run(['./torchrun', 'x.py'])", "`torchrun x.py`"),
    "os.system": ("os.system('python3 -c pass')", "`python3 -c pass`"),
    "a fork": ("os.waitpid(os.fork() or os._exit(0), 0)", "a process that it forks"),
    "a process of multiprocessing": ("multiprocessing.Process(target=print).start()", "a process that it forks"),
    "one that is spawned": (
        "p = multiprocessing.get_context('spawn').Process(target=print); p.start(); p.join()",
        "a process that multiprocessing spawns",
    ),
    "another program": ("subprocess.run(['echo', 'python'])", ""),
    "workers of a loader": (
        "from torch.utils.data import DataLoader; list(DataLoader(range(4), num_workers=2))",
        "",
    ),
}


@pytest.mark.parametrize("starts", STARTS)
def test_processes_in_which_a_script_may_train_are_reported_with_their_line(found, starts):
    code, what = STARTS[starts]
    text = f"""import multiprocessing, os, subprocess, sys
if __name__ == "__main__":
    if not os.path.exists("torchrun"):
        open("torchrun", "w").write("#!/bin/sh")
        os.chmod("torchrun", 0o700)
    {code}
"""
    children = found(text)["children"]
    assert [where for _, where in children] == (["train.py:6"] if what else [])
    assert all(said.startswith(what) for said, _ in children), children


def test_a_trial_is_not_listened_to(found):
    assert "children" not in found("import os\nos.waitpid(os.fork() or os._exit(0), 0)\n", plan={})


FETCHES = """
import os, sys
sys.audit("urllib.Request", "https://data.example.org/x.gz", None, {{}}, "GET")  # as urllib and requests raise them
sys.audit("socket.getaddrinfo", "{host}", 80, 0, 0, 0)
os.makedirs("data/raw")
open("data/raw/x", "wb").write(bytes({size}))
"""


@pytest.mark.parametrize(("size", "told"), [(2_000_000, True), (900_000, False)])
def test_data_that_each_trial_would_download_again_are_reported(found, size, told):
    remarks = found(FETCHES.format(host="127.0.0.1", size=size))["remarks"]
    assert len(remarks) == told
    if told:
        assert "The script contacted data.example.org, and wrote 2 MB of new files (data)." in remarks[0]
