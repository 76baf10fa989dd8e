"""`cinemill push`, `pull` and `nodes` as they are typed, against a fresh Orthanc."""

from __future__ import annotations

import json
import os

import pydicom
import pytest

from tests.cli.test_cli import cinemill
from tests.support.pacs import orthanc, write_study
from tests.support.ports import free_port

ENTRY = """
[node.pacs]
pull = "{pull}"
[node.pacs.dimse]
host = "127.0.0.1"
port = {dicom}
called-aet = "ORTHANC"
listen = {listen}
[node.pacs.web]
url = "http://127.0.0.1:{http}/dicom-web"
"""


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture
def typed(pacs, tmp_path):
    """Type a command where the nodes file has the archive."""
    nodes = tmp_path / "nodes.toml"

    def run(*arguments, pull="get", text=None):
        values = {"pull": pull, "dicom": pacs.dicom, "http": pacs.http, "listen": pacs.listen}
        nodes.write_text(ENTRY.format(**values) if text is None else text)
        return cinemill(
            *arguments, env={**os.environ, "CINEMILL_NODES": str(nodes), "COLUMNS": "120"}, cwd=tmp_path
        )

    return run


def test_a_query_that_finds_nothing_or_asks_for_what_studies_do_not_have_says_so(typed):
    done = typed("pull", "pacs", "out", "--query", "StudyDate=19000101")
    assert (done.returncode, done.stderr.strip()) == (0, "nothing was found to do")
    done = typed("pull", "pacs", "out", "--query", "Modality=US")
    assert done.returncode == 2
    assert "studies have no Modality; name ModalitiesInStudy" in done.stderr


def test_a_place_that_can_not_be_is_said_and_is_no_fault_of_the_node(typed, tmp_path):
    write_study(tmp_path / "in", 7, 2, study_date="20180301")
    assert typed("push", "in", "pacs").returncode == 0
    (tmp_path / "file").touch()
    done = typed("pull", "pacs", "file/out", "--query", "StudyDate=20180301")
    assert done.returncode == 1
    assert done.stderr == "cinemill: file: can't be written: a part of the path is not a directory\n"


def test_what_is_pushed_is_pulled_by_each_way_and_not_twice(typed, tmp_path):
    files = write_study(tmp_path / "in", 1, 2, study_date="20190301") + write_study(
        tmp_path / "in", 2, 1, study_date="20190302"
    )
    done = typed("push", "in", "pacs", "--report", "push.jsonl")
    assert done.returncode == 0, done.stderr
    assert "stored" in done.stderr
    told = [json.loads(line) for line in (tmp_path / "push.jsonl").read_text().splitlines()]
    assert [each["name"] for each in told] == ["stored"] * 3
    for way in ("get", "move", "web"):
        query = ("--query", "StudyDate=20190301-20190331,Modality=")
        done = typed(
            "pull", "pacs", f"out-{way}", *query, "--by", "day", "--report", f"{way}.jsonl", pull=way
        )
        assert done.returncode == 0, done.stderr
        found = sorted((tmp_path / f"out-{way}").rglob("*.dcm"))
        assert {path.parts[-3] for path in found} == {"20190301", "20190302"}
        assert sorted(pydicom.dcmread(path).SOPInstanceUID for path in found) == sorted(
            pydicom.dcmread(path).SOPInstanceUID for path in files
        )
        assert len((tmp_path / f"{way}.jsonl").read_text().splitlines()) == 3
        again = typed("pull", "pacs", f"out-{way}", *query, "--by", "day", "--json", pull=way)
        assert again.returncode == 0, again.stderr
        assert "kept" in again.stderr
        assert again.stdout == ""


def test_what_is_missing_is_named_and_the_exit_code_is_1(typed):
    done = typed("pull", "pacs", "out", "--study", "1.2.3")
    assert done.returncode == 1
    assert "no-such: study 1.2.3: the node lists no such study" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("pull", "pcs", "out", "--study", "1.2"),
            "no node is called 'pcs'; there are pacs; did you mean pacs?",
        ),
        (("pull", "pacs", "out"), "give --study or --query"),
        (("pull", "pacs", "out", "--query", "StudyDte=2020"), "did you mean StudyDate?"),
        (("pull", "pacs", "out", "--query", "StudyDate=2020"), "expected YYYYMMDD or a range"),
        (("pull", "pacs", "out", "--query", "US"), "expected Keyword=value"),
        (("push", ".", "pacs", "--fallback", "jpg"), "--fallback: can't write 'jpg'; choose one of"),
        (("push", ".", "pacs", "--hours", "8-9"), "expected a window such as"),
        (("push", "absent", "pacs"), "no such file"),
    ],
)
def test_what_is_typed_wrong_is_said_with_what_is_right(typed, arguments, told):
    done = typed(*arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_node_that_is_down_ends_with_what_to_look_at(typed):
    port = free_port()
    text = f'[node.pacs.dimse]\nhost = "127.0.0.1"\nport = {port}\ncalled-aet = "X"\n'
    done = typed("pull", "pacs", "out", "--query", "StudyDate=20200101", text=text)
    assert done.returncode == 1
    assert f"nobody answers at 127.0.0.1:{port}" in done.stderr
    text += f'[node.pacs.web]\nurl = "http://127.0.0.1:{port}"\n'
    tested = typed("nodes", "test", "pacs", text=text)
    assert tested.returncode == 1
    assert tested.stdout.count("nobody answers") == 1


def test_nodes_are_listed_and_tested(typed):
    listed = typed("nodes", "list")
    assert "ORTHANC@127.0.0.1" in listed.stdout
    tested = typed("nodes", "test", "pacs", "--json")
    assert tested.returncode == 0, tested.stdout
    told = json.loads(tested.stdout)
    services = {each["what"]: each["well"] for each in told["services"]}
    asked = ("C-ECHO", "C-FIND", "C-GET", "C-MOVE", "commitment", "QIDO-RS", "WADO-RS", "STOW-RS")
    assert services == dict.fromkeys(asked, True)
    assert "1.2.840.10008.1.2.4.80" in told["syntaxes"]["US multi-frame"]
    assert "1.2.840.10008.1.2.4.201" not in told["syntaxes"]["US multi-frame"]
    table = typed("nodes", "test", "pacs").stdout
    assert "takes by C-STORE" in table
    assert "htj2k-rpcl" in table
