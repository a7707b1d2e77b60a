"""``relume plan``: what to do about dead units, why, and on what evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from relume.artifacts.plan import CurePlan


@click.command("plan")
@click.argument("file", type=click.Path(), default="run.relume")
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="PLAN", help="Write the plan.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON, as -o writes it.")
def command(file: str, out: Path | None, as_json: bool) -> None:
    """Plan what to do about the dead units of FILE (default: run.relume).

    \b
        relume plan run.relume -o plan.json
        relume plan plan.json

    FILE is a recording or a checkpoint. For each site the plan lists cures: what to change, which units died and why,
    the evidence for the cure, and the command that shows whether it helped. You can edit the plan: delete an action, or
    change its settings. If FILE is a plan, it is checked and shown.
    """
    from relume.artifacts.plan import read_plan, to_json, write_plan
    from relume.cli._reading import findings_of, tolerant_stdout
    from relume.cli._terminal import show
    from relume.doctor.plan import plan
    from relume.reports.run.plan import render

    found = read_plan(Path(file)) if file.endswith(".json") else plan(findings_of(file), file)
    tolerant_stdout()
    if out is not None:
        write_plan(found, out)
        click.echo(f"Wrote {out}.", err=True)
    if as_json:
        click.echo(to_json(found))
    else:
        show(render(found), _next(found, out or (Path(file) if file.endswith(".json") else None)))


def _next(found: CurePlan, file: Path | None) -> str | None:
    """The command that applies the plan in a run and compares; without a file of the plan, the one that writes it."""
    import shlex

    from relume.doctor.plan import in_a_run
    from relume.errors import PlanError

    script, recording = found.of.get("script"), shlex.quote(str(found.of.get("file") or ""))
    try:
        in_a_run(found, "")
    except PlanError:
        return None  # all of it is done by hand
    if not script:
        return None  # of a checkpoint
    if file is None:
        return f"relume plan {recording} -o plan.json"
    typed = f"relume run --plan {shlex.quote(str(file))} --out after.relume"
    typed = f"{typed} {shlex.join([str(script), *map(str, found.of.get('argv') or [])])}"
    return f"{typed} && relume diff {recording} after.relume" if found.of.get("file") else typed
