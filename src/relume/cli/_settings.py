"""Settings of a project: ``[tool.relume]`` and ``[tool.relume.<command>]`` in pyproject.toml.

The nearest pyproject.toml with such a table counts, from the working directory upwards. A command's own table overrides
[tool.relume]; the environment overrides both, and flags override everything.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from relume.errors import ParameterError, unknown_name


class Configured(click.Command):
    """A command whose options may be set in pyproject.toml, under their names without the dashes."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the arguments, with the project's settings as defaults."""
        if not {"-h", "--help"} & set(args):
            extra.setdefault("default_map", _settings(self, Path.cwd()))
        return super().make_context(info_name, args, parent, **extra)


def _settings(command: click.Command, folder: Path) -> dict[str, Any]:
    """The settings of a command, by its parameters' names.

    Raises: ParameterError: not TOML, or a setting of the wrong kind. UnknownName: no such setting.
    """
    file, table = _nearest(folder)
    options = {o.name: o for o in command.params if isinstance(o, click.Option) and o.name and _may_be_set(o)}
    found: dict[str, Any] = {}
    own = table.get(str(command.name), {})
    if not isinstance(own, dict):
        raise _unfit(file, str(command.name), own, "a table")
    general = {key: value for key, value in table.items() if not isinstance(value, dict)}
    for key, value in [*general.items(), *own.items()]:
        option = options.get(key.replace("-", "_"))
        if option is None and key in general and key.replace("-", "_") in _of_all_commands():
            continue
        if option is None:
            raise unknown_name("setting", key, _written(options))
        found[str(option.name)] = _value(option, key, value, file)
    return found


def _of_all_commands() -> set[str]:
    """The names of the settings that any command takes."""
    from relume.cli import COMMANDS

    commands = [importlib.import_module(f"relume.cli.{name}").command for name in COMMANDS]
    configured = [command for command in commands if isinstance(command, Configured)]
    return {str(o.name) for c in configured for o in c.params if isinstance(o, click.Option) and _may_be_set(o)}


def _may_be_set(option: click.Option) -> bool:
    """Flags for the output's reader, and ``-m``, make no sense as settings."""
    return option.name not in ("as_json", "github", "is_module")


def _written(names: Iterable[str | None]) -> list[str]:
    return [str(name).replace("_", "-") for name in names]


def _nearest(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The nearest pyproject.toml with a relume table, and that table; an empty table if no file has one."""
    import tomllib

    for place in (folder, *folder.parents):
        file = place / "pyproject.toml"
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError:
            continue
        except ValueError as error:
            raise ParameterError(
                f"{file.name} in {place} is not TOML ({error}). Correct it; `relume` reads [tool.relume] from it.",
                slug="settings",
            ) from error
        tool = data.get("tool")
        if isinstance(tool, dict) and "relume" in tool:
            if not isinstance(tool["relume"], dict):
                raise _unfit(file, "relume", tool["relume"], "a table")
            return file, tool["relume"]
    return folder, {}


def _value(option: click.Option, key: str, value: Any, file: Path) -> Any:
    """A setting, checked here, so that the message names the file."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise _unfit(file, key, value, "true or false")
        return value
    if option.multiple:
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
            raise _unfit(file, key, value, "a text or a list of texts")
        return values
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _unfit(file, key, value, "a number or a text")
    try:
        option.type.convert(str(value), option, None)
    except click.BadParameter as error:
        raise ParameterError(f"{key} in {file}: {error.message}", slug="settings") from error
    return str(value)


def _unfit(file: Path, key: str, got: object, expected: str) -> ParameterError:
    return ParameterError(f"{key} in [tool.relume] of {file} is {got!r}; expected {expected}.", slug="settings")
