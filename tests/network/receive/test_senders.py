"""Instances sent by others: DCMTK, pynetdicom and Orthanc, as real processes or by their libraries."""

import json
import shutil
import ssl
import subprocess
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pydicom
import pynetdicom
import pytest
from pynetdicom import AE, AllStoragePresentationContexts, _config

from cinemill.network.classes import is_stored
from cinemill.network.receive.limits import Limits
from cinemill.network.receive.reports import Place
from cinemill.network.tls import Tls, server_context
from tests.support.files import bundled
from tests.support.harness import wait_until
from tests.support.ports import await_port, free_port
from tests.support.senders import (
    ACCEPT,
    CT,
    EXPLICIT,
    Client,
    data_set,
    dcmtk,
    instance,
    receiving,
)

SENT = ["CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "examples_ybr_color.dcm", "test-SR.dcm"]


def assert_sent(receiver, paths):
    """Every data set is there, byte for byte."""
    received = {file.stem: file.read_bytes() for file in receiver.files}
    for path in paths:
        uid = pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID
        assert data_set(received.pop(uid)) == data_set(Path(path).read_bytes())
    assert not received
    assert {outcome.what for outcome in receiver.outcomes} == {"stored"}


def test_every_storage_class_that_pynetdicom_knows_is_taken():
    assert all(is_stored(str(context.abstract_syntax)) for context in AllStoragePresentationContexts)
    others = (*pynetdicom.QueryRetrievePresentationContexts, *pynetdicom.VerificationPresentationContexts)
    assert not any(is_stored(str(context.abstract_syntax)) for context in others)


@contextmanager
def storescp(folder):
    """DCMTK's receiver, which writes what it reads."""
    folder.mkdir()
    port = free_port()
    command = [dcmtk("storescp"), "+B", "--promiscuous", "+xa", "-od", folder, str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            await_port(port, process)
            yield port
        finally:
            process.terminate()


@pytest.mark.tools
@pytest.mark.parametrize("size", [4096, 131072])
def test_what_dcmtk_sends_is_received_as_dcmtk_receives_it(tmp_path, size):
    paths = [bundled(name) for name in (*SENT, "rtdose.dcm")]
    with receiving(tmp_path / "ours") as receiver, storescp(tmp_path / "theirs") as port:
        subprocess.run([dcmtk("echoscu"), "localhost", str(receiver.port)], check=True)
        for each in (receiver.port, port):
            command = [
                dcmtk("dcmsend"),
                "--max-send-pdu",
                str(size),
                "localhost",
                str(each),
                *map(str, paths),
            ]
            subprocess.run(command, check=True)
        theirs = {
            pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID: data_set(file.read_bytes())
            for file in (tmp_path / "theirs").iterdir()
        }
        assert {file.stem: data_set(file.read_bytes()) for file in receiver.files} == theirs
        assert len(theirs) == len(paths)


@contextmanager
def associated(port, *contexts, **options):
    entity = AE(ae_title="SENDER")
    for abstract, *syntaxes in contexts:
        entity.add_requested_context(abstract, syntaxes)
    association = entity.associate("localhost", port, **options)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


@pytest.mark.parametrize("chunked", [True, False])
def test_pynetdicom_sends(tmp_path, monkeypatch, chunked):
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", chunked)
    paths = [bundled(name) for name in SENT]
    metas = [pydicom.dcmread(path, stop_before_pixels=True).file_meta for path in paths]
    contexts = [(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID) for meta in metas]
    with receiving(tmp_path) as receiver, associated(receiver.port, *dict.fromkeys(contexts)) as association:
        assert association.is_established
        for path in paths:
            assert association.send_c_store(path).Status == 0
        if chunked:
            assert_sent(receiver, paths)
        else:
            assert len(receiver.files) == len(paths)


def test_refusals_say_why(tmp_path):
    data = pydicom.dcmread(bundled("CT_small.dcm"))
    with receiving(tmp_path) as receiver, associated(receiver.port, (CT, EXPLICIT)) as association:
        assert association.send_c_store(data).Status == 0
        data.PixelData = bytes(len(data.PixelData))
        status = association.send_c_store(data)
        assert status.Status == 0x0111
        assert status.ErrorComment == "another instance of this UID is there, see --duplicates"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, and certificates of it and of a stranger's for both ends."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("tls")
    now = datetime.now(UTC)

    def issue(name, issuer=None):
        key = ec.generate_private_key(ec.SECP256R1())
        title = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        signer, signing_key = issuer or (title, key)
        certificate = (
            x509.CertificateBuilder(signer, title, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(signing_key, hashes.SHA256())
        )
        encoding = serialization.Encoding.PEM
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(encoding))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return title, key

    authority = issue("authority")
    for name in ("server", "client"):
        issue(name, authority)
    issue("stranger")
    return folder


def context(certificates, name):
    tls = ssl.create_default_context(cafile=certificates / "authority.pem")
    if name:
        tls.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    return tls


def test_tls_is_spoken_with_peers_whose_certificates_are_known(tmp_path, certificates):
    server = server_context(
        Tls(*(certificates / name for name in ("authority.pem", "server.pem", "server.key")))
    )
    uid, sent = instance(side=200)
    with receiving(tmp_path, tls=server) as receiver:
        for name, kind in (("client", ACCEPT), ("stranger", 0), (None, 0), ("client", ACCEPT)):
            with Client(receiver.port, context(certificates, name)) as client:
                assert client.associate((CT, EXPLICIT))[0] == kind
                if kind:
                    assert client.store(CT, uid, sent) == 0
        with Client(receiver.port) as plain:
            assert plain.associate((CT, EXPLICIT))[0] != ACCEPT
        assert data_set(receiver.files[0].read_bytes()) == sent
        assert [outcome.what for outcome in receiver.outcomes] == ["stored", "duplicate"]


@pytest.fixture
def stalling(tmp_path, certificates):
    """Start a receiver, and two peers that do not end the handshake of TLS."""
    tls = server_context(Tls(None, certificates / "server.pem", certificates / "server.key"))

    @contextmanager
    def start(**limits):
        with (
            receiving(tmp_path, tls=tls, limits=Limits(**limits)) as receiver,
            Client(receiver.port) as silent,
            Client(receiver.port) as half,
        ):
            with suppress(OSError):  # it may have been sent away already
                half.socket.sendall(bytes.fromhex("16030102000100"))
            yield receiver, silent, half

    return start


def test_who_stalls_in_the_handshake_of_tls_holds_nobody_up(stalling, certificates):
    uid, sent = instance()
    with (
        stalling(request_seconds=60) as (receiver, *_),
        Client(receiver.port, context(certificates, None)) as good,
    ):
        assert good.associate((CT, EXPLICIT))[0] == ACCEPT
        assert good.store(CT, uid, sent) == 0


def test_who_stalls_in_the_handshake_of_tls_is_sent_away(stalling):
    with stalling(request_seconds=0.3) as (_, silent, half):
        assert silent.read()[0] == half.read()[0] == 0


def request(port, method, path, body=b""):
    asked = urllib.request.Request(f"http://localhost:{port}{path}", data=body or None, method=method)
    with urllib.request.urlopen(asked, timeout=120) as answer:
        return json.loads(answer.read() or b"null")


@contextmanager
def orthanc(folder, receiver_port, dicom_port):
    """Run an Orthanc that knows the receiver."""
    program = shutil.which("Orthanc")
    if program is None:
        pytest.skip("not installed: Orthanc")
    http = free_port()
    folder.mkdir()
    settings = {
        "Name": "sender",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": http,
        "DicomPort": dicom_port,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {
            "mill": {
                "AET": "CINEMILL",
                "Host": "localhost",
                "Port": receiver_port,
                "AllowStorageCommitment": True,
            }
        },
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, folder / "orthanc.json"], stdout=log, stderr=log, text=True)
    try:
        await_port(http, process)
        yield http
    finally:
        process.terminate()
        process.wait(120)


@pytest.mark.tools
def test_orthanc_sends_and_hears_that_its_instances_are_kept(tmp_path):
    paths = [bundled(name) for name in ("CT_small.dcm", "JPEG2000.dcm", "examples_ybr_color.dcm")]
    dicom_port = free_port()
    places = {"ORTHANC": Place("localhost", dicom_port)}
    with (
        receiving(tmp_path / "in", places=places) as receiver,
        orthanc(tmp_path / "o", receiver.port, dicom_port) as http,
    ):
        ids = [request(http, "POST", "/instances", Path(path).read_bytes())["ID"] for path in paths]
        sent = json.dumps({"Resources": ids, "StorageCommitment": True}).encode()
        done = request(http, "POST", "/modalities/mill/store", sent)
        assert done["FailedInstancesCount"] == 0
        transaction = done["StorageCommitmentTransactionUID"]
        where = f"/storage-commitment/{transaction}"
        wait_until(lambda: request(http, "GET", where)["Status"] != "Pending")
        report = request(http, "GET", where)
        assert report["Status"] == "Success"
        assert len(report["Success"]) == len(paths)
        received = {file.stem: pydicom.dcmread(file) for file in receiver.files}
        for path in paths:  # Orthanc encodes data sets anew
            ours, theirs = received.pop(pydicom.dcmread(path).SOPInstanceUID), pydicom.dcmread(path)
            assert ours.PixelData == theirs.PixelData
            assert ours.file_meta.TransferSyntaxUID == theirs.file_meta.TransferSyntaxUID
        assert not received
