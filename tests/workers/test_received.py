"""What arrives from the network becomes work: a standing job watches the directory of a receiver, ours or DCMTK's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pydicom
import pytest

from tests.support.harness import Service, assert_exact, files_below, wait_until, write_instance
from tests.support.ports import await_port, free_port
from tests.support.senders import dcmtk, receiving

pytestmark = [pytest.mark.service, pytest.mark.tools]


def test_instances_that_are_received_are_transcoded_by_a_standing_job(
    service: Service, tmp_path: Path
) -> None:
    paths = [tmp_path / "sent" / f"{number}.dcm" for number in range(8)]
    for number, path in enumerate(paths):
        write_instance(path, number)
    inbox, output, theirs = tmp_path / "in", tmp_path / "out", free_port()
    (inbox / "dcmtk").mkdir(parents=True)
    job = service.submit(inbox, output, standing=True)
    service.start_worker(CINEMILL_WALK_SECONDS="0.5")
    storescp = [dcmtk("storescp"), "+B", "-od", str(inbox / "dcmtk"), str(theirs)]
    with (
        receiving(inbox) as receiver,
        subprocess.Popen(storescp, stderr=subprocess.PIPE, text=True) as process,
    ):
        await_port(theirs, process)
        for port, sent in ((receiver.port, paths[:4]), (theirs, paths[4:])):
            subprocess.run([dcmtk("dcmsend"), "localhost", str(port), *map(str, sent)], check=True)
        wait_until(lambda: service.ledger.job(job).counts["done"] == len(paths))
        process.terminate()
    found = service.ledger.job(job)
    assert (found.state, found.listed) == ("running", len(paths))
    received = {path for path in files_below(inbox) if ".cinemill" not in path.parts}
    assert len(received) == len(paths)
    for path in received:
        assert_exact(inbox / path, output / path)
    uids = {pydicom.dcmread(path).SOPInstanceUID for path in paths}
    assert {pydicom.dcmread(inbox / path).SOPInstanceUID for path in received} == uids
