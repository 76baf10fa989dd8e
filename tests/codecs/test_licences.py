"""What is under the GPL gives second opinions only, and may be left out of what is passed on."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

import cinemill
from cinemill.codecs import table
from tests.support.files import bundled
from tests.support.generate import (
    JPEG_LOSSLESS_SV1,
    encapsulated_element,
    header,
    jpeg_lossless,
    noise,
    part10,
)

CORE = Path(cinemill.__file__).parent
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"libjpeg", "pylibjpeg"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
import importlib.util
whole = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "libjpeg" else whole(name, *rest)
import cinemill
for verify in ("full", "independent"):
    receipt = cinemill.transcode(sys.argv[1], sys.argv[2], to="jpeg-ls", verify=verify, overwrite=True)
    print(receipt.status, receipt.decoder)
print(sorted(name for name in sys.modules if "libjpeg" in name and not name.startswith("cinemill")))
"""


def lossless():
    frames = noise((2, 20, 30))
    element = encapsulated_element([[jpeg_lossless(frame, 8)] for frame in frames])
    return part10(header(frames), element, JPEG_LOSSLESS_SV1)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_one_module_calls_it():
    callers = {
        path.relative_to(CORE).as_posix()
        for path in CORE.rglob("*.py")
        if any(name.partition(".")[0] in {"libjpeg", "pylibjpeg"} for name in imports(path))
    }
    assert callers == {"codecs/jpeg/pylibjpeg.py"}


@pytest.mark.parametrize("coding", ["jpeg", "jpeg-lossless"])
def test_it_is_asked_for_second_opinions_only(coding):
    assert table.decoder(coding).name != "pylibjpeg-libjpeg"
    assert "pylibjpeg-libjpeg" in [codec.name for codec in table.second_opinions(coding)]
    names = {name for row in (*table._VERIFIERS.values(), *table._ARBITERS.values()) for name in row}
    assert not [name for name in (*names, *table._ENCODERS.values()) if "Pylibjpeg" in name]


@pytest.mark.parametrize("coding", ["jpeg", "jpeg-lossless"])
def test_everything_works_without_it(tmp_path, coding):
    source, output = tmp_path / "in.dcm", tmp_path / "out.dcm"
    source.write_bytes(bundled("examples_ybr_color.dcm").read_bytes() if coding == "jpeg" else lossless())
    command = [sys.executable, "-c", WITHOUT, str(source), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stdout.count("transcoded") == 2
    assert "pylibjpeg" not in done.stdout
    with cinemill.open(output) as cine, cinemill.open(source) as before:
        assert np.array_equal(cine[0], before.decode([0], cine.photometric_interpretation)[0])
    assert pydicom.dcmread(output).file_meta.TransferSyntaxUID.keyword == "JPEGLSLossless"
