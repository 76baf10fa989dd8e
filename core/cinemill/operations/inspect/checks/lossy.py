"""Checks of what a header says of lossy compression: the flag, methods and ratios (PS3.3 C.7.6.1.1.5)."""

from __future__ import annotations

from cinemill.operations.inspect.checks.check import Problems, Subject, check
from cinemill.operations.inspect.model import Severity

_FLAG, _RATIO, _METHOD = 0x00282110, 0x00282112, 0x00282114
_METHODS = {
    "jpeg": ("ISO_10918_1",),
    "jpeg-ls": ("ISO_14495_1",),
    "jpeg-2000": ("ISO_15444_1", "ISO_15444_2"),
    "htj2k": ("ISO_15444_15",),
    "jpeg-xl": ("ISO_18181_1", "ISO_10918_1"),
    "video": ("ISO_13818_2", "ISO_14496_10", "ISO_23008_2"),
}
_ONLY_LOSSY = frozenset(("jpeg", "video"))
_SAY = "have Lossy Image Compression say 01 with method and ratio; outputs of transcode do"


@check(
    "lossy.flag",
    Severity.WARNING,
    "PS3.3 C.7.6.1.1.5",
    about="Lossy Image Compression is 01 where the transfer syntax can only be lossy",
    remedy=_SAY,
)
def flag(subject: Subject) -> Problems:
    """Yield a flag that the syntax contradicts."""
    told = subject.source.text(_FLAG)
    if not subject.image:
        return
    if told not in {"", "00", "01"}:
        yield f"Lossy Image Compression is {told[:16]!r}, expected 00 or 01"
    elif told != "01" and subject.source.transfer_syntax.coding in _ONLY_LOSSY:
        yield (
            f"Lossy Image Compression is {told or 'absent'}, "
            f"{subject.source.transfer_syntax.keyword} can only be lossy"
        )


@check(
    "lossy.reset",
    Severity.WARNING,
    "PS3.3 C.7.6.1.1.5",
    about="Lossy Image Compression stays 01 once it was, and a method or ratio speaks of that",
    remedy=_SAY,
    pixels=True,
)
def reset(subject: Subject) -> Problems:
    """Yield 00, or nothing, beside a method or a ratio."""
    told, method = subject.source.text(_FLAG), subject.source.text(_METHOD)
    if subject.image and told != "01" and (method or any(ratio > 1 for ratio in subject.facts.lossy_ratios)):
        what = f"method {method[:48]}" if method else f"ratio {subject.source.text(_RATIO)[:48]}"
        yield f"Lossy Image Compression is {told or 'absent'}, but there is a lossy {what}"


@check(
    "lossy.history",
    Severity.NOTICE,
    "PS3.3 C.7.6.1.1.5.1",
    about="lossy compression comes with a method and a ratio for each step, the last one that of the transfer syntax",
    remedy="ask the maker to fill in both; how much was lost can't be told",
    pixels=True,
)
def history(subject: Subject) -> Problems:
    """Yield what is missing, or does not match."""
    if not subject.image or subject.source.text(_FLAG) != "01":
        return
    methods, ratios = subject.facts.lossy_methods, subject.facts.lossy_ratios
    if not methods or not ratios:
        missing = [name for name, there in (("Method", methods), ("Ratio", ratios)) if not there]
        yield f"Lossy Image Compression is 01, without {' and '.join(missing)}"
    elif len(methods) != len(ratios):
        yield f"there are {len(methods)} lossy methods and {len(ratios)} ratios"
    if any(ratio < 1 for ratio in ratios):
        yield f"Lossy Image Compression Ratio is {min(ratios):g}, expected at least 1"
    wanted = _METHODS.get(subject.source.transfer_syntax.coding, ())
    if methods and subject.source.transfer_syntax.coding in _ONLY_LOSSY and methods[-1] not in wanted:
        yield (
            f"the last Lossy Image Compression Method is {methods[-1]}, "
            f"{subject.source.transfer_syntax.keyword} is {' or '.join(wanted)}"
        )
