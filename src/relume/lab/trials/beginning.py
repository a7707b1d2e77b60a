"""What a script imports before it does anything else, read from its text without running it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from relume.framework import FRAMEWORKS
from relume.lab.trials.spec import Script

_WITHOUT_FRAMEWORK = frozenset("numpy scipy pandas sklearn matplotlib seaborn PIL h5py tqdm yaml".split())
"""Libraries that import no framework. Others may compile, script or store it, which a survey must see."""

_PLAIN = _WITHOUT_FRAMEWORK | sys.stdlib_module_names | {each.package for each in FRAMEWORKS if each.trials is not None}


def first_imports(script: Script) -> tuple[str, ...]:
    """The modules that a script imports first: frameworks, and libraries independent of them.

    It stops at the first other statement, as later ones may depend on it: setting ``os.environ``, changing
    ``sys.path``, importing the user's module, or a library that must precede the framework.

    Returns: nothing if the text cannot be read; the first run reports what is wrong with it.
    """
    folder, file = _source(script)
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return ()
    return tuple(_imported(body, folder))


def _source(script: Script) -> tuple[Path, Path]:
    """The folder that Python would put first on its path, and the file it would run."""
    folder = Path(script.folder)
    if not script.is_module:
        file = folder / script.script
        return (file, file / "__main__.py") if file.is_dir() else (file.resolve().parent, file)
    package = folder.joinpath(*script.script.split("."))
    return folder, package / "__main__.py" if package.is_dir() else package.with_name(f"{package.name}.py")


def _imported(body: list[ast.stmt], folder: Path) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and not statement.level:
            names = [str(statement.module)]
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):  # the docstring
            continue
        else:
            return
        for name in names:
            top = name.partition(".")[0]
            if top not in _PLAIN or (folder / top).exists() or (folder / f"{top}.py").exists():
                return
            yield name
