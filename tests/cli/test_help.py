"""The help of every command: it fits a terminal, nothing in it is cut off, and its examples are commands that there are."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

import cinemill_workers.cli.commands  # noqa: F401  adds the service's commands
from cinemill.cli import app

_WITHOUT_ARGUMENTS = {"syntaxes", "demo", "doctor"}
_OF_GROUPS = {"key", "map", "nodes", "policy", "jobs"}


def _commands(group: click.Group, *above: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*above, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, *above, name)


ALL = dict(_commands(app))


def _examples(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.lstrip().startswith("cinemill "):
            words = shlex.split(line, comments=True)
            yield words[1 : words.index(">") if ">" in words else None]


@pytest.mark.parametrize("name", [(), *ALL], ids=" ".join)
def test_a_help_fits_eighty_columns_and_nothing_in_it_is_cut_off(name):
    shown = CliRunner().invoke(app, [*name, "--help"], terminal_width=80).output
    assert max(map(len, shown.splitlines())) <= 80
    assert "\\b" not in shown
    listed = shown.partition("Commands:")[2].splitlines()
    assert not [line for line in listed if line.endswith("...")]


def test_the_help_of_every_command_that_takes_arguments_ends_with_examples_of_it():
    for (name, *below), command in ALL.items():
        if not below and name not in _WITHOUT_ARGUMENTS | _OF_GROUPS:
            assert name in [words[0] for words in _examples(command.epilog or "")], name


@pytest.mark.parametrize(
    "words",
    [
        words
        for command in (app, *ALL.values())
        for words in _examples(f"{command.help}\n{command.epilog or ''}")
    ],
    ids=" ".join,
)
def test_an_example_of_a_help_is_a_command_that_there_is(words, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    name = next(tuple(words[:size]) for size in (2, 1) if tuple(words[:size]) in ALL)
    with ALL[name].make_context(" ".join(name), words[len(name) :]) as context:
        assert context.params is not None


def test_what_a_command_adds_to_another_comes_before_what_it_takes_from_it():
    shown = CliRunner().invoke(app, ["deidentify", "--help"]).output.partition("Options:")[2]
    assert shown.index("--key") < shown.index("--mask") < shown.index("--to")
    shown = CliRunner().invoke(app, ["migrate", "--help"]).output.partition("Options:")[2]
    assert shown.index("--query") < shown.index("--to") < shown.index("--report")
