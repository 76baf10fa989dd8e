"""What can be asked of `cinemill.transcode`: its options, each declared once."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Self, TypeVar

from cinemill import syntaxes
from cinemill.errors import UsageError
from cinemill.operations.operation import CopiesRest, option, overwriting
from cinemill.operations.policy.readers import READERS, not_read, readable
from cinemill.operations.policy.targets import read_wanted
from cinemill.operations.policy.words import WORDS, Colour, IfLarger, Level, LossySource, Options, check_word

if TYPE_CHECKING:
    from cinemill.operations.policy.rules import Policy

_Word = TypeVar("_Word", bound=str)

NAMES = tuple(str(target.name) for target in syntaxes.TARGETS)
TARGETS = ", ".join(NAMES)


def read_policy(path: str) -> str:
    """Return the text of a policy, once it is known to be one.

    Raises
    ------
    UsageError
        It can't be read, or is none; the message names the line.
    """
    from cinemill.operations.policy.read import read_file

    return read_file(path)


@dataclass(frozen=True, slots=True)
class Transcode(CopiesRest):
    """What is asked of every instance: see `cinemill.transcode`. Targets are kept as their UIDs, a policy as its text."""

    kind: ClassVar[str] = "transcode"
    body: ClassVar[str] = "cinemill.operations.transcode.transcode"
    mirrors: ClassVar[bool] = True
    meets: ClassVar[bool] = True
    about: ClassVar[str] = """Transcode DICOM files losslessly and verify every frame.

    Without --to, the built-in policy archive chooses JPEG-LS or JPEG 2000, keeps lossy sources, and writes nothing that
    would be larger than its source. Sources are never touched. A directory is mirrored below DST over all cores.
    Finished outputs are recognised, so the same command goes on where it was stopped; those of sources that changed
    since are made anew.
    """
    examples: ClassVar[tuple[str, ...]] = (
        "cinemill transcode /archive/2019 /archive/2019-small --report 2019.jsonl",
        "cinemill transcode /archive/2019 /archive/2019-small --lossy-source jpeg-xl",
        "cinemill transcode echo.dcm echo.jls.dcm --to jpeg-ls",
    )
    destination: ClassVar[str] = "A file (for one SRC file), or a directory."

    to: str = option(
        "",
        metavar="TARGET",
        help=f"{TARGETS}; a UID or keyword; several, with commas: the smallest of them; smallest; fastest.",
        offered=(*NAMES, "smallest", "fastest"),
    )
    colour: Colour = option(
        "auto", help="auto: RGB where the IOD asks for it, and in RLE; keep: as coded; rgb: always RGB."
    )
    verify: Level = option(
        "full",
        help="full: decode every written frame; independent: by another implementation; sample: every 16th frame; "
        "none: nothing is read back.",
    )
    overwrite: bool = overwriting()
    repair: bool = option(
        default=False, help="Correct Number of Frames from what is there; drop junk behind the pixel data."
    )

    recheck: bool = option(
        default=False, help="Read finished outputs that are there, and make damaged ones anew."
    )
    preserve: bool = option(default=True, help="Keep the mode and time of sources.")
    copy_rest: bool = option(
        default=False, help="Copy what is refused, fails or is not DICOM unchanged, beside its error."
    )

    if_larger: IfLarger = option(
        "auto",
        help="keep: copy a source whose output would be larger; write: write it all the same. "
        "auto: write for one file with --to, else keep.",
    )
    lossy_source: LossySource = option(
        "auto",
        help="keep: copy lossy sources as they are; jpeg-xl: recompress JPEG, to the byte; transcode: as --to says. "
        "auto: transcode for one file with --to, else keep.",
    )
    readable_by: str = option(
        "",
        metavar="READER,...",
        help=f"Only targets that all of these read: {', '.join(each.name for each in READERS)}.",
        offered=tuple(each.name for each in READERS),
    )
    policy: str = option("", metavar="FILE", help="Rules that decide for each instance.", read=read_policy)
    collapse_grey: bool = option(
        default=False, help="Colour that is grey in every sample of every frame becomes MONOCHROME2."
    )

    def __post_init__(self) -> None:
        if self.to and self.policy:
            raise UsageError("--to and --policy exclude each other; the rules of a policy name the targets")
        if self.policy and "\n" not in self.policy:
            object.__setattr__(self, "policy", read_policy(self.policy))
        for name in WORDS:
            check_word(name, getattr(self, name))
        allowed = readable(self.readable_by)
        if self.to:
            wanted = read_wanted(self.to)
            if not wanted.within(allowed).targets:
                raise UsageError(f"--to: {not_read(wanted.named, self.readable_by)}")
            object.__setattr__(self, "to", str(wanted))
        else:
            self.rules.check(self.readable_by)

    @property
    def rules(self) -> Policy:
        """What decides for each instance."""
        if self.to:
            from cinemill.operations.policy.rules import one_target

            return one_target(self.to)
        from cinemill.operations.policy.read import policy_of

        return policy_of(self.policy, self.readable_by)

    @property
    def options(self) -> Options:
        """What holds where a rule does not say otherwise."""
        asked = bool(self.to)
        return Options(
            self.colour,
            self.verify,
            _settled(self.if_larger, "write" if asked else "keep"),
            _settled(self.lossy_source, "transcode" if asked else "keep"),
            self.readable_by,
            self.collapse_grey,
        )

    def decided(self, options: Options) -> Self:
        """Return the same with the options that a decision found."""
        decided: Self = _decided(self, options)
        return decided

    def in_bulk(self) -> Self:
        """Keep sources that would grow, and lossy ones, unless something else was asked for."""
        return replace(
            self,
            if_larger=_settled(self.if_larger, "keep"),
            lossy_source=_settled(self.lossy_source, "keep"),
        )

    def reported(self) -> Transcode:
        """Return the same, whose receipts say what is wrong with the pixels of sources."""
        if type(self) is not Transcode:
            return self
        return ReportedTranscode(**{each.name: getattr(self, each.name) for each in fields(self)})


_Request = TypeVar("_Request", bound=Transcode)


@lru_cache(64)
def _decided(request: _Request, options: Options) -> _Request:
    """Return a request with the options that a decision found, which are the same for most of an archive."""
    return replace(
        request,
        colour=options.colour,
        verify=options.verify,
        if_larger=options.if_larger,
        lossy_source=options.lossy_source,
        collapse_grey=options.collapse_grey,
    )


class ReportedTranscode(Transcode):
    """The same operation, whose receipts have findings."""

    __slots__ = ()

    body: ClassVar[str] = "cinemill.operations.transcode.reported"


def _settled(value: _Word, otherwise: _Word) -> _Word:
    """Return a word, another one for ``auto``."""
    return otherwise if value == "auto" else value
