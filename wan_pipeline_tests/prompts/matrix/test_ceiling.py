"""Counted before it is made, and stopped there."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.prompts.errors import MatrixTooLargeError
from wan_pipeline.prompts.matrix.count import Ceiling, MatrixCount
from wan_pipeline_tests.prompts.helpers import build
from wan_pipeline_tests.prompts.matrix.helpers import count, rows, wildcards, write

if TYPE_CHECKING:
    from pathlib import Path

PRICED = Ceiling(price_usd=Decimal("0.03"))


@st.composite
def matrices(draw: st.DrawFn) -> dict[str, Any]:
    """Small matrix files of every form that counts."""
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True))
    values = st.lists(st.text("xyz", max_size=2), min_size=1, max_size=5)
    sweeps = values.map(lambda found: {"sweep": found})
    samples = st.builds(lambda k, found: {"sample": k, "from": found}, st.integers(1, 6), values)
    axes = {name: draw(sweeps | samples) for name in names}
    templates: dict[str, Any] = {"all": "".join(f"{{{name}}}" for name in names)}
    for number in range(draw(st.integers(0, 2))):
        some = draw(st.lists(st.sampled_from(names), unique=True))
        templates[f"t{number}"] = {"prompt": "x" + "".join(f"{{{name}}}" for name in some)}
        if draw(st.booleans()):
            templates[f"t{number}"]["sample"] = draw(st.integers(1, 40))
    return {"axes": axes, "templates": templates, "sample_seed": str(draw(st.integers(0, 9)))}


@given(matrices())
def test_the_count_is_that_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory, matrix: dict[str, Any]
) -> None:
    """Template by template; and no two rows of a template have the same values."""
    file = write(tmp_path_factory.getbasetemp(), matrix, "counted.yaml")
    counted, made = count(file), rows(file)
    assert counted.prompts == len(made)
    for each in counted.templates:
        assert each.prompts == sum(row.extra["template"] == each.template for row in made)
    assert len({tuple(sorted(row.extra.items())) for row in made}) == len(made)
    assert rows(file) == made
    assert MatrixCount.from_json(counted.to_json()) == counted


def test_an_explosion_is_told_before_it_happens(tmp_path: Path) -> None:
    """How many, at what price, which axis multiplies how much, and what to do."""
    wildcards(tmp_path, "cities.txt", "\n".join(f"city {i}" for i in range(4000)))
    file = write(
        tmp_path,
        """
axes:
  season: {sweep: [spring, summer, autumn, winter]}
  animal: {sample: 3, from: [owl, fox, hare, crow]}
  city: {sweep: wildcards/cities.txt}
templates:
  street: {prompt: "{animal} in {city}, {season}", n: 2}
  calm: "{season}"
