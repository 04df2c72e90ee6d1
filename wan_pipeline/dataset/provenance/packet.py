"""The XMP packet: a new one, or an existing one with our properties added.

An existing packet is edited as text, at places that an XML parser names, so that everything of the
provider's stays byte for byte: prefixes, quoting, order. Only a property that we set ourselves is
taken out, and a digital source type that differed is kept under another name. How a packet lies in
a file belongs to the formats.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from wan_pipeline.dataset.provenance.splice import UnreadablePacketError, read_packet

__all__ = ["SOURCE_TYPE", "Mark", "merged_packet", "new_packet"]

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's word for media created by a model that was trained on data."""

IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
# Nobody owns a name below .invalid, so nobody else's properties can be meant by it.
OURS = "http://wan-pipeline.invalid/ns/provenance/1.0/"

_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
_END = '\n<?xpacket end="w"?>'
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a marked file says.

    Attributes:
        model: the model that made it.
        prompt_sha256: SHA-256 of the prompt's UTF-8 bytes, 64 hex digits; the prompt itself may be
            private.
        release: reference of the release it was exported from, ``name@vN``.
        image_id: SHA-256 of the bytes as received, which the release names.
        request_id: the request that brought it.
    """

    model: str
    prompt_sha256: str
    release: str
    image_id: str
    request_id: str


def new_packet(mark: Mark) -> bytes:
    """A packet with our properties alone, as UTF-8."""
    meta = ET.Element("x:xmpmeta", {"xmlns:x": "adobe:ns:meta/"})
    rdf = ET.SubElement(meta, "rdf:RDF", {"xmlns:rdf": RDF})
    rdf.append(_description(mark, about="", system=True, former=None))
    return (_BEGIN + ET.tostring(meta, encoding="unicode") + _END).encode()


def merged_packet(packet: bytes, mark: Mark) -> bytes | None:
    """The packet with our properties added, or None when it cannot be read.

    The digital source type is ours; a different one that stood there becomes
    `formerDigitalSourceType`. A model named there already (AISystemUsed) stays the provider's word.

    Args:
        packet: what the file carries.
        mark: what to add.
    """
    source, system = (IPTC, "DigitalSourceType"), (IPTC, "AISystemUsed")
    try:
        found = read_packet(packet, properties={source, system}, namespace=OURS)
    except UnreadablePacketError:
        return None
    former = found.values.get(source)
    description = _description(
        mark,
        about=found.about,
        system=system not in found.values,
        former=None if former == SOURCE_TYPE else former,
    )
    addition = ET.tostring(description, encoding="unicode").encode()
    return found.edited(addition, taken_out=lambda name: name == source or name[0] == OURS)


def _description(mark: Mark, *, about: str, system: bool, former: str | None) -> ET.Element:
    """Our properties; prefixes are spelled out, so that the text stands on its own anywhere."""
    description = ET.Element(
        "rdf:Description",
        {"xmlns:rdf": RDF, "xmlns:Iptc4xmpExt": IPTC, "xmlns:wan": OURS, "rdf:about": about},
    )
    properties = {
        "Iptc4xmpExt:DigitalSourceType": SOURCE_TYPE,
        "Iptc4xmpExt:AISystemUsed": mark.model if system else None,
        "wan:model": mark.model,
        "wan:promptSha256": mark.prompt_sha256,
        "wan:release": mark.release,
        "wan:imageId": mark.image_id,
        "wan:requestId": mark.request_id,
        "wan:formerDigitalSourceType": former,
    }
    for name, value in properties.items():
        if value is not None:
            ET.SubElement(description, name).text = _NO_XML.sub("\ufffd", value)
    return description
