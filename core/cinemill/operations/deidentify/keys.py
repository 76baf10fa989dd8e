"""The key that pseudonyms, UIDs and shifts of dates are made by: the same key makes the same everywhere (HMAC-SHA256)."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
from functools import lru_cache
from pathlib import Path

from cinemill.errors import UsageError
from cinemill.storage.atomic import output_error
from cinemill.storage.private import write_new

_BEGINS = "cinemill-key-1:"
_BYTES = 32
_LONGEST = 4096
_MOST_DAYS = 3650
_LEAST_DAYS = 30
_SHOWN = 16


class Key:
    """A secret, and what is made by it: nothing of it can be undone without the key, nor with it alone.

    Parameters
    ----------
    secret
        32 random bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @property
    def fingerprint(self) -> str:
        """By what the key is recognised; says nothing of the secret."""
        return self._made("fingerprint", b"").hex()[:_SHOWN]

    def uid(self, uid: str) -> str:
        """Return the UID that replaces another one (PS3.5 §B.2): 128 bits of the HMAC below 2.25."""
        return f"2.25.{int.from_bytes(self._made('uid', uid.encode())[:16], 'big')}"

    def patient(self, identity: str) -> str:
        """Return the pseudonym of a patient: 16 letters and digits."""
        return base64.b32encode(self._made("patient", identity.encode())[:10]).decode()

    def days(self, identity: str) -> int:
        """Return by how many days the dates of a patient are moved back."""
        number = int.from_bytes(self._made("days", identity.encode())[:8], "big")
        return _LEAST_DAYS + number % (_MOST_DAYS - _LEAST_DAYS)

    def digest(self, purpose: str, data: bytes) -> str:
        """Return a digest that tells nothing to who has no key."""
        return f"hmac-sha256:{self._made('digest ' + purpose, data)[:16].hex()}"

    def derived(self, purpose: str) -> bytes:
        """Return another key of 32 bytes."""
        return self._made("derived " + purpose, b"")

    def _made(self, purpose: str, data: bytes) -> bytes:
        return hmac.digest(self._secret, b"cinemill " + purpose.encode() + b"\0" + data, "sha256")


def make_key(path: Path) -> Key:
    """Make a new key and write it to a file that only its owner reads.

    Raises
    ------
    UsageError
        Something stands there: a key is never replaced, for what was made by it would lose its way back.
    OutputError
        It can't be written.
    """
    secret = secrets.token_bytes(_BYTES)
    text = _BEGINS + base64.b64encode(secret).decode() + "\n"
    try:
        write_new(path, text.encode())
    except FileExistsError:
        raise UsageError("exists; a key is never replaced, choose another name", path=path) from None
    except OSError as error:
        raise output_error(path, error) from None
    return Key(secret)


def read_key(path: str | os.PathLike[str]) -> Key:
    """Return the key in a file.

    Raises
    ------
    UsageError
        It is missing, can't be read, or is no key.
    """
    try:
        there = Path(path).stat()
    except OSError as error:
        raise UsageError(
            f"the key can't be read: {error.strerror}; `cinemill key new FILE` makes one", path=path
        ) from None
    return _read(os.fspath(path), there.st_mtime_ns, there.st_size)


@lru_cache(maxsize=8)
def _read(path: str, modified: int, size: int) -> Key:  # noqa: ARG001  # a file that changed is read again
    try:
        with Path(path).open("rb") as file:
            text = file.read(_LONGEST).decode("ascii", "replace").strip()
    except OSError as error:
        raise UsageError(f"the key can't be read: {error.strerror}", path=path) from None
    try:
        secret = base64.b64decode(text.removeprefix(_BEGINS), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not text.startswith(_BEGINS) or len(secret) != _BYTES:
        raise UsageError("is no key; `cinemill key new FILE` makes one", path=path)
    return Key(secret)
