"""What a rule is."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass

from relume.artifacts.findings import Finding, Judged
from relume.artifacts.json_types import Severity

Check = Callable[[Judged], tuple[tuple[int, ...], str, str] | None]
"""Judged site → (units, evidence, advice), or None if the rule finds nothing."""


@dataclass(frozen=True)
class Rule:
    """A pathology: its code, its name (the file's stem), how bad it is, and its check.

    ``proven``: a single example proves it, so a site with few examples keeps the severity. ``audits``: the rule judges
    the layers of a checkpoint; the others judge a run.
    """

    code: str
    name: str
    severity: Severity
    examine: Check
    proven: bool = False
    audits: bool = False

    @property
    def page(self) -> str:
        """The rule's page in Markdown: the docstring of its file under its code and name."""
        module = sys.modules[self.examine.__module__]
        return f"# {self.code} {self.name}\n\n{inspect.cleandoc(module.__doc__ or '')}\n"

    def check(self, site: Judged) -> Finding | None:
        """The rule's finding at a site. At a provisional site it is only information, unless it is proven."""
        found = self.examine(site)
        if found is None:
            return None
        units, evidence, advice = found
        provisional = site.provisional and not self.proven
        severity: Severity = "info" if provisional else self.severity
        if provisional:
            evidence += f"; provisional: only {site.examples:,} examples seen"
        return Finding(self.code, self.name, severity, site.site.key, units, evidence, advice)
