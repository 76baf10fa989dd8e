"""`cinemill migrate` as it is typed, against a fresh Orthanc, and under chaos."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from cinemill.cli.migrate import Moved
from cinemill.network.instances import read_instance
from cinemill.network.store import store
from cinemill.operations.exchange.ledger import Entry
from cinemill.operations.exchange.migrate import Migrated, Migration
from cinemill.operations.transcode.request import Transcode
from tests.cli.test_cli import cinemill
from tests.support.pacs import need_orthanc, orthanc, write_study

ENTRY = """
[node.pacs]
commitment = true
[node.pacs.dimse]
host = "127.0.0.1"
port = {dicom}
called-aet = "ORTHANC"
listen = {listen}
"""
QUERY = ("--query", "StudyDate=20190301")


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture
def typed(pacs, tmp_path):
    nodes = tmp_path / "nodes.toml"
    nodes.write_text(ENTRY.format(dicom=pacs.dicom, listen=pacs.listen))
    environment = {**os.environ, "CINEMILL_NODES": str(nodes), "COLUMNS": "120"}
    return lambda *arguments: cinemill("migrate", *arguments, env=environment, cwd=tmp_path)


def test_a_migration_shows_what_there_is_what_was_done_and_what_is_left(pacs, typed, tmp_path):
    files = write_study(tmp_path / "in", 700, 2, side=64, most=40, study_date="20190301")
    assert [each.name for each in store(pacs.node(), map(read_instance, files))] == ["stored"] * 2
    planned = typed("pacs", *QUERY, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "1 study, 2 instances" in planned.stdout
    done = typed("pacs", *QUERY, "--to", "jpeg-ls", "--report", "report.jsonl")
    assert done.returncode == 0, done.stderr
    assert "2  replaced" in done.stderr
    told = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert [(each["outcome"], each["state"]) for each in told] == [("replaced", "seen")] * 2
    status = typed("pacs", "--status")
    assert "1 of 1 study is settled" in status.stdout
    assert "2 seen" in status.stdout
    again = typed("pacs", *QUERY, "--to", "jpeg-ls", "--json")
    assert again.returncode == 0, again.stderr
    assert "2 instances were finished by earlier runs" in again.stderr
    assert again.stdout == ""
    other = typed("pacs", *QUERY, "--to", "rle")
    assert other.returncode == 2
    assert "this spool belongs to a migration with --to jpeg-ls, asked for was rle" in other.stderr


def test_a_target_that_the_node_refuses_is_said_before_anything_is_fetched(pacs, typed, tmp_path):
    files = write_study(tmp_path / "in", 710, 1, side=64, most=40, study_date="20190302")
    assert [each.name for each in store(pacs.node(), map(read_instance, files))] == ["stored"]
    study = ("--study", read_instance(files[0]).study)
    refused = typed("pacs", *study, "--to", "htj2k,jpeg-ls")
    assert refused.returncode == 2
    assert "pacs does not take htj2k, but " in refused.stderr
    assert "choose another --to, or name a --fallback, such as jpeg-2000,jpeg-ls,explicit" in refused.stderr
    assert not (tmp_path / "pacs.migration").exists()
    done = typed("pacs", *study, "--to", "htj2k", "--fallback", "jpeg-ls", "--report", "report.jsonl")
    assert done.returncode == 0, done.stderr
    (told,) = map(json.loads, (tmp_path / "report.jsonl").read_text().splitlines())
    assert (told["outcome"], told["after"]) == ("replaced", "1.2.840.10008.1.2.4.80")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("pacs",), "give --study or --query"),
        (("pacs", "pcs", "--study", "1.2"), "did you mean pacs?"),
        (("pacs", "--study", "1.2", "--to", "jpg"), "can't write 'jpg'"),
        (("pacs", "--status"), "there is no ledger of a migration; check --spool"),
    ],
)
def test_what_is_typed_wrong_is_said(typed, arguments, told):
    done = typed(*arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_study_that_is_nowhere_leaves_exit_code_1(typed):
    done = typed("pacs", "--study", "1.2.3")
    assert done.returncode == 1, done.stderr
    assert "no-such: study 1.2.3: the node lists no such study" in done.stderr
    assert "0 of 0 studies" in typed("pacs", "--status").stdout


def test_an_instance_that_is_missing_after_it_was_seen_is_counted_once(pacs, tmp_path, capsys):
    node = pacs.node()
    migration = Migration(node, node, tmp_path, Transcode(to="jpeg-ls"), "dimse")
    entry = Entry("1.2", "1.2.3", "1", "1.9", "seen", "", "", 0, "1.1", "1.5", 2_000_000, 1_000_000, "")
    shown = Moved(migration, None, as_json=False, quiet=False)
    shown.moved(entry)
    assert shown.line.startswith("0 studies; 1 replaced")
    shown.end(Migrated("1.2", (replace(entry, failure="missing", detail="gone"),), "1 instances are left"))
    shown.table()
    told = capsys.readouterr().err
    assert "missing: 1.2.3: gone" in told
    assert "replaced" not in told
    assert not shown.well


def test_nothing_is_lost_when_the_network_the_archive_and_the_migration_fail(tmp_path):
    need_orthanc()
    from network_chaos import run

    told = run(tmp_path, seed=7, instances=24, a_study=6, kills=2, restarts=1)
    assert told.kills + told.restarts > 0
