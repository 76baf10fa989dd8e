"""Makes options of commands from those that operations declare, and operations from what was typed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click

from cinemill.errors import UsageError
from cinemill.operations.operation import Operation, Option, options_of
from cinemill.storage.location import located

Made = TypeVar("Made", bound=Operation)
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_AS_DIRECTORY = "cinemill.as_directory"

OTHER_NAMES = {
    "concurrency": "jobs",
    "voi-window": "window",
    "color": "colour",
    "collapse-gray": "collapse-grey",
}
"""Names that options had once, or have in America: understood, not shown."""


class Place(click.Path):
    """A path; what is none, such as a URL, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what was typed as a path."""
        located(value)
        return super().convert(value, param, ctx)

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str | None:
        """Return what explains that sources are missing where a path was typed: it is taken for the last argument."""
        arguments = [each for each in ctx.command.params if isinstance(each, click.Argument)] if ctx else []
        if ctx is None or param not in arguments[:-1]:
            return None
        last = arguments[-1]
        return f"{last.make_metavar(ctx)} is the last argument, and stands behind what is read."


PATH = Place(path_type=Path)


class Whole(click.IntRange):
    """A whole number."""

    name = "whole number"


class Number(click.FloatRange):
    """A number, which is finite."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return what was typed as a number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not finite.", param, ctx)
        return number


def current_name(name: str) -> str:
    """Return the name that an option has now."""
    return OTHER_NAMES.get(name, name)


def examples(*typed: str) -> str:
    """Return what a command's help ends with: commands to copy, one a line."""
    return "\n".join(("\b", "Examples:", *(f"  {each}" for each in typed))) if typed else ""


def sources_argument(text: str, *, required: bool = True) -> Callable[[Decorated], Decorated]:
    """Return the decorator for the first arguments."""
    shown = "SRC..." if required else "[SRC...]"
    return click.argument("sources", metavar=shown, nargs=-1, required=required, type=PATH, help=text)


class _Destination(Place):
    """The last argument: whether it was typed as a directory is noted."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what was typed as a path."""
        if ctx is not None:
            ctx.meta[_AS_DIRECTORY] = str(value).endswith("/")
        return super().convert(value, param, ctx)


def destination_argument(text: str) -> Callable[[Decorated], Decorated]:
    """Return the decorator for the last argument."""
    kind = _Destination(path_type=Path)
    return click.argument("destination", metavar="DST", type=kind, callback=_no_pipe, help=text)


def typed_as_directory() -> bool:
    """Whether the destination of the command that runs ends with a slash: ``out/`` is a directory, though it is not there yet."""
    return bool(click.get_current_context().meta.get(_AS_DIRECTORY))


def _no_pipe(context: click.Context, _: click.Parameter, destination: Path) -> Path:
    if destination == Path("-") and not context.resilient_parsing:
        raise UsageError("- can't be the destination, for outputs are read back; name a file or a directory")
    return destination


def accepting(
    *operations: type[Operation], without: tuple[str, ...] = ()
) -> Callable[[Decorated], Decorated]:
    """Let a command take the options of operations, which its ``**options`` then hold.

    Parameters
    ----------
    *operations
        Whose options; those of the same name are one.
    without
        Fields that the command has no option for.
    """
    theirs = {
        name: option
        for operation in operations
        for name, option in _declared(operation).items()
        if name not in without
    }

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(theirs.values()):
            command = option(command)
        return command

    return decorate


def made(operation: type[Made], options: Mapping[str, Any]) -> Made:
    """Return the operation that a command's options ask for.

    Raises
    ------
    UsageError
        An option can't be read, or some exclude each other.
    """
    return operation(
        **{name: _value(field, how, options) for name, (field, how) in options_of(operation).items()}
    )


def given(operation: type[Operation], options: Mapping[str, Any]) -> list[str]:
    """Return those of an operation's options that differ from their defaults, as they are typed."""
    found = []
    for name, (field, how) in options_of(operation).items():
        if how.flags:
            found += [_names(flag)[0] for flag in how.flags if options.get(flag)]
        elif options.get(name, field.default) not in (field.default, ""):
            found.append(_names(name, how)[0])
    return found


def _value(field: Field[Any], how: Option, options: Mapping[str, Any]) -> Any:
    """Return the value of a field."""
    if how.flags:
        chosen = [value for value in how.flags if options[value]]
        if len(chosen) > 1:
            raise UsageError(
                f"{' and '.join(f'--{value}' for value in chosen)} exclude each other; choose one"
            )
        return chosen[0] if chosen else field.default
    value = options.get(field.name, field.default)
    if value == "":
        return field.default
    return how.read(value) if how.read is not None and isinstance(value, str) else value


def _declared(operation: type[Operation]) -> dict[str, Callable[[Decorated], Decorated]]:
    """Return the decorators for the options of an operation, its own first: one for each, or for each of its flags."""
    hints, own = get_type_hints(operation), operation.__annotations__
    found: dict[str, Callable[[Decorated], Decorated]] = {}
    for name, (field, how) in sorted(options_of(operation).items(), key=lambda each: each[0] not in own):
        if how.flags:
            found |= {flag: _option(flag, Option(text), bool, False) for flag, text in how.flags.items()}
        else:
            found[name] = _option(name, how, hints[name], field.default)
    return found


def _option(name: str, how: Option, hint: Any, default: Any) -> Callable[[Decorated], Decorated]:
    names = _names(name, how)
    if hint is bool:
        if default:
            names = tuple(f"{typed}/--no-{typed.removeprefix('--')}" for typed in names)
        return click.option(name, *names, is_flag=True, default=default, show_default=default, help=how.help)
    kinds = get_args(hint)
    kind: click.ParamType[Any] = click.STRING
    metavar = how.metavar
    if get_origin(hint) is Literal:
        kind = click.Choice(kinds)
    elif how.read is not None or str in {hint, *kinds}:
        default = default or ""
    elif int in {hint, *kinds}:
        metavar, kind = metavar or "N", Whole(min=how.least)
    else:
        kind = click.FLOAT if how.least is None else Number(min=how.least)
    return click.option(
        name,
        *names,
        type=kind,
        metavar=metavar,
        default=default,
        show_default=isinstance(kind, click.Choice),
        help=how.help,
        shell_complete=completing(how.offered),
    )


def completing(
    values: tuple[str, ...],
) -> Callable[[click.Context, click.Parameter, str], list[str]] | None:
    """Return what completes the beginning of a value in a shell."""
    if not values:
        return None
    return lambda _, __, incomplete: [value for value in values if value.startswith(incomplete)]


def _names(name: str, how: Option | None = None) -> tuple[str, ...]:
    return how.names if how is not None and how.names else (f"--{name.replace('_', '-')}",)
