"""The verdict of ``relume check``: what was asked of a run, and what failed."""

from __future__ import annotations

from dataclasses import dataclass

from relume.artifacts.json_types import CheckJson
from relume.artifacts.recording import Site

SCHEMA = 1
"""Of the JSON form; new keys may come within a schema."""


@dataclass(frozen=True)
class DeadUnits:
    """How many units of a site are dead; ``share`` is of the site's units."""

    site: Site
    dead: int
    share: float


@dataclass(frozen=True)
class Failure:
    """One thing that failed.

    ``check`` is ``max_dead``, ``judged``, or the code of a rule, whose name is ``slug``. ``site`` is None for the whole
    run. ``units`` of ``of`` units are concerned.
    """

    check: str
    slug: str
    site: Site | None
    units: int
    of: int
    evidence: str
    advice: str


@dataclass(frozen=True)
class CheckResult:
    """The question, how much was judged, and the failures. The check passes without failures.

    ``max_dead`` is a share, of all units or ``per_site``; None if it was not asked. ``rules`` are the codes of those
    that may not find anything. ``dead`` of ``judged`` units are dead, at sites that are not provisional; ``units`` are
    those of all sites. ``provisional`` are the keys of the sites that were seen too little to be judged.
    ``dead_sites``: the judged sites with dead units, the worst first.
    """

    max_dead: float | None
    per_site: bool
    rules: tuple[str, ...]
    dead: int
    judged: int
    units: int
    provisional: tuple[str, ...]
    dead_sites: tuple[DeadUnits, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    @property
    def share(self) -> float:
        """Dead units of the judged ones; 0 where none was judged."""
        return self.dead / self.judged if self.judged else 0.0

    def to_dict(self) -> CheckJson:
        """The JSON of ``relume check --json``."""
        return {
            "schema": SCHEMA,
            "holds": self.holds,
            "max_dead": self.max_dead,
            "per_site": self.per_site,
            "fail_on": list(self.rules),
            "dead": self.dead,
            "judged": self.judged,
            "units": self.units,
            "share": round(self.share, 6),
            "provisional": list(self.provisional),
            "dead_sites": [
                {"site": d.site.key, "source": _source(d.site), "dead": d.dead, "units": d.site.units}
                for d in self.dead_sites
            ],
            "failures": [
                {
                    "check": f.check,
                    "slug": f.slug,
                    "site": f.site.key if f.site else None,
                    "source": _source(f.site) if f.site else None,
                    "units": f.units,
                    "of": f.of,
                    "evidence": f.evidence,
                    "advice": f.advice,
                }
                for f in self.failures
            ],
            "notes": list(self.notes),
        }


def _source(site: Site) -> str:
    return f"{site.file}:{site.line}"
