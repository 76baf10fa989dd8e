"""The forecast: what the run that is asked for would take and save, what others would, and which of them is advised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cinemill import syntaxes
from cinemill.dicom.dictionary import uid_names
from cinemill.operations.forecast.strata import VARIOUS
from cinemill.operations.pages import counted, in_bytes

if TYPE_CHECKING:
    from cinemill.operations.forecast.estimate import Estimate, Part, Row
    from cinemill.operations.forecast.plans import Plan
    from cinemill.operations.forecast.survey import Survey

SCHEMA = 1
"""Of the JSON; another number where a reader of it would have to be changed."""

TERABYTE = 1e12
_HOUR = 3600.0
_ALIKE = 1.01
"""How many times the bytes of the smallest run another may leave, to be advised because it is done sooner."""

_YOUNG = "htj2k", "jpeg-xl"
"""What is in the names of targets that few programs read yet."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """How the sample was taken.

    Attributes
    ----------
    seconds
        By the clock, since the command began.
    stopped
        Why no more instances were tried: ``all``, ``precise``, ``sample``, ``time`` or ``interrupted``.
    """

    instances: int
    frames: int
    seconds: float
    stopped: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One run among those compared; without an estimate, nothing is run."""

    plan: Plan
    found: Estimate | None
    bytes: int

    @property
    def after(self) -> float:
        """Bytes after; what fails stays as it is."""
        if self.found is None:
            return self.bytes
        return self.found.total.after.value + self.found.total.failed.bytes

    @property
    def seconds(self) -> float:
        """Processor time."""
        return 0.0 if self.found is None else self.found.seconds

    @property
    def young(self) -> bool:
        """Whether it writes what few programs read yet, and nobody said who has to."""
        typed = self.plan.typed
        return "readable-by" not in typed and any(name in typed for name in _YOUNG)


