"""What colour decoded samples have, or why that can't be told."""

import pytest

from cinemill.errors import UnsupportedPixelFormat
from cinemill.frames.colour import decoded_interpretation


@pytest.mark.parametrize(
    ("label", "samples", "message"),
    [
        (
            "",
            1,
            "no Photometric Interpretation, or an empty one, with 1 samples per pixel can't be decoded; expected one of MONO",
        ),
        (
            "RGB",
            1,
            "Photometric Interpretation RGB with 1 samples per pixel can't be decoded; expected one of MONO",
        ),
        (
            "MONOCHROME2",
            3,
            "Photometric Interpretation MONOCHROME2 with 3 samples per pixel can't be decoded",
        ),
    ],
)
def test_what_can_not_be_told_says_what_was_found_and_what_was_expected(label, samples, message):
    with pytest.raises(UnsupportedPixelFormat, match=message):
        decoded_interpretation(label, samples, None)
