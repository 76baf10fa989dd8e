"""Finds the fans of phantoms at random, and tells how much of their area the masks share with the truth.

    python bench/fans.py [--count 60] [--seed 1]

draws phased, curved and linear arrays, trapezoids and fans that the display cuts, of square pixels or not, with speckle of some gain
that fades with depth, black cavities, shadows, text, bars and a running electrocardiogram. Exit code 1: of those that count as
found, more than one in ten share less than 0.95 of their area.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from cinemill.operations.dataset.evidence import find_evidence
from cinemill.operations.dataset.fit import fit_fan
from cinemill.operations.dataset.request import MakeClips
from tests.support import phantoms

ROWS, COLUMNS = phantoms.ROWS, phantoms.COLUMNS
ENOUGH = 0.95


class Found(NamedTuple):
    """How well a fan was found."""

    shared: float
    confidence: float
    kind: str


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--count", type=int, default=60)
    arguments.add_argument("--seed", type=int, default=1)
    asked = arguments.parse_args()
    rng = np.random.default_rng(asked.seed)
    found = sorted(look(rng, number) for number in range(asked.count))
    shared = np.array([each.shared for each in found])
    least = MakeClips().fan_confidence
    counted = np.array([each.shared for each in found if each.confidence >= least])
    print(
        f"{asked.count} phantoms: median {np.median(shared):.3f}, {np.mean(shared >= 0.97):.0%} share 0.97 or more"
    )
    print(
        f"{len(counted)} count as found: {np.mean(counted >= ENOUGH):.0%} share {ENOUGH} or more, the worst {counted.min():.3f}"
    )
    for each in found[:5]:
        print(f"  {each.kind}: {each.shared:.3f}, confidence {each.confidence:.3f}")
    return int(np.mean(counted >= ENOUGH) < 0.9)


def look(rng: np.random.Generator, number: int) -> Found:
    """Draw a phantom, and look for its fan."""
    aspect = float(rng.choice([1, 1, 0.8, 1.2]))
    kind, geometry = draw(rng, aspect)
    truth = phantoms.sector(aspect=aspect, **geometry)
    fan = fit_fan(
        find_evidence(darkened(rng, phantoms.frames(truth, int(rng.integers(4, 16)), seed=number), truth)),
        aspect,
    )
    if fan is None:
        return Found(0.0, 0.0, kind)
    mask = fan.mask(ROWS, COLUMNS)
    return Found(float((mask & truth).sum() / (mask | truth).sum()), fan.confidence, kind)


def draw(rng: np.random.Generator, aspect: float) -> tuple[str, dict[str, Any]]:
    """Return the geometry of a fan."""
    one = rng.uniform
    match str(rng.choice(["phased", "curved", "linear", "cut", "trapezoid"])):
        case "phased":
            half, outer = one(25, 48), one(240, 400) * min(1, aspect)
            return "phased", {
                "apex": (one(260, 380), one(20, 60)),
                "angles": (-half, half),
                "radii": (one(0, 15), outer),
            }
        case "curved":
            half, inner, top = one(20, 40), one(60, 180), one(30, 60)
            radii = inner, inner + one(220, 330) * aspect
            return "curved", {
                "apex": (one(280, 360), top - inner / aspect),
                "angles": (-half, half),
                "radii": radii,
            }
        case "linear":
            box = one(60, 200), one(30, 90), one(420, 560), one(300, 430)
            return "linear", {"apex": (320, 0), "angles": (-90, 90), "radii": (0, 9999), "box": box}
        case "cut":
            box = one(60, 150), 0, one(480, 600), ROWS
            radii = 0, one(300, 380) * min(1, aspect)
            return "cut", {
                "apex": (one(260, 380), one(20, 60)),
                "angles": (-45, 45),
                "radii": radii,
                "box": box,
            }
        case _:
            box = 0, one(40, 90), COLUMNS, one(330, 430)
            return "trapezoid", {
                "apex": (320, -one(100, 250)),
                "angles": (-25, 25),
                "radii": (0, 9999),
                "box": box,
            }


def darkened(
    rng: np.random.Generator, frames: NDArray[np.uint8], fan: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Return frames whose speckle fades with depth, with cavities and shadows that are black in all of them."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    gain = rng.uniform(0.3, 1.2) * np.clip(1.2 - rng.uniform(0, 0.8) * y / ROWS, 0.02, 1)
    frames = np.where(fan, frames * gain, frames).astype(np.uint8)
    for _ in range(int(rng.integers(0, 3))):
        middle = rng.uniform(150, 500), rng.uniform(120, 380)
        frames[:, fan & (np.hypot(x - middle[0], y - middle[1]) < rng.uniform(20, 60))] = 0
    if rng.random() < 0.3:
        slope = np.tan(np.radians(rng.uniform(-20, 20)))
        frames[:, fan & (abs(x - 320 - y * slope) < rng.uniform(8, 25)) & (y > 150)] = 0
    return frames


if __name__ == "__main__":
    sys.exit(main())
