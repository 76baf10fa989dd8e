"""Makes parameters of commands from the options that operations declare, and operations from what was typed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field
from enum import StrEnum
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import typer

from cinemill.errors import UsageError
from cinemill.operations.operation import Operation, Option, options_of

Made = TypeVar("Made", bound=Operation)

OLD_NAMES = {"concurrency": "jobs", "voi-window": "window"}
"""Names that options had once: understood, not shown."""


def current_name(name: str) -> str:
    """Return the name that an option has now."""
    return OLD_NAMES.get(name, name)


def destination_argument(text: str) -> Any:
    """Return the annotation of the last argument."""
    return Annotated[Path, typer.Argument(metavar="DST", help=text, callback=_no_pipe)]


def _no_pipe(destination: Path) -> Path:
    if destination == Path("-"):
        raise UsageError("- can't be the destination, for outputs are read back; name a file or a directory")
    return destination


def accepting(
    *operations: type[Operation], without: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take the options of operations, which its ``**options`` then hold.

    Parameters
    ----------
    *operations
        Whose options; those of the same name are one.
    without
        Fields that the command has no option for.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [
            each
            for each in inspect.signature(command, eval_str=True).parameters.values()
            if each.kind is not Parameter.VAR_KEYWORD
        ]
        theirs = {
            name: parameter
            for operation in operations
            for name, (_, parameter) in _typed(operation).items()
            if name not in without
        }
        first = [each for each in own if each.kind is not Parameter.KEYWORD_ONLY]
        last = [each for each in own if each.kind is Parameter.KEYWORD_ONLY]
        every = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in (*first, *theirs.values(), *last)]
        command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in every}
        return command

    return decorate


def made(operation: type[Made], options: Mapping[str, Any]) -> Made:
    """Return the operation that a command's options ask for.

    Raises
    ------
    UsageError
        An option can't be read, or some exclude each other.
    """
    values = {name: _value(field, how, options) for name, (field, how) in options_of(operation).items()}
    return operation(**{name: value for name, value in values.items() if value is not MISSING})


def given(operation: type[Operation], options: Mapping[str, Any]) -> list[str]:
    """Return those of an operation's options that differ from their defaults, as they are typed."""
    return [
        _names(name, how)[0]
        for name, (how, parameter) in _typed(operation).items()
        if options.get(name, parameter.default) != parameter.default
    ]


def _value(field: Field[Any], how: Option, options: Mapping[str, Any]) -> Any:
    """Return the value of a field, MISSING where there is none."""
    if how.flags:
        chosen = [value for value in how.flags if options[value]]
        if len(chosen) > 1:
            raise UsageError(
                f"{' and '.join(f'--{value}' for value in chosen)} exclude each other; choose one"
            )
        return chosen[0] if chosen else field.default
    value = options.get(field.name, field.default)
    if value == "" and field.default is not MISSING:
        return field.default
    if how.read is not None and isinstance(value, str):
        return how.read(value)
    return value.value if isinstance(value, StrEnum) else value


def _typed(operation: type[Operation]) -> dict[str, tuple[Option, Parameter]]:
    """Return the parameters for the options of an operation: one for each, or for each of its flags."""
    hints = get_type_hints(operation)
    found = {}
    for name, (field, how) in options_of(operation).items():
        if how.flags:
            for value, text in how.flags.items():
                flag = Option(text)
                found[value] = flag, _parameter(value, flag, bool, default=False)
        else:
            found[name] = how, _parameter(name, how, hints[name], field.default)
    return found


def _parameter(name: str, how: Option, hint: Any, default: Any) -> Parameter:
    kinds = get_args(hint)
    if get_origin(hint) is Literal:
        hint = _choice(kinds)
        default = hint(default)
    elif how.read is not None or str in {hint, *kinds}:
        hint, default = str, default or ""
    names = _names(name, how)
    if default is True:
        names = tuple(f"{typed}/--no-{typed.removeprefix('--')}" for typed in names)
    option = typer.Option(
        *names,
        metavar=how.metavar,
        min=how.least,
        help=how.help,
        autocompletion=completing(how.offered),
    )
    empty = Parameter.empty if default is MISSING else default
    return Parameter(name, Parameter.KEYWORD_ONLY, default=empty, annotation=Annotated[hint, option])


def completing(values: tuple[str, ...]) -> Callable[[str], list[str]] | None:
    """Return what completes the beginning of a value in a shell."""
    if not values:
        return None

    def begin(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return begin


def _choice(values: tuple[str, ...]) -> Any:
    return StrEnum("Choice", {value.upper(): value for value in values})


def _names(name: str, how: Option) -> tuple[str, ...]:
    return how.names or (f"--{name.replace('_', '-')}",)
