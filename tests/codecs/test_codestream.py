"""What of a codestream may be text: comments, application segments, boxes, what stands behind the end; no samples."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from cinemill.codecs.codestream import texts
from cinemill.errors import CodecError

NOISE = np.random.default_rng(1).integers(0, 256, (64, 64), np.uint8)
COMMENT = b"Zebediah was here"
JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"


def segment(marker: bytes, content: bytes) -> bytes:
    return marker + (len(content) + 2).to_bytes(2, "big") + content


def box(kind: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def progressive() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(NOISE).save(stream, "JPEG", progressive=True)
    return stream.getvalue()


STREAMS = {
    "jpeg": bytes(imagecodecs.jpeg8_encode(NOISE, level=90)),
    "jpeg-progressive": progressive(),
    "jpeg-ls": bytes(imagecodecs.jpegls_encode(NOISE)),
    "jpeg-2000": bytes(imagecodecs.jpeg2k_encode(NOISE, codecformat="j2k", reversible=True)),
}
MARKERS = dict.fromkeys(STREAMS, b"\xff\xfe") | {"jpeg-2000": b"\xff\x64"}


def text_of(data: bytes) -> bytes:
    return b"|".join(bytes(part) for part in texts(data))


@pytest.mark.parametrize("coding", STREAMS)
def test_samples_and_tables_are_no_text(coding):
    stream = STREAMS[coding]
    assert len(text_of(stream)) < 100 < len(stream)


@pytest.mark.parametrize("coding", STREAMS)
def test_comments_are_text_wherever_they_stand_and_so_is_what_follows_the_end(coding):
    stream, comment = STREAMS[coding], segment(MARKERS[coding], COMMENT)
    for at in (stream.index(b"\xff\x90"),) if coding == "jpeg-2000" else (2, len(stream) - 2):
        assert COMMENT in text_of(stream[:at] + comment + stream[at:])
    assert COMMENT in text_of(stream + COMMENT)


@pytest.mark.parametrize("coding", STREAMS)
def test_what_a_marker_means_that_is_unknown_may_be_text_and_no_marker_without_a_segment_hides_what_follows(
    coding,
):
    stream, comment = STREAMS[coding], segment(MARKERS[coding], COMMENT)
    first = stream.index(b"\xff\x90") if coding == "jpeg-2000" else 2
    unknown, alone = (
        (b"\xff\x70", b"\xff\x30") if coding == "jpeg-2000" else (b"\xff\xf0", b"\xff\x01\xff\xd8")
    )
    assert COMMENT in text_of(stream[:first] + segment(unknown, COMMENT) + stream[first:])
    hidden = text_of(stream[:first] + alone + comment + stream[first:])
    assert COMMENT in hidden
    assert len(hidden) < 120


def test_boxes_are_text_but_for_coded_samples():
    inner = STREAMS["jpeg-2000"]
    first = inner.index(b"\xff\x90")
    commented = inner[:first] + segment(b"\xff\x64", COMMENT) + inner[first:]
    assert COMMENT in text_of(JP2 + box(b"xml ", COMMENT) + box(b"jp2c", inner))
    assert COMMENT in text_of(JP2 + box(b"jp2c", inner) + box(b"xml ", COMMENT))
    assert COMMENT in text_of(JP2 + box(b"jp2c", commented))
    jxl = b"\0\0\0\x0cJXL \r\n\x87\n"
    assert COMMENT in text_of(jxl + box(b"Exif", COMMENT) + box(b"jxlc", b"\xff\x0a"))
    assert COMMENT not in text_of(jxl + box(b"jxlc", b"\xff\x0a" + COMMENT) + box(b"jbrd", COMMENT))


def test_compressed_boxes_are_searched_as_what_they_hold():
    jxl = b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"jxlc", b"\xff\x0a")
    packed = bytes(imagecodecs.brotli_encode(COMMENT * 9))
    assert COMMENT not in packed
    assert COMMENT in text_of(jxl + box(b"brob", b"Exif" + packed))
    for wrong in (packed[:-4], bytes(imagecodecs.brotli_encode(bytes(1 << 25)))):
        with pytest.raises(CodecError, match="can't be searched for text"):
            text_of(jxl + box(b"brob", b"Exif" + wrong))


def test_what_is_no_codestream_has_no_text_and_what_is_damaged_may_have():
    assert text_of(NOISE.tobytes()) == b""
    assert text_of(b"\xff\xd8" + segment(b"\xff\xe0", b"JFIF") + b"?" + COMMENT).endswith(COMMENT)
