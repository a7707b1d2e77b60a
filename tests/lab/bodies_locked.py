"""As ``bodies``, in a server whose kernel allows no overlay: a mirror, with Landlock beneath."""

from __future__ import annotations

from bodies import plain  # noqa: F401

from relume.lab.trials import isolation

isolation.WAYS = (isolation.LockedMirror,)
