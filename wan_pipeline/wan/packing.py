"""Bodies that come packed although they were asked for plain, unpacked within a bound."""

from __future__ import annotations

import zlib

__all__ = ["PackedBodyError", "TooLongError", "UnknownPackingError", "unpacked"]

_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class PackedBodyError(Exception):
    """The bytes are not what their Content-Encoding says, or end too early."""


class UnknownPackingError(Exception):
    """A Content-Encoding that is not undone here."""


class TooLongError(Exception):
    """More bytes than allowed come out."""


def unpacked(data: bytes, encoding: str, *, max_bytes: int) -> bytes:
    """The body that was packed (RFC 9110, 8.4.1); what follows its end is dropped.

    Never more than `max_bytes` + 1 bytes are made, whatever a few packed ones promise.

    Args:
        data: as received.
        encoding: the value of Content-Encoding.
        max_bytes: longest body allowed.

    Raises:
        UnknownPackingError: it is neither gzip nor deflate, or more than one.
        PackedBodyError: the bytes are no such body, or not all of it.
        TooLongError: the body is longer.
    """
    inflater = zlib.decompressobj(_window_bits(encoding, data))
    try:
        body = inflater.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise PackedBodyError(f"they are no {encoding} ({error})") from error
    if len(body) > max_bytes:
        raise TooLongError
    if not inflater.eof:
        raise PackedBodyError(f"their {encoding} ends before its end")
    return body


def _window_bits(encoding: str, data: bytes) -> int:
    match encoding.strip().casefold():
        case "gzip" | "x-gzip":
            return _GZIP
        case "deflate":  # by the RFC in zlib's frame (RFC 1950), by some servers without it
            framed = len(data) > 1 and data[0] & 15 == 8 and (data[0] << 8 | data[1]) % 31 == 0
            return _ZLIB if framed else _RAW
        case _:
            raise UnknownPackingError(encoding)
