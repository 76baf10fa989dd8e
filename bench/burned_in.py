"""Burns names into real cines, masks what is detected, and looks whether a name is left.

    python bench/burned_in.py [--cines 8] [--frames 12] [--folder DIR]

takes real ultrasound cines (those of pip-installable packages, and of the folder named by CINEMILL_CORPUS), burns a name of each
height and contrast into each, at a place by chance, and prints which part of the names the mask of ``--mask detected`` covers, by
height and contrast; how much of the ultrasound regions of the cines as they were is covered; and in how many of the outputs OCR
still reads a name. Exit code 1: it reads one in any.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cinemill import Cine, syntaxes
from cinemill.dicom.source import Source
from cinemill.errors import CinemillError
from cinemill.operations.instance import of_source
from cinemill.operations.mask.detect import detected, read_text
from cinemill.operations.mask.kinds import Kind, kind_of
from cinemill.operations.mask.masks import Mask, clipped
from cinemill.operations.mask.projection import projected
from cinemill.operations.mask.write import write_masked
from cinemill.operations.operation import Control
from cinemill.operations.origin import Origin
from cinemill.operations.transcode.request import Transcode
from cinemill.pixel_format import Box
from cines import Shape, real_cines, write

HEIGHTS = (8, 10, 12, 16, 24)
"""Of a line, ascenders and descenders included, in pixels."""

CONTRASTS = (255, 160, 90)
"""Grey of the letters; they are burned in over whatever is there, and get at least this much brighter."""

NAMES = ("DOE JANE", "Mueller, Anna", "SMITH^JOHN", "Nguyen Van An", "GARCIA LOPEZ", "O'Brien Patrick")
COVERED = 0.95
"""Part of a name's box that has to be black."""

Frames = NDArray[np.uint8]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--cines", type=int, default=8)
    arguments.add_argument("--frames", type=int, default=12)
    arguments.add_argument("--folder", type=Path)
    asked = arguments.parse_args()
    paths = list(_real(asked.cines))
    with tempfile.TemporaryDirectory() as temporary:
        return _measure(paths, asked.frames, asked.folder or Path(temporary))


def _real(most: int) -> Iterator[Path]:
    """Yield cines that differ in maker, size or regions."""
    corpus = Path(os.environ.get("CINEMILL_CORPUS", "/nonexistent")) / "files"
    files = (
        [*sorted(corpus.iterdir()), *real_cines().values()] if corpus.is_dir() else [*real_cines().values()]
    )
    seen: set[Kind] = set()
    for path in files:
        try:
            with Source(path) as source:
                if source.pixel_data is None or source.text(0x00080060) != "US" or source.pixels.rows < 200:
                    continue
                kind = kind_of(source)
                if kind in seen or len(seen) == most:
                    continue
                Cine(source).render(0)
        except CinemillError:
            continue
        seen.add(kind)
        yield path


def _measure(paths: list[Path], most: int, folder: Path) -> int:
    found: dict[tuple[int, int], list[float]] = defaultdict(list)
    still_read, outputs, shares = [], 0, []
    random = np.random.default_rng(17)
    for number, path in enumerate(paths):
        frames, share, before = _load(path, most)
        shares.append(share)
        print(
            f"{path.name[:60]:60} {frames.shape[2]}x{frames.shape[1]}, {len(before)} texts as it is, {share:.1%} of regions"
        )
        for contrast in CONTRASTS:
            burned, names = frames.copy(), {}
            for height in HEIGHTS:
                name = NAMES[int(random.integers(len(NAMES)))]
                names[name, height] = _burn(burned, name, height, contrast, random)
            source, output = folder / f"{number}-{contrast}.dcm", folder / f"{number}-{contrast}-masked.dcm"
            write(
                source,
                Shape(*burned.shape[1:3]).pixels,
                len(burned),
                "native",
                (frame.tobytes() for frame in burned),
            )
            with Source(source) as opened:
                mask = detected(opened)
            for (_, height), box in names.items():
                found[height, contrast].append(_covered(box, mask, burned.shape[1:3]))
            _mask(source, output, mask)
            outputs += 1
            with Source(output) as opened:
                read = [text.words for text in read_text(projected(opened))]
            left = [name for name, _ in names if any(_alike(name, words) for words in read)]
            still_read += [f"{output.name}: {name}" for name in left]
    _print(found, shares, still_read, outputs)
    return int(bool(still_read))


