"""The interactive page: one file, built from ``activations/``, that works offline.

``recorder.py`` turns the definitions into JavaScript, ``contents.py`` collects what they say, ``drawings.py`` draws the
charts, ``build.py`` puts all of it into the template of ``assets/``.
"""

from __future__ import annotations

from relume.page.build import STILLS, build, save

__all__ = ["STILLS", "build", "save"]
