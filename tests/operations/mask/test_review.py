"""The review: kinds of instances, their pictures, what is proposed, and the rules that come of it."""

from __future__ import annotations

import base64
import json
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cinemill.errors import UsageError
from cinemill.operations.mask import review as module
from cinemill.operations.mask.detect import Text
from cinemill.operations.mask.page import page
from cinemill.operations.mask.review import survey
from cinemill.operations.mask.rules import read_rules
from tests.cli.test_cli import cinemill as command
from tests.support import clips
from tests.support.generate import ULTRASOUND_CINE, noise


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Two makers; one with regions, one with a name that moves from frame to frame; a file that is none, and a damaged one."""
    monkeypatch.setattr(module, "read_text", lambda picture: [Text((-3, 2, 30, 8), "DOE JANE", 0.99)])
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(6):
        frames = np.zeros((3, 40, 60), np.uint8)
        frames[number % 3, 4, number] = 200 + number
        clips.write(folder / f"plain{number}.dcm", frames, Manufacturer="Acme", sop_class=ULTRASOUND_CINE)
    regions = [clips.region((10, 10, 49, 39))]
    clips.write(
        folder / "us.dcm", noise((1, 40, 60)), Manufacturer="<b>", SequenceOfUltrasoundRegions=regions
    )
    (folder / "notes.txt").write_text("no DICOM")
    (folder / "cut.dcm").write_bytes((folder / "us.dcm").read_bytes()[:1500])
    return folder


def test_instances_of_one_kind_stand_behind_one_picture(tree):
    found = survey(sorted(tree.iterdir()), ())
    acme, other = found.groups
    assert (acme.kind.manufacturer, acme.instances, acme.frames) == ("Acme", 6, 18)
    assert acme.picture is not None
    assert set(np.flatnonzero(acme.picture[4])) >= {0, 1, 2, 3}
    assert acme.proposed is not None
    assert (acme.proposed.origin, acme.proposed.boxes) == ("detected", ((0, 2, 30, 8),))
    assert other.proposed is not None
    assert other.proposed.origin == "outside-regions"
    assert [path.name for path, _ in found.unread] == ["cut.dcm"]


def test_text_can_be_covered_where_some_was_found(tree):
    assert page(survey(sorted(tree.iterdir()), ())).count('data-do="text"') == 2
    assert 'data-do="text"' not in page(survey(sorted(tree.iterdir()), (), reads=False))


def test_a_rule_that_fits_is_proposed(tree):
    rules = read_rules(
        '[[rule]]\nname = "mine"\nmanufacturer = "acme"\nblacken = [[0, 0, 60, 6]]', "rules.toml"
    )
    proposed = survey(sorted(tree.iterdir()), rules).groups[0].proposed
    assert proposed is not None
    assert (proposed.origin, proposed.boxes) == ("rules: mine", ((0, 0, 59, 5),))


def test_without_a_detector_the_page_says_so(tree, monkeypatch):
    def missing(picture):
        raise UsageError("looking for text in pixels needs rapidocr")

    monkeypatch.setattr(module, "read_text", missing)
    group = survey(sorted(tree.iterdir()), ()).groups[0]
    assert group.proposed is None
    assert "needs rapidocr" in group.problem


def test_the_page_holds_everything_and_its_rules_fit_what_they_were_made_of(tree):
    found = survey(sorted(tree.iterdir()), ())
    html = page(found)
    assert "<b>" not in html
    assert "&lt;b&gt;" in html
    assert not re.search(r'(?:src|href)="(?!data:)', html)
    picture = base64.b64decode(re.findall(r"data:image/jpeg;base64,([^\"]+)", html)[0])
    assert Image.open(BytesIO(picture)).size == (60, 40)
    groups = json.loads(html.partition('type="application/json">')[2].partition("</script>")[0])
    for told, group in zip(groups, found.groups, strict=True):
        (rule,) = read_rules(f"{told['rule']}blacken = {json.dumps(told['boxes'])}\n", "masks.toml")
        assert rule.fits(group.kind)
        assert group.proposed is not None
        assert rule.mask(group.kind).boxes == group.proposed.boxes


def test_the_command_writes_the_page_and_touches_no_source(tree, tmp_path):
    before = {path: path.read_bytes() for path in tree.iterdir()}
    done = command("review", tree, "-o", tmp_path / "review.html", "--no-text")
    assert done.returncode == 0, done.stderr
    assert "2 kinds of instances stand for 7" in done.stdout
    assert (tmp_path / "review.html").read_text().startswith("<!doctype html>")
    assert {path: path.read_bytes() for path in tree.iterdir()} == before
    one = command("review", tree / "us.dcm", "-o", tmp_path / "one.html", "--no-text")
    assert "1 kind of instances stands for 1" in one.stdout
    refused = command("review", tree / "us.dcm", "-o", tree / "us.dcm")
    assert refused.returncode == 2
    assert {path: path.read_bytes() for path in tree.iterdir()} == before


def test_deidentify_with_mask_review_makes_the_page_in_place_of_outputs(tree, tmp_path):
    assert command("key", "new", tmp_path / "study.key").returncode == 0
    words = ("--key", tmp_path / "study.key", "--mask", "review")
    done = command("deidentify", tree / "plain0.dcm", tmp_path / "out", *words)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["review.html"]
