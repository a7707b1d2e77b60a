"""As ``bodies``, in a server whose kernel protects nothing: a mirror, and what Python refuses."""

from __future__ import annotations

from bodies import plain  # noqa: F401

from relume.lab.trials import isolation

isolation.WAYS = (isolation.Mirror,)
