"""Tables in what a script prints: a line of headings, and rows of as many cells (skorch, rich, tabulate)."""

from __future__ import annotations

import re

from relume.lab.capture.metrics import mode_of

_BORDER = re.compile(r"[│┃|]")
_GAP = re.compile(r"\s{2,}")
_RULE = re.compile(r"[\s─━═┄╌┌┐└┘├┤┬┴┼┏┓┗┛┣┫┳┻╋┡┩╇╈╞╡╪╒╕╤╘╛╧╔╗╚╝╠╣╦╩╬╭╮╰╯│┃|+:=-]+$")
_HEADING = re.compile(r"[A-Za-z_][\w@./() -]*$")
_NUMBER = re.compile(r"[-+]?[\d.,]+(?:[eE][-+]?\d+)?\s?%?$|[-+]?(?:nan|inf)$", re.IGNORECASE)


class Tables:
    """Reads lines in order, and knows the headings of their table."""

    def __init__(self) -> None:
        self._headings: list[str] = []
        self._spans: list[tuple[int, int]] = []
        self._before = ""

    def read(self, line: str) -> list[tuple[str, str]] | None:
        """(heading, cell) of each column of a row; None if the line is not a row.

        A table begins with a rule below its headings, at least one of which is a metric's name. It ends at the first
        line that is neither a rule nor a row with the same number of cells and at least one number.
        """
        if not line.strip():
            return None
        if _RULE.match(line):
            if self._before:
                self._begin(self._before, line)
            self._before = ""
            return None
        cells = self._cells(line)
        if len(cells) == len(self._headings) and any(map(_NUMBER.match, cells)):
            return list(zip(self._headings, cells, strict=True))
        self._headings, self._spans, self._before = [], [], line
        return None

    def _begin(self, headings: str, rule: str) -> None:
        spans = [match.span() for match in re.finditer(r"[-─═━]+", rule)]
        self._spans = spans if len(spans) > 1 and not _BORDER.search(headings) else []
        cells = self._cells(headings)
        is_table = len(cells) > 1 and all(map(_HEADING.match, cells)) and any(map(mode_of, cells))
        self._headings = cells if is_table else []

    def _cells(self, line: str) -> list[str]:
        if self._spans:  # a cell may be empty
            return [line[begin:end].strip() for begin, end in self._spans]
        if _BORDER.search(line):
            return [cell.strip() for cell in _BORDER.split(line.strip().strip("│┃|"))]
        return _GAP.split(line.strip())
