"""Runs command-line tools of others on outputs: they decode to native files, or check conformance."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom import Dataset

DECODERS = {
    "jpeg-ls": (("dcmdjpls",), ("gdcmconv", "--raw")),
    "jpeg-2000": (("gdcmconv", "--raw"),),
    "rle": (("dcmdrle",), ("gdcmconv", "--raw")),
    "explicit": (("dcmconv", "+ti"), ("gdcmconv", "--raw")),
    "implicit": (("dcmconv", "+te"), ("gdcmconv", "--raw")),
    "deflated": (("dcmconv", "+te"),),
}
"""By target: the commands that turn it into a native file."""

_SINGLE_FRAME = "1.2.840.10008.5.1.4.1.1.7"
_HTJ2K, _JPEG_2000 = b"1.2.840.10008.1.2.4.201\0", b"1.2.840.10008.1.2.4.90\0\0"


class ToolError(Exception):
    """The tool gave up, or wrote nothing; some of them exit with 0 then."""


def known_limit(tool: str, target: str, output: Dataset) -> str | None:
    """Say why a tool can't be asked about an output: it fails on other writers' files as well."""
    bits = output.BitsAllocated
    if bits == 1 and target not in {"explicit", "implicit", "deflated"}:
        return "neither DCMTK nor GDCM decodes single bits"
    if tool == "gdcmconv":
        if int(output.get("NumberOfFrames") or 1) > 1 and output.get("SOPClassUID") == _SINGLE_FRAME:
            return "GDCM writes no multi-frame instance of a single-frame SOP class"
        if target == "rle" and bits > 8 and output.SamplesPerPixel > 1:
            return "GDCM mixes up the segments of 16-bit colour in RLE"
        if bits > 16:
            return "GDCM holds at most 16 bits in colour and codecs"
    return None


def decode(command: tuple[str, ...], source: Path, output: Path) -> None:
    """Run ``command source output``."""
    output.unlink(missing_ok=True)
    done = subprocess.run([*command, source, output], capture_output=True, check=False, timeout=120)
    if done.returncode or not output.exists():
        said = (done.stderr or done.stdout).decode("latin-1").strip()
        raise ToolError(f"{command[0]}: exit {done.returncode}: {said[-300:]}")


def conformance_errors(path: Path) -> set[str]:
    """The errors that ``dciodvfy -new`` finds; its exit code is 0 in any case.

    It does not know HTJ2K, whose rules are those of JPEG 2000: it is shown such a file under that name. What it says of an
    instance UID in the meta information is what it says of the one in the data set, and an IOD that does not want colour
    wants no photometric interpretation of it.
    """
    data = path.read_bytes()
    with TemporaryDirectory() as folder:
        if _HTJ2K in data[:1024]:
            path = Path(folder) / "relabelled"
            path.write_bytes(data.replace(_HTJ2K, _JPEG_2000, 1))
        done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, check=False, timeout=120)
    if done.returncode < 0:
        raise ToolError(f"dciodvfy crashed: {done.stderr.decode('latin-1')[-200:]}")
    lines = (done.stdout + done.stderr).decode("latin-1").splitlines()
    errors = (
        line.replace("MediaStorageSOPInstanceUID(0002,0003)", "SOPInstanceUID(0008,0018)")
        for line in lines
        if line.startswith("Error")
    )
    return {re.sub(r"(PhotometricInterpretation.*enumerated value) = .*", r"\1", error) for error in errors}


def errors_of_source(path: Path, scratch: Path) -> set[str]:
    """Find the errors of a file, and those of its copy in Explicit VR Little Endian: some encodings hide the rest from the tool."""
    found = conformance_errors(path)
    try:
        decode(("dcmconv", "+te"), path, scratch)
    except ToolError:
        return found
    return found | conformance_errors(scratch)
