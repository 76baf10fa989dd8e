"""Identities planted in every attribute of the table: the right action for each, and nothing of them left, whatever the options."""

import warnings

import pytest

import deidentify as bench


@pytest.mark.parametrize("option", bench.OPTIONS)
def test_every_planted_identity_is_dealt_with_as_the_profile_says(tmp_path, key, option):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of what is planted is no value of its VR
        sources, planted = bench.make(tmp_path, None)
        (tmp_path / "out").mkdir()
        outputs = bench.by_cinemill(sources, tmp_path / "out", key, option)
        score = bench.score(outputs, sources, planted, option, {})
    assert len(planted) > 650
    assert score.wrong == []
    assert score.left == 0


def test_the_score_finds_what_is_left(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sources, planted = bench.make(tmp_path, None)
        score = bench.score(sources, sources, planted, "", {})
    assert score.left > 600
    assert score.right.total() < 40
