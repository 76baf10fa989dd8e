"""Plants an identity in every attribute of PS3.15 Table E.1-1, and more, and counts what de-identifiers make of them.

    python bench/deidentify.py [--peers PYTHON] [--standard FILE] [--base FILE.dcm] [--options NAMES ...]

For each set of options: required actions, those that were taken, and planted values that are left anywhere in the output. The
actions are those of the MIDI-B challenge's scorer: tag_retained, text_notnull, text_retained, text_removed, date_shifted,
uid_changed, pixels_hidden, pixels_retained, uid_consistent, patid_consistent. PYTHON has dicom-anonymizer, deid, dicognito and
pydicom; they do what they do by default, which is the profile without options. FILE is confidentiality_profile_attributes.json
of innolitics/dicom-standard: with it, what options ask for is not taken from the tables that are tested.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from cinemill.operations.deidentify.attributes import basic_profile, columns
from cinemill.operations.deidentify.keys import make_key
from cinemill.operations.deidentify.profile import NAMES, read_profile

WORD = "APICAL"
"""A word of medicine, which cleaning may leave; what is planted beside it must go."""

OPTIONS = (
    "",
    *(name for name in NAMES if name not in {"clean-pixel-data", "clean-recognizable-visual-features"}),
    "clean-descriptors,clean-structured-content,clean-graphics,retain-longitudinal-modified,retain-patient-characteristics",
)
_NOT_PLANTED = frozenset((0x00080016, 0x00020003, 0x00001000, 0x00001001, 0x04000500, 0xFFFCFFFC))
_IDENTIFIERS = frozenset((0x00100020, 0x00101000, 0x00080050))
_FIRST_DAY = date(1951, 1, 1)
_COLUMNS = {
    "cleanDescOpt": "clean-descriptors",
    "cleanStructContOpt": "clean-structured-content",
    "cleanGraphOpt": "clean-graphics",
    "rtnLongFullDatesOpt": "retain-longitudinal-full",
    "rtnLongModifDatesOpt": "retain-longitudinal-modified",
    "rtnUIDsOpt": "retain-uids",
    "rtnPatCharsOpt": "retain-patient-characteristics",
    "rtnDevIdOpt": "retain-device-identity",
    "rtnInstIdOpt": "retain-institution-identity",
    "rtnSafePrivOpt": "retain-safe-private",
}


@dataclass
class Planted:
    """What was planted in one place.

    Attributes
    ----------
    path
        Tags down to it.
    value
        As it was planted; text, or bytes.
    token
        What must not be left of it, where it has to go.
    code
        Of the Basic Profile.
    """

    path: tuple[int, ...]
    vr: str
    value: Any
    token: bytes
    code: str


@dataclass
class Score:
    """Required actions, those that were taken, and what was left."""

    required: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    left: int = 0
    wrong: list[str] = field(default_factory=list)

    def count(self, action: str, where: str, *, right: bool) -> None:
        """Count one required action."""
        self.required[action] += 1
        if right:
            self.right[action] += 1
        else:
            self.wrong.append(f"{action} {where}")

    @property
    def text(self) -> str:
        """In a line."""
        right, required = self.right.total(), self.required.total()
        return f"{right}/{required} ({100 * right / max(1, required):.1f} %), {self.left} originals left"


class Planter:
    """Plants values of which each is told from all others."""

    def __init__(self) -> None:
        self.planted: list[Planted] = []
        self._number = 1000

    def everywhere(self, dataset: Dataset) -> None:
        """Plant every row of the table at the top, some of them nested, and what is not in the table."""
        for tag, code in sorted(basic_profile().items()):
            vr = DicomDictionary.get(tag, ("LO",))[0].split(" ")[0]
            if tag not in _NOT_PLANTED and tag >> 16 != 2 and vr != "OB or OW":
                self.plant(dataset, (tag,), vr, code)
        for tag in (0x00100010, 0x00100020, 0x00081155, 0x00080090, 0x00081070, 0x00102000, 0x0040A123):
            inner = Dataset()
            self.plant(inner, (0x00400260, tag), DicomDictionary[tag][0], basic_profile().get(tag, "U"))
            items = list(dataset[0x00400260].value) if 0x00400260 in dataset else []
            dataset.add_new(0x00400260, "SQ", Sequence([*items, inner]))
        self._special(dataset)

    def _special(self, dataset: Dataset) -> None:
        """Plant private elements, an overlay, a curve, and an icon."""
        block = dataset.private_block(0x0011, "PLANTED CREATOR", create=True)
        for number in range(1, 9):
            token = self._token()
            block.add_new(number, "LO", token)
            self.planted.append(Planted((0x00111000 | number,), "LO", token, token.encode(), "X"))
        safe = dataset.private_block(0x200D, "Philips US Imaging DD 033", create=True)
        safe.add_new(0x0D, "LO", "UDM_USD_DATATYPE_DIN_2D_ECHO")
        self.planted.append(
            Planted((0x200D100D,), "LO", "UDM_USD_DATATYPE_DIN_2D_ECHO", b"UDM_USD", "private")
        )
        for tag, vr in (
            (0x60003000, "OW"),
            (0x60004000, "LT"),
            (0x60000022, "LO"),
            (0x50003000, "OW"),
            (0x50002500, "LO"),
        ):
            token = self._token()
            dataset.add_new(tag, vr, token.encode() if vr == "OW" else token)
            self.planted.append(Planted((tag,), vr, token, token.encode(), "X"))

    def _token(self) -> str:
        self._number += 1
        return f"ZQ{self._number}IDENTX"[:14]

    def plant(self, dataset: Dataset, path: tuple[int, ...], vr: str, code: str) -> None:
        """Plant a value of its own in one element."""
        token = self._token()
        number = self._number
        day = _FIRST_DAY + timedelta(number)
        value = _planted_value(path[-1], vr, token, number, day)
        dataset.add_new(path[-1], vr, value)
        text = value if isinstance(value, str) else token
        gone = text.replace(f"{WORD} ", "").partition("^")[0]
        known = vr not in {"US", "SS", "UL", "SL", "FL", "FD", "AS", "TM"}
        self.planted.append(Planted(path, vr, value, gone.encode() if known else b"", code))


def _planted_value(tag: int, vr: str, token: str, number: int, day: date) -> Any:
    """Return a value of its own for an element."""
    if vr == "SQ":
        inner = Dataset()
        inner.add_new(0x00080104, "LO", f"Planted {token}")
        inner.add_new(0x00100010, "PN", f"{token}^{token}")
        inner.add_new(0x00081155, "UI", f"1.2.999.{number}")
        return Sequence([inner])
    values: dict[str, Any] = {
        "PN": f"{token}^Given",
        "DA": f"{day:%Y%m%d}",
        "DT": f"{day:%Y%m%d}113015.{number}",
        "TM": f"1130{number % 60:02}.{number}",
        "UI": f"1.2.999.{number}",
        "AS": "077Y",
        **dict.fromkeys(("IS", "DS"), f"{number}777{number}"),
        **dict.fromkeys(("US", "SS", "UL", "SL"), number),
        **dict.fromkeys(("FL", "FD"), float(number)),
        **dict.fromkeys(("OB", "OW", "UN", "OF", "OD"), token.encode()),
        **dict.fromkeys(("CS", "AE", "SH"), token),
    }
    return values.get(vr, token if tag in _IDENTIFIERS else f"{WORD} {token}")


def base(path: Path | None) -> Dataset:
    """Return the instance that is planted in: a file, or a small ultrasound cine."""
    if path is not None:
        return pydicom.dcmread(path)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.3.1")
    dataset.Modality, dataset.ImageType = "US", ["ORIGINAL", "PRIMARY"]
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 16, 20, 3
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.FrameTime, dataset.FrameIncrementPointer = "33.3", 0x00181063
    dataset.PixelData = np.random.default_rng(1).integers(0, 255, 960, np.uint8).tobytes()
    return dataset


def make(folder: Path, start: Path | None) -> tuple[list[Path], list[Planted]]:
    """Write two instances of one patient, of which the second refers to the first; return what was planted in the first."""
    dataset, planter = base(start), Planter()
    dataset.file_meta.SourceApplicationEntityTitle = "ZQSRCAETITLE"
    planter.planted.append(Planted((0x00020016,), "AE", "ZQSRCAETITLE", b"ZQSRCAETITLE", "X"))
    planter.everywhere(dataset)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    first, second = folder / "Doe_Jane_1.dcm", folder / "Doe_Jane_2.dcm"
    dataset.save_as(first, enforce_file_format=True)
    other = base(None)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(other, keyword, getattr(dataset, keyword))
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = UID("1.2.999.2")
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = (
        dataset.SOPClassUID,
        dataset.SOPInstanceUID,
    )
    other.SourceImageSequence = Sequence([reference])
    other.save_as(second, enforce_file_format=True)
    return [first, second], planter.planted


def read_standard(path: Path | None) -> dict[int, dict[str, str]]:
    """Return what options say of attributes, from the standard's own table; nothing without it."""
    found: dict[int, dict[str, str]] = {}
    for row in json.loads(path.read_text()) if path else ():
        if tag := re.fullmatch(r"\(([0-9A-F]{4}),([0-9A-F]{4})\)", row["tag"]):
            found[int(tag[1] + tag[2], 16)] = {
                option: row[name] for name, option in _COLUMNS.items() if row.get(name)
            }
    return found


