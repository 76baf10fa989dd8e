"""What an output states about its own de-identification, only where it is true (PS3.3 C.12.1, C.7.6.1; PS3.15 E.1.1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from cinemill._version import __version__
from cinemill.dicom.elements import encoding_inside, item_content, item_encoding, items, walk
from cinemill.dicom.recode import encode_element
from cinemill.errors import DamagedFile
from cinemill.operations.deidentify.attributes import edition
from cinemill.operations.deidentify.content import code
from cinemill.operations.deidentify.profile import BASIC, CODES, FEATURES, NAMES, PIXELS, Profile

if TYPE_CHECKING:
    from cinemill.dicom.rewrite import Changes
    from cinemill.dicom.source import Source

_REMOVED, _METHOD, _METHOD_CODES = 0x00120062, 0x00120063, 0x00120064
_BURNED_IN, _VISUAL_FEATURES, _LONGITUDINAL = 0x00280301, 0x00280302, 0x00280303
_CODE_VALUE = 0x00080100


def marks(source: Source, profile: Profile, *, masked: bool) -> Changes:
    """Return the elements that say what was done.

    Parameters
    ----------
    source
        The open file.
    profile
        The options.
    masked
        Whether everything in the pixels that may be text was blackened.
    """
    clean_pixels = masked or source.text(_BURNED_IN) == "NO"
    done = [name for name in NAMES if name in profile and name != PIXELS]
    if masked or (PIXELS in profile and (clean_pixels or source.pixel_data is None)):
        done.insert(0, PIXELS)
    codes = [BASIC, *(CODES[name] for name in done)]
    earlier = [each for each in _earlier(source) if each not in codes]
    method = f"PS3.15 {edition()} Basic Profile\\cinemill {__version__}"
    changes: Changes = {
        _REMOVED: encode_element(_REMOVED, b"CS", b"YES"),
        _METHOD: encode_element(_METHOD, b"LO", method.encode()),
        _METHOD_CODES: encode_element(
            _METHOD_CODES, b"SQ", b"".join(code(value, "DCM", meaning) for value, meaning in earlier + codes)
        ),
        _LONGITUDINAL: encode_element(_LONGITUDINAL, b"CS", profile.dates.encode()),
    }
    if masked:
        changes[_BURNED_IN] = encode_element(_BURNED_IN, b"CS", b"NO")
    if FEATURES in profile and source.pixel_data is not None:
        changes[_VISUAL_FEATURES] = encode_element(_VISUAL_FEATURES, b"CS", b"NO")
    return changes


def _earlier(source: Source) -> list[tuple[str, str]]:
    """Return the methods of CID 7050 that were applied before."""
    known = {method[0]: method for method in (BASIC, *CODES.values())}
    applied: list[str] = []
    with suppress(DamagedFile):
        applied.extend(methods_of(source))
    return [known[value] for value in dict.fromkeys(applied) if value in known]


def methods_of(source: Source) -> Iterator[str]:
    """Yield the code values of the methods that an instance says it was de-identified by.

    Raises
    ------
    DamagedFile
        The sequence can't be read further.
    """
    sequence = source.element(_METHOD_CODES)
    if sequence is None:
        return
    for item in items(source.data, sequence, source.encoding):
        inner = item_encoding(source.data, item, item.end, encoding_inside(sequence.vr, source.encoding))
        for element in walk(source.data, *item_content(item), inner):
            if element.tag == _CODE_VALUE:
                yield bytes(source.data[element.value : element.end]).decode("latin-1").strip(" \0")
