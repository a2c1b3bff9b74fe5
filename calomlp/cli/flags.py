"""Flags, configuration file and environment variables of a command, from its settings dataclass."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Annotated, Any, Literal, get_type_hints

import typer

from calomlp.cli.session import Session
from calomlp.errors import UsageError, did_you_mean
from calomlp.settings import Setting, declared, dump_config, dumped, load_config

TABLES: dict[str, type[Any]] = {}
"""The settings of every command by its name, which is also that of its table in a configuration file."""

RUN_PANEL = "Running"

GONE = {
    "--if-needed": "a rule of make or Snakemake, with --force, does what is needed only",
    "--from": "keep the settings with --dump-config > train.toml, and train again with --config train.toml",
    "--optimiser lbfgs": "adamw with more epochs comes to the same, and gd takes the whole set in one step",
    "--precision": "matrix products are in single precision; --compile makes wide networks faster",
    "--kind density": "--kind radial shows how the energy is spread around the axis",
    "--kind hits": "--kind event shows the hits of one event; draw the branch hit_energy for their spectrum",
}
"""What earlier versions knew, a flag or one of its values, and what to do instead."""


def check_gone(arguments: Sequence[str]) -> None:
    """Refuse what earlier versions knew.

    Raises:
        UsageError: With what to do instead.
    """
    short = {"-k": "--kind"}
    words = [word for argument in arguments for word in argument.split("=", 1)]
    pairs = [f"{short.get(flag, flag)} {value}" for flag, value in pairwise(words)]
    for text in (*words, *pairs):
        if text in GONE:
            raise UsageError(f"{text} is gone: {GONE[text]}")


def register(app: typer.Typer, settings: type[Any], run: Callable[[Session, Any], None]) -> None:
    """Make a command from the settings dataclass and the function of one of the modules beside this one.

    The command's name is that of the module, its help the docstring of the module.
    """
    module = sys.modules[run.__module__]
    name = run.__module__.rpartition(".")[2]
    TABLES[name] = settings

    def command(context: typer.Context, **values: Any) -> None:
        _check_environment(name, [*declared(settings), *_COMMON])
        common = {key: values.pop(key) for key in _COMMON}
        filled = settings(**{key: _plain(value) for key, value in values.items()})
        if common.pop("dump_config"):
            typer.echo(dump_config(name, filled), nl=False)
            return
        with Session(context.command_path, **{key: common[key] for key in ("force", "json", "quiet")}) as session:
            run(session, filled)

    parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    parameters += [*_from_settings(settings), *_COMMON.values()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(name, help=inspect.cleandoc(module.__doc__ or ""))(command)


def _check_environment(command: str, known: list[str]) -> None:
    """Refuse a variable that looks like a setting and is none.

    Raises:
        UsageError: With a did-you-mean.
    """
    prefix = f"CALOMLP_{command.upper()}_"
    legal = [prefix + name.upper() for name in known]
    for variable in os.environ:
        if variable.startswith(prefix) and variable not in legal:
            raise UsageError(f"{variable}: no such setting: {did_you_mean(variable, legal, limit=40)}")


def _from_settings(settings: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(settings)
    declarations = declared(settings)
    return [
        _parameter(
            item.name, _cli_type(hints[item.name], declarations[item.name]), item.default, declarations[item.name]
        )
        for item in fields(settings)
    ]


def _parameter(name: str, kind: Any, default: Any, setting: Setting) -> inspect.Parameter:
    text = f"{setting.help} One of: {', '.join(setting.choices)}." if setting.choices else setting.help
    details: dict[str, Any] = {
        "help": text,
        "metavar": setting.metavar or _metavar(kind),
        "rich_help_panel": None if setting.panel == "Main" else setting.panel,
        "show_envvar": False,
        "show_default": default not in (None, (), False, 0, 0.0),
    }
    if setting.parse is not None:
        details["parser"] = setting.parse
    if setting.positional:
        option = typer.Argument(**details)
    else:
        flag = f"--{name.replace('_', '-')}"
        option = typer.Option(flag, *setting.flags, **details)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=list(default) if isinstance(default, tuple) else default,
        annotation=Annotated[kind, option],
    )


def _metavar(kind: Any) -> str | None:
    """Return the placeholder of a value in help texts; a flag takes none."""
    if kind is bool:
        return ""
    return {int: "N", float: "X", list[float]: "X"}.get(kind, "NAME")


def _cli_type(kind: Any, setting: Setting) -> Any:
    if setting.choices:
        return Literal[setting.choices]
    return {tuple[str, ...]: list[str], tuple[float, ...]: list[float]}.get(kind, kind)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _load_config(context: typer.Context, path: str | None) -> str | None:
    """Make a configuration file the source of defaults: below flags and environment, above what is built in."""
    command = str(context.info_name)
    if path is not None:
        context.default_map = {**(context.default_map or {}), **load_config(path, command, TABLES)}
    for parameter in (one for one in context.command.params if one.callback is None):
        name = str(parameter.name)
        variable = f"CALOMLP_{command.upper()}_{name.upper()}"
        if (value := (context.default_map or {}).get(name)) is not None:
            _check_value(context, parameter, value, f"{path}: [{command}] {dumped(name, value)}")
        if value := parameter.value_from_envvar(context):
            _check_value(context, parameter, value, f"{variable}={os.environ[variable]}")
    return path


def _check_value(context: typer.Context, parameter: Any, value: Any, place: str) -> None:
    """Refuse a value that a setting cannot have.

    Raises:
        UsageError: With the place where it is written.
    """
    try:
        parameter.process_value(context, value)
    except (typer.TyperException, UsageError) as error:
        reason = str(getattr(error, "message", error)).replace("Value error, ", "").rstrip(".")
        raise UsageError(f"{place}: {reason}") from error


def _common(name: str, kind: Any, default: Any, help: str, *flags: str, **details: Any) -> inspect.Parameter:  # noqa: A002
    shown: dict[str, Any] = {
        "help": help,
        "rich_help_panel": RUN_PANEL,
        "show_envvar": False,
        "metavar": _metavar(kind),
    }
    option = typer.Option(f"--{name.replace('_', '-')}", *flags, **shown | details)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


_COMMON = {
    parameter.name: parameter
    for parameter in (
        _common("force", bool, False, "Replace an output that exists."),
        _common("json", bool, False, "Report as one line of JSON, on a terminal too."),
        _common("quiet", bool, False, "Say nothing on standard error but warnings and errors.", "-q"),
        _common(
            "config",
            str | None,
            None,
            "TOML file with a table for each command; flags and variables such as CALOMLP_TRAIN_EPOCHS come first.",
            is_eager=True,
            callback=_load_config,
            metavar="FILE",
        ),
        _common("dump_config", bool, False, "Print the resolved settings as TOML and stop."),
        _common("debug", bool, False, "Show where an error came from."),
    )
}
