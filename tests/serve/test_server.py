"""A tree that is served: searched and fetched by a client of others, compared with what others read from its files."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGLSLossless, generate_uid

import cinemill
from tests.cli.test_cli import cinemill as command
from tests.support.files import bundled
from tests.support.harness import wait_until, write_instance
from tests.support.ports import free_port
from tests.support.web_origin import url_of, web_origin

NAMES = (
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "examples_ybr_color.dcm",
    "examples_palette.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "JPEG2000.dcm",
    "liver_1frame.dcm",
    "image_dfl.dcm",
    "reportsi.dcm",
)
STORED = 'multipart/related; type="*/*"; transfer-syntax=*'
OCTETS = 'multipart/related; type="application/octet-stream"'
FILE = 'multipart/related; type="application/dicom"'
CINE = "examples_ybr_color.dcm"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    for name in NAMES:
        dataset = pydicom.dcmread(bundled(name))
        if name == "SC_rgb_rle_2frame.dcm":  # others of pydicom's have its UIDs
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.save_as(folder / name)
        else:
            shutil.copy(bundled(name), folder / name)
    return folder


@pytest.fixture(scope="module")
def origin(tree):
    with web_origin(tree) as server:
        yield server


def read(tree, name):
    return pydicom.dcmread(tree / name)


def test_a_client_of_others_finds_and_fetches_everything(origin, tree):
    client = DICOMwebClient(origin.service)
    studies = client.search_for_studies()
    instances = client.search_for_instances(fields=["all"])
    assert len(instances) == len(NAMES)
    assert len(studies) == len({each["0020000D"]["Value"][0] for each in instances})
    for told in instances:
        uids = [told[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")]
        (path,) = [path for path in tree.iterdir() if pydicom.dcmread(path).SOPInstanceUID == uids[2]]
        source = pydicom.dcmread(path)
        study, series, instance = uids
        found = client.retrieve_instance(study, series, instance, media_types=(("application/dicom", "*"),))
        assert found == source
        metadata = pydicom.Dataset.from_json(client.retrieve_instance_metadata(*uids), lambda *_: b"")
        assert metadata.SOPInstanceUID == uids[2]
        assert metadata.AvailableTransferSyntaxUID == source.file_meta.TransferSyntaxUID


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"reportsi.dcm", "image_dfl.dcm"}])
def test_frames_are_those_of_the_file(origin, tree, name):
    source = read(tree, name)
    count = int(source.get("NumberOfFrames", 1))
    numbers = ",".join(map(str, range(1, count + 1)))
    got = origin.get(f"{url_of(source)}/frames/{numbers}", STORED)
    assert got.code == 200
    syntax = source.file_meta.TransferSyntaxUID
    frames = [frame for _, frame in got.parts]
    if syntax.is_encapsulated:
        assert {kind.partition("transfer-syntax=")[2] for kind, _ in got.parts} == {syntax}
        assert frames == list(generate_frames(source.PixelData, number_of_frames=count))
    decoded = origin.get(f"{url_of(source)}/frames/{numbers}", OCTETS)
    assert {kind for kind, _ in decoded.parts} == {
        "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    }
    arrays = cinemill.open(tree / name)
    wanted = (
        arrays.decode(range(count), "RGB") if source.PhotometricInterpretation == "YBR_FULL_422" else arrays
    )
    for (_, frame), array in zip(decoded.parts, wanted, strict=True):
        if source.get("BitsAllocated") == 1:
            assert frame == np.packbits(array, axis=None, bitorder="little").tobytes()
        else:
            planar = source.get("PlanarConfiguration") == 1
            assert frame == np.ascontiguousarray(np.moveaxis(array, -1, 0) if planar else array).tobytes()


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "SC_rgb_rle_2frame.dcm", "MR_small_bigendian.dcm", "reportsi.dcm"]
)
@pytest.mark.parametrize(
    ("asked", "given"),
    [("", ExplicitVRLittleEndian), ("; transfer-syntax=1.2.840.10008.1.2.4.80", JPEGLSLossless)],
)
def test_files_come_in_the_transfer_syntax_that_is_asked_for(origin, tree, name, asked, given):
    source = read(tree, name)
    got = origin.get(url_of(source), FILE + asked)
    ((kind, file),) = got.parts
    assert kind == "application/dicom"
    output = pydicom.dcmread(pydicom.filebase.DicomBytesIO(file))
    assert output.SOPInstanceUID == source.SOPInstanceUID
    if name == "reportsi.dcm":
        assert file == (tree / name).read_bytes()
        return
    assert output.file_meta.TransferSyntaxUID == given
    pixels = output.pixel_array
    assert np.array_equal(pixels, source.pixel_array)


def test_a_series_is_fetched_as_a_whole(origin, tree):
    source = read(tree, CINE)
    got = origin.get(url_of(source, 2), f"{FILE}; transfer-syntax=*")
    assert [file for _, file in got.parts] == [(tree / CINE).read_bytes()]
    alone = origin.get(url_of(source), "application/dicom; transfer-syntax=*")
    assert alone.fields["content-type"] == "application/dicom"
    assert alone.body == (tree / CINE).read_bytes()
    second = f"{FILE}; transfer-syntax=1.2.840.10008.1.2.4.51, {FILE}; transfer-syntax=*;q=0.5"
    assert origin.get(url_of(source), second).parts[0][1] == (tree / CINE).read_bytes()


def test_pictures(origin, tree):
    source = read(tree, CINE)
    url = url_of(source)
    got = origin.get(f"{url}/frames/2/rendered", "image/png")
    with cinemill.open(tree / CINE) as cine:
        assert np.array_equal(imagecodecs.png_decode(got.body), cine.render(1))
    got = origin.get(f"{url}/frames/2/rendered?viewport=100,50", "image/jpeg")
    rows, columns = imagecodecs.jpeg8_decode(got.body).shape[:2]
    assert rows == 50
    assert columns < 100
    assert imagecodecs.jpeg8_decode(origin.get(f"{url}/thumbnail").body).shape[1] == 192
    assert origin.get(f"{url}/rendered").fields["content-type"] == "image/jpeg"
    assert origin.get(f"{url}/rendered", "image/gif").body[:6] == b"GIF89a"
    both = origin.get(f"{url}/frames/1,2/rendered", "image/png").parts
    assert [kind for kind, _ in both] == ["image/png"] * 2
    thumbnails = [origin.get(f"{url}/frames/{number}/thumbnail").body for number in (1, 30)]
    assert thumbnails[0] != thumbnails[1]
    grey = url_of(read(tree, "CT_small.dcm"))
    shapes = {
        origin.get(f"{grey}/rendered?window=40,400{shape}", "image/png").body
        for shape in ("", ",linear", ",linear-exact", ",sigmoid")
    }
    assert len(shapes) == 3
    assert origin.get(f"{grey}/rendered?window=40,400,sigmoid", "image/gif").code == 400
    wide, narrow = (
        imagecodecs.png_decode(origin.get(f"{grey}/rendered?window={window}", "image/png").body)
        for window in ("40,4000", "40,40")
    )
    assert wide.std() < narrow.std()


def test_the_thumbnail_of_a_study_is_that_of_an_image(tmp_path):
    image, report = pydicom.dcmread(bundled("CT_small.dcm")), pydicom.dcmread(bundled("reportsi.dcm"))
    report.StudyInstanceUID, report.InstanceNumber = image.StudyInstanceUID, 2
    image.save_as(tmp_path / "image.dcm")
    report.save_as(tmp_path / "report.dcm")
    with web_origin(tmp_path) as origin:
        got = origin.get(f"{url_of(image, 1)}/thumbnail")
        assert imagecodecs.jpeg8_decode(got.body).shape == (192, 192)
        assert origin.get(f"{url_of(report)}/thumbnail").code == 404


def test_large_values_have_an_address_of_their_own(tmp_path):
    dataset = pydicom.dcmread(bundled("CT_small.dcm"))
    block = dataset.private_block(0x0009, "LARGE", create=True)
    block.add_new(1, "OB", bytes(range(256)) * 8)
    block.add_new(2, "OB", b"\7" * (3 << 20))
    dataset.save_as(tmp_path / "large.dcm")
    with web_origin(tmp_path) as origin:
        (told,) = origin.get(f"{url_of(dataset)}/metadata").json
        for element, value in ((1, bytes(range(256)) * 8), (2, b"\7" * (3 << 20))):
            address = told[f"0009{block.get_tag(element).element:04X}"]["BulkDataURI"].removeprefix(
                origin.service
            )
            assert origin.get(address, "application/octet-stream").body == value
            assert origin.get(address, OCTETS).parts == [("application/octet-stream", value)]
        pixels = told["7FE00010"]["BulkDataURI"].removeprefix(origin.service)
        assert origin.get(pixels, OCTETS).parts[0][1] == dataset.PixelData
        assert origin.get(pixels, "application/octet-stream").body == dataset.PixelData


@pytest.mark.parametrize(
    ("path", "accept", "code", "said"),
    [
        ("/nothing", "", 404, "there is nothing at this address"),
        ("/studies/1.2.3", "", 404, "there is no study 1.2.3"),
        ("{study}/series/1.2.3/metadata", "", 404, "there is no series 1.2.3"),
        ("{instance}/frames/31", "", 404, "there is no frame 31; there are 30, counted from 1"),
        ("{instance}/frames/0", "", 404, "there is no frame 0; there are 30, counted from 1"),
        ("{instance}/frames/x", "", 404, "'x' names no frames"),
        ("{instance}/frames/1,,2", "", 404, "'1,,2' names no frames"),
        ("{instance}/bulkdata/00091001", "", 404, "there is no element '00091001'"),
        ("{instance}/bulkdata/..", "", 404, "there is no element '..'"),
        ("{instance}/bulkdata/../../../../..", "", 404, "there is nothing at this address"),
        ("{instance}/frames/1", "image/jls", 406, "or as they are coded, in 1.2.840.10008.1.2.4.50"),
        ("{instance}/rendered", "text/html", 406, "pictures are given as image/jpeg, image/png"),
        ("{instance}/metadata", "application/dicom+xml", 406, "metadata is given as application/dicom+json"),
        ("{instance}", "application/json", 406, "instances are given as application/dicom"),
        ("{instance}", f"{FILE}; transfer-syntax=1.2.840.10008.1.2.4.51", 406, "is read only"),
        ("/studies?Patient=x", "", 400, "'Patient' is no attribute"),
        ("/studies?limit=x", "", 400, "limit is 'x'"),
        ("/studies?offset=-1", "", 400, "offset is '-1'"),
        ("{instance}/rendered?window=x", "", 400, "window is 'x'; expected a centre and a width"),
        ("{instance}/rendered?window=1,0", "", 400, "expected a width of 1 or more"),
        ("{instance}/rendered?viewport=0,5", "", 400, "viewport is '0,5'"),
        ("{instance}/rendered?quality=101", "", 400, "quality is '101'"),
        ("{instance}/rendered?window=1,2", "", 406, "windows apply to MONOCHROME1 and MONOCHROME2"),
        ("{instance}/rendered?window=1,2,steep", "", 400, "expected one of linear, linear-exact, sigmoid"),
        (
            "{instance}/rendered?viewport=9,9,1,1,4,4",
            "",
            400,
            "a width and a height, such as 512,512, and no",
        ),
        ("{instance}/frames/31/thumbnail", "", 404, "there is no frame 31"),
        (f"/studies?{'&'.join(['PatientID=1'] * 5000)}", "", 400, "5000 attributes are compared"),
        ("{report}/rendered", "", 404, "there is no image in it"),
        ("{report}/frames/1", "", 404, "there is no image in it"),
    ],
)
def test_what_cannot_be_is_said(origin, tree, path, accept, code, said):
    cine, report = read(tree, CINE), read(tree, "reportsi.dcm")
    path = path.format(study=url_of(cine, 1), instance=url_of(cine), report=url_of(report))
    got = origin.get(path, accept)
    assert got.code == code
    assert said in got.text
    assert got.text.count("\n") == 1
    assert str(tree) not in got.text


def test_nothing_can_be_changed(origin):
    for method in ("POST", "PUT", "DELETE"):
        got = origin.get("/studies", method=method)
        assert (got.code, got.text) == (405, "only GET is answered: nothing here can be changed\n")


def test_searches(origin, tree):
    cine = read(tree, CINE)
    (told,) = origin.get(f"/studies?StudyInstanceUID={cine.StudyInstanceUID}").json
    assert told["00081190"]["Value"] == [origin.service + url_of(cine, 1)]
    assert told["00201208"]["Value"] == [1]
    assert told["00100020"] == ({"vr": "LO", "Value": [cine.PatientID]} if cine.PatientID else {"vr": "LO"})
    assert origin.get("/studies?StudyDescription=*&limit=1").fields["warning"] == (
        '299 cinemill "There are additional results that can be requested"'
    )
    for name in ("fuzzymatching", "emptyvaluematching", "multiplevaluematching"):
        assert name in origin.get(f"/studies?{name}=true").fields["warning"]
        assert "warning" not in origin.get(f"/studies?{name}=false").fields
    assert origin.get("/studies?accept=application/dicom+json&includefield=").code == 200
    pages = [origin.get(f"/instances?limit=3&offset={offset}").json for offset in range(0, 12, 3)]
    uids = [each["00080018"]["Value"][0] for page in pages for each in page]
    assert len(uids) == len(set(uids)) == len(NAMES)
    report = read(tree, "reportsi.dcm")
    (told,) = origin.get("/instances?ConceptNameCodeSequence.CodeMeaning=*&00080060=SR").json
    assert told["00080018"]["Value"] == [report.SOPInstanceUID]
    assert told["0040A043"]["vr"] == "SQ"
    assert told["00201209"]["Value"] == [1]
    assert origin.get("/studies?StudyTime=0000-&ModalitiesInStudy=SR&StudyID=nowhere").json == []
    assert origin.get("/studies?PatientName=nobody").json == []


def test_a_page_for_browsers(origin):
    import urllib.request

    with urllib.request.urlopen(origin.address + "/") as answer:
        body = answer.read().decode()
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
    assert 'const SERVICE = "/dicom-web"' in body


def test_only_this_machine_s_names_are_known(origin):
    port = origin.address.rpartition(":")[2]
    assert origin.get("/studies", Host=f"localhost:{port}").code == 200
    assert origin.get("/studies", Host=f"evil.example:{port}").code == 400
    assert "access-control-allow-origin" not in origin.get("/studies", Origin="http://x.example").fields


def test_a_viewer_elsewhere_may_ask_where_it_is_allowed_to(tree):
    with web_origin(tree, "--allow-origin", "http://viewer.example") as origin:
        got = origin.get("/studies", Origin="http://viewer.example")
        assert got.fields["access-control-allow-origin"] == "http://viewer.example"
        assert "access-control-allow-origin" not in origin.get("/studies", Origin="http://x.example").fields


def test_a_damaged_frame_is_named_and_breaks_off_what_has_begun(tmp_path):
    dataset = pydicom.dcmread(bundled(CINE))
    frames = list(generate_frames(dataset.PixelData, number_of_frames=30))
    frames[20] = frames[20][:600] + b"\xff\xd9"
    dataset.PixelData = pydicom.encaps.encapsulate(frames)
    dataset.save_as(tmp_path / "damaged.dcm")
    with web_origin(tmp_path) as origin:
        got = origin.get(f"{url_of(dataset)}/frames/21", OCTETS)
        assert got.code == 500
        assert got.text.startswith("frame 21: ")
        assert str(tmp_path) not in got.text
        assert origin.get(f"{url_of(dataset)}/frames/20", OCTETS).code == 200
        with pytest.raises(Exception, match="IncompleteRead|Remote end closed"):
            origin.get(f"{url_of(dataset)}/frames/20,21", OCTETS)
        assert origin.get(url_of(dataset), FILE).code == 500
        assert origin.get(url_of(dataset), f"{FILE}; transfer-syntax=*").code == 200
    assert "Traceback" not in origin.complaints


def test_a_file_that_is_another_one_now_is_not_given_in_its_place(tmp_path):
    path = tmp_path / "tree" / "a.dcm"
    write_instance(path, 1)
    first = pydicom.dcmread(path)
    with web_origin(path.parent) as origin:
        assert origin.get(f"{url_of(first)}/frames/1").code == 200
        write_instance(path, 2)
        second = pydicom.dcmread(path)
        for below in ("", "/metadata", "/frames/1", "/rendered"):
            got = origin.get(url_of(first) + below)
            assert got.code == 404
            assert "is not where it was" in got.text
        wait_until(lambda: origin.get(url_of(second)).code == 200, seconds=60)
        assert "there is no instance" in origin.get(url_of(first)).text
        path.unlink()
        assert origin.get(url_of(second)).code == 404


def members(process):
    """The processes that answer: children of the one that starts them."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [
        each
        for child in children
        for each in Path(f"/proc/{child}/task/{child}/children").read_text().split()
    ]


