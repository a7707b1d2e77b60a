"""``relume apply``: apply a plan to a checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

_ELSEWHERE = {
    "swap_activation": "the activation is in the code, not in the checkpoint: use relume run --plan PLAN SCRIPT",
    "revive_units": "it must be proven on a batch: use relume.apply(model, plan, batch=x, optimizer=optimizer)",
}
"""For each cure that needs more than the checkpoint: why, and the command that does it."""


@click.command("apply")
@click.argument("plan", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("checkpoint", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
def command(plan: Path, checkpoint: Path, out: Path) -> None:
    """Apply PLAN to CHECKPOINT and write a new file.

    \b
        relume apply plan.json last.ckpt -o lower.ckpt

    CHECKPOINT is a file of torch.save to resume training from; nothing in it is executed. Only its learning rates can
    be changed: a resumed optimizer reads them from its state. The other actions are listed with the reason. To apply a
    plan to a script, use `relume run --plan PLAN SCRIPT`; to a model, relume.apply(model, plan).
    """
    from relume.artifacts.change import Change, Edit
    from relume.artifacts.plan import read_plan
    from relume.cli._reading import tolerant_stdout
    from relume.doctor.plan import filled
    from relume.errors import PlanError
    from relume.framework import FRAMEWORKS

    made = read_plan(plan)
    lower = next((action for action in made.actions if action.cure == "lower_rate"), None)
    left = []
    for action in made.actions:
        if action.cure != "lower_rate":
            why = _ELSEWHERE.get(action.cure) or f"by hand: {filled(action.changes, action)}"
            left.append(Edit(action.site, (), f"{action.cure}: {why}"))
    factor = lower.settings.get("factor") if lower is not None else None
    if not isinstance(factor, (int, float)) or not 0 < factor < float("inf"):
        raise PlanError(
            f"{plan} has no action for a checkpoint. Expected lower_rate with a factor above 0. "
            f"{'; '.join(map(str, left))}",
            slug="plan-without-actions",
        )
    torch = next(framework for framework in FRAMEWORKS if framework.checkpoints is not None)
    rates = torch.load_checkpoints().lower_rates(checkpoint, out, float(factor))
    changed = tuple(Edit(f"group {n}", (), f"learning rate {a:g} → {b:g}") for n, (a, b) in enumerate(rates))
    tolerant_stdout()
    click.echo(str(Change("apply", changed, tuple(left), ())))
    click.echo(f"Wrote {out}.", err=True)
