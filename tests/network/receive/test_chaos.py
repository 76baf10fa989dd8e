"""Receiving while everything around fails: the receiver, its network and its disk."""

import pytest

from tests.support.senders import dcmtk


@pytest.mark.tools
def test_nothing_is_lost_when_the_receiver_its_network_and_its_disk_fail(tmp_path):
    dcmtk("storescu")
    from receive_chaos import run

    told = run(tmp_path, seed=31, instances=24, kills=2)
    assert told.kills
