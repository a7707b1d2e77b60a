"""Being told of an import: once, after it, whoever asks before, and without a trace."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys

import pytest

from relume.runner.imports import after_import


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that fails to import while ``broken`` is set, in a folder on the path."""
    name = "package_of_the_import_test"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text(f"import sys\nif '{name}.broken' in sys.modules: raise ImportError('broken')\n")
    (folder / "part.py").write_text("x = 1\n")
    (folder / "text.txt").write_text("some text")
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    yield name
    sys.meta_path[:] = finders
    for loaded in [n for n in sys.modules if n.partition(".")[0] == name]:
        del sys.modules[loaded]


def told(name):
    calls = []
    after_import(name, lambda: calls.append(hasattr(sys.modules[name], "__path__")))
    return calls


def test_the_callback_runs_once_and_after_the_import(package):
    finders = list(sys.meta_path)
    calls = told(package)
    assert calls == []
    assert package not in sys.modules
    importlib.import_module(f"{package}.part")
    importlib.import_module(package)
    assert calls == [True]
    assert sys.meta_path == finders


def test_the_callback_runs_at_once_for_a_module_already_imported(package):
    importlib.import_module(package)
    assert told(package) == [True]


def test_other_imports_do_not_run_the_callback(package, tmp_path):
    (tmp_path / "other_of_the_import_test.py").write_text("")
    calls = told(package)
    importlib.import_module("other_of_the_import_test")
    assert calls == []


def test_asking_for_the_spec_does_not_run_the_callback(package):
    calls = told(package)
    for _ in range(3):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.loader.get_filename(package) == spec.origin
        assert spec.loader.is_package(package)
    assert calls == []
    importlib.import_module(package)
    assert calls == [True]


def test_a_failed_import_runs_the_callback_once_it_works(package, monkeypatch):
    calls = told(package)
    monkeypatch.setitem(sys.modules, f"{package}.broken", None)
    with pytest.raises(ImportError, match="broken"):
        importlib.import_module(package)
    assert calls == []
    monkeypatch.delitem(sys.modules, f"{package}.broken")
    importlib.import_module(package)
    assert calls == [True]


def test_the_module_has_its_own_loader(package):
    told(package)
    module = importlib.import_module(package)
    assert type(module.__loader__) is type(importlib.import_module(f"{package}.part").__loader__)
    assert module.__spec__.loader is module.__loader__
    assert pkgutil.get_data(package, "text.txt") == b"some text"
    assert importlib.reload(module) is module


def test_a_missing_package_stays_missing(package):
    absent = "absent_package_of_the_import_test"
    calls = told(absent)
    assert importlib.util.find_spec(absent) is None
    with pytest.raises(ModuleNotFoundError, match=absent):
        importlib.import_module(absent)
    assert calls == []


def test_two_packages_are_distinguished(package, tmp_path):
    other = "second_package_of_the_import_test"
    (tmp_path / f"{other}.py").write_text(f"import {package}\n")
    order = []
    after_import(other, lambda: order.append("second"))
    after_import(package, lambda: order.append("first"))
    importlib.import_module(other)
    del sys.modules[other]
    assert order == ["first", "second"]


def test_several_callbacks_of_one_package_all_run(package):
    finders = list(sys.meta_path)
    order = []
    for number in range(3):
        after_import(package, lambda number=number: order.append(number))
    importlib.import_module(package)
    assert order == [0, 1, 2]
    assert sys.meta_path == finders
    loader = sys.modules[package].__loader__
    assert loader is sys.modules[package].__spec__.loader
    assert type(loader).__module__ != after_import.__module__


def test_a_submodule_runs_its_callback_when_it_is_imported(package):
    calls = []
    after_import(f"{package}.part", lambda: calls.append(sys.modules[f"{package}.part"].x))
    importlib.import_module(package)
    assert calls == []
    importlib.import_module(f"{package}.part")
    assert calls == [1]
