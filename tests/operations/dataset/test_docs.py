"""What docs/DATASET.md says of data sets holds: loaders run, options and columns are all there."""

from __future__ import annotations

import re

import pytest

import cinemill
from cinemill.operations.dataset.manifest import COLUMNS
from cinemill.operations.dataset.request import MakeClips
from cinemill.operations.operation import options_of
from tests.operations.dataset.test_dataset import archive
from tests.support.files import REPOSITORY

TEXT = (REPOSITORY / "docs" / "DATASET.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("package", "form"), [("torch", "npz"), ("webdataset", "webdataset")])
def test_its_loader_reads_clips(tmp_path, monkeypatch, capsys, package, form):
    pytest.importorskip(package)
    cinemill.dataset(archive(tmp_path / "in", 4), tmp_path / "clips", format=form)
    (tmp_path / "clips" / "train").symlink_to(tmp_path / "clips" / "all")
    for shard in (tmp_path / "clips").glob("all-*.tar"):
        shard.with_name(shard.name.replace("all", "train")).symlink_to(shard)
    monkeypatch.chdir(tmp_path)
    (block,) = (block for block in BLOCKS if f"import {package}" in block)
    exec(block, {"__name__": "block"})
    printed = capsys.readouterr().out.splitlines()
    if package == "torch":
        assert printed == ["torch.Size([4, 3, 90, 224, 224])"]
    else:
        assert len(printed) == 4
        assert printed[0].startswith("(90, 224, 224, 3) ")


def test_all_columns_of_the_manifest_are_described():
    table = TEXT[TEXT.index("| column | what it says |") :]
    described = {
        name
        for line in table.splitlines()
        for name in re.findall(r"`(\w+)`", line.split("|")[1:2][0] if "|" in line else "")
    }
    assert set(COLUMNS) == described - {"column"}


def test_all_options_are_described():
    described = set(re.findall(r"`--([a-z-]+)", TEXT))
    assert {name.replace("_", "-") for name in options_of(MakeClips)} <= described
