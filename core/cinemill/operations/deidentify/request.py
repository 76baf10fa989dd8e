"""What can be asked of `cinemill.deidentify`: its options, each declared once, beside those of transcoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from cinemill.errors import UsageError
from cinemill.operations.deidentify import profile as profiles
from cinemill.operations.mask import wanted as masks
from cinemill.operations.operation import option as declared
from cinemill.operations.transcode.request import Transcode

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.operations.deidentify.keys import Key
    from cinemill.operations.deidentify.mapping import MapFile
    from cinemill.operations.mask.masks import Mask
    from cinemill.operations.receipt import Receipt
    from cinemill.storage.tree import Item


def _absolute(path: str) -> str:
    """Return a path that another process understands too."""
    return str(Path(path).absolute()) if path else ""


def _rules_text(path: str) -> str:
    """Return the text of rules, once it is known to be rules.

    Raises
    ------
    UsageError
        It can't be read, or is none; the message says which rule.
    """
    from cinemill.operations.mask.rules import text_of

    return text_of(Path(path))


@dataclass(frozen=True, slots=True)
class Deidentify(Transcode):
    """What is asked of every instance: see `cinemill.deidentify`. Key and mapping are paths; neither is ever carried."""

    kind: ClassVar[str] = "deidentify"
    body: ClassVar[str] = "cinemill.operations.deidentify.deidentify"
    mirrors: ClassVar[bool] = False
    about: ClassVar[str] = """De-identify DICOM files by PS3.15 Annex E.

    By its Basic Profile and the options of it, in the same pass as transcoding. Without --to or --policy, pixels stay as
    they are coded, byte for byte. Pseudonyms, UIDs and shifts of dates are made by the key: two runs with one key agree,
    and references still resolve. Outputs are named by their new UIDs below DST. What may have text burned into its pixels
    is refused until --mask says what to do about it.
    """
    examples: ClassVar[tuple[str, ...]] = (
        "cinemill key new study.key",
        "cinemill deidentify /archive /research --key study.key --mask none",
        "cinemill deidentify /archive /research --key study.key --mask rules",
    )
    destination: ClassVar[str] = "A file (for one SRC file), or a directory."

    key: str = declared("", metavar="FILE", help="The key; `cinemill key new` makes one.", read=_absolute)
    mask: str = declared(
        "",
        metavar="HOW",
        help=f"What is blackened in pixels: {', '.join(masks.WORDS)}, rect:X,Y,WIDTH,HEIGHT; several with + between. "
        "none: they are left as they are.",
        offered=masks.WORDS,
    )
    mask_rules: str = declared(
        "",
        names=("--rules",),
        metavar="FILE",
        help="Rules for --mask rules, before those of cinemill: see docs/MASKS.md.",
        read=_rules_text,
    )
    option: str = declared(
        "",
        metavar="NAME,...",
        help=f"Options of the profile: {', '.join(profiles.NAMES)}.",
        offered=profiles.NAMES,
    )
    map: str = declared(
        "", metavar="FILE", help="Keep what replaced what in this file, encrypted by the key.", read=_absolute
    )
    profile: Literal["basic"] = declared(
        "basic", help="basic: the Basic Profile; PS3.15 Annex E has no other."
    )

    preserve: bool = False
    copy_rest: bool = False

    def __post_init__(self) -> None:
        Transcode.__post_init__(self)
        chosen = profiles.read_profile(self.profile, self.option)
        if not self.key:
            raise UsageError("deidentify needs a key: name one with --key; `cinemill key new FILE` makes one")
        words = masks.read_wanted([self.mask]).words if self.mask else ()
        if self.mask_rules and masks.RULES not in words:
            raise UsageError("--rules is for --mask rules; ask for that too, or leave the file out")
        if self.mask_rules and "\n" not in self.mask_rules:
            object.__setattr__(self, "mask_rules", _rules_text(self.mask_rules))
        if self.mask == masks.NONE and profiles.PIXELS in chosen:
            raise UsageError(f"--mask none and the option {profiles.PIXELS} exclude each other; choose one")

    @property
    def chosen(self) -> profiles.Profile:
        """The profile with its options."""
        return profiles.read_profile(self.profile, self.option)

    @property
    def recodes(self) -> bool:
        """Whether pixels may be coded anew; else they stay as they are."""
        return bool(self.to or self.policy)

    def find_mask(self, source: Source) -> Mask | None:
        """Return what is to be black in an instance, None where nobody asked for a mask, or there are no pixels.

        Raises
        ------
        NoMask
            It is not known.
        """
        if self.mask in {"", masks.NONE} or source.pixel_data is None:
            return None
        from cinemill.operations.mask.find import find_mask
        from cinemill.operations.mask.rules import read_rules, shipped_rules

        rules = (*read_rules(self.mask_rules, "--rules"), *shipped_rules())
        return find_mask(source, masks.read_wanted([self.mask]), rules)

    def secret(self) -> Key:
        """Return the key.

        Raises
        ------
        UsageError
            It is missing, or no key.
        """
        from cinemill.operations.deidentify.keys import read_key

        return read_key(self.key)

    def mapping(self) -> MapFile | None:
        """Return the mapping table, None where none was asked for.

        Raises
        ------
        UsageError
            It was made with another key.
        """
        from cinemill.operations.deidentify.mapping import opened

        return opened(Path(self.map), self.secret()) if self.map else None

    def aimed_at(self, sources: Sequence[Path], destination: Path) -> Self:
        """Return the same, once the key, the mapping and the table of the standard are known to be there.

        Raises
        ------
        UsageError
            One is missing, or they don't belong together, or would lie among the outputs.
        """
        from cinemill.operations.deidentify.attributes import basic_profile

        basic_profile()
        self.secret()
        if masks.DETECTED in self.mask.split("+"):
            from cinemill.operations.mask.detect import check_installed

            check_installed()
        for path in (self.key, self.map):
            if path and Path(path).resolve().is_relative_to(destination.resolve()):
                raise UsageError("lies among the outputs, with which it would be given away", path=path)
            if path and any(Path(path).resolve() == source.resolve() for source in sources):
                raise UsageError("is one of the sources; choose another file", path=path)
        self.mapping()
        return self

    def discover(
        self, sources: Sequence[Path], destination: Path, *, after: Item | None = None
    ) -> Iterator[Item]:
        """Yield the instances, each with an output that is named by its new UIDs.

        Parameters
        ----------
        sources, destination
            What was named on the command line.
        after
            Begin behind this one, which need not be there any more.
        """
        from cinemill.operations.deidentify.places import placed

        retained = profiles.UIDS in self.chosen
        return placed(sources, destination, self.secret(), retained=retained, after=after)

    def settle(self, receipt: Receipt) -> Receipt:
        """Return the receipt: no source is copied as it is."""
        return receipt

    def published(self, receipt: Receipt) -> Receipt:
        """Return a receipt in which nothing tells whose instance it was; `cinemill map show` knows the source."""
        from cinemill.operations.deidentify.silence import published

        return published(receipt, self.secret())
