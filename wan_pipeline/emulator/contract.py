"""What a create call must look like, as the API page says it.

Turns a decoded body into a :class:`TaskContent` or raises :class:`Refusal`. Knows nothing of
HTTP beyond the status a refusal is answered with.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from wan_pipeline.emulator.plan import RequestForm

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["PRESET_SIZES", "Refusal", "TaskContent", "read_create"]

MAX_PROMPT = 2000
MAX_NEGATIVE_PROMPT = 500
MAX_SEED = 2_147_483_647
MAX_IMAGES = 4
MIN_PIXELS = 1280 * 1280
MAX_PIXELS = 1440 * 1440
MAX_RATIO = 4
PRESET_SIZES = frozenset({"1280*1280", "1104*1472", "1472*1104", "960*1696", "1696*960"})
"""The page's recommended sizes; four of them lie up to 1 % under its own minimum."""

_SIZE = re.compile(r"([1-9][0-9]{0,5})\*([1-9][0-9]{0,5})", re.ASCII)


class Refusal(Exception):  # noqa: N818  the protocol's word; it is an answer, not a malfunction
    """A create that the provider turns down.

    Attributes:
        status: HTTP status of the answer.
        code: the provider's error code.
        number: the same as a number, for dialects that use numbers.
        message: what is wrong and what would be right.
        retry_after_s: seconds after which the caller may try again, where there is hope.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        number: int,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.number = number
        self.message = message
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContent:
    """A create call as understood, every default filled in.

    ``seed`` is None when the caller left it to the provider.
    """

    model: str
    prompt: str
    negative_prompt: str
    size: str
    n: int
    seed: int | None
    prompt_extend: bool
    watermark: bool

    @property
    def width(self) -> int:
        """Pixels across."""
        return int(self.size.partition("*")[0])

    @property
    def height(self) -> int:
        """Pixels down."""
        return int(self.size.partition("*")[2])

    def digest(self) -> str:
        """Hash of the content: the root of everything that must repeat."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def read_create(
    body: object,
    *,
    header_model: str | None,
    forms: Collection[RequestForm],
    models: Collection[str],
) -> TaskContent:
    """Read one create body in any of the accepted forms.

    Args:
        body: the decoded JSON.
        header_model: the ``X-Model`` header, used when the body names no model.
        forms: request forms accepted.
        models: model ids that exist.

    Raises:
        Refusal: with status 400, or 404 for an unknown model.
    """
    if not isinstance(body, dict):
        raise _invalid("the body must be a JSON object")
    top = cast("dict[str, Any]", body)
    model = top.get("model", header_model)
    if model is None or model == "":
        raise _invalid("model is required, in the body or as the X-Model header")
    if not isinstance(model, str):
        raise _invalid("model must be a string")
    form, inputs, parameters = _unwrap(top)
    if form not in forms:
        raise _invalid(f"this endpoint does not understand a body of the {form} form")
    if model not in models:
        raise Refusal(404, "ModelNotFound", f"Model not found: {model}", number=40401)
    return TaskContent(
        model=model,
        prompt=_prompt(inputs),
        negative_prompt=_negative_prompt(inputs),
        size=_size(parameters.get("size", "1280*1280")),
        n=_integer(parameters.get("n", 4), "n", 1, MAX_IMAGES),
        seed=_seed(parameters.get("seed")),
        prompt_extend=_boolean(parameters.get("prompt_extend", True), "prompt_extend"),
        watermark=_boolean(parameters.get("watermark", False), "watermark"),
    )


def _invalid(message: str) -> Refusal:
    return Refusal(400, "InvalidParameter", message, number=40000)


def _unwrap(top: dict[str, Any]) -> tuple[RequestForm, dict[str, Any], dict[str, Any]]:
    raw = top.get("input")
    if isinstance(raw, list):
        items = cast("list[Any]", raw)
        first = _object(items[0], "input[0]") if items else {}
        params = _object(first.get("params"), "input[0].params")
        if "input" in params:
            nested = _object(params["input"], "input[0].params.input")
            parameters = _object(params.get("parameters", {}), "input[0].params.parameters")
            return RequestForm.WRAPPED_NESTED, nested, parameters
        return RequestForm.WRAPPED_FLAT, params, params
    inputs = _object(raw, "input")
    return RequestForm.FLAT, inputs, _object(top.get("parameters", {}), "parameters")


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(f"{name} must be an object")
    return cast("dict[str, Any]", value)


def _prompt(inputs: dict[str, Any]) -> str:
    prompt = inputs.get("prompt")
    if prompt is None or prompt == "":
        raise _invalid("prompt is required")
    if not isinstance(prompt, str):
        raise _invalid("prompt must be a string")
    return prompt[:MAX_PROMPT]


def _negative_prompt(inputs: dict[str, Any]) -> str:
    negative = inputs.get("negative_prompt") or ""
    if not isinstance(negative, str):
        raise _invalid("negative_prompt must be a string")
    return negative[:MAX_NEGATIVE_PROMPT]


def _seed(value: object) -> int | None:
    return None if value is None else _integer(value, "seed", 0, MAX_SEED)


def _integer(value: object, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _invalid(f"{name} must be an integer")
    if not low <= value <= high:
        raise _invalid(f"{name} must be between {low} and {high}, not {value}")
    return value


def _boolean(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise _invalid(f"{name} must be true or false")
    return value


def _size(value: object) -> str:
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if not isinstance(value, str) or found is None:
        raise _invalid("size must be a string such as 1280*1280")
    if value in PRESET_SIZES:
        return value
    width, height = int(found[1]), int(found[2])
    if not MIN_PIXELS <= width * height <= MAX_PIXELS:
        raise _invalid("size: total pixels must be between 1280*1280 and 1440*1440")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise _invalid("size: the aspect ratio must be between 1:4 and 4:1")
    return value
