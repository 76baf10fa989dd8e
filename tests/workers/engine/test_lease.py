"""Claims, and the moment at which work must stop."""

from __future__ import annotations

from cinemill_workers.engine import lease
from tests.support.harness import wait_until


def test_a_shutdown_gives_running_work_its_time() -> None:
    shutdown = lease.Shutdown()
    before = shutdown.announced
    shutdown.announce(600)
    assert (before, shutdown.announced, shutdown.due) == (False, True, False)
    shutdown.announce(0.1)
    wait_until(lambda: shutdown.due)