""",
    )
    with pytest.raises(MatrixTooLargeError) as caught:
        rows(file, PRICED)
    message = str(caught.value)
    for words in (
        str(file),
        "48,004 prompts, 96,004 images for $2,880.12, more than the 10,000",
        "WAN_MATRIX_MAX_PROMPTS",
        "street: season 4 × animal 3 of 4 × city 4,000 = 48,000; calm: season 4 = 4",
        "sample: 100 beside the prompt of street",
        "city: {sample: 5, from: ...}",
        "Nothing was made",
    ):
        assert words in message
    assert count(file, Ceiling(max_prompts=48_004)).prompts == 48_004


def test_more_than_atoms(tmp_path: Path) -> None:
    """Counting takes no time and no digits that nobody reads; a sample of it is fine."""
    axes = {f"a{i}": {"sweep": [str(v) for v in range(50)]} for i in range(90)}
    prompt = "".join(f"{{{name}}}" for name in axes)
    file = write(tmp_path, {"axes": axes, "templates": {"t": prompt}})
    with pytest.raises(MatrixTooLargeError, match=r"about 10\^152 prompts, about 10\^152 images"):
        rows(file, PRICED)
    file = write(tmp_path, {"axes": axes, "templates": {"t": {"prompt": prompt, "sample": "2"}}})
    assert str(count(file).templates[0]).endswith("= about 10^152, 2 drawn")
    assert len(rows(file)) == 2


def test_the_largest_templates_are_told_first(tmp_path: Path) -> None:
    """And the rest together."""
    axes = {f"a{i}": {"sweep": [str(v) for v in range(i + 1)]} for i in range(11)}
    templates = {f"t{i}": f"{{a{i}}}" for i in range(11)}
    lines = list(count(write(tmp_path, {"axes": axes, "templates": templates})).lines())
    assert lines[0] == "t10: a10 11 = 11"
    assert lines[-1] == "and 6 from 3 more"


def test_the_file_can_only_tighten(tmp_path: Path) -> None:
    """The lower limit of the two holds and is named."""
    text = "max_prompts: {}\naxes: {{a: {{sweep: [1, 2, 3]}}}}\ntemplates: {{t: '{{a}}'}}"
    tight = write(tmp_path, text.format(2))
    with pytest.raises(MatrixTooLargeError, match="max_prompts in the file"):
        rows(tight)
    loose = write(tmp_path, text.format(1_000_000))
    with pytest.raises(MatrixTooLargeError, match="WAN_MATRIX_MAX_PROMPTS"):
        rows(loose, Ceiling(max_prompts=2))
    assert len(rows(loose)) == 3


@pytest.mark.parametrize(
    ("columns", "price"),
    [
        ("n: 4", " 12 images for $0.36"),
        ("n: 4, replicas: 10", " 120 images for $3.60"),
        ("n: '{m}'", " at most 9 images for $0.27"),
        ("n: '1{m}'", " at most 12 images for $0.36"),
        ("n: nonsense", " at most 12 images for $0.36"),
    ],
)
def test_the_price_is_the_most_that_it_can_be(tmp_path: Path, columns: str, price: str) -> None:
    """Exact where the file says the number of images plainly."""
    axes = "axes: {m: {sweep: [1, 2, 3]}}\n"
    file = write(tmp_path, f"{axes}templates: {{t: {{prompt: '{{m}}', {columns}}}}}")
    with pytest.raises(MatrixTooLargeError) as caught:
        rows(file, Ceiling(max_prompts=1, price_usd=Decimal("0.03")))
    assert price in str(caught.value)


def test_a_draw_that_would_take_hours_is_refused(tmp_path: Path) -> None:
    """A large sample out of very large axes."""
    for name in ("a", "b"):
        wildcards(tmp_path, f"{name}.txt", "\n".join(f"{name}{i}" for i in range(60_000)))
    axes = "axes: {a: {sweep: wildcards/a.txt}, b: {sweep: wildcards/b.txt}}\n"
    file = write(tmp_path, f"{axes}templates: {{t: {{prompt: '{{a}} {{b}}', sample: 9000}}}}")
    with pytest.raises(MatrixTooLargeError, match="takes too long"):
        rows(file)


def test_the_advice_would_help(tmp_path: Path) -> None:
    """Its numbers are below the limit and below what there is."""
    text = "axes: {a: {sweep: [1, 2, 3, 4]}}\ntemplates: {t: '{a}', u: x}"
    with pytest.raises(MatrixTooLargeError) as caught:
        rows(write(tmp_path, text), Ceiling(max_prompts=4))
    assert "sample: 2 beside the prompt of t" in str(caught.value)
    assert "a: {sample: 2, from: ...}" in str(caught.value)
    many = {"templates": {f"t{i}": "x" for i in range(3)}}
    with pytest.raises(MatrixTooLargeError, match="Split the file"):
        rows(write(tmp_path, many), Ceiling(max_prompts=2))


def test_only_a_matrix_has_a_ceiling(tmp_path: Path) -> None:
    """A table is what somebody wrote row by row."""
    file = tmp_path / "set.csv"
    file.write_text("prompt\na\nb\n")
    assert len(rows(file, Ceiling(max_prompts=1))) == 2
    assert build(file).summary.matrix is None
