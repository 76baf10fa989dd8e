"""Trees of files: what is found, what is resumed, and what a crash costs."""

import csv
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import cinemill
from cinemill import batch
from cinemill.batch import run_all, staying
from cinemill.errors import UsageError
from cinemill.operations.extract.request import Extract
from cinemill.operations.operation import Control
from cinemill.operations.receipt import Receipt
from cinemill.operations.report import Report
from cinemill.operations.transcode.request import Transcode
from cinemill.storage.tree import Item, discover, files_below
from tests.support.crashing import (
    CountingCompany,
    Crashing,
    KilledWhileAsking,
    KilledWhileSplitting,
    KilledWhileWriting,
    NoRoomBehindTheFirst,
)
from tests.support.files import bundled
from tests.support.generate import EXPLICIT, header, native_bytes, native_element, noise, part10
from tests.support.harness import wait_until

NAMES = ("examples_ybr_color.dcm", "reportsi.dcm", "CT_small.dcm", "MR_small_RLE.dcm", "JPGExtended.dcm")


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "in"
    for number, name in enumerate(NAMES):
        folder = root / f"study{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(bundled(name), folder / name)
    (root / "notes.txt").write_text("not DICOM")
    (root / "study0" / "truncated.dcm").write_bytes(bundled("CT_small.dcm").read_bytes()[:9000])
    return root


def statuses(items, **options):
    receipts = run_all(items, Transcode("jpeg-ls", **options), jobs=2)
    return {Path(receipt.source).name: receipt.status for receipt in receipts}


def test_a_tree_is_mirrored_and_never_stops_at_a_bad_file(tree, tmp_path):
    out = tmp_path / "out"
    found = statuses(discover([tree], out))
    assert found == {
        "CT_small.dcm": "transcoded",
        "JPGExtended.dcm": "transcoded",
        "MR_small_RLE.dcm": "transcoded",
        "examples_ybr_color.dcm": "transcoded",
        "notes.txt": "ignored",
        "reportsi.dcm": "copied",
        "truncated.dcm": "failed",
    }
    written = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    expected = {path.relative_to(tree) for path in tree.rglob("*.dcm") if path.name != "truncated.dcm"}
    assert written == expected


def test_a_second_run_redoes_nothing(tree, tmp_path):
    out = tmp_path / "out"
    statuses(discover([tree], out))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")}
    again = statuses(discover([tree], out))
    assert {status for name, status in again.items() if name not in {"notes.txt", "truncated.dcm"}} == {
        "kept"
    }
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")} == before


def test_a_killed_run_continued_gives_the_tree_of_an_undisturbed_one(tree, tmp_path):
    for copy in range(12):
        shutil.copy(bundled("examples_ybr_color.dcm"), tree / f"cine{copy}.dcm")
    script = (
        "import sys; from pathlib import Path; from cinemill.batch import run_all, staying\n"
        "from cinemill.operations.transcode.request import Transcode; from cinemill.storage.tree import discover\n"
        "list(run_all(discover([Path(sys.argv[1])], Path(sys.argv[2])), Transcode('rle'), jobs=2))"
    )
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    for _ in range(2):
        command = [sys.executable, "-c", script, str(tree), str(killed)]
        process = subprocess.Popen(command, start_new_session=True)
        finished = len(list(killed.rglob("*.dcm")))
        enough = finished + 2
        wait_until(
            lambda enough=enough, process=process: (  # type: ignore[misc]
                process.poll() is not None or len(list(killed.rglob("*.dcm"))) > enough
            ),
            pause=0.01,
        )
        with suppress(ProcessLookupError):  # it was done already
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for out in (killed, undisturbed):
        list(run_all(discover([tree], out), Transcode("rle"), jobs=2))
    contents = [
        {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        for out in (killed, undisturbed)
    ]
    assert contents[0] == contents[1]


@pytest.mark.parametrize(("allowed", "jobs", "needed"), [(32, 2, 64), (64, 40, 136)])
def test_too_few_open_files_are_told_at_once(tree, tmp_path, monkeypatch, allowed, jobs, needed):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (allowed, allowed))
    many = [Item(tree / name, tmp_path / "out" / f"{number}") for number in range(40) for name in NAMES[:1]]
    with pytest.raises(
        UsageError, match=f"{allowed} files open, expected {needed} or more; .*ulimit -n {needed}"
    ):
        list(run_all(many, Transcode("rle"), jobs=jobs))


def test_that_processes_can_share_nothing_is_told_with_what_to_do(tree, tmp_path, monkeypatch):
    """A container may have a /dev/shm that its user can't write to."""

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system", "/dev/shm/pym-1")

    monkeypatch.setattr("multiprocessing.context.BaseContext.RawValue", refuse)
    told = r"^processes can share nothing \(Read-only file system\): have a tmpfs at /dev/shm"
    with pytest.raises(ChildProcessError, match=told):
        list(run_all(discover([tree], tmp_path / "out"), Transcode("rle")))


