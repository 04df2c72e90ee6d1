"""What a create body may look like: every form, every rule of the API page."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.emulator.contract import Refusal, TaskContent, read_create
from wan_pipeline.emulator.plan import RequestForm
from wan_pipeline_tests.emulator.client import MODEL, flat, wrapped_flat, wrapped_nested


def read(body: object, **options: Any) -> TaskContent:
    """Read a body with every form and the one model allowed."""
    settings: dict[str, Any] = {"header_model": None, "forms": set(RequestForm), "models": {MODEL}}
    return read_create(body, **(settings | options))


def refused(body: object, **options: Any) -> Refusal:
    """Read a body that must be refused."""
    with pytest.raises(Refusal) as caught:
        read(body, **options)
    return caught.value


@pytest.mark.parametrize("form", [flat, wrapped_nested, wrapped_flat])
def test_every_form_means_the_same(form: Any) -> None:
    """The same request in three forms is the same content."""
    content = read(
        form("a kite", size="960*1696", n=2, seed=7, prompt_extend=False, watermark=True)
    )
    assert content == TaskContent(
        model=MODEL,
        prompt="a kite",
        negative_prompt="",
        size="960*1696",
        n=2,
        seed=7,
        prompt_extend=False,
        watermark=True,
    )


def test_what_is_omitted_gets_the_documented_default() -> None:
    """Without parameters: 1280*1280, four images, rewriting on, watermark off, any seed."""
    content = read({"model": MODEL, "input": {"prompt": "a kite"}})
    assert (content.size, content.n, content.seed) == ("1280*1280", 4, None)
    assert (content.prompt_extend, content.watermark) == (True, False)


def test_long_texts_are_cut_silently() -> None:
    """A prompt keeps 2000 characters and a negative prompt 500, as the provider does."""
    body = {"model": MODEL, "input": {"prompt": "山" * 2001, "negative_prompt": "x" * 501}}
    content = read(body)
    assert (len(content.prompt), len(content.negative_prompt)) == (2000, 500)


@pytest.mark.parametrize(
    "size", ["1280*1280", "1104*1472", "1472*1104", "960*1696", "1696*960", "768*2700", "1440*1440"]
)
def test_sizes_of_the_page_are_accepted(size: str) -> None:
    """The five presets, the page's example and the upper bound are fine."""
    assert read(flat(size=size)).size == size


@pytest.mark.parametrize("size", ["1279*1280", "1441*1440", "640*2880", "2881*720", "1024*1024"])
def test_sizes_out_of_bounds_are_refused(size: str) -> None:
    """Too few pixels, too many, or too narrow."""
    refusal = refused(flat(size=size))
    assert (refusal.status, refusal.code) == (400, "InvalidParameter")
    assert refusal.message.startswith("size: ")


@pytest.mark.parametrize(
    "size",
    ["1280x1280", "", 5, "01280*1280", "1280*1280 ", "-1280*-1280", "\uff11\uff12*1280", None, []],
)
def test_sizes_written_otherwise_are_refused(size: object) -> None:
    """A size is text: two plain numbers around an ASCII asterisk."""
    assert refused(flat(size=size)).message == "size must be a string such as 1280*1280"


@pytest.mark.parametrize(
    "parameters",
    [
        {"n": 0},
        {"n": 5},
        {"n": 1.0},
        {"n": "1"},
        {"n": True},
        {"seed": -1},
        {"seed": 2_147_483_648},
        {"seed": 1.5},
        {"prompt_extend": "true"},
        {"prompt_extend": 1},
        {"watermark": None},
    ],
)
def test_values_out_of_range_are_refused(parameters: dict[str, object]) -> None:
    """Each parameter has a type and a range, and the message names the parameter."""
    refusal = refused(flat(**parameters))
    assert refusal.status == 400
    assert refusal.message.startswith(next(iter(parameters)))


@pytest.mark.parametrize("seed", [0, 2_147_483_647])
def test_the_ends_of_the_seed_range_are_accepted(seed: int) -> None:
    """Both bounds are part of the range."""
    assert read(flat(seed=seed)).seed == seed


@pytest.mark.parametrize(
    "body",
    [
        {"input": {"prompt": "a kite"}},
        {"model": "", "input": {"prompt": "a kite"}},
        {"model": 5, "input": {"prompt": "a kite"}},
        {"model": MODEL},
        {"model": MODEL, "input": "a kite"},
        {"model": MODEL, "input": []},
        {"model": MODEL, "input": [{}]},
        {"model": MODEL, "input": ["a kite"]},
        {"model": MODEL, "input": {}},
        {"model": MODEL, "input": {"prompt": ""}},
        {"model": MODEL, "input": {"prompt": 5}},
        {"model": MODEL, "input": {"prompt": "a kite", "negative_prompt": 5}},
        {"model": MODEL, "input": {"prompt": "a kite"}, "parameters": []},
        [],
        "text",
        None,
    ],
)
def test_bodies_without_the_required_parts_are_refused(body: object) -> None:
    """Model, input and prompt are required and have a type."""
    assert refused(body).status == 400


def test_the_model_may_come_as_a_header() -> None:
    """A body without a model takes it from X-Model; the body wins where both speak."""
    assert read(flat(model=None), header_model=MODEL).model == MODEL
    assert refused(flat(model="other"), header_model=MODEL).status == 404


def test_an_unknown_model_is_not_found() -> None:
    """A model that is not offered here answers 404 with its own code."""
    refusal = refused(flat(model="wan99"))
    assert (refusal.status, refusal.code) == (404, "ModelNotFound")


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (flat(), RequestForm.FLAT),
        (wrapped_nested(), RequestForm.WRAPPED_NESTED),
        (wrapped_flat(), RequestForm.WRAPPED_FLAT),
    ],
)
def test_a_form_that_is_switched_off_is_refused(body: object, form: RequestForm) -> None:
    """The plan chooses the forms that are understood."""
    assert refused(body, forms=set(RequestForm) - {form}).status == 400
    assert read(body, forms={form}).prompt == "a red kite"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["model", "input", "params", "parameters", "prompt", "size", "n"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(body=_JSON)
def test_any_json_is_read_or_refused(body: object) -> None:
    """No JSON value makes the reader fail in another way than a refusal."""
    try:
        outcome: TaskContent | Refusal = read(body, header_model=MODEL)
    except Refusal as refusal:
        outcome = refusal
    if isinstance(outcome, TaskContent):
        assert 1 <= outcome.n <= 4
    else:
        assert outcome.status in {400, 404}
        assert outcome.message
