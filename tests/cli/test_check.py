"""``relume check``: exit status, what it prints, and where its settings come from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import commands

relume, write = commands.relume, commands.write
RELUME = Path(sys.executable).with_name("relume")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working directory without settings: 10 of 200 units are dead in its run.relume."""
    for name in ("RELUME_MAX_DEAD", "RELUME_PER_SITE", "RELUME_FAIL_ON", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    write(tmp_path / "run.relume", dead=range(5))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(folder, text):
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")


# ---- exit status ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ([], 1),
        (["--max-dead", "5%"], 0),
        (["--max-dead", "0.05"], 0),
        (["--max-dead", "4.9%"], 1),
        (["--max-dead", "0"], 1),
        (["--max-dead", "100%"], 0),
        (["--max-dead", "5%", "--per-site"], 0),
        (["--max-dead", "4%", "--per-site"], 1),
        (["--fail-on", "non_finite"], 0),
        (["--fail-on", "RLM001"], 1),
        (["--fail-on", "RLM008", "--fail-on", "dead_unit"], 1),
        (["--fail-on", "non_finite,dead-unit"], 1),
        (["--max-dead", "50%", "--fail-on", "RLM008,RLM007"], 0),
    ],
    ids=str,
)
def test_the_exit_status_says_whether_the_check_passes(relume, options, status):
    got, stdout, stderr = relume("check", "run.relume", *options)
    assert (got, stderr) == (status, "")
    assert stdout.startswith("FAIL  " if status else "PASS  ")


def test_the_command_as_a_process(folder):
    done = subprocess.run([RELUME, "check"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "FAIL  10 of 200 units dead (5 %, limit 1 %)" in done.stdout


def test_the_failure_and_the_next_command_are_printed(relume):
    _, stdout, _ = relume("check", "run.relume", "--per-site", "--max-dead", "1%", "--fail-on", "RLM001")
    assert "max_dead" in stdout
    assert "train.py:12" in stdout
    assert "RLM001 dead_unit" in stdout
    assert "Next: relume report run.relume" in stdout
    assert "Next" not in relume("check", "--max-dead", "5%")[1]


def test_sites_that_were_seen_too_little_do_not_pass(relume, folder):
    write(folder / "few.relume", dead=range(50), examples=290)
    status, stdout, _ = relume("check", "few.relume", "--max-dead", "0", "--fail-on", "dead_unit")
    assert status == 1
    assert stdout.startswith("FAIL  nothing was judged")
    assert "[nothing-judged]" in stdout
    assert "dead_unit" not in stdout.partition("Next")[0].replace("no RLM001", "")


def test_a_run_in_which_nothing_was_watched_fails(relume, folder):
    write(folder / "none.relume", lines=())
    status, stdout, _ = relume("check", "none.relume")
    assert status == 1
    assert "no activation was watched" in stdout


@pytest.mark.parametrize(
    ("content", "slug"), [(None, "recording-absent"), (b"", "recording-empty"), (b"x" * 200, "recording-damaged")]
)
def test_a_file_that_cannot_be_read_gives_no_verdict(relume, folder, content, slug):
    if content is not None:
        (folder / "bad.relume").write_bytes(content)
    status, stdout, stderr = relume("check", "bad.relume")
    assert (status, stdout) == (4, "")
    assert f"[{slug}]" in stderr


@pytest.mark.parametrize("share", ["1", "1.0", "2", "-1%", "101%", "many", "", "%", "nan", "inf"])
def test_an_invalid_or_unclear_share_is_refused(relume, share):
    status, stdout, stderr = relume("check", "run.relume", "--max-dead", share)
    assert (status, stdout) == (4, "")
    assert "--max-dead" in stderr


def test_an_unknown_rule_lists_the_nearest_and_all_rules(relume):
    status, _, stderr = relume("check", "--fail-on", "deadunit")
    assert status == 4
    assert "Did you mean 'dead_unit'?" in stderr
    assert "RLM008 non_finite" in stderr
    assert "[unknown-rule]" in stderr


# ---- forms ---------------------------------------------------------------------------------------------------------


def test_json_is_complete_and_the_exit_status_stays(relume):
    status, stdout, _ = relume("check", "--json", "--fail-on", "dead_unit")
    told = json.loads(stdout)
    assert status == 1
    assert (told["holds"], told["fail_on"], told["dead"], told["judged"]) == (False, ["RLM001"], 10, 200)
    assert [failure["check"] for failure in told["failures"]] == ["RLM001", "RLM001"]


def test_github_adds_annotations_on_the_lines(relume, folder, monkeypatch):
    status, stdout, _ = relume("check", "--github", "--per-site")
    lines = [line for line in stdout.splitlines() if line.startswith("::")]
    assert status == 1
    assert [line.partition(",title")[0] for line in lines] == [
        "::error file=train.py,line=12", "::error file=train.py,line=13",
    ]  # fmt: skip
    assert "FAIL" in stdout
    monkeypatch.setenv("GITHUB_WORKSPACE", str(folder.parent))
    stdout = relume("check", "--github", "--per-site")[1]
    assert f"::error file={folder.name}/train.py,line=12," in stdout
    assert "::" not in relume("check", "--github", "--max-dead", "5%")[1]


def test_github_and_json_exclude_each_other(relume):
    status, stdout, stderr = relume("check", "--github", "--json")
    assert (status, json.loads(stdout)["error"]["code"]) == (4, "usage")
    assert "--github and --json" in stderr


# ---- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '[tool.relume.check]\nmax-dead = "5%"',
        "[tool.relume.check]\nmax_dead = 0.05",
        '[tool.relume]\nmax-dead = "5%"',
        '[tool.relume]\nmax-dead = "1%"\n[tool.relume.check]\nmax-dead = "5%"',
        '[tool.relume.check]\nmax-dead = "1%"\nmax_dead = "5%"',
    ],
)
def test_the_share_comes_from_pyproject(relume, folder, text):
    assert relume("check")[0] == 1
    settings(folder, text)
    assert relume("check")[0] == 0
    assert relume("check", "--max-dead", "4%")[0] == 1


