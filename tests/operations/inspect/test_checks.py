"""Each check: a file that fails it, made from a sound one by changing as little as possible, and the sound one."""

import pytest

from cinemill.dicom.sop_classes import STORAGE
from cinemill.operations.inspect.checks.among import AMONG
from cinemill.operations.inspect.checks.table import CHECKS
from cinemill.operations.inspect.checks.unresolved import UNRESOLVED
from cinemill.operations.inspect.inspect import inspect
from tests.support import clips, soundness
from tests.support.files import REPOSITORY


def found(path, data):
    path.write_bytes(data)
    return {finding.check: finding for finding in inspect(path, expect_model="E1").findings}


@pytest.mark.parametrize("name", soundness.SOUND)
def test_nothing_is_found_in_a_sound_file(tmp_path, name):
    assert found(tmp_path / "sound.dcm", soundness.SOUND[name]()) == {}


@pytest.mark.parametrize("name", soundness.DEFECTS)
def test_a_check_finds_its_defect_and_nothing_else(tmp_path, name):
    defect = soundness.DEFECTS[name]
    findings = found(tmp_path / "defect.dcm", defect.make())
    assert set(findings) == {name, *defect.others}


@pytest.mark.parametrize(("sop_class", "has"), [("77.1.1.1", True), ("7.4", True), ("7.2", False)])
def test_what_an_iod_has_no_ybr_full_for_is_found_beyond_ultrasound(tmp_path, sop_class, has):
    data = soundness.native(soundness.FRAMES, "YBR_FULL", sop_class=STORAGE + sop_class)
    assert ("pixels.iod" in found(tmp_path / "defect.dcm", data)) is has


def test_every_check_has_a_defect():
    assert set(soundness.DEFECTS) == {check.id for check in CHECKS}


def test_checks_have_ids_of_their_own_and_say_all_that_a_finding_has():
    every = [*CHECKS, *AMONG]
    assert len({check.id for check in every}) == len(every)
    for check in every:
        assert check.section.startswith("PS3.")
        assert check.about
        assert check.remedy


def test_the_documentation_has_the_table_of_checks():
    heads = ["| id | severity | section | what should be | how to mend it |", "|---|---|---|---|---|"]
    rows = [
        f"| `{each.id}` | {each.severity} | {each.section} | {each.about} | {each.remedy} |"
        for each in (*CHECKS, *AMONG, *UNRESOLVED)
    ]
    assert "\n".join([*heads, *rows, ""]) in (REPOSITORY / "docs/INSPECT.md").read_text()


def test_regions_that_have_only_an_edge_in_common_share_its_pixels(tmp_path):
    """Bounds are the last pixels within, by PS3.3 C.8.5.5.1.14."""
    regions = [clips.region((0, 0, 10, 23)), clips.region((10, 4, 31, 9), deltas=(0.1, 0.1))]
    beside = [regions[0], clips.region((11, 4, 31, 9), deltas=(0.1, 0.1))]
    finding = found(tmp_path / "edge.dcm", soundness.native(SequenceOfUltrasoundRegions=regions))
    assert "share 6 pixels" in finding["regions.overlap"].found
    assert found(tmp_path / "beside.dcm", soundness.native(SequenceOfUltrasoundRegions=beside)) == {}
