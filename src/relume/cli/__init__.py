"""The command line: one file per command, each loaded when it is called.

A command file holds ``command`` (a click command) and imports at its top only click and the standard
library: ``relume --help`` must answer within 0.2 s.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import traceback
from enum import IntEnum
from typing import TYPE_CHECKING

import click

from relume.errors import NothingToCompare, RelumeError
from relume.version import __version__

if TYPE_CHECKING:
    from relume.artifacts.json_types import RefusedJson

COMMANDS = (
    "run",
    "report",
    "check",
    "diff",
    "combine",
    "audit",
    "plan",
    "apply",
    "fix",
    "compare",
    "list",
    "explain",
    "plot",
    "page",
)
"""The commands, in the order in which the help shows them; each is the file of that name."""


class Exit(IntEnum):
    """The exit codes of every command but ``run``, which passes the script's own through."""

    DONE = 0
    CHECK_FAILED = 1
    INTERRUPTED = 2
    OUR_FAULT = 3
    USAGE = 4
    NOTHING_TO_COMPARE = 5


class Commands(click.Group):
    """A click group that imports a command's file when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in our order instead of alphabetical."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command in ``cli/<name>.py``."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"relume.cli.{cmd_name}").command
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="relume")
def relume() -> None:
    """Coverage for your activations.

    Find the units that died in a training run, with no edit to the script:

    \b
        relume run train.py --epochs 5
        relume report run.relume
    """


def main() -> None:
    """Run the command line and exit with one of :class:`Exit`."""
    try:
        sys.exit(relume.main(standalone_mode=False) or Exit.DONE)
    except click.UsageError as error:
        error.show()
        sys.exit(_refused("usage", error.format_message(), Exit.USAGE))
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("relume: interrupted. Give the same command to start again.", err=True)
        sys.exit(_refused("interrupted", "Give the same command to start again.", Exit.INTERRUPTED))
    except BrokenPipeError:
        sys.stderr.close()  # the reader closed the pipe
        sys.exit(Exit.DONE)
    except RelumeError as error:
        click.echo(f"relume: {error}", err=True)
        status = Exit.NOTHING_TO_COMPARE if isinstance(error, NothingToCompare) else Exit.USAGE
        sys.exit(_refused(error.slug, str(error).removesuffix(f" [{error.slug}]"), status))
    except Exception:  # noqa: BLE001 - a bug in relume; a report of it needs the traceback
        traceback.print_exc()
        click.echo("relume: this is a bug in relume. Please report it with the lines above. [own-fault]", err=True)
        sys.exit(_refused("own-fault", traceback.format_exc(limit=0).strip(), Exit.OUR_FAULT))


def _refused(code: str, message: str, status: Exit) -> Exit:
    """Where JSON was asked for, print the error as such on stdout, where the result would be. Returns: the status."""
    if re.search(r"^(?!run ).* --(json|format[ =]json)( |$)", " ".join(sys.argv[1:])):
        error: RefusedJson = {"error": {"code": code, "message": message, "exit": status.value}}
        click.echo(json.dumps(error))
    return status
