"""The page of an inspection: whole, alone, bounded, escaped, and with nothing of the patient unless it is asked for."""

from __future__ import annotations

import base64
import itertools
import re
from html import unescape
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset

from cinemill.cli import app
from cinemill.errors import OutputExists, UsageError
from cinemill.frames.cine import Cine
from cinemill.operations.inspect.inspect import inspect
from cinemill.operations.inspect.page.page import Bounds, InspectionPage
from cinemill.operations.inspect.page.times import plot
from tests.support import clips, generate, reports, soundness

ROWS, COLUMNS, FRAMES = 120, 160, 12
BRIGHT = 250
HOSTILE = '"><script>alert(1)</script>\x1b[31m\x07é'
VOID = {"meta", "img", "br"}


class Parsed(HTMLParser):
    """What stands on a page: tags that are closed in order, attributes, ids, links and text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert tag not in VOID
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def cine(path, frames=FRAMES, **elements):
    """A grey cine whose text, above and below its one region, is bright."""
    samples = np.zeros((frames, ROWS, COLUMNS), np.uint8)
    samples[:, 40:80, 40:120] = generate.smooth((frames, 40, 80)) // 2
    samples[:, :16] = BRIGHT
    given = {
        "sop_class": generate.ULTRASOUND_CINE,
        "Modality": "US",
        "PatientName": "Quendelberry^Zoe",
        "PatientID": "ZQ-778812",
        "FrameTime": "40",
        "SequenceOfUltrasoundRegions": [clips.region((40, 40, 119, 79))],
        **elements,
    }
    return clips.write(path, samples, **{name: value for name, value in given.items() if value is not None})


def page(tmp_path, *paths, phi=False, bounds=None, located=()):
    out = tmp_path / "page.html"
    more = {} if bounds is None else {"bounds": bounds}
    with InspectionPage(out, paths, overwrite=True, phi=phi, **more) as made:
        for path in paths:
            made.add(inspect(path, phi=phi))
        made.add_findings(located)
    return out.read_text(encoding="utf-8")


def shown(html):
    """The pictures of a page."""
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [np.asarray(Image.open(BytesIO(base64.b64decode(each)))) for each in found]


def command(*words):
    return CliRunner().invoke(app, ["inspect", *map(str, words)])


def test_a_page_is_whole_and_refers_to_nothing_outside(tmp_path):
    html = page(tmp_path, cine(tmp_path / "a.dcm"), reports.saved(reports.echo(), tmp_path / "echo.dcm"))
    parsed = Parsed(html)
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"script", "link", "iframe", "object", "base", "form"})
    for _, attributes in parsed.tags:
        for name in ("src", "href", "action", "data", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/jpeg;base64,"))
    assert "url(" not in html
    assert "@import" not in html
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(set(ids)) == len(ids) == 2
    assert {link["href"] for link in parsed.all("a")} <= {f"#{name}" for name in ids}
    assert all(image["alt"] for image in parsed.all("img"))
    assert all(drawing.get("aria-label") for drawing in parsed.all("svg"))
    headings = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert headings.count(1) == 1
    assert all(below <= above + 1 for above, below in itertools.pairwise(headings))


def test_findings_come_first_the_worst_first_with_section_remedy_and_instances(tmp_path):
    damaged = tmp_path / "cut.dcm"
    damaged.write_bytes(cine(tmp_path / "whole.dcm").read_bytes()[:-5000])
    wrong = cine(tmp_path / "wrong.dcm", Manufacturer=None, SOPInstanceUID="1.2.3.77")
    words = Parsed(page(tmp_path, damaged, wrong)).words
    findings = words[words.index("Findings") : words.index("Studies and series")]
    assert words.index("Findings") < words.index("Studies and series") < words.index("Instances")
    for each in (*inspect(damaged).findings, *inspect(wrong).findings):
        assert all(part in findings for part in (each.check, each.section, each.remedy, each.found))
    assert findings.index("error,") < findings.index("warning,") < findings.index("notice,")


def test_nothing_of_the_patient_is_told_or_shown_unless_it_is_asked_for(tmp_path):
    path = cine(tmp_path / "a.dcm")
    html = page(tmp_path, path)
    assert "Quendelberry" not in html
    assert "778812" not in html
    assert shown(html)
    for picture in shown(html):
        rows, columns = picture.shape
        assert picture[: rows // 4].max() < 30
        assert picture[:, : columns // 5].max() < 30
        assert picture[rows // 2].max() > 60
    open_page = page(tmp_path, path, phi=True)
    assert "Quendelberry^Zoe" in open_page
    assert all(picture[: picture.shape[0] // 12].min() > 200 for picture in shown(open_page))


@pytest.mark.parametrize(
    "elements",
    [
        {"SequenceOfUltrasoundRegions": None},
        {"SequenceOfUltrasoundRegions": [clips.region((0, 0, COLUMNS - 1, ROWS - 1))]},
        {"SequenceOfUltrasoundRegions": [clips.region((500, 500, 600, 600))]},
        {"SequenceOfUltrasoundRegions": None, "BurnedInAnnotation": "YES"},
    ],
)
def test_without_regions_that_leave_something_out_there_are_no_pictures(tmp_path, elements):
    path = cine(tmp_path / "a.dcm", **elements)
    html = page(tmp_path, path)
    assert shown(html) == []
    assert "names may be burned in anywhere" in html
    assert shown(page(tmp_path, path, phi=True))


def test_what_says_that_nothing_is_burned_in_is_shown(tmp_path):
    path = cine(tmp_path / "a.dcm", SequenceOfUltrasoundRegions=None, BurnedInAnnotation="NO")
    assert len(shown(page(tmp_path, path))) == 8


@pytest.mark.corpus
def test_no_patient_of_the_corpus_is_named(tmp_path, corpus):
    paths = sorted(corpus.iterdir())[::6]
    words = Parsed(page(tmp_path, *paths, bounds=Bounds(pictured=0))).words
    names = set()
    for path in paths:
        try:
            header = pydicom.dcmread(path, specific_tags=["PatientName"], stop_before_pixels=True)
        except Exception:  # noqa: BLE001  # whatever pydicom can't read has no name here
            continue
        names.add(str(header.get("PatientName") or ""))
    names = {name for name in names if len(name) > 4}
    assert len(names) > 15
    assert not {name for name in names if name in words and name not in " ".join(map(str, paths))}


def test_hostile_values_are_escaped_wherever_they_stand(tmp_path):
    path = cine(tmp_path / "a<b>&'.dcm", Manufacturer=HOSTILE, ManufacturerModelName=HOSTILE)
    report = reports.echo()
    report.Manufacturer = HOSTILE
    report.ContentSequence[0].ConceptNameCodeSequence[0].CodeMeaning = HOSTILE
    report.ConceptNameCodeSequence[0].CodeMeaning = HOSTILE
    html = page(tmp_path, path, reports.saved(report, tmp_path / "sr.dcm"), phi=True)
    parsed = Parsed(html)
    assert parsed.all("script") == []
    assert parsed.all("b") == [each for each in parsed.all("b") if set(each) <= {"class"}]
    assert "<script>alert(1)</script>\\x1b[31m" in parsed.words
    assert not [character for character in html if ord(character) < 32 and character != "\n"]


@pytest.mark.filterwarnings("ignore:The value length")
def test_long_values_are_cut(tmp_path):
    path = cine(tmp_path / "a.dcm", Manufacturer="Q" * 60_000)
    assert len(page(tmp_path, path, bounds=Bounds(pictured=0))) < 40_000


def test_some_frames_are_shown_as_they_are_rendered(tmp_path):
    path = cine(tmp_path / "a.dcm", frames=100, SequenceOfUltrasoundRegions=None)
    html = page(tmp_path, path, phi=True)
    assert re.findall(r"<figcaption>frame (\d+)", html) == ["0", "14", "28", "42", "57", "71", "85", "99"]
    stored = pydicom.dcmread(path).pixel_array
    for number, picture in zip((0, 14, 28, 42, 57, 71, 85, 99), shown(html), strict=True):
        assert np.abs(picture.astype(int) - stored[number]).mean() < 4


def test_pictures_have_square_pixels_and_are_no_larger_than_they_may_be(tmp_path):
    wide = cine(tmp_path / "a.dcm", PixelAspectRatio=["1", "2"], BurnedInAnnotation="NO")
    for picture in shown(page(tmp_path, wide)):
        rows, columns = picture.shape
        assert abs(columns / rows - 2 * COLUMNS / ROWS) < 0.05
        assert columns <= 720


def test_regions_are_drawn_where_they_are_and_told(tmp_path):
    path = cine(tmp_path / "a.dcm")
    html = page(tmp_path, path)
    (rectangle,) = [each for each in Parsed(html).all("rect") if each.get("class") != "tag"]
    assert [float(rectangle[name] or "") for name in ("x", "y", "width", "height")] == [40, 40, 80, 40]
    words = Parsed(html).words
    assert all(part in words for part in ("2D", "tissue", "40 to 119", "40 to 79", "0.05 cm", "0.04 cm"))


def test_times_are_drawn_as_they_are(tmp_path):
    path = cine(
        tmp_path / "a.dcm",
        frames=5,
        FrameTime=None,
        FrameTimeVector=["0", "10", "20", "40", "20"],
        FrameIncrementPointer=0x00181065,
    )
    html = page(tmp_path, path)
    assert "4 intervals of 10 to 40 ms, median 20 ms; 44.44 frames/s in the mean by FrameTimeVector." in html
    (line,) = Parsed(html).all("path")
    heights = [float(height) for height in re.findall(r" ([\d.]+)H", line["d"] or "")]
    top = 40 * 1.15
    assert heights == pytest.approx([100 * (1 - step / top) for step in (10, 20, 40, 20)], abs=0.1)


def test_times_of_a_long_cine_take_no_more_room():
    steps = np.full(200_000, 20.0)
    steps[123_456] = 900
    drawn = plot(np.cumsum(steps), "FrameTimeVector", 50.0)
    assert len(drawn) < 20_000
    assert "20 to 900 ms" in drawn
    assert "900" in drawn


def test_measurements_have_units_sites_and_images(tmp_path):
    path = reports.saved(reports.echo(), tmp_path / "echo.dcm")
    words = Parsed(page(tmp_path, path)).words
    for each in inspect(path).measurements:
        assert each.concept.meaning in words
        assert each.text in words
        assert each.site is None or each.site.meaning in words
        assert all(reference.sop_instance_uid in words for reference in each.references)


def test_what_a_presentation_state_changes_is_told(tmp_path):
    state = Dataset()
    state.SOPClassUID = "1.2.840.10008.5.1.4.1.1.11.1"
    state.SOPInstanceUID = "1.2.3.9.1"
    state.ContentLabel = "REVIEW"
    state.ImageRotation = 90
    state.PresentationLUTShape = "INVERSE"
    state.file_meta = FileMetaDataset()
    state.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    state.file_meta.MediaStorageSOPClassUID = state.SOPClassUID
    state.file_meta.MediaStorageSOPInstanceUID = state.SOPInstanceUID
    words = Parsed(page(tmp_path, reports.saved(state, tmp_path / "state.dcm"))).words
    assert all(part in words for part in ("REVIEW", "90 degrees clockwise", "INVERSE"))


@pytest.mark.parametrize("name", ["jpeg", "jpeg-ls", "rle", "jpeg-2000"])
def test_what_does_not_decode_is_a_note(tmp_path, name):
    data = bytearray(soundness.SOUND[name]())
    start = len(data) * 3 // 4
    data[start:-8] = bytes(len(data) - start - 8)
    path = tmp_path / "a.dcm"
    path.write_bytes(data)
    words = Parsed(page(tmp_path, path, phi=True)).words
    assert re.search(r"frame \d of \d: |No pictures: ", words)
    assert "Traceback" not in words


def test_a_fault_of_a_decoder_is_a_note(tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(Cine, "__getitem__", fail)
    words = Parsed(page(tmp_path, cine(tmp_path / "a.dcm"))).words
    assert words.count("MemoryError") == 8


def test_many_instances_have_pictures_then_facts_then_a_line_then_a_count(tmp_path):
    paths = [cine(tmp_path / f"{n}.dcm", frames=2, SOPInstanceUID=f"1.2.3.{n}") for n in range(6)]
    bounds = Bounds(pictured=2, described=4, listed=5)
    html = page(tmp_path, *paths, bounds=bounds)
    assert len(shown(html)) == 2 * 3
    assert len(re.findall(r'<article class="card" id=', html)) == 4
    words = Parsed(html).words
    assert "The first 2 images have pictures here" in words
    assert "2 more instances not described here" in words
    assert "1 more instance not listed here" in words
    assert "5.dcm" in words[: words.index("Studies and series")]


def test_a_page_does_not_grow_with_thousands_of_instances(tmp_path):
    told = inspect(cine(tmp_path / "a.dcm", frames=2, Manufacturer=None))
    with InspectionPage(tmp_path / "page.html", [], bounds=Bounds(pictured=0, described=100)) as made:
        for _ in range(6000):
            made.add(told)
    assert (tmp_path / "page.html").stat().st_size < 3_000_000


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path, out = cine(tmp_path / "a.dcm"), tmp_path / "out" / "page.html"
    with pytest.raises(KeyError), InspectionPage(out, [path]) as made:
        made.add(inspect(path))
        raise KeyError
    assert not out.exists()
    with InspectionPage(out, [path]) as made:
        made.add(inspect(path))
    before = out.read_bytes()
    with pytest.raises(OutputExists):
        InspectionPage(out, [path])
    assert out.read_bytes() == before
    with InspectionPage(out, [path], overwrite=True) as made:
        made.add(inspect(path))
    out.write_text("of another program")
    with pytest.raises(UsageError, match="exists and is no page of cinemill"):
        InspectionPage(out, [path], overwrite=True)
    assert out.read_text() == "of another program"
    assert [each.name for each in out.parent.iterdir()] == ["page.html"]


def test_a_page_is_never_a_source_or_among_them(tmp_path):
    (tmp_path / "in").mkdir()
    path = cine(tmp_path / "in" / "a.dcm")
    for out in (path, tmp_path / "in" / "page.html"):
        with pytest.raises(UsageError):
            InspectionPage(out, [tmp_path / "in"], overwrite=True)
        done = command(tmp_path / "in", "--html", out, "--overwrite")
        assert "among, the sources" in str(done.exception)


def test_the_command_writes_what_it_prints_and_what_is_known_at_the_end(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    reports.saved(reports.echo(), folder / "echo.dcm")
    cine(folder / "a.dcm", StudyInstanceUID=reports.STUDY, SOPInstanceUID="1.2.3.55")
    printed = command(folder, "--html", tmp_path / "page.html")
    words = unescape((tmp_path / "page.html").read_text(encoding="utf-8"))
    told = set(re.findall(r"^([a-z]+\.[a-z-]+) ", printed.stdout, re.MULTILINE))
    assert "references.missing" in told
    assert all(check in words for check in told)
    assert "Quendelberry" not in words
    assert "exists already" in str(command(folder, "--html", tmp_path / "page.html").exception)
