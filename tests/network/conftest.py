"""Nodes as real processes, one of each for a module."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from functools import cache

import pytest

from tests.support.pacs import dcmqrscp, orthanc, qrscp


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
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


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """An authority, a certificate of it for this host and one for another, and one that nobody signed."""
    folder = tmp_path_factory.mktemp("tls")

    def run(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "rsa:2048", "-nodes")
    for name in ("authority", "stranger"):
        run("req", "-x509", *new, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    for name, host in (("here", "IP:127.0.0.1"), ("elsewhere", "DNS:elsewhere.example")):
        run("req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={host}\nauthorityKeyIdentifier=keyid\n")
        signed = (
            "-CA",
            "authority.pem",
            "-CAkey",
            "authority.key",
            "-CAcreateserial",
            "-extfile",
            f"{name}.ext",
        )
        run("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem")
    return folder
