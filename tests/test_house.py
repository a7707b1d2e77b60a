"""What holds of the whole house: every file is listed, every public name described, and nothing heavy loaded unasked.

That every file of ``activations/`` is listed is tested in ``activations/test_catalogue_of_definitions.py``, that
examples know nothing of relume in ``examples/test_examples.py``, what ``import relume`` and ``relume --help`` load in
``cli/test_run.py``, the arrows by import-linter.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import relume
from relume.activations import ACTIVATIONS
from relume.cli import COMMANDS
from relume.doctor.cures import CURES
from relume.doctor.rules import RULES
from relume.page.contents import CHOSEN

SRC = Path(relume.__file__).parent
MOST_LINES = 400
HEADINGS = ["What it finds", "Why it hurts", "Evidence", "False alarms", "Cure and its safety", "Sources"]
PUBLIC = ("relume", "relume.api", "relume.numpy", "relume.activations")
HEAVY = {"torch", "tensorflow", "keras", "jax", "jaxlib", "onnx", "onnxruntime", "scipy", "ray", "altair", "sklearn"}
HEAVY |= {"lightning", "pytorch_lightning", "transformers", "accelerate", "tensorboard", "mlflow", "wandb"}
NETWORK = {"socket", "ssl", "http", "urllib", "ftplib", "smtplib", "xmlrpc", "socketserver", "asyncio", "webbrowser"}
NETWORK |= {"requests", "httpx", "aiohttp", "urllib3"}


def stems(folder, *helpers):
    return {path.stem for path in (SRC / folder).glob("*.py") if not path.name.startswith("_")} - set(helpers)


# ---- lists ---------------------------------------------------------------------------------------------------------


def test_every_file_of_the_rules_is_listed():
    listed = {rule.name for rule in RULES}
    assert stems("doctor/rules", "rule", "words") == listed, "add the file's RULE to RULES in doctor/rules/__init__.py"


def test_every_file_of_the_cures_is_listed_under_its_name_and_says_when_it_helps():
    listed = {cure.name for cure in CURES}
    assert stems("doctor/cures", "cure") == listed, "add the file's CURE to CURES in doctor/cures/__init__.py"
    assert all(cure.propose.__module__.endswith(f".{cure.name}") and len(cure.page) > 80 for cure in CURES)


def test_rules_are_in_the_order_of_their_codes_and_no_code_is_used_twice():
    codes = [rule.code for rule in RULES]
    assert codes == sorted(set(codes))
    assert all(re.fullmatch(r"RLM\d{3}", code) for code in codes)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_lives_in_the_file_of_its_name_and_its_page_is_complete(rule):
    module = importlib.import_module(f"relume.doctor.rules.{rule.name}")
    assert module.RULE is rule
    assert re.findall(r"^## (.+)$", rule.page, re.MULTILINE) == HEADINGS
    sections = re.split(r"^## .+$", rule.page, flags=re.MULTILINE)
    assert all(section.strip() for section in sections)


def test_every_file_of_the_command_line_is_listed():
    assert stems("cli") == set(COMMANDS), "add the file's name to COMMANDS in cli/__init__.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_and_describes_its_options(name):
    command = importlib.import_module(f"relume.cli.{name}").command
    assert isinstance(command, click.Command)
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


LISTS = ("family.py",)
"""Files that may name the family: one a framework. ``activations/`` has the definitions."""

MOST_NAMED = 3
"""Activations that one table elsewhere may name: three are a case, four are a list of the family."""


def named_together(path):
    """(line, activations) of each literal table of a file, and each text that is split into words."""
    names = {name: a.name for a in ACTIVATIONS.values() for name in (a.name, a.title, f"{a.name}_")}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        words = []
        if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict):
            below = list(ast.walk(node))
            words = [each.value for each in below if isinstance(each, ast.Constant)]
            words += [each.attr for each in below if isinstance(each, ast.Attribute)]
        elif isinstance(node, ast.Attribute) and node.attr == "split" and isinstance(node.value, ast.Constant):
            words = str(node.value.value).split()
        elif isinstance(node, ast.ImportFrom):
            words = [alias.name for alias in node.names]
        yield node, {names[word] for word in words if word in names}


def test_the_family_is_listed_once_per_framework_and_nowhere_else():
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        own = path.name in LISTS or path.parent.name == "activations"
        for node, names in [] if own else named_together(path):
            if len(names) > MOST_NAMED and not (path.name == "contents.py" and names == set(CHOSEN)):
                found[f"{path.relative_to(SRC)}:{node.lineno}"] = sorted(names)
    assert found == {}, "derive the list from the framework's family.py or from activations/"


@pytest.mark.parametrize("framework", ["torch", "jax", "tensorflow", "keras", "onnx"])
def test_every_framework_has_every_activation(framework):
    text = (SRC / framework / "family.py").read_text(encoding="utf-8")
    listed = re.findall(r'^    "(\w+)": ', text, re.MULTILINE)
    expected = [name for name in ACTIVATIONS if framework != "keras" or name != "softmax"]  # which it has as a layer
    assert listed == expected, "one entry an activation, in the order of activations/"


# ---- public names --------------------------------------------------------------------------------------------------


def undescribed(module):
    """The public functions, classes and methods of a module that have no docstring of their own."""
    missing = [] if module.__doc__ else [module.__name__]
    for name in getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]:
        thing = getattr(module, name)
        if not getattr(thing, "__module__", "").startswith("relume") or not callable(thing):
            continue
        if not inspect.isclass(thing):
            missing += [] if thing.__doc__ else [name]
            continue
        if not thing.__doc__ or thing.__doc__.startswith(f"{name}("):  # a dataclass writes its own
            missing.append(name)
        fields = getattr(thing, "__dataclass_fields__", ())  # described by the class
        for attribute, method in vars(thing).items():
            public = not attribute.startswith("_") and attribute not in fields
            if public and (inspect.isfunction(method) or isinstance(method, property)) and not method.__doc__:
                missing.append(f"{name}.{attribute}")
    return missing


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring(name):
    assert undescribed(importlib.import_module(name)) == []


# ---- what is loaded ------------------------------------------------------------------------------------------------


def loaded(module):
    """The top-level packages that come along with a module, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {module}"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    names = re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", done.stderr, re.MULTILINE)
    assert "relume" in names
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("name", PUBLIC[1:])
def test_importing_a_public_module_loads_neither_a_framework_nor_an_extra(name):
    assert loaded(name) & HEAVY == set()


