"""Lossless transcoding and frame extraction for ultrasound cine archives (DICOM).

`open` gives the frames of a file as arrays; `extract` writes them as pictures, arrays or video. `transcode` writes a
file in another transfer syntax and verifies the result; `verify` proves such an output again at any later time;
`restore` gives back JPEGs that were recompressed as JPEG XL. `split` cuts a long cine into several instances.
`deidentify` removes identities. `inspect` reports what a file is and what is wrong with it; `index` lists an archive
in tables. `dataset` makes clips for training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cinemill._version import __version__

__all__ = [
    "Cine",
    "CinemillError",
    "Inspection",
    "Receipt",
    "__version__",
    "dataset",
    "deidentify",
    "extract",
    "index",
    "inspect",
    "open",
    "restore",
    "split",
    "transcode",
    "verify",
]

_HOMES = {
    "Cine": "cinemill.frames.cine",
    "CinemillError": "cinemill.errors",
    "Inspection": "cinemill.operations.inspect.model",
    "Receipt": "cinemill.operations.receipt",
    "dataset": "cinemill.operations.dataset.dataset",
    "deidentify": "cinemill.operations.deidentify.deidentify",
    "extract": "cinemill.operations.extract.extract",
    "index": "cinemill.operations.index.index",
    "inspect": "cinemill.operations.inspect.inspect",
    "open": "cinemill.frames.cine",
    "restore": "cinemill.operations.restore.restore",
    "split": "cinemill.operations.split.split",
    "transcode": "cinemill.operations.transcode.transcode",
    "verify": "cinemill.operations.verify.verify",
}

if TYPE_CHECKING:
    from cinemill.errors import CinemillError
    from cinemill.frames.cine import Cine, open  # noqa: A004
    from cinemill.operations.dataset.dataset import dataset
    from cinemill.operations.deidentify.deidentify import deidentify
    from cinemill.operations.extract.extract import extract
    from cinemill.operations.index.index import index
    from cinemill.operations.inspect.inspect import inspect
    from cinemill.operations.inspect.model import Inspection
    from cinemill.operations.receipt import Receipt
    from cinemill.operations.restore.restore import restore
    from cinemill.operations.split.split import split
    from cinemill.operations.transcode.transcode import transcode
    from cinemill.operations.verify.verify import verify


def __getattr__(name: str) -> Any:
    """Import on first use: numba and the codecs take longer to load than most commands to run."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
