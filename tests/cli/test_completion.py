"""What a shell completes, and what the bare command shows."""

import os
import re
import shlex

import pytest

from cinemill.operations.extract import formats
from tests.cli.test_cli import cinemill

SCRIPT = "import sys; sys.argv[0] = 'cinemill'; from cinemill_workers.cli.main import main; main()"


def completed(line):
    words = line.split(" ")
    variables = {"_CINEMILL_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = cinemill(env={**os.environ, **variables}, script=SCRIPT)
    assert done.returncode == 0, done.stderr
    return [each.removeprefix("plain,") for each in done.stdout.split()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cinemill tr", ["transcode"]),
        ("cinemill jobs re", ["resume", "retry", "report"]),
        ("cinemill transcode --colo", ["--colour"]),
        ("cinemill transcode --colour ", ["auto", "keep", "rgb"]),
        ("cinemill transcode --to jpeg", ["jpeg-ls", "jpeg-2000", "jpeg-xl", "jpeg-xl-jpeg"]),
        ("cinemill extract --format ", [row.name for row in formats.FORMATS]),
        ("cinemill submit --to h", ["htj2k", "htj2k-rpcl"]),
        ("cinemill submit --extract np", ["npy", "npz"]),
    ],
)
def test_a_shell_completes_commands_options_and_values(line, expected):
    assert completed(line) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_shown_and_installed(tmp_path, shell):
    named = {"HOME": str(tmp_path)}
    shown, done = (
        cinemill(option, shell, env={**os.environ, **named}, script=SCRIPT)
        for option in ("--show-completion", "--install-completion")
    )
    assert "_CINEMILL_COMPLETE" in shown.stdout
    assert done.returncode == 0, done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_bare_command_shows_examples_that_parse(arguments):
    done = cinemill(*arguments)
    shown = done.stdout + done.stderr
    examples = re.findall(r"^ +cinemill (\w.*)$", shown.partition("Examples:")[2], re.MULTILINE)
    assert len(examples) >= 5
    for example in examples:
        command, *words = shlex.split(example, comments=True)
        text = cinemill(command, "--help").stdout
        assert all(word in text for word in words if word.startswith("--"))
