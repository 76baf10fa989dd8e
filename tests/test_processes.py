"""Processes that are started import nothing from the working directory, and find what a user's script imports."""

import multiprocessing
import os
import pwd
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cinemill import processes
from cinemill.kernels.machine.cache import cache_parent
from cinemill.network.nodes import nodes_file
from cinemill_workers.settings import Settings
from tests.support.files import REPOSITORY, bundled

PATHS = os.pathsep.join(str(REPOSITORY / base) for base in ("core", "workers"))
NOT_OURS = (
    "numpy",
    "numba",
    "pydicom",
    "imagecodecs",
    "xxhash",
    "sitecustomize",
    "usercustomize",
    "cinemill",
)


@pytest.fixture
def trap(tmp_path):
    """A directory whose modules have the names of all that could be imported, and say so when one is."""
    place = tmp_path / "here"
    place.mkdir()
    for name in (*sys.stdlib_module_names, *NOT_OURS):
        (place / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write(' {name}')\n")
    return place


@pytest.fixture
def command(tmp_path):
    """The command as an entry point of a virtual environment starts it: a script in a directory of its own."""
    script = tmp_path / "bin" / "cinemill"
    script.parent.mkdir()
    script.write_text("from cinemill_workers.cli.main import main\nif __name__ == '__main__':\n    main()\n")
    return [sys.executable, str(script)]


@pytest.mark.parametrize(
    "arguments",
    [("transcode", "in", "out", "--to", "rle"), ("extract", "in", "out", "--format", "npy")],
    ids=["transcode", "extract"],
)
def test_children_execute_nothing_of_the_working_directory(trap, command, tmp_path, arguments):
    (trap / "in").mkdir()
    for name in ("a.dcm", "b.dcm"):
        (trap / "in" / name).write_bytes(bundled("CT_small.dcm").read_bytes())
    done = subprocess.run(
        [*command, *arguments, "--jobs", "2"],
        cwd=trap,
        env={**os.environ, "PYTHONPATH": PATHS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not (tmp_path / "executed").exists(), (tmp_path / "executed").read_text()
    assert done.returncode == 0, done.stderr
    assert len(list((trap / "out").iterdir())) == 2


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_script_s_own_modules_are_found_by_its_children(tmp_path, method):
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
        from dataclasses import dataclass
        from cinemill.operations.transcode.request import Transcode

        @dataclass(frozen=True, kw_only=True)
        class Named(Transcode):
            def apply(self, src, dst, control):
                return super().apply(src, dst.with_suffix(".mine"), control)
        """)
    )
    (tmp_path / "script.py").write_text(
        textwrap.dedent(f"""
        import multiprocessing, sys
        from pathlib import Path
        from cinemill import batch
        from cinemill.storage.tree import Item
        from mine import Named

        if __name__ == "__main__":
            batch._context = lambda: multiprocessing.get_context({method!r})
            items = [Item(Path(sys.argv[1]), Path(f"out{{number}}.dcm")) for number in range(2)]
            print([receipt.error for receipt in batch.run_all(items, Named(to="rle"), jobs=2)])
        """)
    )
    source = bundled("CT_small.dcm")
    command = [sys.executable, "script.py", str(source)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PATHS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[None, None]\n", done.stderr
    assert len(list(tmp_path.glob("*.mine"))) == 2


def test_this_process_s_environment_is_as_before(monkeypatch):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setenv("PYTHONPATH", ":/elsewhere:")
    before = dict(os.environ)
    with processes.safe_path():
        assert os.environ["PYTHONSAFEPATH"] == "1"
        assert os.environ["PYTHONPATH"] == "/elsewhere"
    assert dict(os.environ) == before


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_what_is_started_is_deaf_to_ctrl_c_while_it_imports(tmp_path, method):
    asks = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)\n"
    (tmp_path / "asks.py").write_text(asks)
    (tmp_path / "script.py").write_text(
        textwrap.dedent(f"""
        import multiprocessing, signal
        from cinemill import processes
        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            context.set_forkserver_preload(["asks"])
            process = context.Process(target=exec, args=("import asks",))
            processes.start(process)
            process.join()
            print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
        """)
    )
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([PATHS, str(tmp_path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_a_killed_server_of_processes_is_no_end_of_input():
    class Process(multiprocessing.Process):
        def start(self):
            raise EOFError

    with pytest.raises(ChildProcessError, match="killed"):
        processes.start(Process())


@pytest.mark.parametrize("folder", ["x" * 100, None], ids=["long", "none"])
def test_any_temporary_directory_will_do(tmp_path, folder):
    if folder is None:
        code = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/nonexistent']"
        (tmp_path / "sitecustomize.py").write_text(code)
    else:
        (tmp_path / folder).mkdir()
    (tmp_path / "in").mkdir()
    for name in "ab":
        shutil.copy(bundled("CT_small.dcm"), tmp_path / "in" / name)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "cinemill_workers.cli",
            "transcode",
            "in",
            "out",
            "--to",
            "rle",
            "--overwrite",
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([PATHS, str(tmp_path)]),
            "TMPDIR": str(tmp_path / (folder or "")),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, sorted(os.listdir(tmp_path / "out"))) == (0, ["a", "b"]), done.stderr


def test_a_process_that_collects_seldom_collects_all_the_same():
    code = """
    import gc, weakref
    from cinemill.processes import collect_seldom
    class Circle: pass
    def circle():
        made = Circle()
        made.itself = made
        return weakref.ref(made)
    before, usual = circle(), gc.get_threshold()[0]
    collect_seldom()
    circles = [circle() for _ in range(3 * gc.get_threshold()[0])]
    print(gc.get_threshold()[0] > 10 * usual, sum(each() is not None for each in circles) < len(circles) / 2)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": PATHS},
    )
    assert done.stdout.split() == ["True", "True"]


def test_a_user_of_whom_nothing_is_known_has_a_home(monkeypatch):
    """Containers run under any number, of which no list of users knows."""
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "CINEMILL_CACHE_DIR", "CINEMILL_NODES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert processes.expanded("~") == Path("/")
    assert cache_parent() == Path("/.cache/cinemill/kernels")
    assert nodes_file() == Path("/.config/cinemill/nodes.toml")
    assert Settings().state_dir == Path("/.local/state/cinemill")
    monkeypatch.setenv("CINEMILL_NODES", "~/nodes.toml")
    assert nodes_file() == Path("/nodes.toml")
