"""Has several decoders decode one frame: what two of them agree on is its content."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.errors import CodecError, UnsupportedPixelFormat
from cinemill.frames.equality import same_samples

if TYPE_CHECKING:
    from cinemill.codecs.codec import Codec
    from cinemill.pixel_format import Buffer, PixelFormat, Samples


class Opinions:
    """What decoders say of one frame, until two agree.

    Parameters
    ----------
    tolerance
        By how much samples may differ in agreement: 0 but for lossy wavelets, which decoders round differently.

    Attributes
    ----------
    agreed : str
        The two that agree, empty as long as none do.
    silent : dict of str to str
        Why decoders could not say, by name.
    """

    def __init__(self, tolerance: int = 0) -> None:
        self.agreed = ""
        self.silent: dict[str, str] = {}
        self._tolerance = tolerance
        self._heard: dict[str, Samples] = {}

    @property
    def dissenters(self) -> list[str]:
        """Names of those that say something else than the two that agree; all as long as none do."""
        return [name for name in self._heard if name not in self.agreed.split(" and ")]

    def hear(self, name: str, samples: Samples) -> Samples | None:
        """Add an opinion; return the earlier one that it agrees with, if there is one."""
        for other, earlier in self._heard.items():
            if self._alike(earlier, samples):
                self.agreed = f"{other} and {name}"
                return earlier
        self._heard[name] = samples
        return None

    def ask(self, codec: Codec, data: Buffer, pixels: PixelFormat, *, damage: bool = False) -> Samples | None:
        """Have a decoder decode a codestream, and add what it says; see `hear`.

        Parameters
        ----------
        codec, data, pixels
            The decoder, the codestream, and what it holds.
        damage
            Whether one decoder that finds damage is enough to refuse the frame.

        Raises
        ------
        CodecError
            The decoder finds damage, if ``damage`` says that this matters.
        """
        try:
            (samples,) = codec.decode([data], pixels)
        except (CodecError, UnsupportedPixelFormat) as error:
            if damage and isinstance(error, CodecError):
                raise
            self.silent[codec.name] = error.message
            return None
        return self.hear(codec.name, samples)

    def _alike(self, one: Samples, other: Samples) -> bool:
        if self._tolerance == 0:
            return same_samples(one, other)
        return one.shape == other.shape and bool(
            np.abs(one.astype(np.int64) - other.astype(np.int64)).max() <= self._tolerance
        )

    def __str__(self) -> str:
        said = []
        if len(self._heard) > 1:
            (first, samples), *others = self._heard.items()
            said = [
                f"{first} and {name} decode it differently in {np.count_nonzero(samples != other)} of {other.size} samples"
                for name, other in others
            ]
        return "; ".join([*said, *(f"{name}: {why}" for name, why in self.silent.items())])
