"""Runs command-line tools of others on outputs: they decode to native files, or check conformance."""

from __future__ import annotations

import subprocess
from pathlib import Path

DECODERS = {
    "jpeg-ls": (("dcmdjpls",), ("gdcmconv", "--raw")),
    "jpeg-2000": (("gdcmconv", "--raw"),),
    "rle": (("dcmdrle",), ("gdcmconv", "--raw")),
    "explicit": (("dcmconv", "+ti"), ("gdcmconv", "--raw")),
    "implicit": (("dcmconv", "+te"), ("gdcmconv", "--raw")),
    "deflated": (("dcmconv", "+te"),),
}
"""By target: the commands that turn it into a native file."""


class ToolError(Exception):
    """The tool gave up, or wrote nothing; some of them exit with 0 then."""


def decode(command: tuple[str, ...], source: Path, output: Path) -> None:
    """Run ``command source output``."""
    output.unlink(missing_ok=True)
    done = subprocess.run(
        [*command, source, output], capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode or not output.exists():
        raise ToolError(
            f"{command[0]}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}"
        )


def conformance_errors(path: Path) -> set[str]:
    """The errors that ``dciodvfy -new`` finds; its exit code is 0 in any case."""
    done = subprocess.run(
        ["dciodvfy", "-new", path],
        capture_output=True,
        encoding="latin-1",
        check=False,
        timeout=120,
    )
    return {line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")}