def test_a_segfault_costs_one_item(tree, tmp_path):
    receipts = list(run_all(discover([tree], tmp_path / "out"), Crashing("rle"), jobs=2))
    failed = {Path(r.source).name: r.error or {} for r in receipts if r.status == "failed"}
    assert len(receipts) == len(NAMES) + 2
    assert set(failed) == {"notes.txt", "truncated.dcm"}
    assert failed["notes.txt"]["kind"] == "DecoderCrashed"
    assert "SIGSEGV" in failed["notes.txt"]["message"]


def test_nothing_is_left_of_the_parts_of_a_cine_over_which_processes_died(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".other_0001.dcm.0.part").touch()
    source = tmp_path / "cine.dcm"
    shutil.copy(bundled("examples_ybr_color.dcm"), source)
    item = Item(source, tmp_path / "out")
    (receipt,) = run_all([item], KilledWhileSplitting(frames_per_instance=10), jobs=1)
    assert (receipt.error or {})["kind"] == "DecoderCrashed"
    assert os.listdir(tmp_path / "out") == [".other_0001.dcm.0.part"]


def test_a_segfault_among_many_small_files_costs_one_item(tree, tmp_path):
    for copy in range(30):
        shutil.copy(bundled("MR_small_RLE.dcm"), tree / f"a{copy:02}.dcm")
    receipts = list(run_all(discover([tree], tmp_path / "out"), Crashing("rle"), jobs=1))
    failed = {Path(r.source).name for r in receipts if r.status == "failed"}
    assert failed == {"notes.txt", "truncated.dcm"}
    assert len(receipts) == len({r.source for r in receipts}) == len(NAMES) + 2 + 30
    assert len(list((tmp_path / "out").glob("a*.dcm"))) == 30


@pytest.mark.parametrize(("size", "most"), [(1, 16), (4 << 20, 1)])
def test_a_process_works_on_more_and_more_small_files_at_a_time_and_on_one_large_one(tmp_path, size, most):
    company = [count for count in (1, 2, 4, 8, 16) for _ in range(count)] if most > 1 else [1] * 3
    items = [
        Item(tmp_path / f"{number:02}.{count}", tmp_path / f"o{number}")
        for number, count in enumerate(company)
    ]
    for item in items:
        item.source.touch()
        os.truncate(item.source, size)
    told = [int(*receipt.warnings) for receipt in run_all(items, CountingCompany("rle"), jobs=1)]
    assert sorted(told) == company


def test_small_files_are_worked_on_together_and_come_out_as_alone(tmp_path):
    root, out, alone = (tmp_path / name for name in ("in", "out", "alone"))
    root.mkdir()
    for copy in range(24):
        samples = noise((1, 30, 40, 3), seed=copy)
        dataset = header(samples, "RGB", samples=3, SOPInstanceUID=f"2.25.{copy}")
        (root / f"{copy:02}.dcm").write_bytes(
            part10(dataset, native_element(native_bytes(samples), EXPLICIT), EXPLICIT)
        )
    receipts = list(run_all(discover([root], out), Transcode("jpeg-ls"), jobs=1))
    assert {receipt.status for receipt in receipts} == {"transcoded"}
    for receipt in receipts:
        name = Path(receipt.source).name
        same = cinemill.transcode(root / name, alone / name, to="jpeg-ls")
        assert (same.digest, same.verification) == (receipt.digest, receipt.verification)
        assert (alone / name).read_bytes() == (out / name).read_bytes()


def test_processes_stay_from_call_to_call_and_those_that_die_are_replaced(tmp_path):
    files = [bundled(name) for name in ("CT_small.dcm", "MR_small_RLE.dcm")]
    with staying(Transcode(to="jpeg-ls"), jobs=2) as work:
        first = [*work([Item(path, tmp_path / "1" / path.name) for path in files])]
        children = {each.pid for each in multiprocessing.active_children()}
        second = [*work([Item(path, tmp_path / "2" / path.name) for path in files])]
        assert {each.pid for each in multiprocessing.active_children()} == children
        for pid in children:
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        third = [*work([Item(path, tmp_path / "3" / path.name) for path in files])]
    assert [{each.status for each in receipts} for receipts in (first, second, third)] == [{"transcoded"}] * 3
    assert len(third) == 2


def test_children_killed_while_they_ask_whether_to_stop_hold_nothing_up(tmp_path):
    items = [Item(tmp_path / str(number), tmp_path / f"o{number}") for number in range(6)]
    receipts = list(run_all(items, KilledWhileAsking("rle"), jobs=2))
    assert [(receipt.error or {})["kind"] for receipt in receipts] == ["DecoderCrashed"] * 6


def test_what_is_killed_for_its_memory_is_told_so_and_leaves_nothing(tmp_path):
    item = Item(bundled("examples_ybr_color.dcm"), tmp_path / "out" / "cine.dcm")
    (receipt,) = run_all([item], KilledWhileWriting("rle"), jobs=1)
    assert "memory ran out, most likely" in str((receipt.error or {})["message"])
    assert list((tmp_path / "out").iterdir()) == []


