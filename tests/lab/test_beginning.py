"""What a script imports first: read from its text, up to where anything else may matter."""

from __future__ import annotations

import textwrap

import pytest

from relume.lab.trials.beginning import first_imports
from relume.lab.trials.spec import Script

TEXTS = {
    "all of its imports": (
        "'''A script.'''\nimport torch.nn.functional as F, numpy\nfrom sklearn.datasets import load_digits\nx = 1\n",
        ("torch.nn.functional", "numpy", "sklearn.datasets"),
    ),
    "none behind a library that may do something with the framework": (
        "import torch\nimport torchvision\nimport json\n",
        ("torch",),
    ),
    "none behind a statement": ("import os\nos.environ['A'] = 'b'\nimport torch\n", ("os",)),
    "none in a try": ("import os\ntry:\n    import torch\nexcept ImportError:\n    pass\nimport json\n", ("os",)),
    "none in an if": ("if True:\n    import torch\nimport json\n", ()),
    "none behind a module of the user's": ("import os\nimport tqdm\nimport json\n", ("os",)),
    "none behind a package of the user's": ("import json\nfrom yaml.part import x\nimport os\n", ("json",)),
    "none behind a relative one": ("import json\nfrom . import x\nimport os\n", ("json",)),
    "none of what is no Python": ("import json\ndef\n", ()),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tqdm.py").write_text("")
    for name in ("package", "yaml"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize("what", TEXTS)
def test_accepted_targets(folder, what):
    text, expected = TEXTS[what]
    (folder / "train.py").write_text(textwrap.dedent(text))
    assert first_imports(Script("train.py", (), False, str(folder))) == expected


@pytest.mark.parametrize(
    ("file", "script", "is_module"),
    [
        ("package/train.py", "package/train.py", False),
        ("package/__main__.py", "package", False),
        ("package/train.py", "package.train", True),
        ("package/__main__.py", "package", True),
    ],
)
def test_a_module_is_found_on_pythons_path(folder, file, script, is_module):
    (folder / file).write_text("import json\n")
    assert first_imports(Script(script, (), is_module, str(folder))) == ("json",)


def test_a_target_that_cannot_be_found_is_recorded_as_absent(folder):
    assert first_imports(Script("absent.py", (), False, str(folder))) == ()
    assert first_imports(Script("json.tool", (), True, str(folder))) == ()
