"""The options that a rule may set, and the words that each of them knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from cinemill.errors import UsageError

Colour: TypeAlias = Literal["auto", "keep", "rgb"]
Level: TypeAlias = Literal["full", "independent", "sample", "none"]
IfLarger: TypeAlias = Literal["auto", "keep", "write"]
LossySource: TypeAlias = Literal["auto", "keep", "jpeg-xl", "transcode"]

WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "colour": get_args(Colour),
        "verify": get_args(Level),
        "if_larger": get_args(IfLarger),
        "lossy_source": get_args(LossySource),
    }
)
"""By option: its words."""

_CALLED = {"colour": "colour policy", "verify": "verification"}


@dataclass(frozen=True, slots=True)
class Options:
    """How an instance is worked on, where a rule does not say otherwise.

    Attributes
    ----------
    if_larger
        Whether an output larger than its source is written, or the source copied.
    lossy_source
        What becomes of sources whose codestreams are lossy.
    readable_by
        Readers that have to read the target, separated by commas.
    collapse_grey
        Whether colour frames that are grey throughout become MONOCHROME2.
    """

    colour: Colour = "auto"
    verify: Level = "full"
    if_larger: IfLarger = "auto"
    lossy_source: LossySource = "auto"
    readable_by: str = ""
    collapse_grey: bool = False


def check_word(option: str, value: object) -> None:
    """Check that an option knows a word.

    Raises
    ------
    UsageError
        It does not.
    """
    known = WORDS[option]
    if value not in known:
        called = _CALLED.get(option, f"--{option.replace('_', '-')}")
        raise UsageError(f"unknown {called} {value!r}; choose one of {', '.join(known)}")
