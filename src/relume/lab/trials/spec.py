"""What a trial's process is told: all of it is data, and travels as JSON to a forked, a fresh or a remote process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from relume.artifacts.trial import Contender, TrialKey


@dataclass(frozen=True)
class Script:
    """The user's command.

    Attributes:
        script: a file or a module, as it was typed. ``args``: may hold ``{seed}`` and ``{lr:0.001}``.
        is_module: it was given with ``-m``.
        folder: where the command was given, absolute.
    """

    script: str
    args: tuple[str, ...]
    is_module: bool
    folder: str


@dataclass(frozen=True)
class TrialSpec:
    """One trial that is to be run.

    Attributes:
        key: which. ``contender``: what takes the place of the script's activations; None: the script as it stands.
        plan: what the survey found, which says what is replaced; None: this run is the survey.
        only: the kind of activation, or the site, to which the replacement keeps.
        keep_seeds: places, ``file:line``, of seeding calls that keep the script's own seed.
        regex: of ``--metric``: where the metric stands in what the script prints; "" for none.
        metric: the name of the metric, by which a trial that diverges is ended early; "" while it is not known.
        tune_metric: the name of the one by which rates are chosen; "" where it is the same.
        written: files that the script writes, as the survey saw, from the folder: the trial does not see them.
        threads: that PyTorch and the BLAS may use. ``timeout``: seconds, None without one.
        gpus: GPUs that the trial is given.
        sources: texts that take the place of the user's files in this trial, by their paths from the folder.
        diagnose: the trial also tells a plan of cures, as JSON: why its units died.
    """

    key: TrialKey
    script: Script
    contender: Contender | None = None
    plan: Mapping[str, Any] | None = None
    only: str = ""
    keep_seeds: tuple[str, ...] = ()
    regex: str = ""
    metric: str = ""
    tune_metric: str = ""
    written: tuple[str, ...] = ()
    threads: int = 1
    timeout: float | None = None
    gpus: float = 0.0
    diagnose: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The order as JSON."""
        return asdict(self) | {"key": self.key._asdict()}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> TrialSpec:
        """The order that ``to_dict`` wrote."""
        contender, script = told["contender"], told["script"]
        return cls(
            **{
                **told,
                "key": TrialKey(**told["key"]),
                "script": Script(**{**script, "args": tuple(script["args"])}),
                "contender": None if contender is None else Contender(**contender),
                "written": tuple(told["written"]),
                "keep_seeds": tuple(told["keep_seeds"]),
            }
        )
