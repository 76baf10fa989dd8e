"""A forecast is what the run then does: bytes, what is copied, what is refused; and it writes nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pydicom
import pytest

from cinemill.batch import attempt
from cinemill.errors import Cancelled
from cinemill.operations.forecast import excerpt, probe, strata, survey
from cinemill.operations.forecast.conduct import Conductor, Question
from cinemill.operations.forecast.page import page
from cinemill.operations.operation import Control
from cinemill.operations.transcode.request import Transcode
from cinemill.storage.tree import discover
from tests.support.files import bundled, corpus_files
from tests.support.generate import header, native_element, noise, part10, smooth

NATIVE = "1.2.840.10008.1.2.1"
FILES = (
    *("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm", "reportsi.dcm"),
    *("examples_ybr_color.dcm", "JPEG2000.dcm", "rtdose.dcm"),
)


@pytest.fixture(autouse=True)
def _same_lots(monkeypatch):
    """Set aside the same instances wherever the folder of a test stands."""
    lot_of = strata.lot_of
    monkeypatch.setattr(strata, "lot_of", lambda path: lot_of(Path(path).name))
    monkeypatch.setattr(survey, "lot_of", lambda path: lot_of("header" + Path(path).name))


def here(items, operation, *, jobs, stop):
    """Do an operation in this process."""
    for item in items:
        with suppress(Cancelled):
            yield attempt(item, operation, Control(1, stop))


def forecast(*sources, stop=lambda: False, show=lambda *_: None, asked=None, **question):
    asked = (asked or Transcode()).in_bulk()
    return Conductor(Question(sources, asked, jobs=1, **question), here, stop, show).forecast()


def real(source, output, asked=None):
    """Run it, and return the receipts."""
    asked = (asked or Transcode()).in_bulk()
    return [attempt(item, asked, Control(1)) for item in discover([source], output)]


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in FILES:
        shutil.copy(bundled(name), folder / name)
    (folder / "notes.txt").write_text("no DICOM")
    return folder


def cine(path: Path, frames: int, *, seed: int = 0, interpretation="MONOCHROME2", **elements) -> Path:
    pixels = smooth((frames, 40, 48), seed)
    pixels[:, 8:20, 8:30] = noise((frames, 12, 22), seed=seed)
    elements = {
        "Manufacturer": "Maker",
        "ManufacturerModelName": "M1",
        "SOPInstanceUID": f"2.25.{seed + 1}",
        **elements,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        part10(header(pixels, interpretation, **elements), native_element(pixels.tobytes(), NATIVE), NATIVE)
    )
    return path


def digest(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("to", ["", "jpeg-ls", "rle", "explicit"])
def test_a_forecast_of_a_small_tree_is_what_the_run_does(tree, tmp_path, to):
    before = digest(tmp_path)
    found = forecast(tree, asked=Transcode(to=to))
    assert digest(tmp_path) == before
    receipts = real(tree, tmp_path / "out", Transcode(to=to))
    total = found.found.total
    assert round(total.after.value) == sum(receipt.bytes_after for receipt in receipts)
    assert total.after.half_width == 0
    done = Counter(receipt.done for receipt in receipts if receipt.status != "ignored")
    assert {name: round(part.instances) for name, part in total.done.items() if part.instances} == done
    told = Counter({why: round(part.instances) for why, part in total.errors.items()})
    assert told == Counter(
        receipt.error["message"] for receipt in receipts if receipt.error and receipt.status != "ignored"
    )
    assert found.survey.unread["not DICOM"] == 1


def test_an_excerpt_of_long_cines_tells_bytes_near_those_of_all_frames(tmp_path, monkeypatch):
    monkeypatch.setattr(
        probe, "excerpt_of", lambda frames, size, batch: excerpt.excerpt_of(frames, max(size, 1 << 20), 1)
    )
    for number in range(6):
        cine(tmp_path / "in" / f"{number}.dcm", 60, seed=number)
    found = forecast(tmp_path / "in", asked=Transcode(to="jpeg-ls"))
    assert 0 < found.sampled.frames < 60 * found.sampled.instances
    after = sum(
        receipt.bytes_after for receipt in real(tmp_path / "in", tmp_path / "out", Transcode(to="jpeg-ls"))
    )
    low, high = found.found.total.interval
    assert found.found.total.after.value == pytest.approx(after, rel=0.05)
    assert low <= after <= high


def test_a_long_cine_that_would_grow_is_forecast_to_be_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(
        probe, "excerpt_of", lambda frames, size, batch: excerpt.excerpt_of(frames, max(size, 1 << 20), 1)
    )
    pixels = noise((60, 40, 48))
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "noise.dcm"
    path.write_bytes(part10(header(pixels), native_element(pixels.tobytes(), NATIVE), NATIVE))
    found = forecast(tmp_path / "in", asked=Transcode(to="rle"))
    assert round(found.found.total.done["copied, would grow"].instances) == 1
    assert found.found.total.after.value == path.stat().st_size
    assert found.to_dict()["total"]["would_grow"]["bytes_otherwise"] > path.stat().st_size


def test_a_small_tree_of_many_kinds_is_not_tried_as_a_whole_unless_that_is_asked_for(tmp_path):
    for number in range(80):
        maker = {"Manufacturer": f"Maker {number}", "ManufacturerModelName": f"M{number}"}
        cine(tmp_path / "in" / f"{number}.dcm", 1, seed=number, **maker)
    found = forecast(tmp_path / "in")
    assert found.sampled.instances <= 32
    assert all(each.found.total.tried <= 32 for each in found.compared if each.found)
    assert forecast(tmp_path / "in", sample=500).sampled.instances == 80


def test_of_many_alike_only_some_are_tried_and_the_truth_lies_in_the_interval(tmp_path):
    for number in range(80):
        cine(tmp_path / "in" / f"{number}.dcm", 1 + number % 5, seed=number)
    found = forecast(tmp_path / "in", sample=12)
    assert found.sampled.instances <= 12
    assert round(found.found.total.instances) == 80
    after = sum(receipt.bytes_after for receipt in real(tmp_path / "in", tmp_path / "out"))
    low, high = found.found.total.interval
    assert low <= after <= high
    assert found.found.total.after.value == pytest.approx(after, rel=0.1)


def test_a_stratum_of_one_is_known_exactly_beside_larger_ones(tmp_path):
    for number in range(10):
        cine(tmp_path / "in" / f"{number}.dcm", 2, seed=number)
    cine(tmp_path / "in" / "lonely.dcm", 9, seed=77, Manufacturer="Other")
    found = forecast(tmp_path / "in")
    lonely = next(row for row in found.found.rows if row.key.manufacturer == "Other")
    assert (lonely.instances, lonely.tried, lonely.after.half_width) == (1, 1, 0)


@pytest.mark.parametrize("files", [0, 3])
def test_trees_without_an_instance_are_told_as_such(tmp_path, files):
    for number in range(files):
        (tmp_path / f"{number}.txt").write_text("no DICOM")
    found = forecast(tmp_path)
    told = found.to_dict()
    assert told["files"]["found"] == files
    assert told["files"]["not_dicom"]["files"] == files
    assert told["total"]["instances"] == told["total"]["bytes_after"] == 0
    assert "no image" in found.advice[0]
    assert page(found)


class Dying(survey._Reader):
    """Ends its process at some files."""

    def read(self, path):
        if path.endswith("dies.dcm"):
            os._exit(3)
        return super().read(path)


def test_a_process_that_dies_over_a_header_costs_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "_FEW", 1)
    monkeypatch.setattr(survey, "_Reader", Dying)
    paths = [tmp_path / name for name in ("a.dcm", "dies.dcm", "z.dcm")]
    for path in paths:
        shutil.copy(bundled("CT_small.dcm"), path)
    found = survey.Survey(files=len(paths))
    assert [*survey.read(iter(paths), Transcode().in_bulk(), found, lambda: False, 2)] == [3]
    assert sum(each.instances for each in found.strata) == 2
    assert found.unread == {"can't be read": 1}
    assert found.complete


def test_files_that_cannot_be_read_are_counted_and_decide_nothing(tree):
    whole = forecast(tree).found.total.after.value
    broken = (tree / "MR_small.dcm").read_bytes()[:-100]
    (tree / "broken.dcm").write_bytes(broken)
    found = forecast(tree)
    assert found.survey.unread["can't be read"] == 1
    assert found.found.total.after.value == whole
    assert any("can't be read" in line for line in found.advice)


def test_instances_that_do_not_decode_are_counted_as_failures(tmp_path):
    for number in range(3):
        cine(tmp_path / f"{number}.dcm", 2, seed=number)
    data = bytearray(bundled("MR_small_RLE.dcm").read_bytes())
    start = data.rindex(b"\xfe\xff\x00\xe0") + 8
    data[start : start + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "damaged.dcm").write_bytes(data)
    found = forecast(tmp_path, asked=Transcode(to="jpeg-ls"))
    assert round(found.found.total.failed.instances) == 1
    assert found.to_dict()["refused"][0]["instances"] == 1
    assert "--copy-rest" in " ".join(found.advice)


def test_a_policy_decides_and_its_rules_are_strata(tree):
    policy = 'name = "mine"\n[[rule]]\nname = "ct"\nwhen = {modality = "CT"}\nkeep = true\n[[rule]]\nname = "rest"\nto = "rle"\n'
    found = forecast(tree, asked=Transcode(policy=policy))
    rules = {row.key.rule: row for row in found.found.rows}
    assert {"ct", "rest"} <= rules.keys()
    assert rules["ct"].after.value == rules["ct"].bytes
    assert found.to_dict()["plan"]["name"] == "mine"


def test_other_runs_are_compared_and_none_of_them_costs_nothing(tree):
    found = forecast(tree, workers=8, price=250.0)
    plans = {each["name"]: each for each in found.to_dict()["plans"]}
    assert {"archive", "jpeg-ls", "jpeg-2000", "htj2k", "keep everything"} <= plans.keys()
    assert plans["keep everything"]["processor_hours"] == 0
    assert plans["keep everything"]["bytes_after"] == found.survey.bytes
    assert all(each["eur_per_year"] is not None for each in plans.values())
    assert plans["archive"]["bytes_after"] <= 1.01 * min(
        plans[name]["bytes_after"] for name in ("jpeg-ls", "jpeg-2000")
    )


def test_headers_are_sampled_where_there_are_more_than_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "LIMIT", 25)
    for number in range(100):
        cine(tmp_path / "in" / f"{number:03}.dcm", 1 + number % 4, seed=number)
    found = forecast(tmp_path / "in")
    assert 10 < found.survey.headers < 45
    assert found.to_dict()["files"]["every"] == 4
    assert round(found.found.total.instances) == 100
    after = sum(receipt.bytes_after for receipt in real(tmp_path / "in", tmp_path / "out"))
    low, high = found.found.total.interval
    assert low <= after <= high


def test_time_is_kept_and_what_was_known_is_told(tmp_path):
    for number in range(60):
        cine(tmp_path / f"{number}.dcm", 4, seed=number)
    found = forecast(tmp_path, within=1.0)
    assert found.sampled.seconds < 8
    assert found.to_dict()["files"]["found"] == 60


def test_an_interruption_tells_what_is_known_so_far(tmp_path):
    for number in range(30):
        cine(tmp_path / f"{number}.dcm", 1, seed=number)
    tried = []

    def show(what, done, of):
        if what == "trying instances":
            tried.append(done)

    found = forecast(tmp_path, stop=lambda: len(tried) >= 3, show=show)
    assert found.sampled.stopped == "interrupted"
    assert 3 <= found.sampled.instances < 30
    assert found.found.total.after.value > 0
    json.dumps(found.to_dict())


def test_what_was_not_tried_is_not_taken_for_nothing(tmp_path):
    for number in range(5):
        cine(tmp_path / f"{number}.dcm", 1, seed=number)
    headers = []
    show = lambda what, done, of: headers.append(what)  # noqa: E731
    found = forecast(tmp_path, stop=lambda: "reading headers" in headers, show=show)
    low, high = found.found.total.interval
    assert found.sampled.instances == 0
    assert low < found.found.total.after.value == found.survey.header_bytes <= high
    assert "Nothing was tried" in found.advice[0]
    assert page(found)


class _Page(HTMLParser):
    """Collects what a page refers to, and whether its tags are balanced."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.references: list[str | None] = []
        self.tags: Counter[str] = Counter()

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.references += [value for name, value in attributes if name in {"src", "href", "srcset", "data"}]
        if tag not in {"meta", "br", "wbr", "line", "rect"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in {"line", "rect"}:
            assert self.open.pop() == tag


def test_a_page_refers_to_nothing_and_names_no_patient(tmp_path):
    planted = {"PatientName": "Planted^Patient", "PatientID": "ID-4711", "InstitutionName": "Hospital Secret"}
    for number in range(4):
        cine(tmp_path / f"Planted-{number}.dcm", 3, seed=number, **planted)
    found = forecast(tmp_path, price=100.0, workers=4)
    html = page(found)
    for text in (
        "Planted",
        "ID-4711",
        "Secret",
        "http:",
        "https:",
        "url(",
        "@import",
        "<script",
        str(tmp_path),
    ):
        assert text not in html
        assert text not in json.dumps(found.to_dict())
    parsed = _Page()
    parsed.feed(html)
    assert parsed.references == []
    assert parsed.open == []
    assert parsed.tags["svg"] == 2
    assert "prefers-color-scheme:dark" in html
    assert "@media print" in html


def test_what_a_header_says_cannot_break_the_page(tmp_path):
    cine(tmp_path / "1.dcm", 1, Manufacturer="<script>alert(1)</script>&", ManufacturerModelName='"M"\'')
    html = page(forecast(tmp_path))
    assert "<script" not in html
    assert "&lt;script&gt;" in html


ROW = {
    *("instances", "frames", "bytes", "bytes_after", "bytes_after_low", "bytes_after_high", "ratio"),
    *(
        "processor_seconds",
        "processor_seconds_low",
        "processor_seconds_high",
        "instances_tried",
        "frames_tried",
    ),
    *("refused", "would_grow", "done"),
}
HOURS = {"processor_hours", "hours_here", "hours_on_workers"}
KEY = {"rule", "reason", "syntax", "syntax_name", "lossy", "sop_class", "manufacturer", "model", "geometry"}
PLAN = {
    "name",
    "options",
    "bytes_after",
    "bytes_after_low",
    "bytes_after_high",
    "refused",
    "eur_per_year",
    *HOURS,
}


def test_the_json_has_the_keys_that_are_documented(tree):
    told = forecast(tree).to_dict()
    assert told.keys() == {
        *("schema", "plan", "files", "sample", "cores", "workers", "price_eur_per_tb_year"),
        *("total", "strata", "refused", "plans", "advice"),
    }
    assert told["schema"] == 1
    assert told["total"].keys() == {*ROW, *HOURS, "processor_seconds_of_start"}
    assert all(each.keys() == {*KEY, *ROW} for each in told["strata"])
    assert all(each.keys() == PLAN for each in told["plans"])
    documented = (Path(__file__).parents[3] / "docs" / "FORECAST.md").read_text(encoding="utf-8")
    names = {*told, *told["total"], *told["plans"][0], *told["files"], *told["sample"]}
    assert not {name for name in names if f"`{name}`" not in documented}


@pytest.mark.corpus
def test_bytes_of_real_files_are_forecast_within_5_percent(tmp_path):
    if not corpus_files():
        pytest.skip("no corpus")
    folder = tmp_path / "in"
    folder.mkdir()
    for path in corpus_files()[::9]:
        shutil.copy(path, folder)
    found = forecast(folder, asked=Transcode(to="jpeg-ls"))
    after = sum(receipt.bytes_after for receipt in real(folder, tmp_path / "out", Transcode(to="jpeg-ls")))
    low, high = found.found.total.interval
    assert found.found.total.after.value == pytest.approx(after, rel=0.05)
    assert low <= after <= high


def test_the_pixels_of_a_source_are_what_an_excerpt_reads(tmp_path):
    path = cine(tmp_path / "1.dcm", 20)
    with excerpt.Excerpt(path, [3, 4, 11]) as some:
        assert len(some) == 3
        expected = pydicom.dcmread(path).pixel_array[11]
        np.testing.assert_array_equal(np.frombuffer(some.frame(2), np.uint8).reshape(40, 48), expected)
