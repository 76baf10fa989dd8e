"""Kernels without numba: what they return, what they refuse, and what of a cache is believed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cinemill import warmup
from cinemill.cli import app
from cinemill.kernels import colour, palette, rle
from cinemill.kernels.jpeg_2000 import packets, wavelet
from cinemill.kernels.jpeg_ls import bitstream
from cinemill.kernels.machine import jit, library, processor
from cinemill.kernels.machine.link import Unlinkable, linked
from tests.support.files import bundled

CORE = Path(warmup.__file__).parents[1]

pytestmark = pytest.mark.skipif(not jit.without_numba(), reason="numba calls the kernels here")

RANDOM = np.random.default_rng(7)
PLANE = np.where(RANDOM.random((40, 61)) < 0.7, 0, RANDOM.integers(0, 256, (40, 61))).astype(np.uint8)
ROOM = np.zeros(9999, np.uint8)
PIXELS = RANDOM.integers(0, 256, 3 * 1001).astype(np.uint8)


def frozen(array):
    array.setflags(write=False)
    return array


CALLS: dict[str, Any] = {
    "a plane to RLE": lambda: (rle.pack, (frozen(PLANE.copy()), np.zeros(40 * 66 + 129, np.uint8))),
    "two byte planes": lambda: (rle.join_bytes, (PIXELS[:100], PIXELS[100:200], np.zeros(100, np.uint16))),
    "RGB to YBR": lambda: (colour._rgb_to_ybr_full, (PIXELS, np.zeros(PIXELS.size, np.uint8))),
    "an odd width": lambda: (colour._repeat_chrominance, (PIXELS[:264], 11, np.zeros(3 * 66, np.uint8))),
    "16 bits by plane": lambda: (
        colour._deinterleave,
        (PIXELS.astype(np.uint16), np.zeros(PIXELS.size, np.uint16)),
    ),
    "a palette": lambda: (
        palette._look_up,
        (PIXELS, RANDOM.integers(0, 9999, (256, 3)).astype(np.uint16), np.zeros(3 * 3003, np.uint16)),
    ),
    "levels of signed samples": lambda: (
        wavelet.shift_levels,
        (PIXELS, 128, 128, np.zeros((3, 1001), np.int32)),
    ),
    "a wavelet": lambda: (
        wavelet.analyse,
        (
            RANDOM.integers(-128, 128, (33, 47), np.int32),
            3,
            np.zeros((33, 47), np.int32),
            np.zeros((2, 26), np.int32),
            np.zeros((33, 47), np.int32),
        ),
    ),
    "packets, for which memory is allocated": lambda: (
        packets.write_packets,
        (
            np.array([[0, 1]]),
            np.array([[2, 2, 0, 9]]),
            np.array([3, 0, 9, 1]),
            np.array([0, 10, 10, 40]),
            np.array([10, 0, 30, 2]),
            PIXELS[:64],
            np.zeros(200, np.uint8),
        ),
    ),
    "addresses": lambda: (bitstream.stuff, (PIXELS.ctypes.data, 800, ROOM.ctypes.data)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_kernel_does_without_numba_what_it_does_with_it(name):
    kernel, arguments = CALLS[name]()
    again = [each.copy() if isinstance(each, np.ndarray) else each for each in arguments]
    returned = kernel(*arguments)
    assert kernel._called is not kernel._dispatcher, "it is numba that calls this kernel"
    assert returned == kernel._dispatcher(*again)
    for ours, numbas in zip(arguments, again, strict=True):
        np.testing.assert_array_equal(ours, numbas)


def test_no_kernel_needs_numba_to_be_called():
    warmup.load_all()
    parts = {part.name for kernel in jit.kernels.values() for part in jit._all_parts(kernel)}
    alone = [kernel for name, kernel in jit.kernels.items() if name not in parts and "cinemill." in name]
    assert len(alone) > 25
    assert [kernel.name for kernel in alone if not kernel._loaded()] == []


def test_a_warm_transcode_imports_neither_numba_nor_llvmlite(tmp_path):
    code = """
import sys
from cinemill.operations.transcode.request import Transcode
from cinemill.operations.operation import Control
from cinemill.batch import attempt
for target in sys.argv[2:]:
    operation = Transcode(to=target)
    from pathlib import Path
    source, folder = Path(sys.argv[1]), Path("out") / target
    (item,) = operation.discover([source], folder / "out.dcm")
    folder.mkdir(parents=True)
    receipt = attempt(item, operation, Control(1))
    assert receipt.error is None, receipt
    print(target, sorted({name.partition(".")[0] for name in sys.modules} & {"numba", "llvmlite"}))
