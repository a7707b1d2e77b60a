"""For TensorBoard: dead units, shares and firing rates as scalars, and each site's firing rates as a histogram."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

import numpy as np

from relume.artifacts.findings import Findings
from relume.integrations._session import EVERY_N_STEPS, WatchOptions
from relume.integrations.log import Watching

_BINS = np.linspace(0, 1, 21)


def write(writer: Any, findings: Findings, step: int) -> None:
    """Write findings into a SummaryWriter: ``to_metrics`` as scalars, ``relume/<site>/firing_rates`` as histograms.

    Args:
        writer: a ``torch.utils.tensorboard.SummaryWriter``, or one with its ``add_scalar`` and ``add_histogram``.
        findings: such as ``w.findings()`` of a watching.
        step: where on the horizontal axis.
    """
    for name, number in findings.to_metrics().items():
        writer.add_scalar(name, number, step)
    for name, site in zip(findings.names, findings.sites, strict=True):
        rates = [rate for rate in site.firing_rate if rate is not None]
        if rates:
            writer.add_histogram(f"relume/{name}/firing_rates", np.asarray(rates), step, bins=_BINS)


class WatchWriter(Watching):
    """Watches a model and writes into a SummaryWriter every few steps and after the last.

    Args:
        model: a ``torch.nn.Module``.
        writer: as in :func:`write`; it stays open.
        every_n_steps: steps between two writings, more if they would not keep to the budget; the last is written.
        path: where to save the recording at the end.
        **options: those of :func:`relume.watch`: budget, window, every, phase.

    Raises: WatchError: an option out of its range. While it trains it raises nothing.

    Example:
        >>> with WatchWriter(model, SummaryWriter("runs/a")) as log:        # doctest: +SKIP
        ...     for batch in loader:
        ...         train(model, batch)
        ...         log.step()
    """

    def __init__(
        self,
        model: Any,
        writer: Any,
        *,
        every_n_steps: int = EVERY_N_STEPS,
        path: str | Path | None = None,
        **options: Unpack[WatchOptions],
    ) -> None:
        super().__init__(
            model,
            lambda findings, step: write(writer, findings, step),
            every_n_steps=every_n_steps,
            path=path,
            options=options,
        )
