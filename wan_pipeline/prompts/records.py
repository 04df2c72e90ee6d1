"""Lines of a CSV or TSV file to records, each either well-formed or broken on its own.

This stands in front of the pandas parser, which either drops a bad row or gives up on the file.
Here every row keeps its number, a broken one is set aside with the reason, and what is left has
exactly one reading.

Quotes in CSV follow RFC 4180: a field that begins with a quote ends with one, quotes inside are
doubled, and anything else is an error. TSV has no such convention: most tools write tabs and
nothing else, so text there may begin with a bare quote (``"GIGGLE" on a wall``). A TSV field is
quoted only when its closing quote is followed by a tab or the end of the line.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.prompts.errors import (
    BrokenQuotingError,
    RuleViolation,
    UnreadablePromptFileError,
)
from wan_pipeline.prompts.text_source import MAX_LINE, LongLine, is_clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Record", "RecordReader"]

#: A row with more line breaks than this is taken for a quote that was never closed.
_MAX_LINES = 1000


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the table.

    Attributes:
        text: the row without its line end; parses to exactly the header's columns, or to fewer.
        problem: why the row is not usable; then `text` is what the file has.
    """

    text: str
    problem: RuleViolation | None = None


class _Malformed(Exception):  # noqa: N818  control flow inside this module
    """A closing quote is followed by something else than a separator."""


