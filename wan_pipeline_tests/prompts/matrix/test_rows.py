"""What a matrix makes: combinations, columns, and texts that stay what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline_tests.prompts.helpers import build
from wan_pipeline_tests.prompts.matrix.helpers import made, prompts, rows, wildcards, write

if TYPE_CHECKING:
    from pathlib import Path


def test_every_combination_of_the_axes_a_template_names(tmp_path: Path) -> None:
    """In the order of the file; axes that a template does not name leave it alone."""
    file = write(
        tmp_path,
        """
axes:
  season: {sweep: [spring, autumn]}
  animal: {sweep: [owl, fox]}
templates:
  wood: a {season} wood with one {animal}
  sky: the sky in {season}
  sea: the sea
""",
    )
    assert prompts(file) == [
        "a spring wood with one owl",
        "a spring wood with one fox",
        "a autumn wood with one owl",
        "a autumn wood with one fox",
        "the sky in spring",
        "the sky in autumn",
        "the sea",
    ]


def test_variables_are_columns_and_so_is_the_template(tmp_path: Path) -> None:
    """Together with the further columns that the file asks for, all through to the table."""
    file = write(
        tmp_path,
        """
axes: {animal: {sweep: [owl]}}
defaults: {columns: {project: zoo, split: a}}
templates:
  wood:
    prompt: one {animal}
    columns: {label: "a photo of an {animal}", split: b}
""",
    )
    (row,) = build(file).prompts
    assert row["prompt_columns"] == (
        '{"animal":"owl","label":"a photo of an owl","project":"zoo","split":"b","template":"wood"}'
    )


def test_columns_of_the_prompt_table(tmp_path: Path) -> None:
    """From the template, from an axis, from the defaults: the nearest word holds."""
    file = write(
        tmp_path,
        """
axes:
  frame: {sweep: [wide, tall]}
  seed: {sweep: [1, 2]}
defaults: {size: 3:4, n: 2, watermark: yes, prompt_extend: false, negative_prompt: "no {frame}"}
templates:
  a: {prompt: "{frame}", size: 16:9, seed: 9}
  b: {prompt: "{frame}", axes: {size: {sweep: [1:1]}}, negative_prompt: "", replicas: 3}
""",
    )
    known = [dict(row.known) for row in rows(file)]
    assert known[0] == {
        "prompt": "wide",
        "size": "16:9",
        "n": "2",
        "seed": "9",
        "watermark": "yes",
        "prompt_extend": "false",
        "negative_prompt": "no wide",
    }
    assert len(known) == 2 + 2 * 2  # the shared axis of seeds multiplies b alone
    assert {(row["size"], row["seed"], row["replicas"]) for row in known[2:]} == {
        ("1:1", "1", "3"),
        ("1:1", "2", "3"),
    }
    assert {row["negative_prompt"] for row in known[2:]} == {""}
    built = build(file)
    assert built.rejects == []
    assert [row["seed"] for row in built.prompts[:4]] == [9, 9, 1, 2]


def test_a_column_may_name_its_axis(tmp_path: Path) -> None:
    """Written out or not, the axis called size fills the column size."""
    axes = "axes: {size: {sweep: [1:1, 16:9]}}\n"
    implicit = rows(write(tmp_path, axes + "templates: {a: x}"))
    written = rows(write(tmp_path, axes + 'templates: {a: {prompt: x, size: "{size}"}}'))
    default = rows(write(tmp_path, axes + 'defaults: {size: "{size}"}\ntemplates: {a: x}'))
    assert implicit == written == default
    assert [row.known["size"] for row in implicit] == ["1:1", "16:9"]
    assert "size" not in implicit[0].extra


def test_values_are_the_text_that_stands_in_the_file(tmp_path: Path) -> None:
    """What YAML would make booleans, numbers, times, dates and octals of."""
    texts = ["no", "on", "1.10", "007", "16:9", "1e3", "2024-01-01", "0x1F", "1_000", "TRUE", ".5"]
    file = write(
        tmp_path, f"axes: {{v: {{sweep: [{', '.join(texts)}]}}}}\ntemplates: {{a: '{{v}}'}}"
    )
    assert prompts(file) == texts


def test_texts_may_have_any_form_that_yaml_has(tmp_path: Path) -> None:
    """Quotes, folded blocks, other scripts, braces."""
    file = write(
        tmp_path,
        """
axes: {季节: {sweep: [春, "null", ""]}}
templates:
  a: >-
    山中茶屋
    {季节}
  b: "{{ not a variable }} {{{季节}}}"
""",
    )
    assert prompts(file) == [
        "山中茶屋 春",
        "山中茶屋 null",
        "山中茶屋 ",
        "{ not a variable } {春}",
        "{ not a variable } {null}",
        "{ not a variable } {}",
    ]


def test_own_axes_hide_those_of_the_file(tmp_path: Path) -> None:
    """For one template only."""
    text = """
axes: {hue: {sweep: [red, blue]}}
templates:
  a: "{hue} a"
  b: {prompt: "{hue} b", axes: {hue: {sweep: [grey]}}}
"""
    assert made(tmp_path, text) == ["red a", "blue a", "grey b"]


def test_equal_values_count_once(tmp_path: Path) -> None:
    """In lists and in files."""
    wildcards(tmp_path, "hues.txt", "red\nblue\nred\n")
    text = 'axes: {a: {sweep: [x, x]}, b: {sweep: wildcards/hues.txt}}\ntemplates: {t: "{a} {b}"}'
    assert made(tmp_path, text) == ["x red", "x blue"]


def test_moving_things_in_the_file_buys_nothing(tmp_path: Path) -> None:
    """Ids and data version come from content: not from order, names of templates apart."""
    one = build(
        write(
            tmp_path,
            'axes: {a: {sweep: [x, y]}, b: {sweep: [1, 2]}}\ntemplates: {t: "{a}{b}", u: z}',
        )
    )
    two = build(
        write(
            tmp_path,
            'templates: {u: z, t: "{a}{b}"}\naxes: {b: {sweep: [2, 1]}, a: {sweep: [y, x]}}',
            "other.yml",
        )
    )
    assert one.summary.data_version == two.summary.data_version
    assert {row["prompt_id"] for row in one.prompts} == {row["prompt_id"] for row in two.prompts}


def test_a_rejected_row_is_found_again(tmp_path: Path) -> None:
    """By its template and its values; the other rows go on."""
    built = build(
        write(tmp_path, 'axes: {n: {sweep: [1, 9]}, hue: {sweep: [red]}}\ntemplates: {t: "{hue}"}')
    )
    assert [row["n"] for row in built.prompts] == [1]
    (rejected,) = built.rejects
    assert rejected["place"] == "t: n=9, hue=red"
    assert (rejected["file"], rejected["row"], rejected["column"]) == ("set.yaml", 2, "n")


@pytest.mark.parametrize("name", ["set.yaml", "set.yml", "SET.YAML"])
def test_many_rows_come_in_bounded_chunks(tmp_path: Path, name: str) -> None:
    """Both extensions, whatever their case."""
    numbers = [str(number) for number in range(95)]
    file = write(
        tmp_path,
        {
            "axes": {axis: {"sweep": numbers} for axis in ("a", "b")},
            "templates": {"t": "{a} {b}"},
        },
        name,
    )
    made_rows = rows(file)
    assert [row.row for row in made_rows] == list(range(1, 95 * 95 + 1))
    assert len({str(row.known["prompt"]) for row in made_rows}) == 95 * 95
