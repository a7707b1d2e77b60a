"""The spec of a trial: plain data, sent as JSON to a forked, a fresh or a remote process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from relume.artifacts.trial import Contender, TrialKey


@dataclass(frozen=True)
class Script:
    """The user's command.

    Attributes:
        script: a file or a module, as typed. ``args``: may contain ``{seed}`` and ``{lr:0.001}``.
        is_module: it was given with ``-m``.
        folder: where the command was run, absolute.
    """

    script: str
    args: tuple[str, ...]
    is_module: bool
    folder: str


@dataclass(frozen=True)
class TrialSpec:
    """One trial to run.

    Attributes:
        key: its key. ``contender``: what replaces the script's activations; None: the unchanged script.
        plan: the survey's findings, which say what is replaced; None: this run is the survey.
        only: the kind of activation, or the site, to which the replacement is limited.
        keep_seeds: places, ``file:line``, of seeding calls that keep the script's own seed.
        regex: of ``--metric``: finds the metric in the script's output; "" for none.
        metric: the name of the metric, used to end a diverging trial early; "" while it is unknown.
        tune_metric: the metric that chooses rates; "" if it is the same.
        written: files that the script writes, found by the survey, relative to the folder: hidden from the trial.
        threads: for PyTorch and the BLAS. ``timeout``: seconds, None without one.
        gpus: the trial's GPUs.
        sources: texts that replace the user's files in this trial, by path relative to the folder.
        diagnose: the trial also returns a plan of cures, as JSON.
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
        """The spec as JSON."""
        return asdict(self) | {"key": self.key._asdict()}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> TrialSpec:
        """The spec that ``to_dict`` wrote."""
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
