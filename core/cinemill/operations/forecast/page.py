"""The forecast as one page that needs nothing else: figures, charts and tables, light and dark, and on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from cinemill.errors import printable
from cinemill.operations import pages
from cinemill.operations.forecast.charts import Bar, Pair, bars, pairs
from cinemill.operations.forecast.forecast import class_name, in_hours, syntax_name
from cinemill.operations.forecast.style import STYLE
from cinemill.operations.pages import figure, in_bytes, section, table, text

if TYPE_CHECKING:
    from cinemill.operations.forecast.estimate import Row
    from cinemill.operations.forecast.forecast import Compared, Forecast
    from cinemill.operations.forecast.strata import Key

_BREAKS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CHARTED = 12
_LISTED = 100
_REFUSED = "What is refused counts here with its bytes now."
_STOPPED = {
    "all": "all that could tell more were tried",
    "precise": "more would hardly have changed the intervals",
    "sample": "as many as were allowed",
    "time": "as many as there was time for",
    "interrupted": "it was interrupted",
}


def page(forecast: Forecast) -> str:
    """Return the page, in HTML: it has strata and totals, and nothing of a patient."""
    body = "\n".join(
        (
            f"<h1>What <em>{text(forecast.asked.plan.name)}</em> would take and save</h1>",
            f'<p class="lead">{_lead(forecast)}</p>',
            f'<div class="figures">{"".join(_figures(forecast))}</div>',
            section("Advice", "".join(f"<p>{text(line)}</p>" for line in forecast.advice), "advice"),
            section("Bytes after, by what could be done", _plans_chart(forecast) + _plans_table(forecast)),
            section("Bytes now and after, by kind of instance", _strata_chart(forecast)),
            section("Kinds of instances", _strata_table(forecast)),
            *_problems(forecast),
            section("How this was found", "".join(f"<p>{line}</p>" for line in _method(forecast))),
        )
    )
    title = f"Forecast: {forecast.asked.plan.name}"
    return f"{pages.begin(title, STYLE)}<main>\n{body}\n</main>{pages.END}"


def _lead(forecast: Forecast) -> str:
    survey = forecast.survey
    read = f"{survey.headers:,} headers read"
    if survey.headers < survey.files:
        read += ", chosen at random"
    return f"{pages.counted(survey.files, 'file')}, {in_bytes(survey.bytes)} now; {read}."


def _figures(forecast: Forecast) -> Iterator[str]:
    total, found = forecast.found.total, forecast.found
    low, high = total.interval
    yield figure(
        "bytes after", in_bytes(total.after.value), f"{in_bytes(low)} to {in_bytes(high)}, in 95 of 100 cases"
    )
    saved = total.bytes - total.failed.bytes - total.after.value
    share = saved / total.bytes if total.bytes else 0.0
    yield figure("saved", in_bytes(max(0.0, saved)), f"{share:.0%}; {total.ratio:.2f} times smaller")
    here = in_hours(found.seconds / forecast.cores)
    processor = f"on {forecast.cores} cores; processor time {in_hours(found.seconds)}"
    yield figure("time on this machine", here, processor)
    if forecast.workers:
        yield figure(
            "time on workers", in_hours(found.seconds / forecast.workers), f"on {forecast.workers} cores"
        )
    now, after = forecast.cost(forecast.asked.bytes), forecast.cost(forecast.asked.after)
    if now is not None and after is not None:
        yield figure("a year", f"€ {_money(after)}", f"€ {_money(now)} now")


def _money(cost: float) -> str:
    return f"{cost:,.0f}" if cost >= 100 else f"{cost:,.2f}"


def _ordered(forecast: Forecast) -> list[Compared]:
    return sorted(forecast.compared, key=lambda each: (each.after, each is not forecast.asked))


def _plans_chart(forecast: Forecast) -> str:
    rows = []
    for each in _ordered(forecast):
        low = high = each.after
        if each.found is not None:
            kept = each.found.total.failed.bytes
            low, high = (kept + end for end in each.found.total.interval)
        name = printable(each.plan.name) + (" (asked for)" if each is forecast.asked else "")
        rows.append(Bar(name, in_bytes(each.after), each.after, low, high, each is forecast.chosen))
    legend = _legend(("after strong", "advised"), ("after", "other runs"), ("now", "bytes now"))
    return (
        bars("Bytes after each run, with intervals; the line marks the bytes now", rows, forecast.asked.bytes)
        + legend
    )


def _legend(*entries: tuple[str, str]) -> str:
    spans = "".join(f'<span><i class="{kind}"></i>{escape(told)}</span>' for kind, told in entries)
    return f'<p class="legend">{spans}</p>'


def _plans_table(forecast: Forecast) -> str:
    heads = ["run", "options", "bytes after", "processor", f"on {forecast.cores} cores here"]
    heads += [f"on {forecast.workers} cores"] if forecast.workers else []
    heads += ["€ a year"] if forecast.price is not None else []
    heads.append("refused")
    rows = []
    for each in _ordered(forecast):
        cost = forecast.cost(each.after)
        failed = 0.0 if each.found is None else each.found.total.failed.instances
        cells = [text(each.plan.name), f"<code>{text(each.plan.typed)}</code>" if each.plan.typed else ""]
        cells.append(in_bytes(each.after))
        cells += [
            in_hours(each.seconds / cores) if each.found else "none"
            for cores in filter(None, (1, forecast.cores, forecast.workers))
        ]
        cells += [] if cost is None else [_money(cost)]
        rows.append([*cells, f"{failed:,.0f}" if failed else ""])
    note = f"<p class=note>{_REFUSED}</p>" if forecast.found.total.errors else ""
    return table(heads, rows, 2) + note


def _maker(key: Key) -> str:
    return printable(" ".join(filter(None, dict.fromkeys((key.manufacturer, key.model)))))


def _strata_chart(forecast: Forecast) -> str:
    rows = []
    for row in forecast.found.rows[:_CHARTED]:
        key = row.key
        assert key is not None
        label = ", ".join(filter(None, (syntax_name(key.syntax), key.geometry, _maker(key))))
        told = f"{in_bytes(row.bytes)} → {in_bytes(row.after.value)}"
        rows.append(Pair(label, told, row.bytes, row.after.value))
    more = len(forecast.found.rows) - len(rows)
    note = f"<p class=note>The largest {len(rows)} of {len(rows) + more} kinds.</p>" if more else ""
    title = "Bytes now and after of the largest kinds of instances"
    return pairs(title, rows) + _legend(("before", "now"), ("after", "after")) + note


def _strata_table(forecast: Forecast) -> str:
    heads = ["transfer syntax", "SOP class", "maker and model", "pixels", "becomes"]
    heads += ["instances", "frames", "now", "after", "ratio", "processor", "tried"]
    rows = [_stratum(row) for row in forecast.found.rows[:_LISTED]]
    rows.append(["all", "", "", "", "", *_numbers(forecast.found.total)])
    more = len(forecast.found.rows) - _LISTED
    note = f"<p class=note>{more:,} smaller kinds are left out; --json has all.</p>" if more > 0 else ""
    return table(heads, rows, 5) + note


def _stratum(row: Row) -> list[str]:
    key = row.key
    assert key is not None
    words = (
        syntax_name(key.syntax),
        class_name(key.sop_class),
        _maker(key),
        key.geometry,
        ", ".join(sorted(name for name, part in row.done.items() if part.instances)),
    )
    syntax, sop_class, maker, pixels, done = map(text, words)
    pixels = pixels.replace(" × ", "&nbsp;×&nbsp;").replace(" bits", "&nbsp;bits")
    return [_BREAKS.sub("<wbr>", syntax), sop_class, maker, pixels, done, *_numbers(row)]


def _numbers(row: Row) -> list[str]:
    low, high = row.interval
    wide = (high - low) / 2
    return [
        f"{row.instances:,.0f}",
        f"{row.frames:,.0f}",
        in_bytes(row.bytes),
        in_bytes(row.after.value) + (f"<br>± {in_bytes(wide)}" if wide >= 1 else ""),
        f"{row.ratio:.2f}" if row.ratio else "",
        in_hours(row.seconds.value),
        f"{row.tried:,}",
    ]


def _problems(forecast: Forecast) -> Iterator[str]:
    total = forecast.found.total
    if total.errors:
        ordered = sorted(total.errors.items(), key=lambda each: -each[1].instances)
        rows = [[text(why), f"{part.instances:,.0f}", in_bytes(part.bytes)] for why, part in ordered]
        yield section("Refused, or failed", table(["why", "instances", "bytes now"], rows, 1))
    grown = total.done.get("copied, would grow")
    if grown is not None and grown.instances:
        yield section(
            "Would grow",
            f"<p>About {pages.counted(round(grown.instances), 'instance')} of {in_bytes(grown.bytes)} would be larger after: they are "
            "copied as they are, once a trial, or the writing, has shown it.</p>",
        )


def _method(forecast: Forecast) -> Iterator[str]:
    survey, sampled = forecast.survey, forecast.sampled
    rate = survey.headers / survey.seconds if survey.seconds else 0.0
    yield f"{survey.headers:,} headers were read, {rate:,.0f} a second, and instances counted by what they have in common."
    if not survey.complete:
        yield "<b>Not all files were looked at in the time that was given: all of this holds for those that were.</b>"
    for kind, number in sorted(survey.unread.items()):
        yield f"{pages.counted(number, 'file')}: {escape(kind)}; {in_bytes(survey.unread_bytes[kind])}. They count for nothing here."
    yield (
        f"{sampled.instances:,} instances and {sampled.frames:,} frames went through the real decoders, encoders and "
        f"verification, in {in_hours(sampled.seconds)} of all; then it ended, for {_STOPPED[sampled.stopped]}."
    )
    yield (
        "Totals are those of a stratified sample: ratios to what is known of all instances, with finite populations and "
        "Student’s t. Times are processor time; by the clock a run takes longer where disks don’t keep up."
    )
