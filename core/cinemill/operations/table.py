"""The operations, by name: the commands, and the kinds of jobs."""

from __future__ import annotations

from collections.abc import Mapping

from cinemill.operations.deidentify.request import Deidentify
from cinemill.operations.extract.request import Extract
from cinemill.operations.operation import Operation
from cinemill.operations.restore.request import Restore
from cinemill.operations.split.request import Split
from cinemill.operations.transcode.request import Transcode

OPERATIONS: Mapping[str, type[Operation]] = {
    each.kind: each for each in (Transcode, Deidentify, Restore, Extract, Split)
}