@dataclass(frozen=True, slots=True)
class Forecast:
    """All that is told.

    Attributes
    ----------
    compared
        The run that is asked for, and the others.
    cores
        Of this machine that a run would use.
    workers
        Cores of workers, None where nobody asked for them.
    price
        Euros for a terabyte and year, None where nobody asked for them.
    """

    survey: Survey
    sampled: Sampled
    compared: Sequence[Compared]
    cores: int
    workers: int | None = None
    price: float | None = None

    @property
    def asked(self) -> Compared:
        """The run that is asked for."""
        return self.compared[0]

    @property
    def found(self) -> Estimate:
        """What that would take and save."""
        assert self.asked.found is not None
        return self.asked.found

    @property
    def chosen(self) -> Compared:
        """The run that is advised: of those that leave hardly more than the smallest, what is done soonest."""
        there = [each for each in self.compared if each is self.asked or not each.young]
        least = min(each.after for each in there)
        near = [each for each in there if each.after <= _ALIKE * least]
        return min(near, key=lambda each: (each.seconds, each is not self.asked))

    @property
    def advice(self) -> list[str]:
        """What is advised, in sentences."""
        return list(self._advice())

    def _advice(self) -> Iterator[str]:
        chosen, now = self.chosen, self.asked.bytes
        if not self.found.total.instances:
            yield "There is no image to decide on."
            return
        if not self.sampled.instances:
            yield "Nothing was tried: what becomes of all that is coded anew is not known."
        elif chosen.found is None:
            yield "Keep everything as it is: no run would make it smaller worth mentioning."
        else:
            typed = f" (cinemill transcode SRC... DST {chosen.plan.typed}".rstrip() + ")"
            yield (
                f"{chosen.plan.name}{typed}: {in_bytes(now)} become {in_bytes(chosen.after)} in "
                f"{in_hours(chosen.seconds / self.cores)} on {self.cores} cores."
            )
        smallest = min(self.compared, key=lambda each: each.after)
        if smallest.young and smallest.after < 0.98 * chosen.after:
            yield (
                f"{smallest.plan.name} would leave {in_bytes(smallest.after)}, if all that reads the archive reads "
                "that: `cinemill syntaxes` tells which programs do."
            )
        failed = self.found.total.failed
        if failed.instances >= 0.5:
            yield (
                f"About {counted(round(failed.instances), 'instance')} ({in_bytes(failed.bytes)}) would be refused or fail, and be "
                "missing in the output; --copy-rest copies them unchanged."
            )
        if unread := self.survey.unread["can't be read"]:
            yield f"{counted(unread, 'file')} can't be read, and {'counts' if unread == 1 else 'count'} for nothing here."

    def cost(self, bytes_: float) -> float | None:
        """Return what so many bytes cost a year, in euros."""
        return None if self.price is None else self.price * bytes_ / TERABYTE

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON-ready values: the README says what each is."""
        survey, found = self.survey, self.found
        return {
            "schema": SCHEMA,
            "plan": {"name": self.asked.plan.name, "options": self.asked.plan.typed},
            "files": {
                "found": survey.files,
                "bytes": survey.bytes,
                "headers_read": survey.headers,
                "headers_per_second": round(survey.headers / survey.seconds, 1) if survey.seconds else None,
                "every": survey.every,
                "complete": survey.complete,
                "not_dicom": _unread(survey, "not DICOM"),
                "unreadable": _unread(survey, "can't be read"),
            },
            "sample": {
                "instances": self.sampled.instances,
                "frames": self.sampled.frames,
                "seconds": round(self.sampled.seconds, 3),
                "stopped": self.sampled.stopped,
            },
            "cores": self.cores,
            "workers": self.workers,
            "price_eur_per_tb_year": self.price,
            "total": {
                **self._row(found.total),
                "processor_seconds_of_start": round(found.starting, 3),
                **self._duration(found.seconds),
            },
            "strata": [self._row(row) for row in found.rows],
            "refused": [
                {"reason": reason, **_part(part)} for reason, part in sorted(found.total.errors.items())
            ],
            "plans": [self._plan(each) for each in self.compared],
            "advice": {"plan": self.chosen.plan.name, "text": self.advice},
        }

    def _row(self, row: Row) -> dict[str, Any]:
        low, high = row.interval
        told: dict[str, Any] = {}
        if row.key is not None:
            key = row.key
            told = {
                "rule": key.rule,
                "reason": key.reason,
                "syntax": key.syntax,
                "syntax_name": syntax_name(key.syntax),
                "lossy": key.lossy,
                "sop_class": key.sop_class,
                "manufacturer": key.manufacturer,
                "model": key.model,
                "geometry": key.geometry,
            }
        wide = row.seconds.half_width
        return {
            **told,
            "instances": round(row.instances),
            "frames": round(row.frames),
            "bytes": round(row.bytes),
            "bytes_after": round(row.after.value),
            "bytes_after_low": round(low),
            "bytes_after_high": round(high),
            "ratio": round(row.ratio, 3),
            "processor_seconds": round(row.seconds.value, 3),
            "processor_seconds_low": round(max(0.0, row.seconds.value - wide), 3),
            "processor_seconds_high": round(row.seconds.value + wide, 3),
            "instances_tried": row.tried,
            "frames_tried": row.frames_tried,
            "refused": _part(row.failed),
            "would_grow": _part(row.done["copied, would grow"]),
            "done": {name: _part(part) for name, part in sorted(row.done.items()) if part.instances},
        }

    def _duration(self, seconds: float) -> dict[str, Any]:
        return {
            "processor_hours": round(seconds / _HOUR, 4),
            "hours_here": round(seconds / self.cores / _HOUR, 4),
            "hours_on_workers": None if self.workers is None else round(seconds / self.workers / _HOUR, 4),
        }

    def _plan(self, each: Compared) -> dict[str, Any]:
        cost = self.cost(each.after)
        low, high = (each.bytes, each.bytes) if each.found is None else each.found.total.interval
        kept = 0.0 if each.found is None else each.found.total.failed.bytes
        return {
            "name": each.plan.name,
            "options": each.plan.typed,
            "bytes_after": round(each.after),
            "bytes_after_low": round(low + kept),
            "bytes_after_high": round(high + kept),
            "refused": None if each.found is None else _part(each.found.total.failed),
            **self._duration(each.seconds),
            "eur_per_year": None if cost is None else round(cost, 2),
        }


def _unread(survey: Survey, kind: str) -> dict[str, int]:
    return {"files": survey.unread[kind], "bytes": survey.unread_bytes[kind]}


def _part(part: Part) -> dict[str, int]:
    return {
        "instances": round(part.instances),
        "bytes": round(part.bytes),
        "bytes_after": round(part.bytes_after),
        "bytes_otherwise": round(part.bytes_otherwise),
    }


def syntax_name(uid: str) -> str:
    """Return what a transfer syntax is called."""
    row = syntaxes.TRANSFER_SYNTAXES.get(uid)
    return uid if row is None else row.keyword


def class_name(uid: str) -> str:
    """Return what a SOP class is called."""
    return uid if uid in {"", VARIOUS} else uid_names(uid)[0].removesuffix(" Storage")


def in_hours(seconds: float) -> str:
    """Return a time as people read it."""
    if seconds >= 48 * _HOUR:
        return f"{seconds / 24 / _HOUR:.1f} days"
    if seconds >= _HOUR:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
