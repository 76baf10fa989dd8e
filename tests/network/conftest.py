"""Nodes as real processes, one of each for a module."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import cache

import pytest

from tests.support.pacs import dcmqrscp, need_orthanc, orthanc, qrscp


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    need_orthanc()
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="module")
def other_archives(tmp_path_factory):
    """Start archives of DCMTK and pynetdicom, by name, when a test asks for one."""
    with ExitStack() as started:

        @cache
        def start(name):
            if name == "dcmqrscp":
                return started.enter_context(dcmqrscp(tmp_path_factory.mktemp(name)))
            if not os.environ.get("CI"):
                pytest.importorskip("sqlalchemy", reason="pynetdicom's qrscp keeps its instances by it")
            return started.enter_context(qrscp(tmp_path_factory.mktemp(name)))

        yield start