class _Open(Exception):  # noqa: N818  control flow inside this module
    """The text ends inside a quoted field, whose opening quote is at `position`."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


class RecordReader:
    """Splits lines into a header and records; iterate after reading `header`."""

    def __init__(self, lines: Iterator[str], *, file: Path, delimiter: str) -> None:
        self._lines = lines
        self._ahead: deque[str] = deque()
        self._file = file
        self._delimiter = delimiter
        self._bare_quotes = delimiter == "\t"
        self._row = 0
        self.header = self._read_header()

    def __iter__(self) -> Iterator[Record]:
        """Yield the records; blank lines and rows of empty cells are passed over."""
        width = len(self.header)
        while (line := self._next_line()) is not None:
            if isinstance(line, LongLine):
                self._row += 1
                yield self._too_long(line)
                continue
            if not line.strip(" \t\r\n" + self._delimiter):
                continue
            self._row += 1
            if '"' not in line:
                text = line.rstrip("\r\n")
                if text.count(self._delimiter) < width and "\0" not in text and is_clean(text):
                    yield Record(text)
                else:
                    yield self._checked(text, text.split(self._delimiter))
                continue
            try:
                text, fields = self._quoted(line)
            except RuleViolation as violation:
                yield Record(line.rstrip("\r\n"), violation)
            else:
                yield self._checked(text, fields)

    def _read_header(self) -> list[str]:
        while (line := self._next_line()) is not None:
            if isinstance(line, LongLine):
                raise self._endless(line)
            if line.strip():
                try:
                    return self._quoted(line)[1]
                except RuleViolation as violation:
                    raise BrokenQuotingError(
                        self._file, "the header has a broken quote", violation.remedy.capitalize()
                    ) from violation
        return []

    def _next_line(self) -> str | None:
        return self._ahead.popleft() if self._ahead else next(self._lines, None)

    def _checked(self, text: str, fields: list[str]) -> Record:
        """The record of `fields`, rewritten where `text` has a second reading, or broken."""
        width = len(self.header)
        if "\0" in text:
            return Record(text, RuleViolation("a row has no NUL characters", "remove them"))
        if not is_clean(text):
            return Record(
                text,
                RuleViolation(
                    "a row is valid text in the encoding of its file",
                    "save the file as UTF-8 (spreadsheets: CSV UTF-8) and check this row",
                ),
            )
        if any(fields[width:]):
            return Record(text, self._too_many(len(fields)))
        if len(fields) <= width and not self._bare_quotes:
            return Record(text)
        quoted = ('"' + field.replace('"', '""') + '"' for field in fields[:width])
        return Record(self._delimiter.join(quoted))

    def _too_long(self, line: LongLine) -> Record:
        """The row alone, where no quote of its line can be open beyond its end."""
        if not line.balanced:
            raise self._endless(line)
        return Record(line, RuleViolation(line.rule, "shorten its cells, or remove the row"))

    def _endless(self, line: LongLine) -> UnreadablePromptFileError:
        where = f"data row {self._row}" if self._row else "the header"
        return UnreadablePromptFileError(
            self._file,
            f"{where}: {line.rule}, and where the row ends cannot be told",
            "Shorten that row or remove it",
        )

    def _too_many(self, count: int) -> RuleViolation:
        separator = "tab" if self._delimiter == "\t" else "comma"
        return RuleViolation(
            f"a row has at most as many fields as the header, {len(self.header)}; this has {count}",
            f"put text with a {separator} in it in double quotes, with no space before the first",
        )

    def _quoted(self, line: str) -> tuple[str, list[str]]:
        """Split a record that begins with `line` and may go on over the next lines."""
        text = line.rstrip("\r\n")
        try:
            return text, _split(text, self._delimiter, bare_quotes=self._bare_quotes)
        except _Open as opened:
            if self._bare_quotes and not self._may_continue(text, opened.position):
                return text, _split_bare(text, self._delimiter)
            return self._continued(line)
        except _Malformed:
            if text.count('"') % 2:
                raise self._unclosed() from None
            raise RuleViolation(
                "a quoted field ends with its closing quote, and quotes inside are doubled",
                'write "" for each double quote inside a quoted field',
            ) from None

    def _may_continue(self, text: str, position: int) -> bool:
        """Whether a quote left open in a TSV line can be more than a bare quote.

        A line that is a whole row by itself is one, unless the quote opens its last field.
        """
        complete = text.count(self._delimiter) >= len(self.header) - 1
        return bool(self.header) and not (complete and self._delimiter in text[position:])

    def _continued(self, first: str) -> tuple[str, list[str]]:
        """Join lines until the open quote is closed."""
        lines = [first]
        size = len(first)
        while size <= MAX_LINE and len(lines) < _MAX_LINES:
            line = self._next_line()
            if line is None:
                break
            if isinstance(line, LongLine):
                raise self._endless(line)
            lines.append(line)
            size += len(line)
            if '"' not in line:
                continue
            text = "".join(lines).rstrip("\r\n")
            try:
                fields = _split(text, self._delimiter, bare_quotes=self._bare_quotes)
            except _Open:
                continue
            except _Malformed:
                break
            if self._bare_quotes and len(fields) != len(self.header):
                break
            return text, fields
        if not self._bare_quotes:
            raise self._unclosed()
        self._ahead.extendleft(reversed(lines[1:]))
        text = first.rstrip("\r\n")
        return text, _split_bare(text, self._delimiter)

    def _unclosed(self) -> BrokenQuotingError:
        where = f"data row {self._row}" if self._row else "the header"
        return BrokenQuotingError(
            self._file,
            f"a quote opened in {where} is not closed, so the rows after it cannot be told apart",
            'Close the quote, or write "" for a double quote inside a quoted field',
        )


def _split(text: str, delimiter: str, *, bare_quotes: bool) -> list[str]:
    """Split one record into its fields, quotes removed.

    Raises:
        _Malformed: text after a closing quote, unless `bare_quotes` allows it, or a line break
            outside quotes.
        _Open: the record ends inside a quoted field.
    """
    fields: list[str] = []
    position = 0
    while True:
        end = _closing_quote(text, position) if text.startswith('"', position) else position
        if end < 0:
            raise _Open(position)
        if end > position and end + 1 < len(text) and text[end + 1] != delimiter:
            if not bare_quotes:
                raise _Malformed
            end = position
        if end > position:
            fields.append(text[position + 1 : end].replace('""', '"'))
            following = end + 1 if end + 1 < len(text) else -1
        else:
            following = text.find(delimiter, position)
            field = text[position:] if following < 0 else text[position:following]
            if "\n" in field or "\r" in field:
                raise _Malformed
            fields.append(field)
        if following < 0:
            return fields
        position = following + 1


def _split_bare(text: str, delimiter: str) -> list[str]:
    """Split one TSV line that has a quote which does not open a quoted field over several lines."""
    fields: list[str] = []
    for field in text.split(delimiter):
        closed = field.startswith('"') and _closing_quote(field, 0) == len(field) - 1 > 0
        fields.append(field[1:-1].replace('""', '"') if closed else field)
    return fields


def _closing_quote(text: str, start: int) -> int:
    """Index of the quote that closes the one at `start`, -1 when there is none."""
    position = text.find('"', start + 1)
    while position >= 0 and text.startswith('"', position + 1):
        position = text.find('"', position + 2)
    return position
