"""The options of an operation are declared once: what the library and jobs have is what its dataclass says."""

from __future__ import annotations

import inspect
import json
import pickle
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import pytest

import cinemill
from cinemill.errors import UsageError
from cinemill.operations.extract.request import Extract
from cinemill.operations.operation import Control, looks_like_a_file, options_of
from cinemill.operations.receipt import Receipt
from cinemill.operations.split.request import Split
from cinemill.operations.table import OPERATIONS
from cinemill.operations.transcode.request import Transcode

ASKED = [
    Transcode("jpeg-ls", colour="keep", verify="sample", repair=True),
    Extract("png", frames=slice(None, None, 2), window=(40, 400), size=(640, 0), mode="display"),
    Extract(every="0.5s", region=1, into_directory=True),
    Split(frames_per_instance=7),
]


def declared(*declarations):
    found = []
    for declaration in declarations:
        if hasattr(declaration, "_fields"):
            types, defaults = declaration.__annotations__, declaration._field_defaults
            found += [(name, _written(types[name]), defaults[name]) for name in declaration._fields]
            continue
        found += [
            (each.name, each.type, inspect.Parameter.empty if each.default is MISSING else each.default)
            for each in fields(declaration)
        ]
    return found


def _written(annotation):
    return getattr(annotation, "__forward_arg__", annotation)


@pytest.mark.parametrize(
    ("function", "dataclasses"),
    [
        (cinemill.transcode, (Transcode, Control)),
        (cinemill.extract, (Extract, Control)),
        (cinemill.split, (Split,)),
    ],
    ids=["transcode", "extract", "split"],
)
def test_a_function_of_the_library_has_the_fields_of_its_operation(function, dataclasses):
    parameters = list(inspect.signature(function).parameters.values())[2:]
    assert {each.kind for each in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    assert [(each.name, each.annotation, each.default) for each in parameters] == declared(*dataclasses)


def test_a_function_of_the_library_hands_on_all_its_options(tmp_path, monkeypatch):
    from cinemill.operations.extract import extract as extract_body
    from cinemill.operations.transcode import transcode as transcode_body

    handed = []

    def run(request, _src, _dst, control):
        handed.append((request, control))
        return Receipt("", "", "skipped")

    for body in (transcode_body, extract_body):
        monkeypatch.setattr(body, "run", run)
    control = Control(3, lambda: False, lambda done, frames: None)
    every = Extract(
        "png", mode="display", voi=1, region=2, mask_outside_regions=True, scale=0.5,
        sidecar=True, keep_index=True, overwrite=True, into_directory=True, count=4,
    )  # fmt: skip
    for function, request in (
        (cinemill.transcode, Transcode("rle", "rgb", "none", overwrite=True, repair=True)),
        (cinemill.extract, every),
        (cinemill.extract, Extract(frames="1", window=(4, 5), size=(6, 7), crop_to_region=True)),
        (cinemill.extract, Extract(every=20.0)),
    ):
        more = control._asdict()
        function(tmp_path / "in", tmp_path / "out", **asdict(request), **more)
        assert handed.pop() == (request, control)


def test_operations_are_known_by_name_and_have_a_body():
    assert set(OPERATIONS) == {"transcode", "deidentify", "restore", "extract", "split"}
    for kind, operation in OPERATIONS.items():
        assert operation.kind == kind
        assert all(how.help or how.flags for _, how in options_of(operation).values())
        function = getattr(cinemill, kind)
        assert function.__module__ == operation.body


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.kind)
def test_options_travel_as_json_and_pickle(asked):
    assert type(asked)(**json.loads(json.dumps(asdict(asked)))) == asked
    assert pickle.loads(pickle.dumps(asked)) == asked


@pytest.mark.parametrize(("options", "words"), [({"colour": "pink"}, "pink"), ({"verify": "twice"}, "twice")])
def test_a_word_that_is_no_choice_is_refused_before_anything_is_read(tmp_path, options, words):
    with pytest.raises(UsageError, match=f"unknown .* '{words}'; choose one of"):
        cinemill.transcode(tmp_path / "missing", tmp_path / "out", to="rle", **options)


@pytest.mark.parametrize(
    ("given", "name"), [("jpg", "jpeg"), ("tif", "tiff"), ("dcm", "dicom"), ("j2k", "jpeg-2000")]
)
def test_a_format_is_known_by_the_suffix_of_its_files(given, name):
    assert Extract(given) == Extract(name)


def test_a_duration_in_words_has_a_unit():
    assert Extract(every=2) == Extract(every="2ms") == Extract(every="0.002 s")
    with pytest.raises(UsageError, match="--every 2 has no unit; write 2ms or 2s"):
        Extract(every="2")


@pytest.mark.parametrize("name", ["x.avi", "x.MOV", "clip.raw", "song.mp3", "clip.m4v"])
def test_what_looks_like_a_file_of_no_known_format_becomes_no_directory(tmp_path, name):
    for cine in (tmp_path / "missing", tmp_path):
        with pytest.raises(UsageError, match=r"no format for the suffix .*; known are \.png, \.jpg.*make it"):
            Extract().aimed_at([cine], tmp_path / name)
    with pytest.raises(UsageError, match="no format"):
        cinemill.extract(tmp_path / "missing", tmp_path / name)
    with pytest.raises(UsageError, match="get a directory"):
        Split(max_bytes=9).aimed_at([tmp_path], tmp_path / name)
    (tmp_path / name).mkdir()
    assert Extract().aimed_at([tmp_path], tmp_path / name) == Extract(into_directory=True)


@pytest.mark.parametrize("name", ["out", "2019.2", "1.2.840.10008", "set.v2", "a.frames", ".cache", "a."])
def test_what_may_be_a_directory_is_one(name):
    assert not looks_like_a_file(Path(name))
