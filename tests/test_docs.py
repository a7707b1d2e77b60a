"""The documentation is true: examples in docstrings, and every block of README.md and docs/.

``run_page.py`` does what a page shows, in a folder and a process of its own.
"""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import relume

ROOT = Path(__file__).parents[1]
RUNNER = Path(__file__).with_name("run_page.py")
FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "onnx")  # their docstrings are run in the folders of their tests
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "AGENTS.md", "llms.txt")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
TRAINING = """
import torch
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
def train(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        model(torch.randn(16, 4)).square().mean().backward()
        optimizer.step()
"""
EXTRAS = re.compile(r"pip install 'relume\[([^\]]+)\]'")
BEFORE = {"README.md": TRAINING, "find-dead-units.md": TRAINING}  # the names that a reader has already
SCRIPT = {"train.py": "examples/digits_mlp.py"}
SIMULATION = {path: path for path in ("tests/lab/simulate.py", "tests/lab/scenes.py", "tests/lab/world.py")}
FILES = {  # the files that a reader has already
    "README.md": SCRIPT | {"examples/digits_mlp.py": "examples/digits_mlp.py"},
    "cure-dead-units.md": {"examples/digits_mlp.py": "examples/digits_mlp.py"},
    "lab-statistics.md": SIMULATION,
    "watch-sparse-autoencoders.md": {"sparse_autoencoder.py": "examples/sparse_autoencoder.py"},
    **dict.fromkeys(
        (
            "AGENTS.md",
            "find-dead-units.md", "gate-ci.md", "choose-an-activation.md", "compare-on-many-machines.md",
            "say-which-metric.md", "settings.md",
        ),
        SCRIPT,
    ),
}  # fmt: skip
SLOW = {"compare-on-many-machines.md", "use-with-keras-and-jax.md", "use-with-your-trainer.md", "watch-under-ddp.md"}
"""Pages whose commands take half a minute each; what they show is tested in the folders of its subject, too."""


def modules():
    found = [m.name for m in pkgutil.walk_packages(relume.__path__, "relume.") if m.name != "relume.__main__"]
    return ["relume", *(name for name in found if not set(FRAMEWORKS) & set(name.split(".")))]


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings_work(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def run(page, tmp_path):
    for name, source in FILES.get(page.name, {}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, tmp_path / name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PATH": path}
    return subprocess.run(
        [sys.executable, str(RUNNER), str(page), BEFORE.get(page.name, "")],
        cwd=tmp_path,
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if page.name in SLOW else (), id=page.relative_to(ROOT).as_posix())
        for page in PAGES
        if "\n```" in page.read_text(encoding="utf-8")
    ],
)
def test_examples_of_a_page_run_and_give_the_output_shown(page, tmp_path):
    done = run(page, tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


TABLE = """```console
$ printf 'site  dead\\nrelu1 %s\\n\\nNext: relume\\n' 17
site   dead
relu1    55

Next: relume
```"""


def test_numbers_and_line_breaks_may_differ(tmp_path):
    assert show(TABLE, tmp_path).returncode == 0
    assert show(TABLE.replace("relu1    55\n\n", "…\n"), tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("site   dead", "site   lost"),
        ("\nrelu1", "\nrelu2"),
        ("\nNext: relume", "\nThen: relume"),
        ("Next: relume\n`", "Next: relume\nmore\n`"),
        ("relu1    55", "relu1"),
        ("Next: relume\n`", "`"),
    ],
)
def test_output_in_another_form_fails(was, becomes, tmp_path):
    done = show(TABLE.replace(was, becomes), tmp_path)
    assert done.returncode == 1
    assert "is shown to say" in done.stderr


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("```python\n1 / 0\n```", "ZeroDivisionError"),
        ("```pycon\n>>> 1 + 1\n3\n```", "Expected:\n    3\nGot:\n    2"),
        ("```sh\nls absent\n```", "ls absent"),
        ("```console\n$ ls absent\n```", "ls absent"),
        ("```toml\n[tool.relume\n```", "TOMLDecodeError"),
        ("```yaml\n- run: ls absent\n```", "ls absent"),
        ("```yaml\n- with: {path: absent}\n```", "uploads absent"),
        ("```sql\nCREATE TABEL a (b);\n```", "OperationalError"),
        ("```sh\necho 'exit 3' > job\nsbatch job\n```", "sbatch job"),
        ("```sh\nprintf '#SBATCH --array=1-2\\ntest $SLURM_ARRAY_TASK_ID = 1\\n' > job\nsbatch job\n```", "sbatch job"),
        ("```\nrelume list\n```", "Nobody runs a block of ''"),
        ("```text\n$ relume list\n```", "belongs into a block of console"),
    ],
)
def test_a_page_that_is_wrong_fails(block, says, tmp_path):
    done = show(block, tmp_path)
    assert done.returncode == 1
    assert says in done.stdout + done.stderr


def show(block, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"Text.\n\n{block}\n", encoding="utf-8")
    return run(page, tmp_path)


def test_install_commands_name_existing_extras():
    """pip itself only warns of one that is not known."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = [extra for page in PAGES for names in EXTRAS.findall(page.read_text("utf-8")) for extra in names.split(",")]
    assert {"torch", "lab", "ray", "report"} <= set(named) <= set(known)


def test_links_between_pages_lead_somewhere():
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http://", "https://")) and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_the_generated_reference_is_current():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/reference/generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    folder = ROOT / "docs/reference"
    stale = [name for name, text in generate.pages().items() if not _says(folder / name, text)]
    assert stale == [], "`make docs` writes them anew"
    known = {path.relative_to(folder).as_posix() for path in (folder / "activations").glob("*.md")}
    assert known == {name for name in generate.pages() if name.startswith("activations/")}


def _says(path, text):
    return path.exists() and path.read_text(encoding="utf-8") == text


def test_no_help_shows_the_marks_of_its_layout():
    assert "\\b" not in (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
