"""Files that are no matrix: line, path, value, rule, what to do; and nothing but our errors."""

from __future__ import annotations

import pickle
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.prompts.errors import (
    EmptyPromptFileError,
    PromptFileError,
    UnreadablePromptFileError,
)
from wan_pipeline.prompts.matrix.problems import MatrixFileError
from wan_pipeline_tests.prompts.matrix.helpers import prompts, rows, write

if TYPE_CHECKING:
    from pathlib import Path

USED = 'templates: {a: "{s}"}\n'

CASES: dict[str, tuple[str, list[str]]] = {
    # --- YAML itself ---
    "no YAML": ("templates: {a: x", ["line", "YAML", "double quotes"]),
    "a tab": ("templates:\n\ta: x\n", ["line 2", "not tabs"]),
    "two documents": ("templates: {a: x}\n---\nb: 1\n", ["line 2", "one YAML document"]),
    "a key twice": ("templates:\n  a: x\n  a: y\n", ["line 3", "templates.a", "line 2"]),
    "an anchor": (f"axes:\n  s: &a {{sweep: [1]}}\n{USED}", ["line 2", "axes.s", "aliases"]),
    "an alias": (f"axes:\n  s: {{sweep: [*red]}}\n{USED}", ["axes.s.sweep[0]", "aliases"]),
    "a tag": ('axes: !!python/object/apply:os.system ["true"]\n', ["line 1", "tags"]),
    "a tag on a scalar": ("templates: {a: !!int 3}", ["templates.a", "int", "tags"]),
    "nothing": (f"axes:\n  s: {{sweep: [a, null]}}\n{USED}", ["axes.s.sweep[1]", "'null'"]),
    "an empty item": (f"axes:\n  s:\n    sweep:\n    -\n{USED}", ["line 4", "axes.s.sweep[0]"]),
    "a mapping as key": ("? {a: b}\n: c\n", ["line 1", "a key is a text"]),
    "braces without quotes": (
        "templates:\n  a:\n    prompt: {season}\n",
        ["line 3", "templates.a.prompt.season", "double quotes"],
    ),
    "a control character": ("templates: {a: x\x07}", ["YAML text", "characters"]),
    "deep": ("a: " + "[" * 5000, ["deeper than 12", "Flatten"]),
    # --- the form ---
    "a list": ("- a\n", ["mapping", "templates"]),
    "a text": ("just text\n", ["mapping", "templates"]),
    "no templates": ("axes: {}\n", ["templates", "needed"]),
    "empty templates": ("templates: {}\n", ["templates", "not be empty"]),
    "templates as a list": ("templates:\n - a\n", ["templates", "mapping of names"]),
    "a misspelt key": ("template:\n  a: x\n", ["template", "no such key", "'templates'"]),
    "a misspelt column": ("templates: {a: {prompt: x, sise: 1:1}}", ["templates.a.sise", "'size'"]),
    "a prompt_id": ("templates: {a: {prompt: x, prompt_id: 1}}", ["prompt_id", "its content"]),
    "no prompt": ("templates: {a: {size: 1:1}}", ["templates.a.prompt", "needed"]),
    "a prompt of parts": ("templates: {a: {prompt: [x]}}", ["templates.a.prompt", "one text"]),
    "an axis of two ways": (
        f"axes: {{s: {{sweep: [a], sample: 2}}}}\n{USED}",
        ["axes.s", "either sweep or sample", "{sample: 2, from"],
    ),
    "a sample of nothing": (f"axes: {{s: {{sample: 2}}}}\n{USED}", ["axes.s", "sample and from"]),
    "an axis without keys": (f"axes: {{s: [a]}}\n{USED}", ["axes.s", "mapping of keys"]),
    "a sample that is no number": (
        f"axes: {{s: {{sample: two, from: [a]}}}}\n{USED}",
        ["axes.s.sample = 'two'", "whole number", "digits"],
    ),
    "a sample of zero": ("templates: {a: {prompt: x, sample: 0}}", ["a.sample", "at least 1"]),
    "a negative ceiling": ("max_prompts: -1\ntemplates: {a: x}", ["max_prompts", "'-1'"]),
    "an axis without values": (f"axes: {{s: {{sweep: []}}}}\n{USED}", ["axes.s.sweep", "empty"]),
    "a value with a colon": (
        f"axes:\n  s:\n    sweep:\n    - a: b\n{USED}",
        ["line 4", "axes.s.sweep[0]", "double quotes"],
    ),
    "a long value": (f"axes: {{s: {{sweep: [{'x' * 2001}]}}}}\n{USED}", ["at most 2000", "…"]),
    "a long text": (f"templates: {{a: {'x' * 20_001}}}", ["at most 20000"]),
    "an axis of a strange name": (f"axes: {{a-b: {{sweep: [1]}}}}\n{USED}", ["axes.a-b", "Rename"]),
    "a template of no name": ('templates: {" ": x}', ["template's name", "plainer"]),
    "spaces around a name": ('templates: {a: x, " a": y}', ["template's name", "no spaces"]),
    # --- what belongs together ---
    "an axis that is not there": (
        "axes: {season: {sweep: [a]}}\ntemplates: {a: '{seson}'}",
        ["line 2", "templates.a", "{seson}", "'season'"],
    ),
    "an axis that nobody uses": (
        "axes: {s: {sweep: [a]}}\ntemplates: {a: x}",
        ["axes.s", "used", "remove the axis"],
    ),
    "an axis of its own that it does not use": (
        "templates: {a: {prompt: x, axes: {s: {sweep: [a]}}}}",
        ["templates.a.axes.s", "used"],
    ),
    "jinja": ("axes: {s: {sweep: [a]}}\ntemplates: {a: 'x {{ s }}'}", ["Write {s} instead"]),
    "variants": ("templates: {a: 'x {red|blue}'}", ["templates.a", "under axes"]),
    "an attribute": ("templates: {a: '{s.__class__}'}", ["name of an axis"]),
    "a format": ("templates: {a: '{s!r:>99999999}'}", ["name of an axis"]),
    "an open brace": ("templates: {a: 'x {s'}", ["braces come in pairs", "{{ and }}"]),
    "many variables": (f"axes: {{s: {{sweep: [a]}}}}\ntemplates: {{a: '{'{s}' * 101}'}}", ["100"]),
    "an axis called prompt": (
        "axes: {prompt: {sweep: [a]}}\ntemplates: {a: x}",
        ["axes.prompt", "not called prompt"],
    ),
    "an axis called Size": ("axes: {Size: {sweep: [a]}}\ntemplates: {a: x}", ["axes.Size"]),
    "an axis called template": (
        "axes: {template: {sweep: [a]}}\ntemplates: {a: '{template}'}",
        ["axes.template", "Rename"],
    ),
    "a column called size": (
        "templates: {a: {prompt: x, columns: {size: 1:1}}}",
        ["templates.a.columns.size", "beside columns"],
    ),
    "a column and an axis of one name": (
        "axes: {s: {sweep: [a]}}\ntemplates: {a: {prompt: '{s}', columns: {S: x}}}",
        ["templates.a", "'s' and 'S'"],
    ),
    "the same name": (
        "axes: {s: {sweep: [a]}}\ntemplates: {a: {prompt: '{s}', columns: {s: x}}}",
        ["templates.a", "'s' and 's'"],
    ),
    "a column said twice by the file": (
        "axes: {n: {sweep: [1]}}\ndefaults: {n: 2}\ntemplates: {a: x}",
        ["defaults.n", "said once"],
    ),
    "a column said twice by a template": (
        "templates: {a: {prompt: x, n: 2, axes: {n: {sweep: [1]}}}}",
        ["templates.a.n", "said once"],
    ),
    "a column whose axis is used elsewhere": (
        "axes: {n: {sweep: [1]}}\ntemplates: {a: {prompt: '{n} kites', n: 2}}",
        ["templates.a.n", "fills the column"],
    ),
}


