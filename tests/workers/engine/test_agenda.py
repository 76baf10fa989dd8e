"""Which jobs the leader looks at, and when."""

from __future__ import annotations

from cinemill_workers.engine.agenda import IN_TURN, TOLD, Agenda


def test_jobs_that_were_told_of_come_first_and_the_others_in_turn() -> None:
    agenda = Agenda()
    agenda.postpone("later", 9.0)
    agenda.postpone("now", 1.0)
    agenda.tell(["told", "told"])
    assert agenda.take(2.0) == ["told", "now"]
    assert (agenda.take(2.0), agenda.waits(2.0), agenda.waits(9.0)) == ([], False, True)
    assert agenda.take(9.0) == ["later"]


def test_a_job_that_was_told_of_does_not_come_round_as_well() -> None:
    agenda = Agenda()
    agenda.postpone("job", 1.0)
    agenda.tell(["job"])
    assert agenda.take(2.0) == ["job"]
    assert agenda.take(2.0) == []


def test_a_turn_costs_the_same_however_many_jobs_there_are() -> None:
    agenda = Agenda()
    agenda.tell(f"told{number}" for number in range(2000))
    for number in range(2000):
        agenda.postpone(f"other{number}", number / 1000)
    assert len(agenda.take(5.0)) == TOLD + IN_TURN
    assert agenda.backlog
    seen = set()
    while agenda.waits(5.0):
        seen |= set(agenda.take(5.0))
    assert len(seen) == 4000 - TOLD - IN_TURN
