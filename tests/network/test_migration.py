"""Migrations between real archives: what counts as replaced is what the archive gives back."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from io import BytesIO

import pydicom
import pytest

import cinemill
from cinemill.batch import attempt
from cinemill.errors import Cancelled, InternalError, NodeError, UsageError
from cinemill.network.instances import read_instance
from cinemill.network.outcomes import Outcome
from cinemill.network.query import Listed, Study
from cinemill.network.store import store
from cinemill.operations.exchange.ledger import Entry, Ledger
from cinemill.operations.exchange.migrate import Migration, ask, check, migrate, outcome_of, settings
from cinemill.operations.exchange.push import Sender, read_fallback
from cinemill.operations.exchange.seen import Other, compared
from cinemill.operations.operation import Control
from cinemill.operations.transcode.request import Transcode
from cinemill.storage.tree import Item
from tests.support.pacs import orthanc, write_study
from tests.support.ports import free_port

JPEG_LS = "1.2.840.10008.1.2.4.80"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"


class Killed(BaseException):
    """What a test stops a run by, wherever it is: nothing is cleaned up behind it but by other code."""


def sent(node, files):
    instances = [read_instance(file) for file in files]
    assert {each.name for each in store(node, instances)} == {"stored"}
    return instances[0].study


def working(wanted):
    return lambda items: (attempt(item, wanted, Control(1)) for item in items)


def migrated(spool, source, *studies, target=None, to="jpeg-ls", work=None, told=None, **more):
    """Migrate studies, and return what became of each, and the outcomes of all instances."""
    wanted = Transcode(to=to, preserve=False).in_bulk()
    migration = Migration(source, target or source, spool, wanted, more.pop("via", "dimse"), **more)
    check(migration)
    with Ledger(spool, migration.settings) as ledger:
        ended = list(
            migrate(
                migration,
                ledger,
                [Study(uid) for uid in studies],
                work or working(wanted),
                told or (lambda _: None),
            )
        )
    same = target is None
    return ended, Counter(outcome_of(entry, same=same) for study in ended for entry in study.entries)


def held(archive, files):
    """The transfer syntaxes of what an archive has of these files, whose pixels are compared."""
    found = []
    for file in files:
        source = pydicom.dcmread(file)
        given = pydicom.dcmread(BytesIO(archive.file(str(source.SOPInstanceUID))))
        assert (given.pixel_array == source.pixel_array).all()
        found.append(str(given.file_meta.TransferSyntaxUID))
    return found


@pytest.mark.parametrize("way", ["get", "move", "web"])
def test_instances_are_replaced_once_the_archive_gives_them_back(archive, tmp_path, way):
    node = replace(archive.node(way), commitment=way == "move")
    files = write_study(tmp_path / "in", 810 + ord(way[0]), 3, side=64, most=40)
    study = sent(archive.node(), files)
    told: list[Entry] = []
    (ended,), outcomes = migrated(tmp_path / "spool", node, study, told=told.append)
    assert outcomes == {"replaced": 3}
    assert ended.well
    assert held(archive, files) == [JPEG_LS] * 3
    assert {(each.before, each.after, each.state) for each in told} == {(EXPLICIT, JPEG_LS, "seen")}
    assert {each.proof for each in told} == {"every frame's bytes, every other element"}
    assert not [path for path in (tmp_path / "spool" / "studies").rglob("*") if path.is_file()]

    def never(_):
        raise AssertionError("it was finished")

    (again,), outcomes = migrated(tmp_path / "spool", node, study, work=never, told=never)
    assert again.well
    assert outcomes == {"replaced": 3}


def test_an_archive_that_keeps_the_older_instance_is_found_out(tmp_path):
    files = write_study(tmp_path / "in", 510, 2, side=64, most=40)
    with orthanc(tmp_path / "orthanc", OverwriteInstances=False) as archive:
        study = sent(archive.node(), files)
        (ended,), outcomes = migrated(tmp_path / "spool", archive.node(), study)
        assert held(archive, files) == [EXPLICIT] * 2
    assert outcomes == {"kept-by-node": 2}
    assert not ended.well
    assert "OverwriteInstances true" in ended.entries[0].detail
    assert "sent in jpeg-ls, and is given back in explicit" in ended.entries[0].detail


def test_what_the_policy_keeps_stays_and_is_not_sent(archive, tmp_path):
    files = write_study(tmp_path / "in", 511, 1, side=24)
    study = sent(archive.node(), files)
    before = archive.file(read_instance(files[0]).sop_instance)
    (ended,), outcomes = migrated(tmp_path / "spool", archive.node(), study, to="")
    assert outcomes == {"unchanged": 1}
    assert ended.entries[0].detail == "would-grow"
    assert archive.file(read_instance(files[0]).sop_instance) == before


@pytest.mark.parametrize("name", ["dcmqrscp", "qrscp"])
def test_another_archive_gets_all_of_a_study_also_what_is_kept_as_it_is(
    archive, other_archives, tmp_path, name
):
    target = other_archives(name)
    files = write_study(tmp_path / "in", 940 + len(name), 2, side=64, most=40)
    small = write_study(tmp_path / "small", 960 + len(name), 1, side=24)
    dataset = pydicom.dcmread(small[0])
    dataset.StudyInstanceUID = pydicom.dcmread(files[0]).StudyInstanceUID
    dataset.save_as(small[0])
    study = sent(archive.node(), [*files, *small])
    (ended,), outcomes = migrated(
        tmp_path / "spool", archive.node(), study, target=target, fallback=read_fallback("explicit")
    )
    assert outcomes == {"seen": 3}, [each.detail for each in ended.entries]
    assert ended.well
    taken = {EXPLICIT} if name == "dcmqrscp" else {EXPLICIT, JPEG_LS}
    assert {each.after for each in ended.entries} == taken
    assert held(archive, files) == [EXPLICIT] * 2


def test_what_the_archive_refuses_is_refused_by_name_or_goes_in_the_fallback(archive, tmp_path):
    files = write_study(tmp_path / "in", 540, 2, side=64, most=40)
    study = sent(archive.node(), files)
    with pytest.raises(UsageError, match="orthanc does not take htj2k, but .*jpeg-2000; .*--fallback"):
        ask(Migration(archive.node(), archive.node(), tmp_path, Transcode("htj2k").in_bulk(), "dimse"))
    (ended,), outcomes = migrated(tmp_path / "spool", archive.node(), study, to="htj2k")
    assert outcomes == {"syntax-refused": 2}
    assert "--fallback" in ended.entries[0].detail
    assert held(archive, files) == [EXPLICIT] * 2
    (ended,), outcomes = migrated(
        tmp_path / "spool", archive.node(), study, to="htj2k", fallback=read_fallback("jpeg-ls,explicit")
    )
    assert outcomes == {"replaced": 2}
    assert {each.after for each in ended.entries} == {JPEG_LS}
    assert held(archive, files) == [JPEG_LS] * 2


def test_what_is_put_in_by_stow_and_can_not_be_given_back_is_found_out(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("cinemill.operations.exchange.steps._PATIENCE", 0.0)
    files = write_study(tmp_path / "in", 541, 1, side=64, most=40)
    study = sent(archive.node(), files)
    (ended,), outcomes = migrated(
        tmp_path / "spool", archive.node(), study, to="htj2k", via="web", force=True
    )
    assert outcomes == {"not-given-back": 1}, ended
    assert not ended.well


@pytest.mark.parametrize("state", ["fetched", "transcoded", "sent", "seen"])
def test_a_run_that_was_cut_off_after_any_step_goes_on_from_there(archive, tmp_path, monkeypatch, state):
    files = write_study(tmp_path / "in", 1000 + len(state) + ord(state[2]), 3, side=64, most=40)
    study = sent(archive.node(), files)
    advance = Ledger.advance

    def cut_off(ledger, entry, new, **more):
        advance(ledger, entry, new, **more)
        if new == state:
            raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Ledger, "advance", cut_off)
        migrated(tmp_path / "spool", archive.node(), study)
    steps: Counter[str] = Counter()

    def counted(ledger, entry, new, **more):
        advance(ledger, entry, new, **more)
        steps[new] += 1

    monkeypatch.setattr(Ledger, "advance", counted)
    (ended,), outcomes = migrated(tmp_path / "spool", archive.node())  # what was begun needs no query
    assert ended.uid == study
    assert outcomes == {"replaced": 3}
    assert held(archive, files) == [JPEG_LS] * 3
    order = ("fetched", "transcoded", "sent", "seen")
    done_before = {
        each: 3 if order.index(each) < order.index(state) else 1 if each == state else 0 for each in order
    }
    assert {each: steps[each] + done_before[each] for each in order} == dict.fromkeys(order, 3)


def test_an_instance_that_the_archive_loses_while_it_is_replaced_is_sent_again(
    archive, tmp_path, monkeypatch
):
    files = write_study(tmp_path / "in", 560, 1, side=64, most=40)
    study = sent(archive.node(), files)
    uid = read_instance(files[0]).sop_instance
    advance = Ledger.advance

    def cut_off(ledger, entry, new, **more):
        advance(ledger, entry, new, **more)
        if new == "sent":
            raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Ledger, "advance", cut_off)
        migrated(tmp_path / "spool", archive.node(), study)
    archive.rest(f"/instances/{archive.instances()[uid]}", "DELETE")
    monkeypatch.setattr("cinemill.operations.exchange.steps._PATIENCE", 0.0)
    (ended,), outcomes = migrated(tmp_path / "spool", archive.node())
    assert outcomes == {"not-given-back": 1}
    assert not ended.well
    (ended,), outcomes = migrated(tmp_path / "spool", archive.node())
    assert outcomes == {"replaced": 1}
    assert held(archive, files) == [JPEG_LS]


def test_a_study_that_grows_between_runs_is_finished_by_the_next(archive, tmp_path):
    files = write_study(tmp_path / "in", 570, 3, side=64, most=40)
    study = sent(archive.node(), files[:2])
    _, outcomes = migrated(tmp_path / "spool", archive.node(), study)
    assert outcomes == {"replaced": 2}
    sent(archive.node(), files[2:])
    _, outcomes = migrated(tmp_path / "spool", archive.node(), study)
    assert outcomes == {"replaced": 3}
    assert held(archive, files) == [JPEG_LS] * 3


def test_one_damaged_instance_costs_itself_only_and_stays_as_it_is(archive, tmp_path):
    files = write_study(tmp_path / "in", 580, 3, side=64, most=40)
    dataset = pydicom.dcmread(files[1])
    dataset.Rows = 900
    dataset.save_as(files[1])
    study = sent(archive.node(), files)
    uid = read_instance(files[1]).sop_instance
    before = archive.file(uid)
    (ended,), outcomes = migrated(tmp_path / "spool", archive.node(), study)
    assert outcomes == {"replaced": 2, "not-transcoded": 1}
    assert not ended.well
    assert archive.file(uid) == before
    assert held(archive, [files[0], files[2]]) == [JPEG_LS] * 2
    assert not [path for path in (tmp_path / "spool" / "studies").rglob("*") if path.is_file()]


def test_a_node_that_is_down_ends_the_run_and_loses_nothing(archive, tmp_path, monkeypatch):
    for module in ("pull", "push", "steps"):
        monkeypatch.setattr(f"cinemill.operations.exchange.{module}._PATIENCE", 0.0)
    sets = [write_study(tmp_path / "in", 590 + number, 1, side=64, most=40) for number in range(4)]
    studies = [sent(archive.node(), files) for files in sets]
    up = archive.node()
    down = replace(up, dimse=replace(up.by_dimse, port=free_port()))
    web = replace(up, pull="web")
    with pytest.raises(NodeError, match="3 studies in a row failed, the last by down: nobody answers"):
        migrated(tmp_path / "spool", web, *studies, target=replace(down, name="other"))
    assert len(list((tmp_path / "spool" / "studies").rglob("made/*.dcm"))) >= 3
    fetched = []
    monkeypatch.setattr("cinemill.network.web.retrieve", lambda *_, **how: fetched.extend(how["listed"]))
    ended, outcomes = migrated(tmp_path / "spool", web, target=replace(up, name="other"))
    assert outcomes["seen"] >= 3
    assert not fetched
    assert len(ended) == outcomes.total()


def test_a_node_that_lists_no_instances_is_migrated_by_what_it_sends(archive, tmp_path, monkeypatch):
    files = write_study(tmp_path / "in", 605, 2, side=64, most=40)
    study = sent(archive.node(), files)
    monkeypatch.setattr("cinemill.network.archive.instances", lambda *_: [])
    for _ in range(2):
        (ended,), outcomes = migrated(tmp_path / "spool", archive.node(), study)
        assert outcomes == {"replaced": 2}
        assert ended.well
        assert {each.series for each in ended.entries} == {read_instance(files[0]).series}
        assert not [path for path in (tmp_path / "spool" / "studies").rglob("*") if path.is_file()]
    assert held(archive, files) == [JPEG_LS] * 2


def test_studies_that_failed_before_do_not_keep_others_from_their_turn(archive, tmp_path, monkeypatch):
    sets = [write_study(tmp_path / "in", 800 + number, 1, side=64, most=40) for number in range(4)]
    studies = [sent(archive.node(), files) for files in sets]
    send = Sender.send

    def stalls(sender, files):
        for file in files:
            if read_instance(file).study == studies[3]:
                yield from send(sender, [file])
            else:
                yield Outcome("stalled", file)

    monkeypatch.setattr(Sender, "send", stalls)
    with pytest.raises(NodeError, match="3 studies in a row"):
        migrated(tmp_path / "spool", archive.node(), *studies)
    ended, outcomes = migrated(tmp_path / "spool", archive.node(), *studies)
    assert outcomes == {"stalled": 3, "replaced": 1}
    assert [study.uid for study in ended if study.well] == [studies[3]]


def test_what_the_archive_does_not_list_afterwards_is_missing(archive, tmp_path, monkeypatch):
    files = write_study(tmp_path / "in", 600, 2, side=64, most=40)
    study = sent(archive.node(), files)
    lost = read_instance(files[0]).sop_instance
    count = 0

    def listing(node, uid):
        nonlocal count
        count += 1
        found = [Listed(each.sop_instance, each.sop_class, each.series) for each in map(read_instance, files)]
        return found if count == 1 else [each for each in found if each.sop_instance != lost]

    monkeypatch.setattr("cinemill.network.archive.instances", listing)
    (ended,), outcomes = migrated(tmp_path / "spool", archive.node(), study)
    assert outcomes == {"replaced": 1, "missing": 1}
    assert not ended.well
    assert "does not list it now" in next(each.detail for each in ended.entries if each.failure)


def test_a_comparison_that_is_stopped_is_no_difference(archive, tmp_path):
    files = write_study(tmp_path / "in", 610, 1, side=64, most=40)
    study = sent(archive.node(), files)
    worked_on: list[Item] = []

    def work(items):
        worked_on.extend(items)
        return working(Transcode(to="jpeg-ls"))(items)

    with pytest.raises(Cancelled):
        migrated(tmp_path / "spool", archive.node(), study, stopping=lambda: bool(worked_on), work=work)
    with Ledger(tmp_path / "spool", only_reads=True) as ledger:
        assert [row[:3] for row in ledger.totals()[2]] == [("transcoded", "", 1)]
    file, other = tmp_path / "one.dcm", tmp_path / "other.dcm"
    cinemill.transcode(files[0], file, to="jpeg-ls")
    cinemill.transcode(files[0], other, to="jpeg-2000")
    entry = Entry(
        study, "1.2", "", "", "sent", "", "", 0, EXPLICIT, read_instance(other).transfer_syntax, 0, 0, ""
    )
    with pytest.raises(Cancelled):
        compared(entry, file, other, Control(cancelled=lambda: True))


def test_other_pixels_in_the_right_transfer_syntax_are_found_out(tmp_path):
    files = write_study(tmp_path / "in", 611, 2, side=64, most=40)
    ours, theirs = tmp_path / "ours.dcm", tmp_path / "theirs.dcm"
    cinemill.transcode(files[0], ours, to="jpeg-ls")
    cinemill.transcode(files[1], theirs, to="jpeg-ls")
    entry = Entry("1.2", "1.3", "", "", "sent", "", "", 0, EXPLICIT, JPEG_LS, 0, 0, "")
    with pytest.raises(Other, match="1 of 1 frames differ") as raised:
        compared(entry, ours, theirs, Control())
    assert raised.value.outcome == "not-as-sent"
    assert compared(entry, ours, ours, Control()) == "every frame's bytes, every other element"


@pytest.fixture
def damaging(monkeypatch):
    """A network that turns a bit of each instance on its way to the node."""
    send = Sender.send

    def turned(sender, files):
        for file in files:
            data = bytearray(file.read_bytes())
            whole = bytes(data)
            data[-len(data) // 8] ^= 0x10
            file.write_bytes(data)
            yield from list(send(sender, [file]))
            file.write_bytes(whole)

    with monkeypatch.context() as patched:
        patched.setattr(Sender, "send", turned)
        yield patched


def test_what_the_node_has_only_damaged_since_is_sent_again_from_the_spool(archive, tmp_path, damaging):
    files = write_study(tmp_path / "in", 612, 2, side=64, most=40)
    study = sent(archive.node(), files)
    (ended,), outcomes = migrated(tmp_path / "spool", archive.node(), study)
    assert outcomes == {"not-as-sent": 2}
    for entry in ended.entries:
        fetched = tmp_path / "spool" / "studies" / study / "fetched" / f"{entry.sop_instance}.dcm"
        assert fetched.exists()
        assert str(fetched) in entry.detail
    damaging.undo()
    (ended,), outcomes = migrated(tmp_path / "spool", archive.node(), study)
    assert outcomes == {"replaced": 2}
    assert held(archive, files) == [JPEG_LS] * 2
    assert not [path for path in (tmp_path / "spool" / "studies").rglob("*") if path.is_file()]


@pytest.mark.usefixtures("damaging")
def test_a_node_that_gives_nothing_back_as_it_was_sent_ends_the_run(archive, tmp_path):
    sets = [write_study(tmp_path / "in", 820 + number, 1, side=64, most=40) for number in range(6)]
    studies = [sent(archive.node(), files) for files in sets]
    with pytest.raises(NodeError, match="3 studies in a row failed, the last by not-as-sent"):
        migrated(tmp_path / "spool", archive.node(), *studies)
    assert held(archive, sets[5]) == [EXPLICIT]


def test_native_instances_may_come_back_in_another_vr_encoding_unless_that_hides_the_older_one(tmp_path):
    (file,) = write_study(tmp_path / "in", 612, 1)
    implicit = tmp_path / "implicit.dcm"
    cinemill.transcode(file, implicit, to="implicit")

    def of(before, after):
        return Entry("1.2", "1.3", "", "", "sent", "", "", 0, before, after, 0, 0, "")

    assert (
        compared(of(JPEG_LS, EXPLICIT), file, implicit, Control())
        == "every frame's bytes, every other element"
    )
    assert compared(of(EXPLICIT, EXPLICIT), file, implicit, Control())
    with pytest.raises(Other, match="given back in implicit, as the node had it before"):
        compared(of(IMPLICIT, EXPLICIT), file, implicit, Control())


def test_a_spool_belongs_to_one_migration_and_one_process(tmp_path):
    settings = {"node": "a", "to node": "a", "--to": "jpeg-ls", "--policy": ""}
    with Ledger(tmp_path, settings), pytest.raises(UsageError, match="another process migrates"):
        Ledger(tmp_path, settings)
    with pytest.raises(UsageError, match="with --to jpeg-ls, asked for was rle; name another --spool"):
        Ledger(tmp_path, settings | {"--to": "rle"})
    with Ledger(tmp_path, only_reads=True) as ledger:
        assert ledger.totals() == (0, 0, [])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("lossy_source", "transcode"),
        ("if_larger", "write"),
        ("readable_by", "dcmtk"),
        ("policy", 'name = "mine"\n[[rule]]\nname = "all"\nto = "rle"\n'),
    ],
)
def test_what_is_made_of_instances_can_not_change_on_the_way(archive, tmp_path, option, value):
    told = settings(archive.node(), archive.node(), Transcode(preserve=False).in_bulk())
    other = settings(archive.node(), archive.node(), Transcode(**{option: value}).in_bulk())
    Ledger(tmp_path, told).close()
    with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} .* name another --spool"):
        Ledger(tmp_path, other)


def test_a_spool_has_all_settings_of_its_migration_or_none(tmp_path):
    with pytest.raises(UsageError, match="not supported"):
        Ledger(tmp_path, {"node": "pacs", "to node": object()})  # type: ignore[dict-item]
    with Ledger(tmp_path, {"node": "other", "to node": "other"}) as ledger:
        assert ledger.setting("node") == "other"


def test_a_damaged_ledger_is_named_and_not_written_over(tmp_path):
    (tmp_path / "ledger.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(UsageError, match="the ledger is damaged"):
        Ledger(tmp_path, {})
    assert (tmp_path / "ledger.sqlite").read_bytes() == b"no database" * 100


def test_an_instance_takes_no_step_out_of_order(tmp_path):
    with Ledger(tmp_path, {}) as ledger:
        ledger.study(Study("1.2"))
        ledger.add("1.2", [Listed("1.2.3")])
        (entry,) = ledger.entries("1.2").values()
        with pytest.raises(InternalError, match="was listed and can't be seen next"):
            ledger.advance(entry, "seen")
