"""Text files as lines, or whole: compression, encodings and line ends, nothing about columns.

Bytes that are not valid in the encoding become lone surrogates, so that the reader can reject the
row they are in and go on with the others.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Self, cast

from wan_pipeline.prompts.errors import EmptyPromptFileError, UnreadablePromptFileError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

__all__ = ["MAX_LINE", "LongLine", "is_clean", "open_lines", "read_bounded"]

#: Most characters of one line, and of one row with line breaks in it.
MAX_LINE = 1_000_000
_MOST_PASSED_OVER = 64  # times as much of one line; what is longer is no table

# UTF-32 before UTF-16: the little-endian BOM of the one begins with that of the other.
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class LongLine(str):
    """The beginning of a line of more than `MAX_LINE` characters; the rest was passed over.

    Attributes:
        number: of the line in its file, from 1.
        balanced: whether all its double quotes, of the rest as well, can be pairs.
    """

    __slots__ = ("balanced", "number")

    def __new__(cls, start: str, *, number: int, balanced: bool) -> Self:
        """As a string it is `start`."""
        line = super().__new__(cls, start)
        line.number = number
        line.balanced = balanced
        return line

    @property
    def rule(self) -> str:
        """The rule that it breaks, and where."""
        return f"a line has at most {MAX_LINE} characters; line {self.number} has more"


@contextmanager
def open_lines(file: Path, *, gzipped: bool) -> Generator[Iterator[str]]:
    """Open `file` as an iterator of lines, each with its own line end (LF, CRLF or CR).

    UTF-8 with or without a byte order mark; UTF-16 and UTF-32 with one. A line over `MAX_LINE`
    comes as a `LongLine`.

    Raises:
        EmptyPromptFileError: nothing but white space in it, not even a header.
        UnreadablePromptFileError: missing, forbidden, a damaged gzip, a line without an end.
    """
    try:
        with _open_bytes(file, gzipped=gzipped) as stream:
            encoding = _encoding(stream.peek(4))
            errors = "surrogateescape" if encoding.startswith("utf-8") else "surrogatepass"
            text = io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline="")
            yield _lines(text, file)
    except EOFError as error:
        raise UnreadablePromptFileError(
            file, "the gzip data ends too early", "Copy or download the file again"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UnreadablePromptFileError(
            file, f"not valid gzip data ({error})", "Compress it again, or remove .gz from the name"
        ) from error
    except UnicodeDecodeError as error:
        raise UnreadablePromptFileError(
            file, f"not valid {error.encoding} text ({error.reason})", "Save the file as UTF-8"
        ) from error
    except OSError as error:
        raise _unreadable(file, error) from error


def read_bounded(file: Path, limit: int, *, too_long: str) -> str:
    """Return the whole text of a file, of which not much more than `limit` bytes are read.

    UTF-8 with or without a byte order mark; UTF-16 and UTF-32 with one.

    Args:
        file: to read.
        limit: bytes that it may have.
        too_long: what to do about a longer one.

    Raises:
        UnreadablePromptFileError: it cannot be read, is longer, or is no text.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise _unreadable(file, error) from error
    if len(data) > limit:
        raise UnreadablePromptFileError(file, f"has more than {limit:,} bytes", too_long)
    try:
        return data.decode(_encoding(data[:4]))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UnreadablePromptFileError(
            file, f"not valid {error.encoding} text in line {line}", "Save the file as UTF-8"
        ) from error


def is_clean(text: str) -> bool:
    """Whether every byte of `text` was valid in the encoding of its file."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _open_bytes(file: Path, *, gzipped: bool) -> io.BufferedReader:
    if not gzipped:
        return file.open("rb")
    return io.BufferedReader(cast("io.RawIOBase", gzip.open(file, "rb")))


def _encoding(start: bytes) -> str:
    return next((name for bom, name in _BOMS if start.startswith(bom)), "utf-8")


def _lines(text: IO[str], file: Path) -> Iterator[str]:
    empty, number = True, 0
    while line := text.readline(MAX_LINE + 1):
        number += 1
        empty = empty and not line.strip()
        yield line if len(line) <= MAX_LINE else _passed_over(line, text, file, number)
    if empty:
        raise EmptyPromptFileError(
            file,
            "the file is empty",
            'Write a header with a "prompt" column and one row per prompt',
        )


def _passed_over(start: str, text: IO[str], file: Path, number: int) -> LongLine:
    """Read a line that is too long to its end, keeping no more than its beginning."""
    part, quotes = start, start.count('"')
    for _ in range(_MOST_PASSED_OVER):
        if not part or part.endswith(("\n", "\r")):
            return LongLine(start, number=number, balanced=quotes % 2 == 0)
        part = text.readline(MAX_LINE + 1)
        quotes += part.count('"')
    raise UnreadablePromptFileError(
        file,
        f"line {number} has more than {MAX_LINE * _MOST_PASSED_OVER} characters",
        "Check that it is a table with one prompt per row",
    )


def _unreadable(file: Path, error: OSError) -> UnreadablePromptFileError:
    return UnreadablePromptFileError(
        file, f"cannot be read ({error.strerror or error})", "Check the path and its permissions"
    )
