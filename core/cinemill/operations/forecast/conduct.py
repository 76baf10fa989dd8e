"""Conducts a forecast: counts files, reads headers, tries instances, compares runs; stops in time, with what is known so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cinemill.operations.forecast.estimate import Estimator
from cinemill.operations.forecast.forecast import Compared, Forecast, Sampled
from cinemill.operations.forecast.plans import alternatives, plan_of, same
from cinemill.operations.forecast.probe import Probe
from cinemill.operations.forecast.sampling import Sampler, Tried, prediction_of
from cinemill.operations.forecast.survey import Survey, choose_headers, count, read
from cinemill.processors import processors
from cinemill.storage.scratch import scratch
from cinemill.storage.tree import Item, discover

if TYPE_CHECKING:
    from cinemill.operations.forecast.strata import Member
    from cinemill.operations.operation import Run
    from cinemill.operations.transcode.request import Transcode

_NOWHERE = Path("/nonexistent")
_COUNTING, _READING, _TRYING, _ALL = 0.15, 0.4, 0.8, 0.95
"""Shares of the time, from the beginning, in which each of these has to end."""

_OF_OTHERS, _MANY = 2, 24
"""Instances of each stratum that the other runs are tried on; one, where there are many strata."""

_FEWEST, _MOST = 32, 500
"""Instances that are tried at most, of few files and of many: the other runs are tried on these too, and each takes its time."""

_LARGEST = 0.99
"""Share of bytes that the strata have on which they are tried."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes
    ----------
    sources
        Files and directories.
    asked
        The run.
    sample
        Instances that are tried at most; None for a tenth of the files, but no fewer than `_FEWEST` nor more than `_MOST`.
    within
        Seconds for all of it, None for as long as it takes.
    jobs
        Cores to use, and that the run would use.
    workers, price
        See `Forecast`.
    """

    sources: Sequence[Path]
    asked: Transcode
    sample: int | None = None
    within: float | None = None
    jobs: int = field(default_factory=processors)
    workers: int | None = None
    price: float | None = None

    def paths(self) -> Iterator[Path]:
        """Yield all files."""
        return (item.source for item in discover(self.sources, _NOWHERE))


class Conductor:
    """Makes one forecast.

    Parameters
    ----------
    question
        What is asked.
    run
        Does an operation to items over processes.
    stop
        Asked often; True ends it, with what is known so far.
    show
        Told what is done, how far it is, and of how much, None where nobody knows.
    """

    def __init__(
        self,
        question: Question,
        run: Run,
        stop: Callable[[], bool],
        show: Callable[[str, int, int | None], None],
    ) -> None:
        self._question, self._run, self._stop, self._show = question, run, stop, show
        self._started = time.perf_counter()
        self._own = time.process_time()
        self.survey = Survey()

    def forecast(self) -> Forecast:
        """Make it."""
        question, survey = self._question, self.survey
        self._read()
        most = question.sample or min(_MOST, max(_FEWEST, survey.files // 10))
        survey.strata.merge(max(8, most // 3))
        plans = [plan_of(question.asked), *alternatives(question.asked)]
        with scratch() as folder:
            late = self._late(_TRYING)
            sampler = Sampler(list(survey.strata), most, folder, late, survey.scale)
            self._try(sampler)
            stopped = self._why(sampler)
            others = [plan.asked for plan in plans[1:] if plan.asked is not None]
            compared = iter(self._compare(sampler, others, folder))
        estimator = Estimator(sampler.tried, survey, sampler.start, question.jobs, self._own)
        there = [Compared(plans[0], estimator.asked(), survey.bytes)]
        for plan in plans[1:]:
            found = None if plan.asked is None else estimator.other(next(compared))
            if found is not None or plan.asked is None:
                there.append(Compared(plan, found, survey.bytes))
        predictions = [prediction for tried in sampler.tried for _, prediction in tried.predictions]
        frames = sum(prediction.frames_tried for prediction in predictions)
        taken = time.perf_counter() - self._started
        sampled = Sampled(len(predictions), frames, taken, stopped)
        return Forecast(survey, sampled, there, question.jobs, question.workers, question.price)

    def _read(self) -> None:
        question, survey = self._question, self.survey
        self._show("counting files", 0, None)
        count(question.paths(), survey, self._late(_COUNTING))
        left = None
        if question.within is not None:
            left = max(0.1, _READING * question.within - (time.perf_counter() - self._started))
        chosen = choose_headers(question.paths, question.asked, survey, left, question.jobs)
        wanted = -(-survey.files // survey.every)
        for done in read(chosen, question.asked, survey, self._late(_READING), question.jobs):
            self._show("reading headers", done, wanted)

    def _try(self, sampler: Sampler) -> None:
        probe = Probe((self._question.asked,))
        late = self._late(_TRYING)
        receipts = self._run(sampler.items(), probe, jobs=self._question.jobs, stop=late)
        for done, receipt in enumerate(receipts, 1):
            sampler.add(receipt)
            self._show("trying instances", done, sampler.wanted)

    def _why(self, sampler: Sampler) -> str:
        """Return why no more instances were tried."""
        if self._stop():
            return "interrupted"
        if sampler.enough:
            return "precise"
        if self._late(_TRYING)():
            return "time"
        return "all" if all(tried.exhausted for tried in sampler.tried) else "sample"

    def _compare(self, sampler: Sampler, others: Sequence[Transcode], folder: Path) -> list[list[Tried]]:
        """Try other runs on some of the instances, where they do anything else."""
        each = _OF_OTHERS if len(sampler.tried) <= _MANY else 1
        found = [
            [
                tried if same(other, self._question.asked, tried.stratum.key) else few
                for tried, few in zip(sampler.tried, sampler.few(each), strict=True)
            ]
            for other in others
        ]
        groups: dict[tuple[int, ...], list[int]] = {}
        for at in sampler.largest(_LARGEST):
            plans = tuple(plan for plan, each in enumerate(found) if each[at] is not sampler.tried[at])
            if plans and found[plans[0]][at].members:
                groups.setdefault(plans, []).append(at)
        for plans, strata in groups.items():
            if self._late(_ALL)():
                break
            places = {member.path: at for at in strata for member in found[plans[0]][at].members}
            members = {member.path: member for at in strata for member in found[plans[0]][at].members}
            self._try_others(
                [others[plan] for plan in plans], [found[plan] for plan in plans], places, members, folder
            )
        return found

    def _try_others(
        self,
        others: Sequence[Transcode],
        found: Sequence[list[Tried]],
        places: Mapping[str, int],
        members: Mapping[str, Member],
        folder: Path,
    ) -> None:
        """Try some runs on some instances.

        Parameters
        ----------
        others
            The runs.
        found
            By run and stratum: take the predictions.
        places, members
            By path: the stratum, and what is known of the instance.
        folder
            For what is written.
        """
        late, jobs = self._late(_ALL), self._question.jobs
        items = (Item(Path(path), folder / f"other-{at}") for at, path in enumerate(members) if not late())
        receipts = self._run(items, Probe(tuple(others)), jobs=jobs, stop=late)
        for done, receipt in enumerate(receipts, 1):
            self._show(f"comparing with {len(others)} other runs", done, len(members))
            for plan, strata in enumerate(found):
                prediction = prediction_of(receipt, plan)
                strata[places[receipt.source]].predictions.append((members[receipt.source], prediction))

    def _late(self, share: float) -> Callable[[], bool]:
        """Return what says whether a share of the time is over, or it is to stop."""
        within = self._question.within
        if within is None:
            return self._stop
        end = self._started + share * within
        return lambda: self._stop() or time.perf_counter() > end
