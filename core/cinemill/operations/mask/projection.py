"""One picture of a whole cine: of each pixel the brightest that it ever is, so that whatever is ever written there is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cinemill.frames.cine import Cine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.dicom.source import Source


def projected(source: Source, most: int | None = None) -> NDArray[np.uint8]:
    """Return the brightest that each pixel is displayed in any frame: (rows, columns), or with 3 samples of RGB.

    Parameters
    ----------
    source
        The open file, with pixel data.
    most
        Frames to look at, spread over the cine; all of them by default.

    Raises
    ------
    CinemillError
        A frame does not decode.
    """
    cine = Cine(source)
    renderer = cine.renderer(window="auto")
    count = len(cine)
    indices = range(count) if most is None or count <= most else np.linspace(0, count - 1, most).astype(int)
    brightest: NDArray[np.uint8] | None = None
    for index in indices:
        picture = renderer.render(cine[int(index)], int(index))
        if brightest is None:
            brightest = picture.copy()
        else:
            np.maximum(brightest, picture, out=brightest)
    assert brightest is not None
    return brightest