def _load(path: Path, most: int) -> tuple[Frames, float, list[str]]:
    """Return frames as RGB, the part of the ultrasound regions that detected text covers, and that text."""
    with Source(path) as source:
        cine = Cine(source)
        renderer = cine.renderer()
        pictures = [renderer.render(cine[index], index) for index in range(min(len(cine), most))]
        texts = read_text(projected(source))
        rows, columns = cine.pixels.rows, cine.pixels.columns
        regions = np.zeros((rows, columns), bool)
        for region in cine.regions:
            left, top, right, bottom = region.bounds
            regions[top : bottom + 1, left : right + 1] = True
    covered = np.zeros_like(regions)
    for left, top, right, bottom in clipped([text.box for text in texts], rows, columns):
        covered[top : bottom + 1, left : right + 1] = True
    share = float((covered & regions).sum() / regions.sum()) if regions.any() else 0.0
    grey = pictures[0].ndim == 2
    frames = np.stack([np.repeat(each[..., None], 3, axis=-1) if grey else each for each in pictures])
    return frames, share, [text.words for text in texts]


def _burn(frames: Frames, name: str, height: int, contrast: int, random: np.random.Generator) -> Box:
    """Burn a name into all frames; return the box of its ink."""
    font = ImageFont.truetype("DejaVuSans.ttf", height * 0.86)
    picture = Image.new("L", (int(font.getlength(name)) + 8, 2 * height))
    ImageDraw.Draw(picture).text((2, 2), name, 255, font)
    ink = np.asarray(picture)
    rows, columns = np.flatnonzero(ink.max(axis=1)), np.flatnonzero(ink.max(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top = int(random.integers(0, frames.shape[1] - ink.shape[0]))
    left = int(random.integers(0, max(frames.shape[2] - ink.shape[1], 1)))
    place = frames[:, top : top + ink.shape[0], left : left + ink.shape[1]]
    ink = ink[: place.shape[1], : place.shape[2], None].astype(int)
    level = np.minimum(place.mean(axis=(0, 1, 2)).max() + contrast, 255)
    place[...] = (place * (255 - ink) + level * ink) // 255
    return left, top, left + ink.shape[1] - 1, top + ink.shape[0] - 1


def _covered(box: Box, mask: Mask, shape: tuple[int, int]) -> float:
    black = np.zeros(shape, bool)
    for left, top, right, bottom in mask.boxes:
        black[top : bottom + 1, left : right + 1] = True
    left, top, right, bottom = box
    return float(black[top : bottom + 1, left : right + 1].mean())


def _mask(source: Path, output: Path, mask: Mask) -> None:
    if not mask.boxes:
        output.write_bytes(source.read_bytes())
        return
    request, control, target = Transcode(overwrite=True), Control(), syntaxes.target("jpeg-ls")
    of_source(
        source,
        output,
        lambda opened: write_masked(Origin(opened, {}), output, request, control, mask, target=target),
    )


def _alike(name: str, words: str) -> bool:
    return SequenceMatcher(None, name.casefold(), words.casefold()).ratio() > 0.7


def _print(
    found: dict[tuple[int, int], list[float]], shares: list[float], still_read: list[str], outputs: int
) -> None:
    print("\nnames covered by the mask, by height of a line and grey of the letters")
    print("height" + "".join(f"{contrast:>12}" for contrast in CONTRASTS))
    for height in HEIGHTS:
        cells = [np.array(found[height, contrast]) >= COVERED for contrast in CONTRASTS]
        print(f"{height:>6}" + "".join(f"{cell.sum():>6} of {len(cell):<2}" for cell in cells))
    print(
        f"ultrasound regions covered without a name: {np.mean(shares):.2%} on average, {max(shares):.2%} at most"
    )
    print(f"outputs in which OCR still reads a name: {len(still_read)} of {outputs}")
    for each in still_read:
        print(f"  {each}")


if __name__ == "__main__":
    sys.exit(main())
