"""Shares and large numbers on the command line: ``2%`` or ``0.02``, ``10M``."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import click


class Share(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3 only
    """A share of something, as a number in (0, 1], or [0, 1] with ``zero``.

    ``unsure``: a bare 1 is refused, because it may mean 1 %.
    """

    name = "share"

    def __init__(self, of: str, example: str, *, zero: bool = False, unsure: bool = False) -> None:
        self._of = of
        self._example = example
        self._zero = zero
        self._unsure = unsure

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share as a number; exact for few digits: ``0.7%`` is 0.007."""
        text = str(value).strip()
        percent = text.endswith("%")
        try:
            share = float(Decimal(text[:-1]) / 100) if percent else float(Decimal(text))
        except InvalidOperation:
            share = float("nan")
        if self._unsure and share == 1 and not percent:
            self.fail(f"{value!r} may mean 1% or 100%; write one of the two.", param, ctx)
        if not (0 < share <= 1 or (self._zero and share == 0)):
            self.fail(f"{value!r} is not a share of {self._of}; give one such as {self._example}.", param, ctx)
        return share


class Number(click.ParamType):  # type: ignore[type-arg]  # as above
    """A number of at least 1, such as ``10M``, ``500k``, ``1e6`` or ``2_000_000``."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, exact."""
        text = str(value).strip().replace("_", "").replace(",", "")
        thousands = {"k": 1, "m": 2, "b": 3, "g": 3}.get(text[-1:].lower(), 0)
        try:
            number = Decimal(text[:-1] if thousands else text) * 1000**thousands
        except InvalidOperation:
            number = Decimal("nan")
        if not number.is_finite() or number < 1 or number != int(number):
            self.fail(f"{value!r} is not a number of examples; give one such as 10M, 500k or 1000.", param, ctx)
        return int(number)