def test_stopping_leaves_whole_outputs_only(tree, tmp_path):
    out = tmp_path / "out"
    receipts = list(run_all(discover([tree], out), Transcode("rle"), jobs=1, stop=lambda: True))
    assert len(receipts) <= 2
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_where_outputs_belong(tree, tmp_path):
    file = tree / "notes.txt"
    out = tmp_path / "out"
    assert list(discover([file], out)) == [Item(file, out)]
    assert list(discover([file, file], out)) == [Item(file, out / "notes.txt")] * 2
    out.mkdir()
    assert list(discover([file], out)) == [Item(file, out / "notes.txt")]
    several = {
        item.output.relative_to(out).parts[0] for item in discover([tree / "study0", tree / "study1"], out)
    }
    assert several == {"study0", "study1"}


def test_destinations_that_would_destroy_or_recurse_are_refused(tree, tmp_path):
    for sources, destination in (
        ([tree], tree),
        ([tree], tree / "out"),
        ([tree / "notes.txt"], tree / "notes.txt"),
        ([tree / "missing"], tmp_path / "out"),
        ([tree], tree / "notes.txt"),
        ([], tmp_path),
    ):
        with pytest.raises(UsageError):
            discover(sources, destination)


def test_links_to_directories_and_special_files_are_left_alone(tree, tmp_path):
    (tree / "loop").symlink_to(tree)
    (tree / "dangling").symlink_to(tree / "nothing")
    os.mkfifo(tree / "pipe")
    names = {item.source.name for item in discover([tree], tmp_path / "out")}
    assert "pipe" not in names
    assert "dangling" in names
    assert len(names) == len(NAMES) + 3


def test_a_link_to_a_directory_that_no_source_holds_is_told(tree, tmp_path):
    (tmp_path / "volume2").mkdir()
    (tree / "away").symlink_to(tmp_path / "volume2")
    (tree / "home").symlink_to(tree / "study1")
    names = [item.source.name for item in discover([tree], tmp_path / "out")]
    assert ("away" in names, "home" in names) == (True, False)
    assert "away" in [path.name for path in files_below([tree])]
    for first, item in enumerate(items := [*discover([tree], tmp_path / "out")], 1):
        assert [*discover([tree], tmp_path / "out", after=item)] == items[first:]
    receipts = {Path(each.source).name: each for each in run_all(iter(items), Transcode("rle"), jobs=1)}
    assert receipts["away"].status == "failed"
    assert "is a link to a directory, which is not followed" in str(receipts["away"].error)
    assert not (tmp_path / "out" / "away").exists()
    both = [item.source.name for item in discover([tree, tmp_path / "volume2"], tmp_path / "out")]
    assert "away" not in both


def test_a_report_takes_any_name(tmp_path):
    for name in ("r.csv", "r.jsonl"):
        with Report(tmp_path / name) as report:
            report.add(Receipt("/in/\udcff\n.dcm", "/out", "kept"))
    with (tmp_path / "r.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.DictReader(file))["source"] == "/in/\\udcff\n.dcm"
    assert json.loads((tmp_path / "r.jsonl").read_text())["source"] == "/in/\udcff\n.dcm"


@pytest.mark.parametrize("work", [Transcode("rle"), Extract("png")], ids=["transcode", "extract"])
@pytest.mark.parametrize("sources", [["in"], ["in", "in/a", "in/a.b/x"], ["in/a/z"]])
def test_a_listing_goes_on_behind_any_item(tmp_path, work, sources):
    for name in (
        "a/a",
        "a/b/c/x",
        "a/b.x",
        "a/z",
        "a.b/x",
        "a/z.dcm",
        "a-b/\udcff",
        "a b/b/x",
        "Z/x",
        "b",
        "0",
        "ä/x",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    sources = [tmp_path / name for name in sources]
    (tmp_path / "out").mkdir()
    items = list(work.discover(sources, tmp_path / "out"))
    for number, item in enumerate(items, start=1):
        assert list(work.discover(sources, tmp_path / "out", after=item)) == items[number:]
    for number, item in enumerate(items, start=1):
        if item.source not in sources and item.source.name != "z":  # whose name z.dcm would take
            item.source.unlink(missing_ok=True)
        rest = [other for other in items[number:] if other.source.exists()]
        assert list(work.discover(sources, tmp_path / "out", after=item)) == rest


def test_a_full_temporary_directory_is_no_fault_of_the_program(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Transcode, "apply", full)
    told = batch.attempt(Item(tmp_path / "a", tmp_path / "b"), Transcode("rle", copy_rest=True), Control())
    assert batch.is_no_room(told)
    assert "temporary files" in (told.error or {})["message"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_where_there_is_no_room_nothing_more_is_begun(tmp_path, jobs):
    items = iter([Item(tmp_path / str(number), tmp_path / f"o{number}") for number in range(9)])
    told = list(run_all(items, NoRoomBehindTheFirst("rle"), jobs=jobs))
    assert 3 <= len(told) <= 2 + 2 * jobs
    assert len(told) + len(list(items)) == 9
