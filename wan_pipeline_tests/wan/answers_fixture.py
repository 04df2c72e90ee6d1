"""Bodies as no provider should send them, for property tests."""

from __future__ import annotations

import json

from hypothesis import strategies as st

__all__ = ["any_body"]

_WORDS = st.sampled_from(
    [
        "completed",
        "SUCCEEDED",
        "failed",
        "in_progress",
        "unknown",
        "success",
        "Throttling.X",
        "https://host/image.png",
        "../../etc",
        "",
        "\ud800",
        "\0",
        "0.03",
        "1e999",
        "NaN",
    ]
)
_KEYS = st.sampled_from(
    [
        "id",
        "status",
        "error",
        "code",
        "message",
        "error_message",
        "error_code",
        "detail",
        "data",
        "output",
        "outputs",
        "results",
        "content",
        "url",
        "type",
        "jobId",
        "usage",
        "cost",
        "discount",
        "progress",
        "created_at",
        "completed_at",
        "metadata",
        "task_id",
    ]
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**300, 10**310),
    st.sampled_from([0, 200, 202, 400, 402, 429, 500, 40201, 110001]),
    st.floats(),
    st.text(max_size=20),
    _WORDS,
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_KEYS, inner, max_size=6)),
    max_leaves=25,
)


def any_body() -> st.SearchStrategy[bytes]:
    """Objects made of the protocol's own keys with anything in them, any JSON, any bytes."""
    documents = st.dictionaries(_KEYS, _VALUES, max_size=8)
    return st.one_of(
        documents.map(lambda document: json.dumps(document).encode()),
        documents.map(lambda document: json.dumps(document).encode()[:-1]),
        _VALUES.map(lambda value: json.dumps(value).encode()),
        st.binary(max_size=60),
        st.integers(1, 3000).map(lambda depth: b'{"metadata":{"a":' + b"[" * depth),
        st.integers(1, 1100).map(
            lambda depth: (
                b'{"id":"x1","status":"done","metadata":'
                + b'{"a":' * depth
                + b"1"
                + b"}" * (depth + 1)
            )
        ),
        st.integers(1, 1100).map(lambda depth: b'{"detail":' + b"[" * depth + b"]" * depth + b"}"),
    )
