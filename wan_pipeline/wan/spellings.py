"""How a server may write the API key that it quotes, so that every such spelling can be blanked.

The key as it is and in other letter case; each of its characters, in any mixture, escaped for JSON
or a Python literal, percent-encoded, or as an HTML entity, and any of these nested; in hexadecimal;
in base64 and base64url, alone or after other text such as `Bearer `. What goes beyond (reversed,
cut in pieces, encrypted) cannot be foreseen and passes.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from html.entities import html5

__all__ = ["every_spelling"]

NESTED = 3  # times that one escaping may be applied to its own result
MOST = 2 ** (NESTED + 1)  # backslashes before a character then
_OF_BASE64 = r"[a-z0-9+/_-]"
_URL_SAFE = {"+": "+-", "/": "/_"}
_RUNS = re.compile(r"\\+|[^\\]")


def _entity_names() -> dict[str, list[str]]:
    names: defaultdict[str, list[str]] = defaultdict(list)
    for name, character in html5.items():
        if name.endswith(";"):
            names[character].append(re.escape(name.removesuffix(";")))
    return names


_ENTITIES = _entity_names()


def every_spelling(key: str) -> re.Pattern[bytes]:
    """Matches the key of an account in every spelling that is foreseen.

    Args:
        key: of printable ASCII characters, as a header can carry it.
    """
    ways = (
        _each_of(_RUNS.findall(key)),
        key.encode().hex(),
        *(_in_base64(key.encode(), before) for before in range(3)),
    )
    return re.compile("|".join(ways).encode(), re.IGNORECASE)


def _each_of(runs: list[str]) -> str:
    """Characters and runs of backslashes; a run takes those that belong to what follows it."""
    before = ["", *runs]
    return "".join(
        _run(each) if each[0] == "\\" else _character(each, least=0 if last[:1] == "\\" else 1)
        for last, each in zip(before, runs, strict=False)
    )


def _character(character: str, *, least: int = 1) -> str:
    """One character, the longest way to write it first, since the last one may end the text.

    Args:
        character: no backslash.
        least: backslashes that its escapes begin with; 0 where a run before it takes them.
    """
    escape = rf"\\{{{least},{MOST}}}+(?:u00|x){ord(character):02x}"
    coded = [*_coded(character, least=least), escape]
    return rf"(?:{'|'.join(coded)}|\\{{0,{MOST}}}+{re.escape(character)})"


def _run(backslashes: str) -> str:
    """Backslashes in a row. All that follow belong to them, or they would match in many ways."""
    length = len(backslashes)
    coded = "|".join([rf"\\{{1,{MOST}}}+(?:u00|x)5c", *_coded("\\")])
    return rf"(?:(?:{coded}){{{length}}}|\\{{{length},{MOST * (length + 1)}}}+)"


def _coded(character: str, *, least: int = 1) -> list[str]:
    """A character as an HTML entity, and percent-encoded."""
    code = ord(character)
    names = _ENTITIES.get(character, ())
    entity = "|".join([f"#0{{0,6}}{code}", f"#x0{{0,6}}{code:x}", *names])
    ampersand = rf"(?:&|\\{{{least},{MOST}}}u0026|%(?:25){{0,{NESTED}}}26)(?:amp;){{0,{NESTED}}}"
    return [f"{ampersand}(?:{entity});?", f"%(?:25){{0,{NESTED}}}{code:02x}"]


def _in_base64(key: bytes, before: int) -> str:
    """The digits that the key alone decides, and the one on each side that it shares.

    Args:
        key: what is encoded.
        before: bytes before it in its group of three.
    """
    digits = base64.b64encode(bytes(before) + key).decode()
    own = digits[-(-before * 8 // 6) : (before + len(key)) * 8 // 6]
    spelled = (
        f"(?:{'|'.join(map(_character, _URL_SAFE[each]))})" if each in _URL_SAFE else each
        for each in own
    )
    shared = f"{_OF_BASE64}?" if before else ""
    return f"{shared}{''.join(spelled)}{_OF_BASE64}?{_character('=')}{{0,2}}"