def wanted(planted: Planted, options: str, standard: dict[int, dict[str, str]]) -> str:
    """Return the action code that options ask for: K, C, or that of the Basic Profile."""
    tag = planted.path[-1]
    if planted.code == "private":
        return "K" if "retain-safe-private" in options else "X"
    if len(planted.path) > 1 or tag >> 24 in {0x50, 0x60} or tag >> 16 == 0x11:
        return planted.code if len(planted.path) == 1 else _told(planted, options, standard)
    return _told(planted, options, standard)


def _told(planted: Planted, options: str, standard: dict[int, dict[str, str]]) -> str:
    tag, chosen = planted.path[-1], options.split(",")
    if tag in standard:
        told = {standard[tag][option] for option in chosen if option in standard[tag]}
        return "C" if "C" in told else "K" if "K" in told else planted.code
    return columns(tag, planted.vr, read_profile("basic", options)).retained or planted.code


def values(dataset: Dataset, path: tuple[int, ...]) -> list[Any]:
    """Return what stands at a path: of all items on the way."""
    levels = [dataset]
    for tag in path[:-1]:
        levels = [item for level in levels if tag in level for item in level[tag].value]
    if path[-1] >> 16 == 2:
        levels = [dataset.file_meta]
    return [level[path[-1]].value for level in levels if path[-1] in level]