def test_a_process_that_dies_is_replaced(tree):
    with web_origin(tree, "--jobs", "2") as origin:
        first = members(origin.process.pid)
        os.kill(int(first[0]), signal.SIGKILL)
        wait_until(lambda: len({*members(origin.process.pid)} - {*first}) == 1)
        assert origin.get("/studies").code == 200
    assert "another one takes its place" in origin.complaints


def test_many_that_die_are_replaced(tree):
    with web_origin(tree, "--jobs", "1") as origin:
        killed: set[str] = set()
        for _ in range(7):
            wait_until(lambda: bool({*members(origin.process.pid)} - killed))
            for each in {*members(origin.process.pid)} - killed:
                os.kill(int(each), signal.SIGKILL)
                killed.add(each)
        assert origin.get("/studies").code == 200


def test_ctrl_c_is_heard_by_the_one_that_ends_the_others(tree):
    with web_origin(tree, "--jobs", "1") as origin:
        assert origin.get("/studies").code == 200
        (member,) = members(origin.process.pid)
        os.kill(int(member), signal.SIGINT)
        assert origin.get("/studies").code == 200
    assert origin.complaints.strip() == ""


def test_only_header_fields_are_given_where_no_more_is_asked_for(origin, tree):
    url = f"{url_of(read(tree, CINE))}/frames/{','.join(['1'] * 3000)}"
    begun = time.monotonic()
    got = origin.get(url, OCTETS, "HEAD")
    assert (got.code, got.body) == (200, b"")
    assert got.fields["content-type"].startswith("multipart/related")
    assert time.monotonic() - begun < 1


