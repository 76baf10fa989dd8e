"""A cine is transcoded in little memory, whatever its length, by the threads that a small machine has."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import imagecodecs
import numpy as np
import pytest

from tests.support.files import bundled
from tests.support.generate import (
    EXPLICIT,
    encapsulated_element,
    header,
    htj2k,
    jpeg,
    jpeg_2000,
    jpeg_lossless,
    native_bytes,
    native_element,
    part10,
)

BASELINE = "1.2.840.10008.1.2.4.50"
CODED: dict[str, tuple[str, Callable[..., bytes | bytearray]]] = {
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", imagecodecs.jpegls_encode),
    "JPEG 2000": ("1.2.840.10008.1.2.4.90", jpeg_2000),
    "HTJ2K": ("1.2.840.10008.1.2.4.201", htj2k),
    "JPEG Lossless": ("1.2.840.10008.1.2.4.70", partial(jpeg_lossless, bits=8)),
}
FRAMES = 64
MEGABYTES = 150

SCRIPT = """
import sys
from cinemill.cli import main
try: main()
finally:
    with open("/proc/self/status") as status:
        print(); print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def peak(*arguments):
    """Run a command whose kernels are compiled; return the peak of its memory in MB, mapped pages of files included."""
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        if "compiling" not in done.stderr:
            break
    return int(done.stdout.splitlines()[-1]) * 1024 / 1e6


@pytest.fixture(scope="module")
def cine():
    """Frames of 480 rows and 640 columns in colour: those of a small cine, each four times side by side."""
    import pydicom

    frames = pydicom.dcmread(bundled("examples_ybr_color.dcm")).pixel_array[:8]
    return np.tile(frames, (1, 2, 2, 1))


@pytest.fixture(scope="module", params=["native", "JPEG", *CODED])
def source(request, cine, tmp_path_factory):
    path = tmp_path_factory.mktemp("memory") / "source.dcm"
    many = np.broadcast_to(cine[None], (FRAMES // 8, *cine.shape)).reshape(-1, *cine.shape[1:])
    if request.param == "native":
        dataset = header(many, "RGB", samples=3)
        path.write_bytes(part10(dataset, native_element(native_bytes(many), EXPLICIT), EXPLICIT))
        return path
    syntax, encode = CODED.get(request.param, (BASELINE, jpeg))
    codestreams = [encode(frame) for frame in cine]
    fragments = [[codestreams[number % 8]] for number in range(FRAMES)]
    dataset = header(many, "RGB" if request.param in CODED else "YBR_FULL_422", samples=3)
    path.write_bytes(part10(dataset, encapsulated_element(fragments), syntax))
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("target", ["jpeg-ls", "jpeg-2000", "htj2k"])
def test_two_threads_transcode_a_cine_in_little_memory(source, target, tmp_path):
    assert peak("transcode", source, tmp_path / "out.dcm", "--to", target, "--jobs", "2") < MEGABYTES
