"""Policies as they are written: what is wrong names its line, and what is right matches what it says."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from cinemill.dicom.source import Source
from cinemill.errors import UsageError
from cinemill.operations.policy.archive import archive
from cinemill.operations.policy.decide import decide
from cinemill.operations.policy.facts import Facts
from cinemill.operations.policy.read import parse, read_file
from cinemill.operations.policy.readers import READERS, readable
from cinemill.operations.policy.words import Options
from cinemill.operations.transcode.request import Transcode
from tests.support.files import bundled
from tests.support.generate import (
    EXPLICIT,
    JPEG_2000_LOSSY,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    JPEG_LS_NEAR,
    ULTRASOUND_CINE,
    encapsulated_element,
    header,
    jpeg,
    jpeg_2000,
    jpeg_lossless,
    jpeg_ls_stream,
    native_bytes,
    native_element,
    part10,
    smooth,
)

BULK = Options(if_larger="keep", lossy_source="keep")


def policy(rule: str) -> str:
    return f'name = "test"\n[[rule]]\nname = "first"\n{rule}\n'


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "a policy has a name"),
        ('name = "a"\nname = "b"', 2, "no TOML"),
        ('name = "x"\n[[rule]\nto = "rle"', 2, "no TOML"),
        ('name = "x"\nrules = 1', 2, "unknown keyword 'rules'"),
        ('name = "x"', 1, "a policy has rules"),
        (policy('to = "mp3"'), 4, "can't write 'mp3'; choose one of"),
        (policy('to = "1.2.840.10008.1.2.4.103"'), 4, "can't write"),
        (policy('keep = true\nto = "rle"'), 4, "either to, with its targets, or keep"),
        (policy('colour = "rgb"'), 3, "either to, with its targets, or keep"),
        (policy('to = "rle"\ncolour = "pink"'), 5, "unknown colour policy 'pink'"),
        (policy('to = "rle"\nif-larger = "auto"'), 5, "if-larger is one of keep, write"),
        (policy('to = "rle"\nwhne = { lossy = true }'), 5, "unknown keyword 'whne'; did you mean when?"),
        (policy('to = "rle"\n\nwhen = { Modalty = "US" }'), 6, "unknown keyword 'Modalty'; did you mean Modality?"),
        (policy('to = "rle"\n[rule.when]\nlossy = "yes"'), 6, "lossy is true or false"),
        (policy('to = "rle"\nwhen = { frames = "many" }'), 5, "can't read frames = 'many'"),
        (policy('to = "rle"\nwhen = { size = "> 3 parsec" }'), 5, "can't read size"),
        (policy('to = "rle"\nwhen = { age = "> 3" }'), 5, "can't read age"),
        (policy('to = "rle"\nwhen = { frames = ">= 9, < 3" }'), 5, "holds for nothing"),
        (policy('to = "rle"\nwhen = { syntax = "mp3" }'), 5, "no transfer syntax"),
        (policy('to = "rle"\nwhen.or = [\n  { modality = "US" },\n  { moodality = "CT" },\n]'), 7, "'moodality'"),
        (policy('to = "rle"\nwhen = { lossy = true, not = { lossy = true } }'), 2, "exclude each other"),
        (policy('to = "htj2k"\nreadable-by = ["dcmtk"]'), 2, "leaves no target: expected what is read by dcmtk (implicit"),
        (policy('to = "rle"\nreadable-by = "osirix"'), 5, "unknown reader 'osirix'"),
        (policy('to = "rle"\n[[rule]]\nwhen = { lossy = true }\nkeep = true'), 5, "is never reached: rule 'first'"),
        (
            policy(
                'to = "rle"\nwhen = { frames = ">= 10" }\n[[rule]]\nname = "second"\n'
                'when = { frames = "> 30", modality = "US" }\nkeep = true'
            ),
            6,
            "rule 'second' is never reached: rule 'first' (line 2)",
        ),
        (
            policy(
                'keep = true\nwhen = { lossy = true }\n[[rule]]\nto = "rle"\nwhen = { lossy = false }\n'
                '[[rule]]\nto = "jpeg-ls"'
            ),
            9,
            "is never reached: the rules before it",
        ),
        (policy('to = "rle"\n[[rule]]\nname = "first"\nkeep = true'), 5, "another rule is called 'first'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, line, words):
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(UsageError) as found:
        read_file(str(tmp_path / "p.toml"))
    assert str(found.value).startswith(f"{tmp_path / 'p.toml'}: line {line}: "), found.value
    assert words in str(found.value)


def test_a_file_that_is_no_text_or_not_there_is_no_policy(tmp_path):
    (tmp_path / "binary").write_bytes(b'name = "x"\n# \xff')
    for name, words in (
        ("binary", "line 2: a policy is a text in UTF-8"),
        ("missing", "No such file"),
        (".", "directory"),
    ):
        with pytest.raises(UsageError, match=words):
            read_file(str(tmp_path / name))


def cine(frames=3, syntax=EXPLICIT, pixels: bytes | None = None, **elements) -> bytes:
    samples = np.stack([smooth((16, 16), seed) for seed in range(frames)])
    given = {"Modality": "US", "Manufacturer": "Acme Ultrasound", "ManufacturerModelName": "EPIQ 7",
             "StationName": "ROOM 2", "StudyDate": "20190102", "BodyPartExamined": "HEART"}  # fmt: skip
    described = header(samples, sop_class=ULTRASOUND_CINE, **{**given, **elements})
    block = described.private_block(0x0019, "ACME", create=True)
    block.add_new(0x0A, "LO", "STRAIN")
    return part10(described, pixels or native_element(native_bytes(samples), syntax), syntax)


@pytest.mark.parametrize(
    ("when", "matches"),
    [
        ('modality = "US"', True),
        ('modality = ["CT", "u?"]', True),
        ('modality = "CT"', False),
        ('sop-class = "UltrasoundMultiFrameImageStorage"', True),
        (f'sop-class = "{ULTRASOUND_CINE}"', True),
        ('sop-class = "*CT*"', False),
        ('syntax = ["rle", "explicit"]', True),
        ('syntax = "native"', True),
        ('syntax = "jpeg-2000"', False),
        ("lossy = false", True),
        ("lossy = true", False),
        ('manufacturer = "acme*"', True),
        ('model = "EPIQ*"', True),
        ('station = "ROOM ?"', True),
        ('station = "ROOM 3"', False),
        ('age = "> 2 years"', True),
        ('age = "< 30 days"', False),
        ("frames = 3", True),
        ('frames = ">= 2, < 4"', True),
        ('frames = "> 3"', False),
        ('size = "< 1 MB"', True),
        ('size = "> 1 MB"', False),
        ('BodyPartExamined = "HEART"', True),
        ("BodyPartExamined = true", True),
        ("PatientComments = true", False),
        ("PatientComments = false", True),
        ("Rows = 16", True),
        ('Rows = ">= 17"', False),
        ('"(0018,0015)" = "heart"', True),
        ('"(0019,xx0A) ACME" = "STRAIN"', True),
        ('"(0019,xx0A) OTHER" = "STRAIN"', False),
        ('modality = "US", frames = 3', True),
        ('modality = "US", frames = 4', False),
        ('or = [ { frames = 4 }, { modality = "US" } ]', True),
        ('and = [ { frames = 3 }, { not = { modality = "US" } } ]', False),
        ('not = { or = [ { frames = 4 }, { modality = "CT" } ] }', True),
    ],
)
def test_a_condition_matches_what_it_says(source, when, matches):
    (rule,) = parse(policy(f"keep = true\nwhen = {{ {when} }}")).rules
    with Source(source(cine())) as opened:
        assert rule.when is not None
        assert rule.when.matches(Facts(opened)) == matches


def test_the_age_of_a_study_is_counted_from_today(source):
    (rule,) = parse(policy('keep = true\nwhen = { age = "> 2 weeks" }')).rules
    for days, matches in ((13, False), (15, True)):
        then = (date.today() - timedelta(days=days)).strftime("%Y%m%d")  # noqa: DTZ011
        with Source(source(cine(StudyDate=then))) as opened:
            assert rule.when is not None
            assert rule.when.matches(Facts(opened)) == matches


def single(frame, syntax, codestream, **elements):
    return part10(header(frame[None], **elements), encapsulated_element([[codestream]]), syntax)


GREY = smooth((32, 32))
LIES = {
    "lossless JPEG": (JPEG_LOSSLESS_SV1, jpeg_lossless(GREY, 8), {}, False),
    "SOF0 under .70": (JPEG_LOSSLESS_SV1, jpeg(GREY), {}, True),
    "JPEG Baseline": (JPEG_BASELINE, jpeg(GREY), {}, True),
    "SOF3 under .50": (JPEG_BASELINE, jpeg_lossless(GREY, 8), {}, False),
    "near-lossless under .80": (JPEG_LS, jpeg_ls_stream(GREY, near=2), {}, True),
    "lossless under .81": (JPEG_LS_NEAR, jpeg_ls_stream(GREY), {}, False),
    "irreversible J2K": (JPEG_2000_LOSSY, jpeg_2000(GREY, level=20), {}, True),
    "reversible J2K under .91": (JPEG_2000_LOSSY, jpeg_2000(GREY), {}, False),
    "reversible J2K under .91 with a lossy history": (
        JPEG_2000_LOSSY, jpeg_2000(GREY), {"LossyImageCompression": "01"}, True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_the_codestream_says_whether_a_source_is_lossy(source, case):
    syntax, codestream, elements, lossy = LIES[case]
    with Source(source(single(GREY, syntax, codestream, **elements))) as opened:
        assert Facts(opened).lossy == lossy
        asked = Transcode().in_bulk()
        assert decide(opened, asked.rules, asked.options).reason == ("lossy-source" if lossy else None)


def test_a_rule_for_lossy_sources_means_what_it_says(source):
    rules = parse(policy('to = "rle"\nwhen = { lossy = true }\n[[rule]]\nname = "all"\nto = "jpeg-ls"'))
    with Source(source(single(GREY, JPEG_BASELINE, jpeg(GREY)))) as opened:
        found = decide(opened, rules, BULK)
        assert (found.reason, found.rule, found.wanted.named) == (None, "first", "rle")
    others = parse(policy('to = "rle"'))
    with Source(source(single(GREY, JPEG_BASELINE, jpeg(GREY)))) as opened:
        assert decide(opened, others, BULK).reason == "lossy-source"


def test_what_no_rule_takes_is_kept_and_what_is_no_image_is_copied(source):
    rules = parse(policy('to = "rle"\nwhen = { modality = "CT" }'))
    with Source(source(cine())) as opened:
        found = decide(opened, rules, BULK)
        assert (found.reason, found.rule) == ("policy", "")
    with Source(bundled("reportsi.dcm")) as opened:
        assert decide(opened, rules, BULK).reason == "no-image"


def test_readers_restrict_targets_and_htj2k_joins_where_it_is_said_who_reads():
    assert {str(row) for row in readable("dcmtk")} == {"implicit", "explicit", "deflated", "rle", "jpeg-ls"}
    assert all(each.source for each in READERS)
    (rule,) = Transcode().rules.rules
    assert rule.wanted is not None
    assert rule.wanted.named == "jpeg-ls, jpeg-2000"
    (rule,) = Transcode(readable_by="pydicom,ohif").rules.rules
    assert rule.wanted is not None
    assert "htj2k" in rule.wanted.named
    with pytest.raises(UsageError, match=r"expected what is read by dcmtk \(implicit, .*\), found jpeg-2000"):
        Transcode("jpeg-2000", readable_by="dcmtk")
    with pytest.raises(UsageError, match="unknown reader 'nobody'"):
        Transcode(readable_by="nobody")
    with pytest.raises(UsageError, match="exclude each other"):
        Transcode("rle", policy=archive())


def test_the_built_in_policy_is_one_that_can_be_written(tmp_path):
    (tmp_path / "mine.toml").write_text(archive())
    text = read_file(str(tmp_path / "mine.toml"))
    assert Transcode(policy=str(tmp_path / "mine.toml")) == Transcode(policy=text)
    assert Transcode(policy=text).rules.digest == Transcode().rules.digest
