"""Claims, and the moment at which work must stop."""

from __future__ import annotations

from harness import wait_until

from cinemill_workers.engine import lease


def test_a_shutdown_gives_running_work_its_time() -> None:
    shutdown = lease.Shutdown()
    assert not shutdown.announced
    shutdown.announce(0.1)
    assert shutdown.announced
    assert not shutdown.due
    wait_until(lambda: shutdown.due, seconds=5)
