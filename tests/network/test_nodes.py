"""The nodes file: what is wrong in it is said by its key, with what was expected."""

from __future__ import annotations

import re

import pytest

from cinemill.errors import UsageError
from cinemill.network.nodes import Limits, node_named, nodes_file, read_nodes
from cinemill.network.outcomes import OUTCOMES
from cinemill.network.pace import Window
from tests.support.files import REPOSITORY

WHOLE = """
[node.pacs]
pull = "move"
readable-by = "orthanc"
[node.pacs.dimse]
host = "pacs.example.org"
port = 11112
called-aet = "PACS"
calling-aet = "MILL"
listen = 11113
timeout = 60
tls = { authority = "ca.pem", certificate = "/etc/mill.pem", key = "/etc/mill.key", check-host = false }
[node.pacs.web]
url = "https://pacs.example.org/dicom-web/"
user = "mill"
secret-file = "secret"
[node.pacs.limits]
associations = 4
rate = 50
window = "20:00-06:00"
answers = 500
"""
DIMSE = '[node.pacs.dimse]\nhost = "h"\nport = 104\ncalled-aet = "P"\n'
WEB = '[node.pacs.web]\nurl = "https://h/dicom-web"\n'


def read(tmp_path, text):
    path = tmp_path / "nodes.toml"
    path.write_text(text)
    return read_nodes(path)


def test_an_entry_is_read_with_all_it_has(tmp_path):
    node = read(tmp_path, WHOLE)["pacs"]
    way, web = node.by_dimse, node.by_web
    assert (way.host, way.port, way.called, way.calling, way.listen, way.timeout) == (
        "pacs.example.org",
        11112,
        "PACS",
        "MILL",
        11113,
        60.0,
    )
    assert way.tls is not None
    assert (way.tls.authority, way.tls.check_host) == (tmp_path / "ca.pem", False)
    assert (web.url, web.user, web.secret_file) == (
        "https://pacs.example.org/dicom-web",
        "mill",
        tmp_path / "secret",
    )
    assert node.limits == Limits(4, 50.0, Window.parse("20:00-06:00"), 500)
    assert (node.pull, node.push, node.readable_by) == ("move", "dimse", "orthanc")


def test_the_least_entry_has_defaults(tmp_path):
    node = read(tmp_path, DIMSE)["pacs"]
    assert (node.pull, node.by_dimse.calling, node.limits.associations) == ("get", "CINEMILL", 1)
    assert read(tmp_path, WEB)["pacs"].pull == "web"
    with pytest.raises(UsageError, match=r"\[node.pacs.web\]; add it"):
        _ = node.by_web


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            DIMSE.replace("104", "0"),
            r"\[node.pacs.dimse\] port: expected a whole number from 1 to 65535, found 0",
        ),
        (DIMSE.replace("104", '"104"'), "port: expected a whole number from 1 to 65535, found '104'"),
        (DIMSE.replace('"P"', f'"{"P" * 17}"'), "called-aet: expected an AE title"),
        (
            DIMSE.replace("called-aet", "caled-aet"),
            "called-aet: expected a text, found nothing, but 'caled-aet'",
        ),
        (DIMSE.replace("called-aet", "calling-aet"), "called-aet: expected a text, found nothing$"),
        (DIMSE + 'calling = "X"\n', "unknown key 'calling'; did you mean calling-aet?"),
        (DIMSE.replace('host = "h"', 'host = ""'), "host: expected a text, found ''"),
        (DIMSE + '[node.pacs]\npull = "push"\n', "pull: expected one of get, move, web, found 'push'"),
        (DIMSE + '[node.pacs]\npull = "web"\n', r"add \[node.pacs.web\]"),
        (DIMSE + '[node.pacs]\npull = "move"\n', "dimse.listen: expected the port"),
        (
            DIMSE + "[node.pacs.limits]\nassociations = 0\n",
            "associations: expected a whole number from 1 to 64",
        ),
        (DIMSE + '[node.pacs.limits]\nwindow = "8-9"\n', "window: expected a span of the day"),
        (DIMSE + "[node.pacs.limits]\nrate = -1\n", "rate: expected a number above 0, found -1"),
        (DIMSE + '[node.pacs.dimse.tls]\nauthority = "a"\nkey = "k"\n', "certificate: expected a file"),
        (WEB.replace("https", "ftp"), "url: expected an address such as"),
        (WEB.replace("https://", "https://me:pw@"), "url: expected an address without user and password"),
        (WEB + 'password = "me"\n', "there are url, user, secret-variable, secret-file, authority, timeout"),
        (WEB + 'user = "me"\n', "secret-file: expected a file, or secret-variable"),
        ("[node.pacs]\n", "expected a table dimse or a table web"),
        ("[nodes.pacs]\n", "unknown key 'nodes'; did you mean node?"),
        ("node = 3\n", "node: expected a table, found 3"),
        ("", "no node is in it"),
        ("[node", "is no TOML"),
        pytest.param(f"node = {'[' * 100_000}", "is no TOML", id="too deep"),
    ],
)
def test_what_is_wrong_is_said_by_its_key(tmp_path, text, expected):
    with pytest.raises(UsageError, match=expected) as raised:
        read(tmp_path, text)
    assert raised.value.path == tmp_path / "nodes.toml"
    assert "pw" not in str(raised.value).replace(str(tmp_path), "")


def test_a_name_that_no_node_has_is_told_with_the_nearest(tmp_path, monkeypatch):
    (tmp_path / "nodes.toml").write_text(DIMSE)
    monkeypatch.setenv("CINEMILL_NODES", str(tmp_path / "nodes.toml"))
    assert nodes_file() == tmp_path / "nodes.toml"
    with pytest.raises(UsageError, match="did you mean pacs"):
        node_named("pasc")
    monkeypatch.setenv("CINEMILL_NODES", str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="there is no nodes file"):
        node_named("pacs")


def test_the_example_in_the_message_that_there_is_no_nodes_file_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("CINEMILL_NODES", str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match=r"e\.g\. ") as raised:
        node_named("pacs")
    node = read(tmp_path, raised.value.message.partition("e.g. ")[2])["pacs"]
    assert (node.pull, node.by_dimse.called) == ("get", "PACS")


def test_a_secret_that_is_not_there_is_said_without_it(tmp_path, monkeypatch):
    node = read(tmp_path, WEB + 'secret-variable = "MILL_TOKEN"\n')["pacs"]
    monkeypatch.delenv("MILL_TOKEN", raising=False)
    with pytest.raises(UsageError, match="MILL_TOKEN is not set"):
        node.by_web.authorization()


def test_the_example_of_the_documentation_is_an_entry(tmp_path):
    text = (REPOSITORY / "docs" / "NETWORK.md").read_text()
    (example,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    node = read(tmp_path, example)["pacs"]
    assert (node.pull, node.by_dimse.listen, node.limits.answers) == ("move", 11112, 500)


def test_the_documentation_has_the_table_of_outcomes():
    text = (REPOSITORY / "docs" / "NETWORK.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \| (yes)? ?\| (yes)? ?\|$", text, re.MULTILINE)
    told = [(name, meaning, bool(well), bool(again)) for name, meaning, well, again in rows]
    assert told == [(row.name, row.meaning, row.well, row.again) for row in OUTCOMES.values()]
