"""A server of a tree, started as a user starts it, and what a client asks of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path
from typing import Any, NamedTuple


class Got(NamedTuple):
    code: int
    fields: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def parts(self) -> list[tuple[str, bytes]]:
        """Content-Type and bytes of each part."""
        boundary = re.search(r"boundary=(\w+)", self.fields["content-type"])
        assert boundary is not None
        delimiter = b"--" + boundary[1].encode()
        assert self.body.endswith(delimiter + b"--\r\n")
        found = []
        for part in self.body.removesuffix(b"--\r\n").split(delimiter)[1:-1]:
            head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            fields = BytesParser().parsebytes(head)
            found.append((fields["content-type"], content.removesuffix(b"\r\n")))
        return found


@dataclass
class WebOrigin:
    process: subprocess.Popen[str]
    address: str
    complaints: str = ""
    """What it said on standard error, once it has ended."""

    @property
    def service(self) -> str:
        return f"{self.address}/dicom-web"

    def get(self, path: str, accept: str = "", method: str = "GET", **fields: str) -> Got:
        headers = {**fields, **({"Accept": accept} if accept else {})}
        request = urllib.request.Request(self.service + path, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return Got(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            return Got(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


@contextmanager
def web_origin(*arguments: str | Path) -> Iterator[WebOrigin]:
    command = [sys.executable, "-m", "cinemill_workers.cli", "serve", *map(str, arguments), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if found := re.match(r"(http://\S+?),", line):
                break
        else:
            assert process.stderr is not None
            raise AssertionError(told + process.stderr.read())
        origin = WebOrigin(process, found[1])
        try:
            yield origin
        finally:
            process.terminate()
            origin.complaints = process.communicate(timeout=30)[1]


def url_of(dataset: Any, depth: int = 3) -> str:
    """Address of an instance, or of its series or study, below the service."""
    uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    names = ("studies", "series", "instances")
    return "".join(f"/{name}/{uid}" for name, uid in list(zip(names, uids, strict=True))[:depth])
