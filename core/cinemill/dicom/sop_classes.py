"""Storage SOP classes that rules of several operations are about (PS3.4 B.5)."""

from __future__ import annotations

STORAGE = "1.2.840.10008.5.1.4.1.1."
"""With which the UIDs of standard storage classes of patients begin."""

ULTRASOUND = frozenset(STORAGE + suffix for suffix in ("3", "3.1", "6", "6.1", "6.2"))
"""Ultrasound and ultrasound multi-frame, retired ones included, and Enhanced US Volume."""

_VISIBLE_LIGHT = frozenset(
    f"{STORAGE}77.1.{suffix}"
    for suffix in ("1", "1.1", "2", "2.1", "3", "4", "4.1", "5.1", "5.2", "5.5", "5.6", "6", "7")
)
"""Endoscopy, microscopy, photography and video of them, ophthalmic photography, whole slides, dermoscopy."""

_TRUE_COLOUR_CAPTURE = STORAGE + "7.4"

RGB_IODS = ULTRASOUND | _VISIBLE_LIGHT | {_TRUE_COLOUR_CAPTURE}
"""Those whose IODs have colour as YBR_FULL_422 in lossy JPEG, and as RGB in every coding that transforms no colour (PS3.3 C.8.5.6.1.2,
A.8.5.4, C.8.12.1.1.1, C.8.12.4.1.5, C.8.17.2.1.1)."""
