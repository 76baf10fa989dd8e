"""Storage commitment, asked for by pynetdicom: kept instances are promised, and no others."""

import threading
from contextlib import contextmanager
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from cinemill.errors import UsageError
from cinemill.network.receive.reports import Place, places
from tests.support.files import bundled
from tests.support.generate import encode
from tests.support.senders import CT, EXPLICIT, IMPLICIT, Client, receiving, value

INSTANCE = "1.2.840.10008.1.20.1.1"


class Reports:
    """What was reported."""

    def __init__(self):
        self.answered = threading.Event()
        self.found: tuple[int, Dataset] | None = None

    @property
    def handlers(self) -> list[Any]:
        return [(evt.EVT_N_EVENT_REPORT, self.handle), (evt.EVT_PDU_SENT, self.sent)]

    def handle(self, event):
        self.found = event.event_type, event.event_information
        return 0, None

    def sent(self, event):
        """Note that the report was answered: pynetdicom dies of an answer on an association that is being released."""
        if self.found is not None and isinstance(event.pdu, P_DATA_TF):
            self.answered.set()

    def wait(self):
        assert self.answered.wait(60)
        assert self.found is not None
        kind, told = self.found
        kept = {each.ReferencedSOPInstanceUID for each in told.get("ReferencedSOPSequence", [])}
        failed = {
            each.ReferencedSOPInstanceUID: each.FailureReason for each in told.get("FailedSOPSequence", [])
        }
        return kind, told.TransactionUID, kept, failed


def request(*references):
    asked = Dataset()
    asked.TransactionUID = "1.2.3.99"
    asked.ReferencedSOPSequence = []
    for sop_class, uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        asked.ReferencedSOPSequence.append(item)
    return asked


@contextmanager
def associated(port, reports, syntax=EXPLICIT):
    entity = AE(ae_title="ASKS")
    entity.add_requested_context(StorageCommitmentPushModel, syntax)
    entity.add_requested_context(CT, EXPLICIT)
    association = entity.associate("localhost", port, evt_handlers=reports.handlers)
    assert association.is_established
    yield association
    association.release()


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_what_is_kept_is_promised_and_the_rest_is_not(tmp_path, syntax):
    data, reports = pydicom.dcmread(bundled("CT_small.dcm")), Reports()
    with receiving(tmp_path) as receiver, associated(receiver.port, reports, syntax) as association:
        assert association.send_c_store(data).Status == 0
        asked = request((CT, data.SOPInstanceUID), (CT, "1.2.3.4"))
        status, _ = association.send_n_action(asked, 1, StorageCommitmentPushModel, INSTANCE)
        assert status.Status == 0
        assert reports.wait() == (2, "1.2.3.99", {data.SOPInstanceUID}, {"1.2.3.4": 0x0112})


def test_of_another_class_or_damaged_it_is_not_promised(tmp_path):
    data = pydicom.dcmread(bundled("CT_small.dcm"))
    uid = data.SOPInstanceUID
    path = tmp_path / "study" / f"{uid}.dcm"
    path.parent.mkdir()
    data.save_as(path)
    with receiving(tmp_path) as receiver:
        for sop_class, cut, expected in (
            (CT, 0, (1, {uid}, {})),
            ("1.2.840.10008.5.1.4.1.1.4", 0, (2, set(), {uid: 0x0119})),
            (CT, 500, (2, set(), {uid: 0x0110})),
        ):
            path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])
            reports = Reports()
            with associated(receiver.port, reports) as association:
                association.send_n_action(request((sop_class, uid)), 1, StorageCommitmentPushModel, INSTANCE)
                kind, _, kept, failed = reports.wait()
            assert (kind, kept, failed) == expected


def test_a_report_comes_on_an_association_of_its_own_where_the_peer_is_known(tmp_path):
    reports, entity = Reports(), AE(ae_title="ASKS")
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    server = entity.start_server(("localhost", 0), block=False, evt_handlers=reports.handlers)
    assert server is not None
    assert server.socket is not None
    try:
        known = {"ASKS": Place("localhost", server.socket.getsockname()[1])}
        with receiving(tmp_path, places=known) as receiver:
            with associated(receiver.port, Reports()) as association:
                association.send_n_action(request((CT, "1.2.3")), 1, StorageCommitmentPushModel, INSTANCE)
            assert reports.wait() == (2, "1.2.3.99", set(), {"1.2.3": 0x0112})
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    ("asked", "action", "about", "status"),
    [
        (request(), 1, INSTANCE, 0x0115),
        (request((CT, "")), 1, INSTANCE, 0x0115),
        (None, 1, INSTANCE, 0x0115),
        (request((CT, "1.2")), 2, INSTANCE, 0x0123),
        (request((CT, "1.2")), 1, "1.2.3", 0x0112),
    ],
)
def test_what_is_no_request_is_refused(tmp_path, asked, action, about, status):
    sent = b"\xff" * 20 if asked is None else encode(asked, EXPLICIT)
    with receiving(tmp_path) as receiver, Client(receiver.port) as client:
        client.associate((StorageCommitmentPushModel, EXPLICIT))
        client.command(
            requested_class=StorageCommitmentPushModel,
            field=0x130,
            id=5,
            data=1,
            requested_instance=about,
            action=action,
        )
        client.pdu(4, value(1, sent, 2))
        assert client.status() == status


def test_places_are_read():
    assert places(("PACS=10.0.0.1:104", "SIX=[::1]:11112")) == {
        "PACS": Place("10.0.0.1", 104),
        "SIX": Place("::1", 11112),
    }
    for wrong in ("PACS", "PACS=host", "=host:1", "PACS=host:0", "PACS=:1"):
        with pytest.raises(UsageError, match="expected AET=HOST:PORT"):
            places((wrong,))
