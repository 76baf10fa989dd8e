"""What Accept headers ask for (RFC 9110 12.5.1, PS3.18 8.7)."""

import pytest

from cinemill.serve.accept import Accepted, accepted, choose

ANYTHING = Accepted("*/*", in_parts=None, transfer_syntax=None)


@pytest.mark.parametrize(
    ("header", "ranges"),
    [
        ("", [ANYTHING]),
        ("*/*", [ANYTHING]),
        ("image/png", [Accepted("image/png", in_parts=False, transfer_syntax=None)]),
        (
            'multipart/related; type="image/jls"; transfer-syntax=1.2.840.10008.1.2.4.80',
            [Accepted("image/jls", in_parts=True, transfer_syntax="1.2.840.10008.1.2.4.80")],
        ),
        (
            'multipart/related; type="application/octet-stream"; transfer-syntax="*"',
            [Accepted("application/octet-stream", in_parts=True, transfer_syntax="*")],
        ),
        (
            "multipart/related;type=application/dicom",
            [Accepted("application/dicom", in_parts=True, transfer_syntax=None)],
        ),
        (
            'Multipart/Related; Type="Application/DICOM"',
            [Accepted("application/dicom", in_parts=True, transfer_syntax=None)],
        ),
        ("multipart/related", [Accepted("*/*", in_parts=True, transfer_syntax=None)]),
        (
            "image/png;q=0.5, image/jpeg, image/gif;q=0, */*;q=0.1",
            [
                Accepted("image/jpeg", in_parts=False, transfer_syntax=None),
                Accepted("image/png", in_parts=False, transfer_syntax=None),
                ANYTHING,
            ],
        ),
        ("image/png;q=x", []),
        (
            'x/y; a="b,c", image/png',
            [
                Accepted("x/y", in_parts=False, transfer_syntax=None),
                Accepted("image/png", in_parts=False, transfer_syntax=None),
            ],
        ),
    ],
)
def test_ranges(header, ranges):
    assert accepted(header) == ranges


def test_the_best_of_what_is_offered():
    offered = ("image/jpeg", "image/png")
    assert choose("", offered) == choose("image/*", offered) == "image/jpeg"
    assert choose("image/png, */*;q=0.1", offered) == "image/png"
    assert choose("text/html, image/png;q=0.2", offered) == "image/png"
    assert choose("text/html", offered) is None
