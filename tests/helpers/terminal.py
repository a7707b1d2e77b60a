"""A terminal: what a person sees of what was written to it. As much of ECMA-48 and the VT100 as is needed here."""

from __future__ import annotations

import re

_SEQUENCE = re.compile(r"\x1b(?:\[([0-9;?]*)([A-Za-z])|([78DMc]))")


class Terminal:
    """Rows of text, a cursor, a region that scrolls, and what has been scrolled out of the top."""

    def __init__(self, rows=12, columns=60):
        self.rows, self.columns = rows, columns
        self.screen = [[" "] * columns for _ in range(rows)]
        self.gone = []
        self.row = self.column = 0
        self.top, self.bottom = 0, rows - 1
        self.saved = (0, 0)
        self.rest = ""

    def feed(self, text):
        text, self.rest = self.rest + text, ""
        place = 0
        while place < len(text):
            found = _SEQUENCE.match(text, place)
            if found:
                self.sequence(*found.groups())
                place = found.end()
            elif text[place] == "\x1b":
                if len(text) - place > 20:
                    raise AssertionError(f"unknown sequence {text[place : place + 20]!r}")
                self.rest = text[place:]  # its end comes with the next piece
                return
            else:
                self.letter(text[place])
                place += 1

    def letter(self, letter):
        if letter == "\n":
            self.down()
        elif letter == "\r":
            self.column = 0
        elif letter == "\b":
            self.column = max(self.column - 1, 0)
        elif letter == "\t":
            self.column = min(self.column // 8 * 8 + 8, self.columns - 1)
        elif letter >= " ":
            if self.column == self.columns:
                self.column = 0
                self.down()
            self.screen[self.row][self.column] = letter
            self.column += 1

    def down(self):
        if self.row == self.bottom:
            line = self.screen.pop(self.top)
            if self.top == 0:
                self.gone.append("".join(line).rstrip())
            self.screen.insert(self.bottom, [" "] * self.columns)
        elif self.row < self.rows - 1:
            self.row += 1

    def sequence(self, numbers, final, short):
        if short:
            if short == "7":
                self.saved = (self.row, self.column)
            elif short == "8":
                self.row, self.column = self.saved
            elif short == "D":
                self.down()
            else:
                raise AssertionError(f"unknown sequence ESC {short}")
            return
        given = [int(n) for n in numbers.split(";") if n.isdigit()]
        first = given[0] if given else 0
        if final == "A":
            self.row = max(self.row - max(first, 1), self.top if self.row >= self.top else 0)
        elif final == "H":
            self.row, self.column = (first or 1) - 1, (given[1] if len(given) > 1 else 1) - 1
        elif final == "K":
            start = 0 if first == 2 else self.column
            self.screen[self.row][start:] = [" "] * (self.columns - start)
        elif final == "r":
            self.top, self.bottom = (first or 1) - 1, (given[1] if len(given) > 1 else self.rows) - 1
            self.row = self.column = 0
        elif final not in "mhl":
            raise AssertionError(f"unknown sequence CSI {numbers}{final}")

    def line(self, row):
        return "".join(self.screen[row]).rstrip()

    def seen(self):
        """All lines that were ever written, from the first to the last that holds anything."""
        lines = self.gone + [self.line(row) for row in range(self.rows)]
        while lines and not lines[-1]:
            lines.pop()
        return lines
