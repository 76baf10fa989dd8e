"""Text that is burned in, found by the packaged models of rapidocr."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from cinemill.dicom.source import Source
from cinemill.operations.mask import detect
from cinemill.operations.mask.detect import detected, seen_text
from cinemill.operations.mask.second_look import look_for
from tests.support import clips
from tests.support.generate import ULTRASOUND_CINE
from tests.support.masking import mask_file

pytest.importorskip("rapidocr", reason="the extra ocr is not installed")


@pytest.fixture
def burned(tmp_path):
    """A dim cine with a name in its third frame only, and a date in all."""
    frames = np.random.default_rng(1).integers(0, 60, (4, 96, 240)).astype(np.uint8)
    for index, frame in enumerate(frames):
        picture = Image.fromarray(frame)
        draw = ImageDraw.Draw(picture)
        draw.text((120, 60), "17 Oct 2016", 220, ImageFont.load_default(16))
        if index == 2:
            draw.text((12, 10), "DOE, JANE", 230, ImageFont.load_default(18))
        frame[...] = np.asarray(picture)
    return clips.write(tmp_path / "in.dcm", frames, sop_class=ULTRASOUND_CINE)


def test_a_name_in_one_frame_is_found_blackened_and_read_no_more(burned, tmp_path, monkeypatch):
    monkeypatch.setattr(detect, "_SCALES", (1,))  # to save time
    with Source(burned) as source:
        mask = detected(source)
        found = [*look_for(lambda text: "JANE" in text)(source)]
    assert set(found) == {"original", "date"}
    mask_file(burned, tmp_path / "out.dcm", *mask.boxes, to="jpeg-ls")
    with Source(tmp_path / "out.dcm") as source:
        assert not [text for text in seen_text(source) if "JANE" in text or "2016" in text]
    black = np.zeros((96, 240), bool)
    for left, top, right, bottom in mask.boxes:
        black[top : bottom + 1, left : right + 1] = True
    assert 0.05 < black.mean() < 0.4
