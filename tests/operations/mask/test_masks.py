"""Rectangles, and where masks come from."""

from __future__ import annotations

import numpy as np
import pytest

from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, NoMask, UsageError
from cinemill.operations.mask.find import find_mask
from cinemill.operations.mask.kinds import Kind, kind_of
from cinemill.operations.mask.masks import Mask, clipped, outside, placed
from cinemill.operations.mask.rules import read_rules, rules_in, shipped_rules, toml_of
from cinemill.operations.mask.wanted import read_wanted
from tests.support import clips


def drawn(boxes, rows, columns) -> np.ndarray:
    counts = np.zeros((rows, columns), int)
    for left, top, right, bottom in boxes:
        counts[top : bottom + 1, left : right + 1] += 1
    return counts


@pytest.mark.parametrize("seed", range(40))
def test_what_is_outside_is_covered_once_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    rows, columns = 30, 40
    boxes = [
        placed(*(int(n) for n in (*rng.integers(-5, 40, 2), *rng.integers(1, 25, 2))))
        for _ in range(int(rng.integers(0, 6)))
    ]
    within = clipped(boxes, rows, columns)
    counts = drawn(outside(boxes, rows, columns), rows, columns)
    np.testing.assert_array_equal(counts, drawn(within, rows, columns) == 0)


def test_one_rectangle_leaves_four():
    assert outside([(10, 5, 29, 14)], 20, 40) == (
        (0, 0, 39, 4),
        (0, 5, 9, 14),
        (30, 5, 39, 14),
        (0, 15, 39, 19),
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["black"], "expected outside-regions, rules"),
        (["rect:1,2,3"], "four whole numbers"),
        (["rect:1,2,x,4"], "four whole numbers"),
        (["rect:-1,2,3,4"], "0 or more"),
        (["rect:1,2,0,4"], "1 or more"),
        (["none", "rules"], "none stands alone"),
        (["review+rect:0,0,1,1"], "review stands alone"),
        ([], "needs a value"),
    ],
)
def test_words_that_are_none(given, message):
    with pytest.raises(UsageError, match=message):
        read_wanted(given)


def test_words_are_joined():
    wanted = read_wanted(["rect:1,2,3,4+rules", "rect:0,0,9,9", "rules"])
    assert wanted.words == ("rules",)
    assert wanted.boxes == ((1, 2, 3, 5), (0, 0, 8, 8))
    assert wanted
    assert not read_wanted(["none"])


def source(tmp_path, *bounds, **elements):
    items = [clips.region(box) for box in bounds]
    path = clips.write(tmp_path / "us.dcm", clips.numbered(), SequenceOfUltrasoundRegions=items, **elements)
    return Source(path)


def test_everything_outside_the_regions(tmp_path):
    found = find_mask(source(tmp_path, (1, 1, 3, 3), (3, 2, 90, 4)), read_wanted(["outside-regions"]), ())
    pixels = source(tmp_path).pixels
    shown = drawn(found.boxes, pixels.rows, pixels.columns) == 0
    assert shown[1:4, 1:4].all()
    assert shown[2:5, 3:].all()
    assert shown.sum() == 9 + 3 * (pixels.columns - 3) - 2
    assert found.origin == "outside-regions"


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([], "no ultrasound regions"),
        ([(0, 0, 500, 500)], "cover the whole frame"),
        ([(50, 50, 60, 60)], "no ultrasound regions"),
    ],
)
def test_without_regions_that_say_something_there_is_no_mask(tmp_path, bounds, message):
    with pytest.raises(NoMask, match=message):
        find_mask(source(tmp_path, *bounds), read_wanted(["outside-regions"]), ())


def test_rectangles_that_miss_the_frame_are_no_mask(tmp_path):
    with pytest.raises(NoMask, match="no given rectangle lies within"):
        find_mask(source(tmp_path), read_wanted(["rect:5000,0,4,4"]), ())


def test_who_waits_for_review_has_no_mask(tmp_path):
    with pytest.raises(NoMask, match="waits for review"):
        find_mask(source(tmp_path), read_wanted(["review"]), ())


RULES = """
[[rule]]
name = "one"
manufacturer = "acme*"
rows = 6
columns = 8
regions = ["2D tissue 1,1,3,3"]
blacken = [[0, 0, 8, 1]]

[[rule]]
manufacturer = "Other"
keep = [[2, 2, 4, 400]]
"""


