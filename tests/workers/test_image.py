"""The image is built with exact versions, which the package allows."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement

from tests.support.files import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def test_every_version_in_the_image_is_exact_and_allowed() -> None:
    lines = (REPOSITORY / "workers" / "constraints.txt").read_text().splitlines()
    locked = [Requirement(line) for line in lines if not line.startswith("#")]
    versions = {each.name: str(each.specifier).removeprefix("==") for each in locked}
    assert all(re.fullmatch(r"[\w.]+", version) for version in versions.values())
    dockerfile = (REPOSITORY / "workers" / "Dockerfile").read_text()
    assert "--constraint workers/constraints.txt" in dockerfile
    extras = re.search(r'"\.\[([^]]*)\]"', dockerfile)
    assert extras is not None
    wanted = [*PROJECT["dependencies"]]
    for extra in extras[1].split(","):
        wanted += PROJECT["optional-dependencies"][extra]
    for each in map(Requirement, wanted):
        assert each.specifier.contains(versions[each.name]), each
