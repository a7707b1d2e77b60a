"""The output of a command on a terminal, and the next command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def show(content: RenderableType, *following: str | None, console: Console | None = None) -> None:
    """Print the content, then the next command on one line at any width: a wrapped one cannot be copied."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console(highlight=False)
    console.print(content)
    for number, command in enumerate(filter(None, following)):
        label = "Next: " if number == 0 else "      "
        console.print(Text(label, style="dim").append(command, style="bold"), soft_wrap=True)
