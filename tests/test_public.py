"""What cinemill offers under its own name."""

from __future__ import annotations

import inspect
import io
import typing

import pydicom
import pytest

import cinemill
from cinemill.errors import UsageError
from cinemill.operations.dataset.request import MakeClips
from cinemill.operations.deidentify.keys import make_key
from cinemill.operations.deidentify.request import Deidentify
from cinemill.operations.extract.request import Extract
from cinemill.operations.operation import options_of
from cinemill.operations.restore.request import Restore
from cinemill.operations.split.request import Split
from cinemill.operations.transcode.request import Transcode
from tests.support.files import bundled


def test_the_public_names():
    names = [
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
    assert sorted(cinemill.__all__) == names
    assert set(names) <= set(dir(cinemill))


@pytest.mark.parametrize("name", sorted(set(cinemill.__all__) - {"__version__"}))
def test_a_public_name_is_there_and_described(name):
    assert getattr(cinemill, name).__doc__


@pytest.mark.parametrize("name", ["deidentify", "extract", "open", "restore", "split", "transcode"])
def test_the_types_of_a_public_function_can_be_looked_up(name):
    hints = typing.get_type_hints(getattr(cinemill, name))
    first = next(iter(hints.values()))
    assert {str, bytes, typing.BinaryIO} <= set(typing.get_args(first))


@pytest.mark.parametrize(
    ("call", "operation"),
    [
        ("extract", Extract),
        ("transcode", Transcode),
        ("split", Split),
        ("restore", Restore),
        ("deidentify", Deidentify),
        ("dataset", MakeClips),
    ],
)
def test_a_function_takes_the_options_of_its_operation(call, operation):
    """All that the command line has, by the same names, with the same types and defaults."""
    taken = inspect.signature(getattr(cinemill, call)).parameters
    for field, _ in options_of(operation).values():
        assert taken[field.name].annotation == field.type
        assert taken[field.name].default == field.default


def as_mypy_sees_them(file: io.BufferedReader, dataset: pydicom.Dataset) -> None:
    """Not run: mypy checks it, and that what it is told to ignore is wrong indeed."""
    cinemill.extract("a.dcm", "out", format="npy", colour="rgb", every="0.5s", window=(40, 400))
    cinemill.extract(b"", "out", window="auto", frames=slice(0, 9))
    cinemill.open(io.BytesIO())
    cinemill.transcode(dataset, "out.dcm", to="rle", verify="full")
    cinemill.split(file, "out", frames_per_instance=3)
    cinemill.extract("a.dcm", "out", colour="pink")  # type: ignore[arg-type]
    cinemill.extract("a.dcm", "out", window="whole")  # type: ignore[arg-type]
    cinemill.extract("a.dcm", "out", windows="auto")  # type: ignore[call-arg]
    cinemill.open(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "options"),
    [
        ("dataset", {}),
        ("deidentify", {"key": "../key"}),
        ("extract", {"format": "png"}),
        ("index", {}),
        ("restore", {}),
        ("split", {"frames_per_instance": 1}),
        ("transcode", {}),
    ],
)
def test_the_url_of_an_object_in_a_store_is_refused(call, options, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    make_key(tmp_path / "key")
    for source, output in ((bundled("CT_small.dcm"), "s3://bucket/out"), ("s3://bucket/a.dcm", "out")):
        with pytest.raises(UsageError, match="s3://bucket/.* is a URL"):
            getattr(cinemill, call)(source, output, **options)
    assert not list(here.iterdir())


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'decode_everything'"):
        _ = cinemill.decode_everything
