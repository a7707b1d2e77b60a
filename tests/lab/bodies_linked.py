"""As ``bodies_locked``, in a server in which every file counts as large and every folder as one of many files."""

from __future__ import annotations

from bodies_locked import plain  # noqa: F401

from relume.lab.trials import mirror

mirror.MANY = 0
mirror.SMALL = 0
