"""``relume audit``: judge a checkpoint without running anything."""

from __future__ import annotations

import click

from relume.cli._forms import chosen, formats


@click.command("audit")
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@formats("run")
def command(files: tuple[str, ...]) -> None:
    """Find the dead units of the checkpoint FILE without running anything.

    \b
        relume audit last.ckpt
        relume audit step-4000.pt step-5000.pt
        relume audit out/checkpoint-500

    FILE is a checkpoint of torch.save (.pt, .ckpt, .bin), Keras (.keras, .h5), .safetensors or .npz, or a folder with
    the model and the optimizer. Nothing in it is executed. A unit is dead if its weights are zero, if its BatchNorm
    keeps it below zero, or if Adam's moments show no gradient for a long time. Of several checkpoints of one run the
    latest is judged, and the earlier ones are evidence.

    `relume report FILE --html OUT` and `relume check FILE` also read checkpoints.
    """
    from relume.api import audit
    from relume.cli._reading import tell

    form = chosen()
    tell(audit(*files), form)