def score(
    outputs: list[Path],
    sources: list[Path],
    planted: list[Planted],
    options: str,
    standard: dict[int, dict[str, str]],
) -> Score:
    """Count which of the required actions were taken."""
    result = Score()
    data = outputs[0].read_bytes()
    before, after = pydicom.dcmread(sources[0]), pydicom.dcmread(outputs[0])
    shifts: Counter[int] = Counter()
    for each in planted:
        moving = "retain-longitudinal-modified" in options
        _score_one(result, each, after, wanted(each, options, standard), data, shifts, moving=moving)
    if shifts:
        result.count("date_shifted", "by the same days", right=len(shifts) == 1)
    same = hashlib.sha256(before.PixelData).digest() == hashlib.sha256(after.PixelData).digest()
    result.count("pixels_retained", "", right=same)
    for keyword in ("Rows", "Columns", "Modality", "FrameTime", "NumberOfFrames"):
        result.count("tag_retained", keyword, right=before.get(keyword) == after.get(keyword))
    other = pydicom.dcmread(outputs[1])
    referred = other.get("SourceImageSequence") or [Dataset()]
    told = (
        referred[0].get("ReferencedSOPInstanceUID"),
        other.get("StudyInstanceUID"),
        other.get("SeriesInstanceUID"),
    )
    own = tuple(after.get(name) for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"))
    for name, mine, theirs in zip(("reference", "study", "series"), own, told, strict=True):
        result.count("uid_consistent", name, right=mine is not None and mine == theirs)
    result.count("patid_consistent", "", right=after.get("PatientID") == other.get("PatientID"))
    return result


def _score_one(
    result: Score,
    planted: Planted,
    after: Dataset,
    code: str,
    data: bytes,
    shifts: Counter[int],
    *,
    moving: bool,
) -> None:
    where = (
        " ".join(f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in planted.path) + f" {planted.vr} {code}"
    )
    found = values(after, planted.path)
    left = bool(planted.token) and planted.token in data
    if moving and planted.vr in {"DA", "DT"}:
        left = False  # another date may have been moved to this day
    if code == "K":
        if planted.vr == "SQ":
            result.count("tag_retained", where, right=bool(found))
        else:
            result.count("text_retained", where, right=any(_same(value, planted.value) for value in found))
        return
    dated = planted.vr in {"DA", "DT", "TM"}
    if code == "C" and dated:
        right = any(_shift(value, planted, shifts) for value in found)
        result.count("date_shifted", where, right=right)
        return
    if planted.vr == "SQ":
        left = (
            planted.token if code in {"D", "X", "Z", "X/Z", "X/D", "X/Z/D"} else planted.token + b"^"
        ) in data
        result.left += left
        result.count("text_removed", where, right=not left)
        return
    result.left += left
    gone = not left and not any(_same(value, planted.value) for value in found)
    if code == "U":
        result.count("uid_changed", where, right=gone and any(str(value) for value in found))
    elif code == "D":
        result.count(
            "text_notnull", where, right=gone and any(value not in ("", None, b"") for value in found)
        )
    elif code == "X":
        result.count("text_removed", where, right=not found and not left)
    else:
        result.count("text_removed", where, right=gone)


def _same(value: Any, planted: Any) -> bool:
    return str(value) == str(planted)


def _shift(value: Any, planted: Planted, shifts: Counter[int]) -> bool:
    """Whether a date is another one, with its time; count by how many days."""
    text = str(value)
    if planted.vr == "TM":
        return text == str(planted.value)
    with contextlib.suppress(ValueError):
        days = date.fromisoformat(text[:8]) - date.fromisoformat(planted.value[:8])
        shifts[days.days] += 1
        return days.days != 0 and text[8:] == str(planted.value)[8:]
    return False


PEERS = {
    "dicom-anonymizer": """
from dicomanonymizer.simpledicomanonymizer import anonymize_dicom_file, initialize_actions
import inspect
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c
kw = {}
names = inspect.signature(initialize_actions).parameters
actions = initialize_actions("dicomfields_2026c") if names else None
for src, dst in pairs:
    anonymize_dicom_file(src, dst, extra_anonymization_rules=actions)
""",
    "deid": """
from deid.dicom import replace_identifiers, get_identifiers
import shutil
for src, dst in pairs:
    done = replace_identifiers(dicom_files=[src], save=False, remove_private=True)
    done[0].save_as(dst)
""",
    "dicognito": """
import dicognito.anonymizer, pydicom
anonymizer = dicognito.anonymizer.Anonymizer(seed="planted")
for src, dst in pairs:
    with pydicom.dcmread(src) as dataset:
        anonymizer.anonymize(dataset)
        dataset.save_as(dst)
""",
    "pydicom": """
import pydicom
def names(dataset, element):
    if element.VR == "PN":
        element.value = "anonymous"
def curves(dataset, element):
    if element.tag.group & 0xFF00 == 0x5000:
        del dataset[element.tag]
for src, dst in pairs:
    dataset = pydicom.dcmread(src)
    dataset.PatientID = "id"
    dataset.walk(names)
    dataset.walk(curves)
    dataset.remove_private_tags()
    for name in ("OtherPatientIDs", "OtherPatientIDsSequence"):
        if name in dataset:
            delattr(dataset, name)
    if "PatientBirthDate" in dataset:
        dataset.PatientBirthDate = "19000101"
    dataset.save_as(dst)
""",
}
"""What each does by default, pydicom by the example of its documentation."""


def by_cinemill(sources: list[Path], folder: Path, key: Path, options: str) -> list[Path]:
    """De-identify in this process."""
    import cinemill

    outputs = [folder / path.name for path in sources]
    for source, output in zip(sources, outputs, strict=True):
        cinemill.deidentify(source, output, key=str(key), option=options, mask="none")
    return outputs


def by_peer(python: str, code: str, sources: list[Path], folder: Path) -> list[Path]:
    """De-identify by another program's Python."""
    pairs = [(str(path), str(folder / path.name)) for path in sources]
    program = f"pairs = {pairs!r}\n{code}"
    done = subprocess.run(
        [python, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return [Path(output) for _, output in pairs]


def main() -> None:
    """Print a row for each set of options, then for each peer."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", metavar="PYTHON")
    parser.add_argument("--standard", type=Path)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--options", nargs="*", default=OPTIONS)
    parser.add_argument("--wrong", action="store_true", help="name what was not done")
    asked = parser.parse_args()
    standard = read_standard(asked.standard)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_key(folder / "key")
        sources, planted = make(folder, asked.base)
        print(f"{len(planted)} planted attributes, {sys.version.split()[0]}, pydicom {pydicom.__version__}")
        for number, options in enumerate(asked.options):
            (out := folder / str(number)).mkdir()
            outputs = by_cinemill(sources, out, folder / "key", options)
            _show(
                f"cinemill {options or 'basic'}",
                score(outputs, sources, planted, options, standard),
                asked.wrong,
            )
        for name, code in PEERS.items() if asked.peers else ():
            (out := folder / name).mkdir()
            try:
                outputs = by_peer(asked.peers, code, sources, out)
                _show(name, score(outputs, sources, planted, "", standard), wrong=False)
            except (RuntimeError, OSError) as error:
                print(f"{name:24} failed: {error}")


def _show(name: str, result: Score, wrong: bool) -> None:  # noqa: FBT001
    print(f"{name:60} {result.text}")
    for each in result.wrong if wrong else ():
        print(f"    {each}")


if __name__ == "__main__":
    main()
