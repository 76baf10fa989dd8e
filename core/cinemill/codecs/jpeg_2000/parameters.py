"""How the packets of a JPEG 2000 codestream are coded (T.800 Annex A), and which codestreams the kernels decode."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from cinemill.codecs.jpeg_2000.markers import (
    CAP,
    COC,
    COD,
    COM,
    CPF,
    EOC,
    PLT,
    QCC,
    QCD,
    SIZ,
    SOC,
    SOD,
    SOT,
    TLM,
    CodingStyle,
    MainHeader,
    segments,
)

if TYPE_CHECKING:
    from cinemill.pixel_format import Buffer

_EXPECTED = [SOC, SIZ, COD, QCD, SOT, SOD], [SOC, SIZ, QCD, COD, SOT, SOD]
_IMMATERIAL = TLM, PLT, CPF, COM
_PART_15_ONLY = b"\x00\x02\x00\x00"
"""Pcap of codestreams that need nothing but HT code-blocks beside Part 1 (T.814 A.3)."""
_HT_BLOCKS = 0x40
_MOST_LEVELS = 32


class Parameters(NamedTuple):
    """What SIZ, COD and QCD say of a codestream that the kernels decode."""

    rows: int
    columns: int
    samples: int
    colour_transform: bool
    progression: int
    levels: int
    block_exponents: tuple[int, int]
    """xcb and ycb (A.6.1)."""
    precinct_exponents: tuple[tuple[int, int], ...]
    """PPx and PPy of each resolution."""
    bit_planes: tuple[int, ...]
    """M_b of each subband, in the order of QCD (Equation E-2)."""


class Packets(NamedTuple):
    """Where the packets of a codestream begin and end, and how they are coded."""

    start: int
    end: int
    parameters: Parameters


def read_packets_header(
    codestream: Buffer, header: MainHeader, *, high_throughput: bool = False
) -> Packets | None:
    """Return what the kernels need to decode a checked codestream, or None if it is nothing for them.

    They decode what lossless encoders commonly write: one tile in one tile-part, 1 or 3 components of up to 16 bits, one
    quality layer, the reversible wavelet, code-blocks of up to 64 x 64 in the default style, any precincts and progression.

    Parameters
    ----------
    codestream, header
        The codestream, and its main header.
    high_throughput
        Whether the kernels are those for HT code-blocks, of which then all have to be.
    """
    material = [found for found in segments(codestream, 0) if found[0] not in _IMMATERIAL]
    capabilities = [segment[:4] for marker, _, segment in material if marker == CAP]
    if capabilities != [_PART_15_ONLY] * high_throughput:
        return None
    material = [found for found in material if found[0] != CAP and not _repeats(found, material)]
    if [marker for marker, *_ in material] not in _EXPECTED:
        return None
    found = {marker: (offset, segment) for marker, offset, segment in material}
    (_, siz), (_, cod), (_, qcd), (tile_part, sot) = (found[marker] for marker in (SIZ, COD, QCD, SOT))
    end = tile_part + int.from_bytes(sot[2:6], "big")
    whole = len(sot) == 8 and sot[6] == 0 and codestream[end : end + 2] == EOC.to_bytes(2, "big")
    block_style = _HT_BLOCKS if high_throughput else 0
    parameters = _parameters(header, siz, len(cod), qcd, block_style) if whole else None
    return None if parameters is None else Packets(found[SOD][0] + 2, end, parameters)


@lru_cache(maxsize=16)
def _parameters(
    header: MainHeader, siz: bytes, cod_length: int, qcd: bytes, block_style: int
) -> Parameters | None:
    """Return the parameters of codestreams with such headers, None if the kernels don't decode them."""
    coding = header.coding
    image_offset, tile_offset = any(siz[10:18]), any(siz[26:34])
    if not (
        header.tiles == 1
        and min(header.rows, header.columns) > 0
        and not (image_offset or tile_offset or header.subsampled)
        and header.precision <= 16
        and (header.samples, coding.colour_transform) in {(1, 0), (3, 0), (3, 1)}
        and coding.block_style == block_style
        and _is_covered(coding, header.precincts, cod_length, qcd)
    ):
        return None
    guard_bits = qcd[0] >> 5
    return Parameters(
        header.rows,
        header.columns,
        header.samples,
        coding.colour_transform == 1,
        coding.progression,
        coding.levels,
        (coding.block_width + 2, coding.block_height + 2),
        header.precincts,
        tuple(guard_bits + (exponent >> 3) - 1 for exponent in qcd[1:]),
    )


def _repeats(found: tuple[int, int, bytes], material: list[tuple[int, int, bytes]]) -> bool:
    """Whether a segment says of one component what COD or QCD say of all (A.6.2, A.6.5), as GDCM's do."""
    marker, _, segment = found
    general = {COC: COD, QCC: QCD}.get(marker)
    if general is None:
        return False
    same = next((content for code, _, content in material if code == general), b"")
    return segment[1:] == (same if marker == QCC else same[:1] + same[5:]) and bool(same)


def _is_covered(
    coding: CodingStyle, precincts: tuple[tuple[int, int], ...], cod_length: int, qcd: bytes
) -> bool:
    """Whether the kernels decode this coding style, and its markers have the length it asks for."""
    return (
        coding.style in {0, 1}  # neither SOP nor EPH
        and coding.progression <= 4
        and coding.layers == 1
        and coding.levels <= _MOST_LEVELS
        and max(coding.block_width, coding.block_height) <= 4
        and coding.wavelet == 1
        and cod_length == 10 + coding.style * (coding.levels + 1)
        and all(0 not in exponents for exponents in precincts[1:])
        and len(qcd) == 2 + 3 * coding.levels
        and qcd[0] & 0x1F == 0  # no quantisation
    )
