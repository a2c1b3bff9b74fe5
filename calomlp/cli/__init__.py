"""The door: parse, call one function of the core, report; and turn every failure into one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import typer

from calomlp import __version__
from calomlp.cli import evaluate, export, inspect, plot, predict, simulate, train
from calomlp.cli.console import wrapped
from calomlp.cli.flags import TABLES, check_gone, register
from calomlp.errors import CalomlpError, CheckpointWritten, ExitCode, PeerFailed, ReaderGone

_EXIT_CODES = "\n".join(f"* **{int(code)}**  {code.meaning}" for code in ExitCode)
_HELP = """
Calorimeter energy regression: from showers in ROOT files to a calibrated energy, and how good it is.

calomlp simulate siw-ecal -n 100k -o showers.root

calomlp train showers.root -o model.safetensors

calomlp evaluate model.safetensors -o report.json

calomlp plot report.json -o figures/

calomlp predict model.safetensors data.root -o energies.root

Each command makes one artefact; '-' reads from and writes to a pipe, so that they can be chained:

calomlp simulate siw-ecal | calomlp train - | calomlp evaluate - showers.root
"""

app = typer.Typer(
    name="calomlp",
    help=_HELP,
    epilog=f"Exit codes:\n\n{_EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "CALOMLP"},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"calomlp {__version__}")
        raise typer.Exit


@app.callback()
def _calomlp(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, show_envvar=False, help="Show the version."
    ),
) -> None:
    """Options that belong to no command."""


for _module in (simulate, train, evaluate, plot, predict, export, inspect):
    register(app, _module.SETTINGS, _module.run)


def main() -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    debug = "--debug" in arguments
    name = next((f"calomlp {word}" for word in arguments if word in TABLES), "calomlp")
    try:
        check_gone(arguments)
        code = typer.main.get_command(app).main(list(arguments), prog_name="calomlp", standalone_mode=False)
        sys.stdout.flush()
    except (ReaderGone, PeerFailed) as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains when it flushes
        return error.exit_code
    except CalomlpError as error:
        label = "" if isinstance(error, CheckpointWritten) else "error: "
        return _fail(f"{name}: {label}{error}", error.exit_code, debug=debug)
    except typer.TyperException as error:
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        if not message:  # the help was shown, because there was no command
            return ExitCode.USAGE
        return _fail(f"{name}: error: {message} (see {name} --help)", ExitCode.USAGE, debug=debug)
    except SystemExit:  # typer's answer to a help text that nobody reads to its end
        return ExitCode.PIPE
    except (KeyboardInterrupt, typer.Abort):
        return _fail(f"{name}: error: interrupted", ExitCode.SIGINT, debug=debug)
    except Exception as error:  # noqa: BLE001 - the last resort of the program
        message = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        hint = "" if debug else " (--debug shows where; please report it)"
        return _fail(f"{name}: internal error: {message}{hint}", ExitCode.INTERNAL, debug=debug)
    return code if isinstance(code, int) else ExitCode.OK


def _fail(line: str, code: ExitCode, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    typer.echo(wrapped(line, sys.stderr), err=True)
    return code
