"""Progress of a comparison: a bar with the time left on a terminal; elsewhere only the first verdict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from relume.artifacts.trial import Stage, Trial, Verdict

STAGES = {"tune": "tuning learning rates", "confirm": "confirming on fresh seeds", "repeat": "repeating"}


class Bar:
    """The bar of one command; a context manager. A :class:`~relume.lab.campaign.Progress`."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._failed = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[outcome]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
            speed_estimate_period=600,
        )
        self._task = self._bar.add_task("reading the study", total=None, outcome="")

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar off the terminal."""
        self._bar.stop()

    def surveying(self, script: str) -> None:
        """The first run has begun."""
        self._bar.update(self._task, description=f"probing one run of {script}")

    def planned(self, stage: Stage, done: int, left: int) -> None:
        """A stage begins: one bar over the whole study, whose length is final once the tuning is done."""
        self._bar.update(self._task, description=STAGES[stage], completed=done, total=done + left)

    def ended(self, trial: Trial) -> None:
        """A trial has ended and is kept."""
        self._failed += trial.status != "finished"
        self._bar.update(self._task, advance=1, outcome=f"{self._failed} failed" if self._failed else "")

    def judged(self, verdict: Verdict, runs: int, waiting: int) -> None:
        """The first verdict has been reached."""
        found = f"{verdict.activation} is {verdict.verdict}"
        if math.isfinite(verdict.difference):
            difference, low, high = (f"{x:+.3g}".replace("-", "−") for x in (verdict.difference, *verdict.ci))
            found += f" (difference {difference}, 95 % interval {low} to {high})"
        if waiting:
            found += f"; {waiting} more {'contender is' if waiting == 1 else 'contenders are'} still running"
        told = f"relume: first verdict after {runs} runs: {found}."
        self._bar.console.print(told, markup=False, highlight=False, soft_wrap=True)