def test_none_outlives_the_one_that_started_them(tree):
    with web_origin(tree) as origin:
        left = members(origin.process.pid)
        origin.process.kill()
        wait_until(lambda: not any(Path(f"/proc/{each}").exists() for each in left))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_it_is_told_to(tree, number):
    with web_origin(tree) as origin:
        left = members(origin.process.pid)
        origin.process.send_signal(number)
        assert origin.process.wait(20) == 0
        assert not any(Path(f"/proc/{each}").exists() for each in left)
    assert origin.complaints.strip() == ""


def test_an_index_is_kept_for_the_next_start(tree, tmp_path):
    kept = tmp_path / "kept.sqlite"
    for _ in range(2):
        with web_origin(tree, "--index", kept) as origin:
            assert len(origin.get("/studies").json) > 1
    done = command("index", tree, "-o", kept, "--phi")
    assert f"rows that were there: {len(NAMES)}" in done.stdout


def test_wrong_usage(tree, tmp_path):
    done = command("serve", tmp_path / "nowhere", "--port", "0")
    assert (done.returncode, done.stderr.lstrip()) == (
        2,
        f"cinemill: {tmp_path / 'nowhere'}: no such file or directory; check the path\n",
    )
    command("index", tree, "-o", tmp_path / "without.sqlite")
    done = command("serve", tree, "--index", tmp_path / "without.sqlite", "--port", "0")
    assert done.returncode == 2
    assert "was made without patient data" in done.stderr
    with web_origin(tree) as origin:
        port = origin.address.rpartition(":")[2]
        done = command("serve", tree, "--port", port)
        assert done.returncode == 2
        assert re.match(r"cinemill: can't listen at 127.0.0.1:\d+ \(Address already in use\)", done.stderr)
    done = command("serve", tree, "--host", "no.such.host.invalid", "--port", str(free_port()))
    assert done.returncode == 2
    assert "choose another --host or --port" in done.stderr


