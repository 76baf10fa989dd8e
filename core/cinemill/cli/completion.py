"""What shells need to complete commands, options and their values."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from cinemill.errors import OutputError, UsageError
from cinemill.processes import expanded

_SHELLS = ("bash", "zsh", "fish")
_NAME = "cinemill"
_ZSH = "fpath+=~/.zfunc; autoload -Uz compinit; compinit"


def script(app: click.Command, shell: str) -> str:
    """Return what a shell has to run.

    Parameters
    ----------
    app
        The command that it completes.
    shell
        Name of the shell; empty: the one in use.
    """
    kind = get_completion_class(_known(shell))
    assert kind is not None
    return kind(app, {}, _NAME, f"_{_NAME.upper()}_COMPLETE").source().strip()


def install(app: click.Command, shell: str) -> Path:
    """Write that into the user's home, where the shell finds it in new terminals; return the file.

    Parameters
    ----------
    app
        The command that it completes.
    shell
        Name of the shell; empty: the one in use.
    """
    shell, home = _known(shell), expanded("~")
    file = {
        "bash": home / ".bash_completions" / f"{_NAME}.sh",
        "zsh": home / ".zfunc" / f"_{_NAME}",
        "fish": home / ".config" / "fish" / "completions" / f"{_NAME}.fish",
    }[shell]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{script(app, shell)}\n", encoding="utf-8")
        if shell == "bash":
            _mention(home / ".bashrc", f"source '{file}'")
        elif shell == "zsh":
            _mention(home / ".zshrc", _ZSH)
    except OSError as error:
        raise OutputError(f"completion can't be installed: {error.strerror}", path=file) from None
    return file


def _known(shell: str) -> str:
    found = shell or Path(os.environ.get("SHELL", "")).name
    if found not in _SHELLS:
        raise UsageError(f"no completion for the shell {found!r}; name one of {', '.join(_SHELLS)}")
    return found


def _mention(start: Path, line: str) -> None:
    """Add a line to what a shell runs when it starts, unless it is there."""
    text = start.read_text(encoding="utf-8") if start.exists() else ""
    if line not in text:
        start.write_text(f"{text.rstrip()}\n{line}\n".lstrip(), encoding="utf-8")