def test_the_first_rule_that_fits_counts():
    rules = read_rules(RULES, "rules.toml")
    kind = Kind("ACME Products", "X", 6, 8, ("2D tissue 1,1,3,3",))
    assert rules[0].fits(kind)
    assert rules[0].mask(kind) == Mask(((0, 0, 7, 0),), "rules: one")
    assert not rules[0].fits(Kind("ACME Products", "X", 6, 8, ()))
    assert not rules[0].fits(Kind("ACME Products", "X", 6, 9, kind.regions))
    other = Kind("other", "", 6, 8, ())
    assert rules[1].fits(other)
    assert drawn(rules[1].mask(other).boxes, 6, 8).sum() == 48 - 16


def test_an_instance_that_no_rule_fits_has_no_mask(tmp_path):
    with pytest.raises(NoMask, match="no rule fits Acme, no model"):
        find_mask(
            source(tmp_path, Manufacturer="Acme"), read_wanted(["rules"]), read_rules(RULES, "rules.toml")
        )


def test_several_origins_are_joined_and_all_have_to_know(tmp_path):
    rules = read_rules('[[rule]]\nname = "all"\nblacken = [[0, 0, 2, 2]]', "rules.toml")
    found = find_mask(source(tmp_path), read_wanted(["rect:4,4,2,2", "rules"]), rules)
    assert found == Mask(((4, 4, 5, 5), (0, 0, 1, 1)), "rect, rules: all")
    with pytest.raises(NoMask):
        find_mask(source(tmp_path), read_wanted(["rect:4,4,2,2", "outside-regions"]), rules)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rule]", "no TOML"),
        pytest.param(f"rule = {'[' * 100_000}", "no TOML", id="too deep"),
        ("[rules]", r"tables \[\[rule\]\] only"),
        ("[[rule]]\nblack = []", "rule 1: unknown black"),
        ("[[rule]]\nrows = 4", "either blacken or keep"),
        ("[[rule]]\nrows = '4'\nkeep = []", "rows is '4', expected a int"),
        ("[[rule]]\nregions = 'all'\nkeep = []", "expected a list of texts"),
        ("[[rule]]\nblacken = [[0, 0, 4]]", "rectangles"),
        ("[[rule]]\nblacken = [[0, 0, 0, 4]]", "rectangles"),
        ("[[rule]]\nblacken = [[0, 0, 4.5, 4]]", "rectangles"),
    ],
)
def test_rules_that_are_none(tmp_path, text, message):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        rules_in(path)


def test_rules_that_can_not_be_read(tmp_path):
    with pytest.raises(UsageError, match="can't be read"):
        rules_in(tmp_path / "missing.toml")


@pytest.mark.parametrize("model", ['S"5\\1\x7f\t', "iE*[33]?", "日本 5"])
def test_a_rule_that_was_written_fits_its_kind_only(model):
    kind = Kind("Acme", model, 6, 8, ("2D tissue 1,1,3,3", "none none 0,0,0,0"))
    (rule,) = read_rules(toml_of("a", kind, Mask(((1, 2, 3, 4),), "")), "rules.toml")
    assert rule.fits(kind)
    assert rule.mask(kind).boxes == ((1, 2, 3, 4),)
    assert not rule.fits(Kind("Acme", model + "1", 6, 8, kind.regions))


def test_the_rules_that_are_shipped_can_be_read():
    assert shipped_rules()


@pytest.mark.corpus
def test_the_rules_that_are_shipped_fit_what_the_corpus_holds(corpus):
    """Others have annotations in the picture, are tiny, or say nothing of themselves: they wait for review."""
    rules, unknown = shipped_rules(), set()
    for path in sorted(corpus.iterdir()):
        try:
            with Source(path) as instance:
                kind = (
                    None
                    if instance.text(0x00080060) != "US" or instance.pixel_data is None
                    else kind_of(instance)
                )
        except CinemillError:
            continue
        if kind is not None and not any(rule.fits(kind) for rule in rules):
            unknown.add((kind.model, kind.rows))
    assert unknown == {("SEQUOIA", 480), ("LOGIQ 700", 60), ("", 2)}
