"""The policy that holds where neither a target nor another policy is named."""

from __future__ import annotations

from cinemill import syntaxes

_SMALLER = ("jpeg-ls", "jpeg-2000")
"""What nearly all read today."""

_WHERE_READ = (*_SMALLER, "htj2k", "jpeg-xl")
"""What may be chosen once it is said who has to read it."""

_TEXT = """\
name = "archive"

# Besides, and whatever rules say: what is no image is copied, and so is what no target can hold, lossy sources are kept
# (see lossy-source), and nothing is written that would be larger than its source (see if-larger).

[[rule]]
name = "lossless"
to = [{targets}]   # whichever is smaller, by a trial
"""


def archive(*, readers_named: bool = False) -> str:
    """Return the text of the policy.

    Parameters
    ----------
    readers_named
        Whether it was said who has to read the outputs.
    """
    there = {row.name for row in syntaxes.TARGETS}
    names = [name for name in (_WHERE_READ if readers_named else _SMALLER) if name in there]
    return _TEXT.format(targets=", ".join(f'"{name}"' for name in names))