"""
    targets = ["jpeg-ls", "rle", "jpeg-2000", "htj2k"]
    command = [sys.executable, "-c", code, str(bundled("examples_ybr_color.dcm")), *targets]
    for turn in ("cold", "warm"):
        (tmp_path / turn).mkdir()
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=tmp_path / turn,
            env={**os.environ, "PYTHONPATH": str(CORE)},
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{target} []" for target in targets]


@pytest.mark.parametrize(
    "arguments",
    [
        (PLANE.astype(np.int8), np.zeros(9999, np.uint8)),
        (PLANE.reshape(-1), np.zeros(9999, np.uint8)),
        (PLANE[:, :-1], np.zeros(9999, np.uint8)),
        (PLANE.T, np.zeros(9999, np.uint8)),
        (PLANE, frozen(np.zeros(9999, np.uint8))),
        (PLANE, np.zeros(2 * 9999, np.uint8)[::2]),
        (PLANE, np.zeros(9999, np.uint16)),
        (PLANE, b"bytes"),
        (PLANE, None),
        (PLANE,),
        (PLANE, np.zeros(9999, np.uint8), 1),
    ],
)
def test_arguments_of_other_types_are_refused(arguments):
    rle.pack(PLANE, np.zeros(9999, np.uint8))
    with pytest.raises(TypeError, match=r"rle\.pack"):
        rle.pack(*arguments)


@pytest.mark.parametrize("number", [1.5, None, "1", 1 << 63, -(1 << 63) - 1])
def test_numbers_of_other_types_are_refused(number):
    with pytest.raises(TypeError, match="unstuff"):
        bitstream.unstuff(PIXELS.ctypes.data, number, 0)


def test_samples_that_are_not_aligned_are_refused():
    unaligned = np.zeros(201, np.uint8)[1:].view(np.uint16)
    assert not unaligned.flags.aligned or unaligned.ctypes.data % 2 == 0
    if not unaligned.flags.aligned:
        with pytest.raises(TypeError, match="contiguous"):
            rle.split_bytes(unaligned, np.zeros(100, np.uint8), np.zeros(100, np.uint8))


MODULE = """
import sys
from typing import NamedTuple
import numpy as np
from cinemill.kernels.machine import jit, types
from cinemill.kernels.machine.types import float64, int64, uint8

jit.on_compile.append(lambda kernel: print("compiling", kernel, flush=True))


class Pair(NamedTuple):
    first: int
    second: int


@jit.jit("int64(int64[::1], int64)")
def quotient(numbers, place):
    if place < 0:
        raise ValueError("a place is not negative", 7)
    return numbers[place] // numbers[0]


@jit.jit(types.NamedUniTuple(int64, 2, Pair)(types.NamedUniTuple(int64, 2, Pair)))
def turned(pair):
    return Pair(pair.second, pair.first)


@jit.jit("float64(float64, boolean)")
def half(number, really):
    return number / 2 if really else number


@jit.jit("uint8[::1](int64)")
def made(size):
    return np.zeros(size, np.uint8)


if __name__ != "__main__":
    print(eval(sys.argv[1]))
    print("numba" in sys.modules)
