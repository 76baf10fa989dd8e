"""A command starts at once: it imports what it needs, and nothing besides."""

import os
import subprocess
import sys

import pytest

from tests.support.files import bundled

GIVEN = ("numpy",)
"""Imported beforehand: what else they import is not asked."""

LIBRARIES = {"cinemill", "cinemill_workers", "click", "imagecodecs", "numpy", "xxhash"}
HEAVY = (
    "asyncio",
    "difflib",
    "email",
    "html",
    "http",
    "importlib.metadata",
    "multiprocessing",
    "pydoc",
    "ssl",
    "subprocess",
    "unittest",
    "xml",
    "zipfile",
)
"""Of the standard library."""

SPARED = (
    *(
        "bz2",
        "concurrent",
        "csv",
        "imagecodecs",
        "logging",
        "lzma",
        "pkgutil",
        "random",
        "shutil",
        "tempfile",
    ),
    *(
        "tomllib",
        "cinemill.operations.policy.read",
        "cinemill.operations.policy.match",
        "cinemill.operations.report",
    ),
)
"""What a still needs as little, whose target is named and which no second decoder is asked about."""

MEGABYTES = 85
"""Most that a command on a small file takes beyond what is given."""

SCRIPT = """
import sys
from importlib import import_module
for name in {given}: import_module(name)
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
given, before = set(sys.modules), peak()
from cinemill_workers.cli.main import main
try: main()
finally: print(); print(peak() - before, *sorted(set(sys.modules) - given))
"""


def imported(*arguments, given=GIVEN):
    """Run a command; return the modules that it imports, and how many MB it adds to the peak of memory."""
    script = SCRIPT.format(given=given)
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        if "compiling" not in done.stderr:
            break
    kilobytes, *modules = done.stdout.splitlines()[-1].split()
    return set(modules), int(kilobytes) / 1024


def heavy(modules):
    """Those that a plain command can do without."""
    roots = {name.partition(".")[0] for name in modules}
    foreign = {root for root in roots - LIBRARIES - set(GIVEN) if root not in sys.stdlib_module_names}
    foreign -= {root for root in foreign if root.startswith(("_", "cython"))}  # parts of compiled modules
    return sorted(foreign | {name for name in modules if name.startswith(HEAVY)})


COMMANDS = {
    "explicit VR": ("transcode", "CT_small.dcm", "out.dcm", "--to", "jpeg-ls"),
    "implicit VR": ("transcode", "MR_small_implicit.dcm", "out.dcm", "--to", "jpeg-2000"),
    "by the policy": ("transcode", "CT_small.dcm", "out.dcm"),
    "a cine in colour": ("transcode", "examples_ybr_color.dcm", "out.dcm", "--to", "rle"),
    "a frame in colour": ("extract", "examples_ybr_color.dcm", "out", "--frames", "3"),
    "a grey frame with a window": ("extract", "MR_small.dcm", "out.png"),
    "a grey frame with a rescale": ("extract", "CT_small.dcm", "out.png"),
    "a cine that is cut": ("split", "examples_ybr_color.dcm", "out", "--frames-per-instance", "20"),
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_command_on_one_file_imports_no_more_than_it_needs(tmp_path, words):
    command, source, output, *options = words
    modules, megabytes = imported(command, bundled(source), tmp_path / output, *options)
    assert heavy(modules) == []
    assert megabytes < MEGABYTES


@pytest.mark.parametrize("source", ["CT_small.dcm", "MR_small_implicit.dcm"])
def test_a_still_starts_no_threads_reads_no_policy_and_loads_no_second_decoder(tmp_path, source):
    modules, _ = imported("transcode", bundled(source), tmp_path / "out.dcm", "--to", "jpeg-ls")
    roots = {".".join(name.split(".")[:depth]) for name in modules for depth in range(1, 5)}
    assert sorted(roots & set(SPARED)) == []


def test_who_hands_out_the_files_of_a_tree_knows_no_pixels(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "still.dcm").write_bytes(bundled("CT_small.dcm").read_bytes())
    modules, _ = imported(
        "transcode", tmp_path / "in", tmp_path / "out", "--to", "rle", "-q", given=("click",)
    )
    assert (tmp_path / "out" / "still.dcm").exists()
    assert not [name for name in modules if name.startswith(("numpy", "imagecodecs", "cinemill.kernels"))]


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("transcode", "--help"), ("jobs", "--help")])
def test_what_only_prints_imports_the_command_line_only(words):
    modules, _ = imported(*words, given=("click",))
    assert heavy(modules) == []
    assert not [name for name in modules if name.startswith(("numpy", "imagecodecs", "xxhash"))]


def test_what_is_heavy_is_told():
    assert heavy({"pydicom.uid", "rich", "xml.dom", "re", "_cython_3_2", "cinemill.cli"}) == [
        "pydicom",
        "rich",
        "xml.dom",
    ]


def test_ctrl_c_is_told_in_a_line_while_the_program_itself_is_still_imported(tmp_path):
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, "-c", "from cinemill_workers.cli.main import main\nmain()"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "stopped\n")