# ---- files ---------------------------------------------------------------------------------------------------------


def test_no_file_is_long():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SRC.rglob("*.py")}
    assert lines
    assert {str(path.relative_to(SRC)): n for path, n in lines.items() if n > MOST_LINES} == {}


def told_apart_by_its_module(path, name):
    """Whether users import the class from the module of their framework or trainer: a layer, or a callback."""
    public = not path.name.startswith("_")
    return name in {a.title for a in ACTIVATIONS.values()} or (public and path.parent.name == "integrations")


def test_a_class_name_is_used_once():
    files = {}
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not told_apart_by_its_module(path, node.name):
                files.setdefault(node.name, []).append(f"{path.relative_to(SRC)}:{node.lineno}")
    twice = {name: places for name, places in files.items() if len(places) > 1}
    assert twice == {}, "name each by the field's word for what it is, or make them one"


def test_every_share_is_written_by_the_same_function():
    found = [
        f"{path.relative_to(SRC)}:{node.lineno}"
        for path in sorted(SRC.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FormattedValue) and node.format_spec and ast.unparse(node.format_spec).endswith("%'")
    ]
    for page in sorted(SRC.rglob("*.html")):
        found += [f"{page.relative_to(SRC)}" for _ in re.findall(r"%\}\"\.format", page.read_text(encoding="utf-8"))]
    assert found == [], "write shares with relume.artifacts.numbers.percent"


def test_no_file_imports_what_reaches_a_network():
    found = {}
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if names == ["socket"] and reaches_its_own_processes_alone(path):
                continue
            if NETWORK & {name.partition(".")[0] for name in names}:
                found[str(path.relative_to(SRC))] = names
    assert found == {}


def reaches_its_own_processes_alone(path):
    """Whether of ``socket`` it takes only pairs, whose two ends are in processes of its own."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    taken = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "socket"}
    called = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    pairs = {"socketpair", "AF_UNIX", "SOCK_SEQPACKET", "send_fds", "recv_fds", "socket"}  # the last as a type
    return taken <= pairs and not called & {"socket.socket"}
