"""Structured logs."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from cinemill_workers import logs


@pytest.mark.parametrize("quoted", ["DOE^JANE"])
def test_log_lines_are_json_and_hide_messages_of_errors(quoted: str) -> None:
    try:
        raise ValueError(quoted)
    except ValueError:
        record = logging.LogRecord("cinemill.items", logging.INFO, "", 0, "item", (), sys.exc_info())
    record.fields = {"job": "j", "item": 3}
    line = json.loads(logs.JsonLines().format(record))
    assert (line["job"], line["item"], line["error"]) == ("j", 3, "ValueError")
    assert "DOE" not in json.dumps(line)
