"""dciodvfy finds no error in an output that it did not find in its source."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

import cinemill
from cinemill.errors import CinemillError
from tests.support import tools


@pytest.mark.corpus
@pytest.mark.tools
def test_output_conforms_as_its_source_does(corpus_file: Path, tmp_path: Path) -> None:
    known: set[str] | None = None
    for target in ("jpeg-ls", "jpeg-2000", "htj2k", "rle", "explicit"):
        output = tmp_path / f"{target}.dcm"
        try:
            receipt = cinemill.transcode(corpus_file, output, to=target, threads=1, verify="none")
        except CinemillError:
            continue
        if receipt.status != "transcoded" or (target == "explicit" and (receipt.bits_allocated or 0) > 16):
            continue  # the tool itself aborts on native samples of more than 16 bits
        if receipt.transfer_syntax_after == DeflatedExplicitVRLittleEndian:
            continue  # nor does it inflate
        if known is None:
            try:
                known = tools.errors_of_source(corpus_file, tmp_path / "source.dcm")
            except tools.ToolError as error:
                pytest.skip(f"nothing to compare with: {error}")
        assert tools.conformance_errors(output) <= known, target
