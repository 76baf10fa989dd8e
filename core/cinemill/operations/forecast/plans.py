"""The runs that are compared: the one asked for, and its alternatives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cinemill import syntaxes
from cinemill.errors import UsageError
from cinemill.operations.policy.targets import recompression
from cinemill.operations.transcode.request import Transcode

if TYPE_CHECKING:
    from cinemill.operations.forecast.strata import Key
    from cinemill.operations.policy.words import LossySource

KEEP = "keep everything"
_TARGETS = ("jpeg-ls", "jpeg-2000", "htj2k", "jpeg-xl")


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes
    ----------
    name
        What it is called.
    typed
        The options that ask for it.
    asked
        What is done to each instance; None where nothing is run.
    """

    name: str
    typed: str
    asked: Transcode | None


def plan_of(asked: Transcode) -> Plan:
    """Return the run that is asked for."""
    if asked.to:
        names = ",".join(str(syntaxes.TRANSFER_SYNTAXES.get(uid, uid)) for uid in asked.to.split(","))
        name, typed = names, f"--to {names}"
    else:
        name = asked.rules.name
        typed = "--policy FILE" if asked.policy else ""
    options = []
    if asked.lossy_source != "keep":
        options.append(f"--lossy-source {asked.lossy_source}")
    if asked.if_larger != "keep":
        options.append(f"--if-larger {asked.if_larger}")
    if asked.readable_by:
        options.append(f"--readable-by {asked.readable_by}")
    return Plan(", ".join((name, *options)), " ".join((typed, *options)).strip(), asked)


def alternatives(asked: Transcode) -> list[Plan]:
    """Return the other runs, and that of nothing."""
    common = {
        name: getattr(asked, name) for name in ("colour", "verify", "repair", "copy_rest", "readable_by")
    }
    there = {row.name for row in syntaxes.TARGETS}
    wanted: list[tuple[str, LossySource]] = [("", "keep")]
    wanted += [(name, "keep") for name in _TARGETS if name in there]
    if recompression(asked.readable_by):
        wanted.append(("", "jpeg-xl"))
    found = []
    for to, lossy in wanted:
        try:
            other = Transcode(to=to, lossy_source=lossy, if_larger="keep", **common)
        except UsageError:  # those who have to read it can't
            continue
        if replace(other, recheck=asked.recheck, preserve=asked.preserve) != asked:
            found.append(plan_of(other))
    return [*found, Plan(KEEP, "", None)]


def same(plan: Transcode, asked: Transcode, key: Key) -> bool:
    """Whether two runs do the same to all of a stratum, as far as its header says.

    Parameters
    ----------
    plan, asked
        The runs.
    key
        Of the stratum.
    """
    if key.reason in {"no-image", "skipped"}:
        return True
    if key.lossy:
        plain = not plan.policy and not asked.policy
        return plain and plan.lossy_source == asked.lossy_source == "keep"
    return replace(plan, lossy_source=asked.lossy_source) == asked
