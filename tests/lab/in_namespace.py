"""Runs a script as a trial below a mount of this process's own: ``python in_namespace.py BODY FOLDER MOUNTED SIZE``.

MOUNTED gets a file system of SIZE bytes in memory; the file ``x`` there is made before the trial begins. Prints as JSON
what became of it, or why this machine mounts nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trials

from relume.errors import StudyError
from relume.lab.trials import kernel, overlay


def main(body: str, folder: str, mounted: str, size: str) -> dict[str, object]:
    try:
        overlay._enter_namespaces()
        kernel.mount("tmpfs", mounted, "tmpfs", options=f"size={size}")
    except OSError as error:
        return {"lacking": str(error)}
    Path(mounted, "x").write_text("yours")
    top = Path(folder).parent.parent / "out"
    with trials.executor(top, body=f"{body}:plain") as executor:
        try:
            (outcome,) = executor.run([trials.order(folder, plan=None)])
            told = {"status": outcome.trial.status, "written": outcome.found["written"]}
        except StudyError as error:
            told = {"status": "none", "error": str(error)}
    return {**told, "log": trials.said(top), "x": Path(mounted, "x").read_text()}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