def test_rules_and_per_site_come_from_pyproject(relume, folder):
    settings(folder, '[tool.relume.check]\nfail-on = ["non_finite", "RLM001"]')
    assert json.loads(relume("check", "--json")[1])["fail_on"] == ["RLM001", "RLM008"]
    assert json.loads(relume("check", "--json", "--fail-on", "RLM007")[1])["fail_on"] == ["RLM007"]
    settings(folder, '[tool.relume.check]\nper-site = true\nfail-on = "RLM001,RLM002"\nmax-dead = "0%"')
    told = json.loads(relume("check", "--json")[1])
    assert (told["per_site"], told["fail_on"], told["max_dead"]) == (True, ["RLM001", "RLM002"], 0.0)


def test_the_environment_overrides_pyproject_and_flags_override_both(relume, folder, monkeypatch):
    settings(folder, '[tool.relume.check]\nmax-dead = "1%"\nfail-on = ["RLM001"]')
    monkeypatch.setenv("RELUME_MAX_DEAD", "7%")
    monkeypatch.setenv("RELUME_FAIL_ON", "non_finite RLM007")
    monkeypatch.setenv("RELUME_PER_SITE", "1")
    told = json.loads(relume("check", "--json")[1])
    assert (told["max_dead"], told["per_site"], told["fail_on"]) == (0.07, True, ["RLM007", "RLM008"])
    told = json.loads(relume("check", "--json", "--max-dead", "3%", "--fail-on", "RLM002")[1])
    assert (told["max_dead"], told["fail_on"]) == (0.03, ["RLM002"])
    monkeypatch.setenv("RELUME_MAX_DEAD", "lots")
    assert relume("check")[0] == 4


def test_the_nearest_pyproject_that_speaks_of_relume_counts(relume, folder, monkeypatch):
    settings(folder, '[tool.relume]\nmax-dead = "5%"')
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    settings(folder / "a", "[project]\nname = 'other'")
    monkeypatch.chdir(deep)
    assert relume("check", folder / "run.relume")[0] == 0
    settings(folder / "a", '[tool.relume]\nmax-dead = "4%"')
    assert relume("check", folder / "run.relume")[0] == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool.relume.check", ["not TOML", "[settings]"]),
        ('[tool.relume.check]\nmax-ded = "5%"', ["'max-ded'", "Did you mean 'max-dead'?", "[unknown-setting]"]),
        ('[tool.relume]\nmax-ded = "5%"', ["'max-ded'", "[unknown-setting]"]),
        ("[tool.relume.check]\ngithub = true", ["'github'", "[unknown-setting]"]),
        ("[tool.relume.check]\nmax-dead = 1", ["max-dead", "1% or 100%", "[settings]"]),
        ("[tool.relume.check]\nmax-dead = true", ["max-dead", "True", "[settings]"]),
        ("[tool.relume.check]\nmax-dead = ['1%']", ["max-dead", "[settings]"]),
        ("[tool.relume.check]\nper-site = 'yes'", ["per-site", "true or false", "[settings]"]),
        ("[tool.relume.check]\nfail-on = 7", ["fail-on", "list of texts", "[settings]"]),
        ("[tool.relume.check]\nfail-on = ['x']", ["'x'", "[unknown-rule]"]),
        ("[tool]\nrelume = 7", ["relume", "a table", "[settings]"]),
        ("[tool.relume]\ncheck = 7", ["check", "a table", "[settings]"]),
    ],
)
def test_a_setting_that_is_wrong_is_named_with_its_file(relume, folder, text, words):
    settings(folder, text)
    status, stdout, stderr = relume("check")
    assert (status, stdout) == (4, "")
    for word in words:
        assert word in stderr
    if "[settings]" in words:
        assert "pyproject.toml" in stderr
    status, stdout, _ = relume("check", "--help")
    assert status == 0
    assert "--max-dead" in stdout


def test_other_commands_ignore_settings(relume, folder):
    settings(folder, "[tool.relume.check")
    assert relume("report")[0] == 0


def test_help_does_not_look_for_settings():
    code = "import sys, relume.cli; relume.cli.main()"
    env = {**os.environ}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code, "--help"], env=env, capture_output=True, text=True
    )
    assert "tomllib" not in done.stderr
