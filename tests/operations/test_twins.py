"""Instances with the same SOP Instance UID are told, in little memory."""

import pytest

from cinemill.operations.receipt import Receipt
from cinemill.operations.twins import Twins


def receipt(source, uid):
    return Receipt(source, "/out", "transcoded", sop_instance_uid=uid, warnings=("before",))


def test_the_second_of_two_names_the_first():
    with Twins() as twins:
        first = receipt("/in/a\n\udcff", "1.2")
        assert twins.noted(first) == first
        assert twins.noted(receipt("/in/b", "1.3")).warnings == ("before",)
        told = twins.noted(receipt("/in/c", "1.2"))
        assert told.warnings == ("before", "SOP Instance UID 1.2 is that of /in/a\\n\\udcff too")
        assert twins.found == ["note: /in/c: SOP Instance UID 1.2 is that of /in/a\\n\\udcff too"]


@pytest.mark.parametrize("uid", ["1.2\n3", "1.2\0003", "1.2\xff"])
def test_what_can_be_no_uid_is_told_as_well(uid):
    with Twins() as twins:
        twins.noted(receipt("/in/a", uid))
        assert twins.noted(receipt("/in/b", uid)).warnings[1].endswith("is that of /in/a too")


def test_the_same_file_again_and_what_has_no_uid_are_no_twins():
    with Twins() as twins:
        for source, uid in (("/in/a", "1.2"), ("/in/a", "1.2"), ("/in/b", ""), ("/in/c", "")):
            assert twins.noted(receipt(source, uid)).warnings == ("before",)
        assert twins.found == []


@pytest.mark.parametrize("count", [20_000])
def test_many_instances_are_told_apart(count, monkeypatch):
    monkeypatch.setattr("cinemill.operations.twins._IN_MEMORY", 1 << 16)
    with Twins() as twins:
        for number in range(count):
            twins.noted(receipt(f"/in/{number}", f"1.2.{number}"))
        assert twins.found == []
        told = [twins.noted(receipt("/in/x", f"1.2.{number}")) for number in range(0, count, 1000)]
        assert [each.warnings[1].split()[7] for each in told] == [f"/in/{n}" for n in range(0, count, 1000)]
        assert twins.found[-1] == "… and 10 more; --report names all"