@pytest.mark.parametrize(("text", "said"), CASES.values(), ids=CASES)
def test_what_breaks_a_rule_is_told(tmp_path: Path, text: str, said: list[str]) -> None:
    """With its place and what to do, in one error that names the file."""
    file = write(tmp_path, text)
    with pytest.raises(MatrixFileError) as caught:
        prompts(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert [words for words in said if words not in message] == []
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


def test_problems_come_together(tmp_path: Path) -> None:
    """The first five, and how many more there are."""
    templates = "".join(f"  t{i}: '{{gone{i}}}'\n" for i in range(8))
    with pytest.raises(MatrixFileError) as caught:
        prompts(write(tmp_path, f"templates:\n{templates}"))
    lines = str(caught.value).splitlines()
    assert len(lines) == 6
    assert "line 3, templates.t1" in lines[1]
    assert "3 more problems" in lines[-1]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "null"])
def test_an_empty_file(tmp_path: Path, text: str) -> None:
    """As with every other prompt file."""
    with pytest.raises(EmptyPromptFileError, match="templates"):
        prompts(write(tmp_path, text))


def test_an_alias_bomb_is_refused_at_its_first_alias(tmp_path: Path) -> None:
    """Nothing is expanded."""
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    with pytest.raises(MatrixFileError, match="aliases"):
        prompts(write(tmp_path, "\n".join(["a0: &a0 [x]", *levels])))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"templates:\n  a: \xff\xfe kite\n", "not valid utf-8 text in line 2"),
        (b"\xff\xfet\0e", "not valid utf-16"),
        (b"#" * 1_000_001, "more than 1,000,000 bytes"),
    ],
    ids=["UTF-8", "UTF-16", "long"],
)
def test_a_file_that_is_no_text(tmp_path: Path, data: bytes, said: str) -> None:
    """Or too much of it."""
    file = tmp_path / "set.yaml"
    file.write_bytes(data)
    with pytest.raises(UnreadablePromptFileError, match=said):
        prompts(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Named, like every other one."""
    with pytest.raises(UnreadablePromptFileError, match=r"gone\.yaml"):
        prompts(tmp_path / "gone.yaml")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    """As in the other text formats."""
    file = tmp_path / "set.yaml"
    file.write_bytes("templates: {a: 山}".encode(encoding))
    assert prompts(file) == ["山"]


FRAGMENTS = [
    *("templates:", "axes:", "defaults:", "columns:", "sweep:", "sample:", "from:", "prompt:"),
    *("\n", "\n  ", "\n    ", "- ", ": ", "{", "}", "[", "]", ", ", "'", '"', "&a ", "*a", "!!"),
    *("{s}", "s", "a", "1", "null", "#", "|", ">", "?", "\t", "é", "wildcards/x.txt", "---", "<<"),
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join) | st.text())
def test_nothing_but_our_errors(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Whatever stands in the file, it is rows or an error that says what to do."""
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(text, encoding="utf-8", errors="replace")
    with suppress(PromptFileError):
        rows(file)
