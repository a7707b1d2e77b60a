"""What a script imports before it does anything else, read from its text: nothing of it is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from relume.lab.trials.order import Script


def first_imports(script: Script) -> tuple[str, ...]:
    """The modules that a script begins by importing, up to its first statement that is anything else.

    What comes behind that may depend on it, as on ``os.environ`` or ``sys.path``; a module beside the script, which is
    the user's code, is such a statement, too.

    Returns: none where the text cannot be read; the first run will say what is wrong with it.
    """
    folder, file = _source(script)
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return ()
    return tuple(_imported(body, folder))


def _source(script: Script) -> tuple[Path, Path]:
    """The folder that Python would put first on its path, and the file that it would run."""
    folder = Path(script.folder)
    if not script.is_module:
        file = folder / script.script
        return (file, file / "__main__.py") if file.is_dir() else (file.parent, file)
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
            top = folder / name.partition(".")[0]
            if top.exists() or top.with_name(f"{top.name}.py").exists():
                return
            yield name
