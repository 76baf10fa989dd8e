"""A group of commands of which each is imported when it is asked for: the others cost nothing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click
from click.exceptions import NoSuchCommand


class Commands(click.Group):
    """A group of commands, in the order in which they are declared; some are known by where they are only.

    Parameters
    ----------
    places
        ``module:name`` of each of these, or of the operation that it does.
    **settings
        See `click.Group`.
    """

    def __init__(self, *, places: Mapping[str, str] = MappingProxyType({}), **settings: Any) -> None:
        super().__init__(**settings)
        self.places = dict(places)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all commands, in the order of the help."""
        return [*self.places, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now if need be; None where there is none of this name."""
        if cmd_name not in self.places:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.places[cmd_name].partition(":")
        found = getattr(import_module(module), name)
        if isinstance(found, click.Command):
            return found
        from cinemill.cli.run import command

        return command(found)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that was typed; where there is none, say which may have been meant."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            raise NoSuchCommand(error.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None
