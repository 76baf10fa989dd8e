"""Files that nothing is wrong with, and the same with one defect for each check."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from pydicom import DataElement, Dataset

from tests.support import clips, generate, reports
from tests.support.generate import EXPLICIT, IMPLICIT, JPEG_2000, JPEG_BASELINE, JPEG_LS, JPEG_LS_NEAR, RLE

_FRAME_TIME, _FRAME_TIME_VECTOR = 0x00181063, 0x00181065
_STORAGE = "1.2.840.10008.5.1.4.1.1."
FRAMES = np.stack([generate.smooth((24, 32, 3), seed) for seed in range(4)])
GREY = FRAMES[..., 0].copy()


def elements(**changes: Any) -> dict[str, Any]:
    """What a sound ultrasound cine says of itself; None leaves an element out."""
    sound: dict[str, Any] = {
        "sop_class": generate.ULTRASOUND_CINE,
        "Modality": "US",
        "Manufacturer": "Example",
        "ManufacturerModelName": "E1",
        "StudyInstanceUID": "1.2.3.5",
        "SeriesInstanceUID": "1.2.3.6",
        "InstanceNumber": 1,
        "FrameTime": "40",
        "FrameIncrementPointer": _FRAME_TIME,
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "SequenceOfUltrasoundRegions": [clips.region((0, 0, 31, 23))],
    }
    given = {**sound, **changes}
    return {name: value for name, value in given.items() if value is not None or name not in sound}


def head(frames: Any = FRAMES, label: str = "RGB", **changes: Any) -> Dataset:
    samples = frames.shape[3] if frames.ndim == 4 else 1
    return generate.header(frames, label, samples=samples, **elements(**changes))


def native(
    frames: Any = FRAMES, label: str = "RGB", *, more: bytes = b"", after: bytes = b"", **changes: Any
) -> bytes:
    pixels = generate.native_element(generate.native_bytes(frames) + more, EXPLICIT)
    return generate.part10(head(frames, label, **changes), pixels, EXPLICIT, after=after)


def coded(
    syntax: str,
    streams: list[list[bytes]],
    label: str = "RGB",
    *,
    frames: Any = FRAMES,
    element: bytes | None = None,
    table: dict[str, Any] | None = None,
    **changes: Any,
) -> bytes:
    pixels = element or generate.encapsulated_element(streams, **(table or {}))
    return generate.part10(head(frames, label, **changes), pixels, syntax)


def jpeg_ls(**options: Any) -> list[list[bytes]]:
    return [[generate.jpeg_ls_stream(frame, interleave=1, **options)] for frame in FRAMES]


def rle() -> list[list[bytes]]:
    return [[generate.rle_stream(frame)] for frame in FRAMES]


def jpeg(**options: Any) -> list[list[bytes]]:
    return [[generate.jpeg(frame, **options)] for frame in FRAMES]


LOSSY: dict[str, Any] = {
    "LossyImageCompression": "01",
    "LossyImageCompressionMethod": "ISO_10918_1",
    "LossyImageCompressionRatio": "3",
}
_CINE: dict[str, Any] = {
    "FrameTime": None,
    "FrameIncrementPointer": None,
    "SequenceOfUltrasoundRegions": None,
}
_SLICE: dict[str, Any] = {
    **_CINE,
    "sop_class": _STORAGE + "2",
    "Modality": "CT",
    "ImagePositionPatient": [0, 0, 0],
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PixelSpacing": [1, 1],
}
_PROJECTION: dict[str, Any] = {
    **_CINE,
    "sop_class": _STORAGE + "1.1",
    "Modality": "DX",
    "PatientOrientation": ["L", "F"],
}


def _groups(count: int, *, oriented: bool = True) -> dict[str, Any]:
    def item() -> Dataset:
        group, plane = Dataset(), Dataset()
        plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        if oriented:
            group.PlaneOrientationSequence = [plane]
        return group

    return {
        **_CINE,
        "sop_class": _STORAGE + "2.1",
        "Modality": "CT",
        "PerFrameFunctionalGroupsSequence": [item() for _ in range(count)],
    }


def _jpeg_2000() -> list[list[bytes]]:
    return [[generate.jpeg_2000(frame, colour_transform=False)] for frame in GREY]


SOUND: dict[str, Callable[[], bytes]] = {
    "native": native,
    "grey": lambda: native(GREY, "MONOCHROME2"),
    "jpeg-ls": lambda: coded(JPEG_LS, jpeg_ls()),
    "near": lambda: coded(
        JPEG_LS_NEAR,
        jpeg_ls(near=2),
        **{**LOSSY, "LossyImageCompressionMethod": "ISO_14495_1"},
    ),
    "rle": lambda: coded(RLE, rle()),
    "jpeg": lambda: coded(JPEG_BASELINE, jpeg(), "YBR_FULL_422", **LOSSY),
    "jpeg-2000": lambda: coded(JPEG_2000, _jpeg_2000(), "MONOCHROME2", frames=GREY),
    "extended": lambda: coded(JPEG_LS, jpeg_ls(), table={"table": "extended"}),
    "slice": lambda: native(GREY[:1], "MONOCHROME2", **_SLICE),
    "projection": lambda: native(GREY[:1], "MONOCHROME2", **_PROJECTION),
    "groups": lambda: native(GREY, "MONOCHROME2", **_groups(4)),
    "report": lambda: reports.encoded(reports.echo()),
}
"""Files that no check finds anything in."""


class Defect(NamedTuple):
    """A file that one check finds something in.

    Attributes
    ----------
    sound
        The file without the defect.
    make
        Makes the file.
    others
        What other checks find for the same reason.
    """

    sound: str
    make: Callable[[], bytes]
    others: tuple[str, ...] = ()


def _replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def _in_other_vr() -> bytes:
    begin = generate.part10(head(), b"", EXPLICIT)
    begin = begin[: len(begin) - len(generate.encode(head(), EXPLICIT))]
    pixels = generate.native_element(generate.native_bytes(FRAMES), IMPLICIT)
    return begin + generate.encode(head(), IMPLICIT) + pixels


def _out_of_order() -> bytes:
    name = Dataset()
    name.PatientName = "Doe^Jane"
    first = generate.part10(head(PatientName=None), b"", EXPLICIT)
    pixels = generate.native_element(generate.native_bytes(FRAMES), EXPLICIT)
    return first + generate.encode(name, EXPLICIT) + pixels


def _fragments(*pieces: bytes) -> bytes:
    """Encode fragments as they are, behind an empty table."""
    start = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + generate.item(b"")
    items = b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(piece)) + piece for piece in pieces)
    return start + items + generate.DELIMITER


def _region(**changes: Any) -> dict[str, Any]:
    item = clips.region((0, 0, 31, 23))
    for name, value in changes.items():
        if value is None:
            delattr(item, name)
        else:
            setattr(item, name, value)
    return {"SequenceOfUltrasoundRegions": [item]}


def _icon(**changes: Any) -> dict[str, Any]:
    icon = generate.header(GREY[:1, :4, :4])
    icon.PixelData = bytes(16)
    for name in ("SOPClassUID", "SOPInstanceUID", "PatientName"):
        delattr(icon, name)
    for name, value in changes.items():
        icon[name] = DataElement(name, "LO", value) if name == "Rows" else icon[name]
        if name != "Rows":
            setattr(icon, name, value)
    return {"IconImageSequence": [icon]}


def _signed() -> bytes:
    signatures = Dataset()
    signatures.DigitalSignaturesSequence = [Dataset()]
    return generate.encode(signatures, EXPLICIT)


def _private() -> bytes:
    header = head()
    header.add_new(0x00091001, "LO", "nobody's")
    return generate.part10(header, generate.native_element(generate.native_bytes(FRAMES), EXPLICIT), EXPLICIT)


def _one(streams: list[list[bytes]], change: Callable[[bytes], bytes]) -> list[list[bytes]]:
    """Change the codestream of the second frame."""
    return [[change(stream[0])] if number == 1 else stream for number, stream in enumerate(streams)]


def _without_end(stream: bytes) -> bytes:
    return stream[: stream.rindex(b"\xff\xd9")] + b"\xff\xd8\x01"


def _odd() -> bytes:
    streams = [stream[0] + b"\0" * (len(stream[0]) % 2) for stream in jpeg_ls()]
    return _fragments(*streams[:3], streams[3] + b"\0")


def _with_wrong_extended_table() -> bytes:
    data = SOUND["extended"]()
    at = data.index(b"\xe0\x7f\x01\x00OV") + 12 + 8
    return data[:at] + struct.pack("<Q", 2) + data[at + 8 :]


def _with_length() -> bytes:
    data = coded(JPEG_LS, jpeg_ls())
    return generate.with_length(data)


def _with_stray_item() -> bytes:
    data = native()
    at = data.index(b"\xe0\x7f\x10\x00")
    return data[:at] + generate.item(b"of none.") + data[at:]


def _deep() -> bytes:
    frames = generate.noise((1, 24, 32), 10)
    streams = [[generate.jpeg_ls_stream(frames[0], bits=10)]]
    return coded(JPEG_LS, streams, "MONOCHROME2", frames=frames, bits_stored=12, **_SLICE)


DEFECTS: dict[str, Defect] = {
    "file.dicom": Defect("native", lambda: b"no image" * 100),
    "file.damaged": Defect("native", lambda: native()[:-100]),
    "file.values": Defect("native", lambda: native(**_icon(Rows="four"))),
    "file.preamble": Defect("native", lambda: native()[128:]),
    "file.meta": Defect("native", lambda: native()[:140] + b"\1\0\0\0" + native()[144:]),
    "file.uids": Defect("native", lambda: _replaced(native(), b"1.2.3.4\0", b"1.2.3.9\0")),
    "file.encoding": Defect("native", _in_other_vr),
    "file.order": Defect("native", _out_of_order),
    "file.odd-length": Defect("native", lambda: _replaced(native(), b"PN\x08\0Doe^Jane", b"PN\x07\0Doe^Jan")),
    "file.trailing": Defect("native", lambda: native(after=bytes(20))),
    "file.items": Defect("native", _with_stray_item),
    "file.size": Defect("rle", lambda: coded(RLE, rle(), Rows=60_000, Columns=60_000)),
    "class.modality": Defect("native", lambda: native(Modality="CT")),
    "class.known": Defect("native", lambda: native(sop_class=_STORAGE + "3")),
    "class.frames": Defect("native", lambda: native(sop_class=generate.ULTRASOUND)),
    "model.expected": Defect("native", lambda: native(ManufacturerModelName="E2")),
    "model.manufacturer": Defect("native", lambda: native(Manufacturer="")),
    "attributes.required": Defect("native", lambda: native(SeriesInstanceUID="")),
    "uids.syntax": Defect("native", lambda: _replaced(native(), b"1.2.3.5\0", b"1.2.03.5")),
    "uids.distinct": Defect("native", lambda: native(StudyInstanceUID="1.2.3.6")),
    "frames.described": Defect("native", lambda: native(Rows=0), ("regions.bounds",)),
    "frames.number": Defect("native", lambda: native(NumberOfFrames="0")),
    "frames.count": Defect("native", lambda: native(NumberOfFrames=5)),
    "frames.length": Defect("native", lambda: native(more=bytes(10))),
    "frames.encapsulation": Defect(
        "native",
        lambda: generate.part10(
            head(), generate.native_element(generate.native_bytes(FRAMES), EXPLICIT), JPEG_LS
        ),
    ),
    "frames.empty": Defect(
        "jpeg-ls",
        lambda: coded(JPEG_LS, _one(jpeg_ls(), lambda _: b"")),
        ("codestream.markers", "fragments.empty"),
    ),
    "frames.end": Defect("jpeg-ls", lambda: coded(JPEG_LS, _one(jpeg_ls(), _without_end))),
    "frames.rle": Defect("rle", lambda: coded(RLE, _one(rle(), lambda data: b"\2" + data[1:]))),
    "frames.representative": Defect("native", lambda: native(RepresentativeFrameNumber=9)),
    "codestream.markers": Defect(
        "jpeg-ls", lambda: coded(JPEG_LS, _one(jpeg_ls(), lambda data: b"\0\0" + data[2:]))
    ),
    "codestream.coding": Defect(
        "jpeg-ls",
        lambda: coded(JPEG_LS, [[generate.jpeg_2000(frame, colour_transform=False)] for frame in FRAMES]),
    ),
    "codestream.geometry": Defect("jpeg-ls", lambda: coded(JPEG_LS, jpeg_ls(), Rows=26)),
    "codestream.depth": Defect("slice", _deep),
    "codestream.sign": Defect(
        "jpeg-2000",
        lambda: coded(JPEG_2000, _jpeg_2000(), "MONOCHROME2", frames=GREY, PixelRepresentation=1),
        ("pixels.sign",),
    ),
    "codestream.colour": Defect("jpeg", lambda: coded(JPEG_BASELINE, jpeg(), "RGB", **LOSSY)),
    "codestream.lossy": Defect("jpeg-ls", lambda: coded(JPEG_LS, jpeg_ls(near=2))),
    "codestream.history": Defect("near", lambda: coded(JPEG_LS_NEAR, jpeg_ls(near=2))),
    "offsets.basic": Defect("jpeg-ls", lambda: coded(JPEG_LS, jpeg_ls(), table={"entries": [0, 2, 4, 6]})),
    "offsets.extended": Defect("extended", _with_wrong_extended_table),
    "offsets.missing": Defect("jpeg-ls", lambda: coded(JPEG_LS, jpeg_ls(), table={"table": "empty"})),
    "fragments.odd": Defect("jpeg-ls", lambda: coded(JPEG_LS, [], element=_odd()), ("offsets.missing",)),
    "fragments.empty": Defect(
        "jpeg-ls",
        lambda: coded(
            JPEG_LS,
            [],
            element=_fragments(*(stream[0] + b"\0" * (len(stream[0]) % 2) for stream in jpeg_ls()), b""),
        ),
        ("offsets.missing",),
    ),
    "fragments.delimiter": Defect("jpeg-ls", lambda: coded(JPEG_LS, jpeg_ls(), table={"delimiter": False})),
    "fragments.length": Defect("jpeg-ls", _with_length),
    "fragments.several": Defect(
        "rle", lambda: coded(RLE, [generate.split(stream[0], 2) for stream in rle()])
    ),
    "pixels.photometric": Defect(
        "jpeg", lambda: coded(JPEG_BASELINE, jpeg(), "YBR_FULL", **LOSSY), ("pixels.iod",)
    ),
    "pixels.iod": Defect("native", lambda: native(FRAMES, "YBR_FULL")),
    "pixels.samples": Defect("native", lambda: native(FRAMES, "MONOCHROME2")),
    "pixels.planar": Defect("grey", lambda: native(GREY, "MONOCHROME2", PlanarConfiguration=0)),
    "pixels.bits": Defect("native", lambda: native(HighBit=6)),
    "pixels.sign": Defect("native", lambda: native(PixelRepresentation=1)),
    "lossy.flag": Defect("jpeg", lambda: coded(JPEG_BASELINE, jpeg(), "YBR_FULL_422")),
    "lossy.reset": Defect("native", lambda: native(LossyImageCompressionMethod="ISO_10918_1")),
    "lossy.history": Defect("native", lambda: native(LossyImageCompression="01")),
    "timing.pointer": Defect("native", lambda: native(FrameIncrementPointer=_FRAME_TIME_VECTOR)),
    "timing.missing": Defect("native", lambda: native(FrameTime=""), ("timing.pointer",)),
    "timing.values": Defect("native", lambda: native(FrameTime="0.001")),
    "timing.vector": Defect("native", lambda: native(FrameTimeVector=["0", "40"])),
    "timing.rates": Defect("native", lambda: native(CineRate="50")),
    "timing.duration": Defect("native", lambda: native(EffectiveDuration="9")),
    "timing.trim": Defect("native", lambda: native(StartTrim=1, StopTrim=9)),
    "regions.missing": Defect("native", lambda: native(SequenceOfUltrasoundRegions=None)),
    "regions.attributes": Defect("native", lambda: native(**_region(RegionFlags=None))),
    "regions.bounds": Defect("native", lambda: native(**_region(RegionLocationMaxX1=32))),
    "regions.units": Defect("native", lambda: native(**_region(PhysicalUnitsXDirection=4))),
    "regions.deltas": Defect("native", lambda: native(**_region(PhysicalDeltaX=0.0))),
    "regions.direction": Defect("native", lambda: native(**_region(PhysicalDeltaX=-0.05))),
    "regions.overlap": Defect(
        "native",
        lambda: native(
            SequenceOfUltrasoundRegions=[
                clips.region((0, 0, 20, 20)),
                clips.region((10, 10, 31, 23), deltas=(0.1, 0.1)),
            ]
        ),
    ),
    "regions.reference": Defect("native", lambda: native(**_region(ReferencePixelX0=5000))),
    "orientation.patient": Defect(
        "projection",
        lambda: native(GREY[:1], "MONOCHROME2", **{**_PROJECTION, "PatientOrientation": ""}),
    ),
    "orientation.plane": Defect(
        "slice",
        lambda: native(GREY[:1], "MONOCHROME2", **{**_SLICE, "ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}),
    ),
    "groups.frames": Defect("groups", lambda: native(GREY, "MONOCHROME2", **_groups(3))),
    "groups.orientation": Defect("groups", lambda: native(GREY, "MONOCHROME2", **_groups(4, oriented=False))),
    "text.character-set": Defect(
        "native", lambda: _replaced(native(SpecificCharacterSet="ISO_IR 100"), b"ISO_IR 100", b"ISO_IR 999")
    ),
    "text.decodes": Defect("native", lambda: _replaced(native(), b"Doe^Jane", b"Doe^J\xe4ne")),
    "private.creator": Defect("native", _private),
    "signature.present": Defect("native", lambda: native(after=_signed())),
    "annotation.burned-in": Defect("native", lambda: native(BurnedInAnnotation=None)),
    "annotation.contradiction": Defect(
        "native", lambda: native(BurnedInAnnotation="YES", PatientIdentityRemoved="YES")
    ),
    "icon.sound": Defect("native", lambda: native(**_icon(PhotometricInterpretation="RGB"))),
    **{check: Defect("report", partial(reports.faulty, check)) for check in reports.FAULTS},
}
"""For each check, a file with one defect."""
