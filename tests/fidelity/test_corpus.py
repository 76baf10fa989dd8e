"""Every real file, to every target: exact, copied, or refused for a reason; never wrong, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.matrix import TARGETS, judge

pytestmark = pytest.mark.corpus


@pytest.mark.parametrize("target", TARGETS)
def test_real_file_is_exact_or_refused(corpus_file: Path, target: str, tmp_path: Path) -> None:
    verdict = judge(corpus_file, target, tmp_path / "output.dcm")
    assert verdict.status in {"exact", "copied", "refused", "failed", "unjudged"}, verdict.reason