"""


def run(folder, expression):
    done = subprocess.run(
        [sys.executable, "-c", "import some_kernels", expression],
        env={
            **os.environ,
            "PYTHONPATH": f"{folder}{os.pathsep}{CORE}",
            "CINEMILL_CACHE_DIR": str(folder / "cache"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines(), done.stderr


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "some_kernels.py").write_text(MODULE)
    out, error = run(folder, "half(3, True)")
    assert out[-2:] == ["1.5", "True"], error
    return folder


@pytest.fixture
def said(compiled, tmp_path):
    shutil.copytree(compiled, tmp_path, dirs_exist_ok=True)
    return lambda expression: run(tmp_path, expression)


def test_tuples_numbers_exceptions_and_arrays_are_what_they_are_in_numba(said):
    every = (
        "turned(Pair(1, 2)), half(3, True), half(3, False), quotient(np.array([2, 9]), 1), made(2).tolist()"
    )
    for _ in range(2):
        out, error = said(every)
        assert out[-2:] == ["(Pair(first=2, second=1), 1.5, 3.0, 4, [0, 0])", "True"], error
    out, _ = said("turned(Pair(1, 2)), half(3, True), half(3, False), quotient(np.array([2, 9]), 1)")
    assert out == ["(Pair(first=2, second=1), 1.5, 3.0, 4)", "False"]
    for call, expected in (
        ("quotient(np.array([2, 9]), -1)", "ValueError: ('a place is not negative', 7)"),
        ("quotient(np.array([0, 9]), 1)", "ZeroDivisionError"),
        ("quotient(np.array([2, 9]), 1.5)", "TypeError: some_kernels.quotient"),
        ("turned((1, 2))", "TypeError: some_kernels.turned"),
    ):
        out, error = said(call)
        assert (out, expected in error) == ([], True), error


@pytest.mark.parametrize(
    "how", ["truncated", "one bit", "another kernel", "another version", "no permission"]
)
def test_what_is_not_this_kernel_is_never_called(said, tmp_path, how):
    (path,) = tmp_path.rglob("half.code")
    content = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "one bit":
        content[-20] ^= 4
        path.write_bytes(content)
    elif how == "another kernel":
        shutil.copy(path.with_name("turned.code"), path)
    elif how == "another version":
        body = re.sub(rb'"name": "([^"]*)"', rb'"name": "\1 older"', bytes(content[64:]), count=1)
        path.write_bytes(library._digest(body) + body)
    else:
        path.unlink()
        path.mkdir()
    for _ in range(2):
        out, error = said("half(3, True)")
        assert out[-2] == "1.5", error
    assert out == ["1.5", "True" if how == "no permission" else "False"]


def test_code_that_an_image_can_not_hold_is_refused():
    with pytest.raises(Unlinkable, match="not an object"):
        linked(b"\x7fELF\x01" + bytes(100), [], frozenset())


def test_the_best_kind_that_a_processor_is_of_is_taken_first():
    every = frozenset().union(*processor.KINDS.values())
    assert processor.Processor("x86_64", flags=every).kinds == list(processor.KINDS)
    assert processor.Processor("x86_64", flags=processor.KINDS["x86-64-v3"]).kinds == ["x86-64-v3"]
    assert processor.Processor("x86_64", flags=processor.KINDS["x86-64-v4"]).kinds == [
        "x86-64-v4",
        "x86-64-v3",
    ]
    assert processor.Processor("x86_64", flags=processor.KINDS["x86-64-v3"] - {"bmi2"}).kinds == []
    assert processor.Processor("aarch64", flags=every).kinds == []


def test_kernels_of_a_kind_of_processor_serve_where_there_are_no_others(said, tmp_path):
    if "x86-64-v3" not in processor.this().kinds:
        pytest.skip("this processor is older than x86-64-v3")
    (own,) = (tmp_path / "cache" / "kernels").iterdir()
    here = own.name.removesuffix(processor.this().key)
    own.rename(own.with_name(f"{here}x86-64-v3"))
    assert said("half(3, True)")[0] == ["1.5", "False"]
    assert [folder.name for folder in (tmp_path / "cache" / "kernels").iterdir()] == [f"{here}x86-64-v3"]
    own.with_name(f"{here}x86-64-v3").rename(own.with_name(f"{here}x86-64-v9"))
    assert said("half(3, True)")[0][0].startswith("compiling some_kernels.")


def test_code_for_another_kind_of_processor_has_its_instructions(tmp_path):
    code = """
import sys
from cinemill.kernels.machine import jit, processor
processor.compiled_for[:] = sys.argv[1:]
from cinemill.kernels import colour
colour._deinterleave.prepare()
"""
    sizes = {}
    for kind in ("x86-64-v3", "x86-64-v4"):
        subprocess.run(
            [sys.executable, "-c", code, kind],
            env={**os.environ, "PYTHONPATH": str(CORE), "CINEMILL_CACHE_DIR": str(tmp_path)},
            check=True,
        )
        (folder,) = (tmp_path / "kernels").glob(f"*-{kind}")
        (path,) = folder.rglob("_deinterleave.code")
        _, _, image = path.read_bytes()[64:].partition(b"\n")
        sizes[kind] = image.count(b"\x62")  # EVEX, what instructions of AVX-512 begin with
    assert sizes["x86-64-v4"] > 2 * sizes["x86-64-v3"]


@pytest.mark.parametrize("kinds", ["pentium", "x86-64-v3,pentium"])
def test_an_unknown_processor_is_refused_with_those_that_are_known(kinds, tmp_path):
    done = CliRunner().invoke(app, ["warmup", "--processor", kinds, "-o", str(tmp_path)])
    assert done.exit_code == 2 or getattr(done.exception, "exit_code", 0) == 2
    assert "no processor is known as pentium; known are znver5, znver4" in f"{done.output}{done.exception}"
    assert list(tmp_path.iterdir()) == []


def test_a_call_costs_little():
    kernel, arguments = rle.join_bytes, (PIXELS[:1], PIXELS[1:2], np.zeros(1, np.uint16))
    kernel(*arguments)
    import timeit

    call = min(timeit.repeat(lambda: kernel(*arguments), number=200, repeat=20))
    unit = min(timeit.repeat(lambda: json.dumps([1, 2, 3, "four", 5.5]), number=200, repeat=20))
    assert call < 12 * unit, f"a call takes {call / 200 * 1e6:.1f} us"
