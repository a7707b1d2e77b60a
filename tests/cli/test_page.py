"""``relume page`` as a process."""

from __future__ import annotations

import subprocess
import sys


def relume(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "relume", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120
    )


def test_the_page_is_written_to_the_given_path(tmp_path):
    done = relume("page", "-o", "activations.html", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "Wrote activations.html. Open it in a browser.\n"
    text = (tmp_path / "activations.html").read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")


def test_a_path_that_cannot_be_written_is_a_usage_error(tmp_path):
    done = relume("page", "-o", "no/such/page.html", cwd=tmp_path)
    assert done.returncode == 4
    assert "[cannot-write]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_file_must_be_named(tmp_path):
    done = relume("page", cwd=tmp_path)
    assert done.returncode == 4
    assert "--out" in done.stderr
