"""Ultrasound cines whose geometry is known: speckle in a fan, a disc of known size, and all that a machine writes around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tests.support import clips

ROWS, COLUMNS = 480, 640
REGION = (40, 40, 599, 439)
"""Left, top, right and bottom of the region with 2D."""


def sector(
    apex, angles, radii, *, aspect=1.0, box=(-1, -1, COLUMNS, ROWS), shape=(ROWS, COLUMNS)
) -> NDArray[np.bool_]:
    """Pixels between two rays and two arcs, (rows, columns): angles in degrees from straight down, by arctan and hypot."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    across, along = x - apex[0], (y - apex[1]) * aspect
    angle, radius = np.degrees(np.arctan2(across, along)), np.hypot(across, along)
    within = (angle >= angles[0]) & (angle <= angles[1]) & (radius >= radii[0]) & (radius <= radii[1])
    return within & (x >= box[0]) & (x <= box[2]) & (y >= box[1]) & (y <= box[3])


FANS = {
    "phased": sector((320, 50), (-42, 42), (0, 360)),
    "phased, cut by the display": sector((300, 45), (-45, 45), (4, 370), box=(110, 0, 460, ROWS)),
    "curved": sector((320, -60), (-33, 33), (130, 470)),
    "linear": sector((320, 0), (-90, 90), (0, 9999), box=(150, 60, 500, 420)),
    "trapezoid": sector((320, -150), (-28, 28), (0, 9999), box=(0, 70, COLUMNS, 400)),
    "not square": sector((320, 48), (-40, 40), (0, 290), aspect=0.8),
    "looking up": sector((320, 50), (-40, 40), (60, 340))[::-1],
}


def frames(fan, count=12, *, seed=0, furniture=True) -> NDArray[np.uint8]:
    """Grey frames with speckle in the fan; around it a clock, text, a grey bar and an electrocardiogram."""
    rng = np.random.default_rng(seed)
    rows, columns = fan.shape
    found = np.zeros((count, rows, columns), np.uint8)
    for number in range(count):
        speckle = rng.rayleigh(30, fan.shape).clip(0, 255).astype(np.uint8)
        image = Image.fromarray(np.where(fan, speckle, 0).astype(np.uint8))
        if furniture:
            _furnish(ImageDraw.Draw(image), number, count, rows, columns)
        found[number] = image
    return found


def _furnish(draw, number, count, rows, columns):
    draw.text((45, 44), f"SURNAME^NAME\nFR {30 + number}Hz\n12:00:{number:02}", fill=255)
    draw.text((columns - 110, 60), "MI 0.9\nTIS 0.4", fill=200)
    draw.rectangle((columns - 30, 100, columns - 20, 220), fill=180)
    for depth in range(60, rows - 60, 40):
        draw.line((columns - 50, depth, columns - 44, depth), fill=255)
    beat = np.arange(0, columns * (number + 1) // count)
    trace = rows - 50 - 20 * (beat % 90 < 4)
    draw.line(list(zip(beat.tolist(), trace.tolist(), strict=True)), fill=220)


def write(
    path: Path, pictures, *, deltas=(0.05, 0.05), bounds=REGION, time=40.0, patient="1", removed="YES", **more
):
    """Write a cine with one region of 2D, in cm."""
    elements = {
        "PatientIdentityRemoved": removed,
        "PatientID": patient,
        "PatientName": "Surname^Name",
        "Modality": "US",
        "SequenceOfUltrasoundRegions": [clips.region(bounds, deltas=deltas)],
        **({} if time is None else {"FrameTime": time}),
        **more,
    }
    if elements["PatientIdentityRemoved"] is None:
        del elements["PatientIdentityRemoved"]
    return clips.write(path, pictures, **elements)
