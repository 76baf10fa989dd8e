"""The protocols of codecs: each decodes, some encode too, some have others decode what they do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cinemill.pixel_format import Buffer, PixelFormat, Samples


class Codec(Protocol):
    """A stateless, thread-safe decoder of whole frames. All frames of one call have the same geometry.

    Attributes
    ----------
    name
        What receipts call it, e.g. ``"charls"``.
    version
        Version of the library, or of cinemill for its own kernels.
    batch
        How many frames one call handles best.
    """

    name: str
    version: str
    batch: int

    def decode(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[Samples]:
        """Decode frames to arrays of ``pixels.shape`` and ``pixels.dtype``, in the codestream's colour space.

        Raises
        ------
        CodecError
            A codestream is damaged or holds another geometry; ``frame`` is its index within this call.
        """
        ...


class Encoder(Codec, Protocol):
    """A codec that encodes too."""

    def encode(self, frames: Sequence[Samples], pixels: PixelFormat) -> list[bytes]:
        """Encode arrays of ``pixels.shape`` and ``pixels.dtype`` losslessly, one codestream a frame.

        Raises
        ------
        UnsupportedPixelFormat
            This encoder can't hold such samples.
        """
        ...


class Delegating(Codec, Protocol):
    """A codec that has another one decode what it does not."""

    def attributed(self, codestreams: Sequence[Buffer], pixels: PixelFormat) -> list[tuple[Samples, Codec]]:
        """Decode frames as `decode` does; with each comes who decoded it."""
        ...


def named(codec: Codec) -> str:
    """Name a codec and its version, as receipts do."""
    return f"{codec.name} {codec.version}"


def credited(codec: Codec, by: set[str]) -> str:
    """Name a codec, or those that it had decode everything; ``by`` has the names of who decoded."""
    ours = named(codec)
    return ours if ours in by else " and ".join(sorted(by)) or ours
