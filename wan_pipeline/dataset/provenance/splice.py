"""Find places in an XMP packet, so that it can be edited without being written anew.

The packet comes from outside: its size is bounded, and a document type, with which entities come,
makes it unreadable. Prefixes need not be declared, as some writers of China's AIGC label forget to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["Name", "Packet", "UnreadablePacketError", "read_packet"]

Name = tuple[str, str]
"""Namespace and local name of a property."""

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_ROOT, _DESCRIPTION, _ABOUT = (RDF, "RDF"), (RDF, "Description"), (RDF, "about")


class UnreadablePacketError(ValueError):
    """The bytes are no XMP packet that something can be added to."""


@dataclass(slots=True)
class _Tag:
    """An element that is being read."""

    name: Name
    start: int
    attributes: dict[str, str]
    end: int | None = None
    text: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class _Place:
    """A property as an element, or the tag of a description with properties as attributes."""

    start: int
    end: int
    name: Name | None
    qualified: str
    attributes: dict[str, tuple[Name, str]]


@dataclass(slots=True)
class Packet:
    """What was found in a packet.

    Attributes:
        about: which resource it describes; empty for the file itself.
        values: of the properties that were asked for.
    """

    data: bytes
    about: str = ""
    values: dict[Name, str] = field(default_factory=dict[Name, str])
    places: list[_Place] = field(default_factory=list[_Place])
    prefixes: dict[str, str] = field(default_factory=dict[str, str])
    insert_at: int | None = None

    def resolve(self, qualified: str) -> Name:
        """A name as written to namespace and local name."""
        prefix, colon, local = qualified.rpartition(":")
        return (self.prefixes.get(prefix, prefix), local) if colon else ("", local)

    def edited(self, addition: bytes, *, taken_out: Callable[[Name], bool]) -> bytes:
        """The packet without the properties that `taken_out` names, and with `addition`."""
        assert self.insert_at is not None  # noqa: S101  read_packet refuses packets without
        edits = [(self.insert_at, self.insert_at, addition)]
        for place in self.places:
            if place.name is not None:
                if taken_out(place.name):
                    edits.append((place.start, place.end, b""))
                continue
            kept = {
                written: value
                for written, (name, value) in place.attributes.items()
                if not taken_out(name)
            }
            if len(kept) < len(place.attributes):
                empty = b"/" if self.data[place.end - 2 : place.end] == b"/>" else b""
                words = "".join(f" {name}={quoteattr(value)}" for name, value in kept.items())
                tag = f"<{place.qualified}{words}".encode() + empty + b">"
                edits.append((place.start, place.end, tag))
        result = self.data
        for start, end, text in sorted(edits, reverse=True):
            result = result[:start] + text + result[end:]
        return result


def read_packet(data: bytes, *, properties: Collection[Name], namespace: str) -> Packet:
    """Read a packet and note where things are.

    Args:
        data: the packet, UTF-8.
        properties: properties whose values and places are wanted.
        namespace: whose properties' places are wanted, too.

    Raises:
        UnreadablePacketError: not UTF-8, no XML, no RDF in it, too large or too deep.
    """
    if len(data) > MAX_BYTES:
        raise UnreadablePacketError(f"{len(data)} bytes, at most {MAX_BYTES} are read")
    reader = _Reader(data, frozenset(properties), namespace)
    try:
        data.decode("utf-8")
        reader.parser.Parse(data, True)  # noqa: FBT003  expat takes no names
    except (expat.ExpatError, UnicodeDecodeError) as error:
        raise UnreadablePacketError(str(error)) from error
    if reader.packet.insert_at is None:
        raise UnreadablePacketError("no rdf:RDF element with content")
    return reader.packet


class _Reader:
    """Turns the parser's events into places."""

    def __init__(self, data: bytes, properties: frozenset[Name], namespace: str) -> None:
        self.packet = Packet(data)
        self.parser = expat.ParserCreate("utf-8")
        self.parser.ordered_attributes = False
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.DefaultHandler = self._other
        self.parser.StartDoctypeDeclHandler = self._doctype
        self._properties, self._namespace = properties, namespace
        self._open: list[_Tag] = []

    def _wanted(self, name: Name) -> bool:
        return name in self._properties or name[0] == self._namespace

    def _close_tag(self) -> None:
        """The tag that was opened last ends where the next event begins."""
        if self._open and self._open[-1].end is None:
            self._open[-1].end = self.parser.CurrentByteIndex

    def _start(self, qualified: str, attributes: dict[str, str]) -> None:
        self._close_tag()
        if len(self._open) >= MAX_DEPTH:
            raise UnreadablePacketError(f"elements nested deeper than {MAX_DEPTH}")
        for name, value in attributes.items():
            if name.startswith("xmlns:"):
                self.packet.prefixes[name.removeprefix("xmlns:")] = value
        tag = _Tag(self.packet.resolve(qualified), self.parser.CurrentByteIndex, attributes)
        self._open.append(tag)

    def _text(self, text: str) -> None:
        self._close_tag()
        if self._open:
            self._open[-1].text.append(text)

    def _other(self, _text: str) -> None:
        self._close_tag()

    def _doctype(self, *_: object) -> None:
        raise UnreadablePacketError("a document type has no place in XMP")

    def _end(self, qualified: str) -> None:
        here, data = self.parser.CurrentByteIndex, self.packet.data
        tag = self._open[-1]
        self._close_tag()
        self._open.pop()
        # Of an empty element this is the end of its one tag, else where the end tag begins.
        is_empty = tag.end == here and data[here - 2 : here] == b"/>"
        end = here if is_empty else data.index(b">", here) + 1
        above = [each.name for each in self._open[-2:]]
        if tag.name == _ROOT and not is_empty:
            self.packet.insert_at = here
        elif tag.name == _DESCRIPTION and above[-1:] == [_ROOT]:
            self._describe(tag, qualified)
        elif above == [_ROOT, _DESCRIPTION] and self._wanted(tag.name):
            resource = [v for k, v in tag.attributes.items() if k.endswith(":resource")]
            self.packet.values[tag.name] = "".join(tag.text).strip() or "".join(resource)
            self.packet.places.append(_Place(tag.start, end, tag.name, qualified, {}))

    def _describe(self, tag: _Tag, qualified: str) -> None:
        """Note the properties that a description has as attributes."""
        attributes = {
            written: (self.packet.resolve(written), value)
            for written, value in tag.attributes.items()
        }
        for name, value in attributes.values():
            if name == _ABOUT:
                self.packet.about = self.packet.about or value
            elif self._wanted(name):
                self.packet.values[name] = value
        assert tag.end is not None  # noqa: S101  _end has closed it
        self.packet.places.append(_Place(tag.start, tag.end, None, qualified, attributes))