def test_lossy_frames_are_as_their_codestreams_say(origin, tree):
    source = read(tree, CINE)
    assert source.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    got = origin.get(f"{url_of(source)}/frames/1", "image/jpeg")
    assert got.fields["content-type"] == "image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"
    first = next(iter(generate_frames(source.PixelData, number_of_frames=30)))
    assert got.body == first
    viewer = 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'
    assert origin.get(f"{url_of(source)}/frames/1", viewer).parts == [
        ("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.50", first)
    ]


def test_numbers_with_a_point_are_fetched_as_they_are(tmp_path):
    dataset = pydicom.dcmread(bundled("CT_small.dcm"))
    del dataset.PixelData
    dataset.BitsAllocated, dataset.FloatPixelData = 32, np.arange(128 * 128, dtype="<f4").tobytes()
    dataset.save_as(tmp_path / "float.dcm")
    with web_origin(tmp_path) as origin:
        (told,) = origin.get(f"{url_of(dataset)}/metadata").json
        address = told["7FE00008"]["BulkDataURI"].removeprefix(origin.service)
        assert origin.get(address, "application/octet-stream").body == dataset.FloatPixelData


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no browser")
def test_a_browser_shows_names_as_text(tmp_path):
    dataset = pydicom.dcmread(bundled("CT_small.dcm"))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for number, name in enumerate(("=王^小東", "<i>Doe</i>^Jane", "כהן^דוד")):
        dataset.PatientName, dataset.StudyInstanceUID = name, generate_uid()
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(tmp_path / f"{number}.dcm")
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom")
    with web_origin(tmp_path) as origin:
        shown = subprocess.run(
            ["chromium", *options, origin.address], capture_output=True, text=True, check=True
        ).stdout
    found = re.findall("<b>(.*?)</b>", shown)
    assert {*found} == {"王 小東", "&lt;i&gt;Doe&lt;/i&gt; Jane", "כהן דוד"}
