"""Result URLs: signed, expiring, free of keys; images whole, damaged and in other encodings."""

from __future__ import annotations

import time
from io import BytesIO
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind, ReplyStyle
from wan_pipeline_tests.emulator.client import Caller, flat, urls_of
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

K = FaultKind


def url_under(emulator: RunningEmulator, caller: Caller, *faults: Fault, **plan: Any) -> str:
    """The URL of a fresh image under a plan."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, faults=faults, **plan))
    return urls_of(caller.finished(caller.made(flat(n=1))))[0]


def once(kind: FaultKind, **options: Any) -> Fault:
    """A fault of a download that happens once."""
    return Fault(kind=kind, on="download", times=1, **options)


def size_of(data: bytes) -> tuple[int, int]:
    """Decode an image fully and give its size."""
    with Image.open(BytesIO(data)) as image:
        image.load()
        return image.size


def test_an_image_is_the_same_each_time(emulator: RunningEmulator, caller: Caller) -> None:
    """Two downloads of one URL bring the same PNG of the size asked for."""
    url = url_under(emulator, caller)
    first, second = caller.get(url), caller.get(url)
    assert first.content == second.content
    assert first.headers["content-type"] == "image/png"
    assert int(first.headers["content-length"]) == len(first.content)
    assert size_of(first.content) == (1280, 1280)


def test_a_url_expires(emulator: RunningEmulator, caller: Caller) -> None:
    """After its lifetime, scaled by the speed-up, the image is gone: 403 as an object store."""
    url = url_under(emulator, caller, url_lifetime_s=200)
    assert caller.get(url).status_code == 200
    wait_for(lambda: caller.get(url).status_code != 200, what="the URL's end", within_s=10)
    reply = caller.get(url)
    assert reply.status_code == 403
    assert "Request has expired" in reply.text
    assert reply.headers["content-type"].startswith("application/xml")


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("Signature=", "Signature=0", 403),
        ("Signature=", "Signature=é", 403),
        ("Expires=", "Expires=9", 403),
        ("/0.png", "/1.png", 404),
        ("/0.png", "/00.png", 404),
        ("/0.png", "/0.webp", 404),
        ("/0.png", "/0", 404),
        ("/files/", "/files/x", 404),
    ],
)
def test_a_url_cannot_be_made_up(
    emulator: RunningEmulator, caller: Caller, *, old: str, new: str, status: int
) -> None:
    """Any other path, date or signature is turned down."""
    url = url_under(emulator, caller)
    assert caller.get(url.replace(old, new)).status_code == status


def test_a_key_sent_to_the_image_host_is_noticed(emulator: RunningEmulator, caller: Caller) -> None:
    """The log tells whether a request carried an Authorization header, never what it said."""
    url = url_under(emulator, caller)
    caller.get(url)
    caller.http.get(url)
    downloads = emulator.downloads()
    assert [entry["authorization"] for entry in downloads] == [False, True]
    assert [entry["status"] for entry in downloads] == [200, 200]
    assert "test-key" not in str(downloads)


@pytest.mark.parametrize("fmt", ["webp", "jpeg"])
def test_images_come_in_other_encodings(
    emulator: RunningEmulator, caller: Caller, fmt: str
) -> None:
    """A gateway may re-encode; the type is told rightly unless the plan lies."""
    url = url_under(emulator, caller, replies=ReplyStyle.model_validate({"image_format": fmt}))
    reply = caller.get(url)
    assert reply.headers["content-type"] == f"image/{fmt}"
    with Image.open(BytesIO(reply.content)) as image:
        assert (image.format, image.size) == (fmt.upper(), (1280, 1280))


def test_the_content_type_may_lie(emulator: RunningEmulator, caller: Caller) -> None:
    """A client must look at the bytes."""
    url = url_under(emulator, caller, replies=ReplyStyle(content_type="text/plain"))
    reply = caller.get(url)
    assert reply.headers["content-type"].startswith("text/plain")
    assert reply.content.startswith(b"\x89PNG")


def test_damage_differs_from_the_whole_image(emulator: RunningEmulator, caller: Caller) -> None:
    """Each kind of damage strikes once; the next download is whole."""
    kinds = [K.TRUNCATED_IMAGE, K.CORRUPTED_IMAGE, K.HTML_IMAGE, K.EMPTY_IMAGE, K.WRONG_SIZE_IMAGE]
    url = url_under(emulator, caller, *(once(kind) for kind in kinds))
    bad = {kind: caller.get(url) for kind in kinds}
    good = caller.get(url).content
    assert {reply.status_code for reply in bad.values()} == {200}
    cut = bad[K.TRUNCATED_IMAGE].content
    assert 0 < len(cut) < len(good)
    assert good.startswith(cut)
    corrupted = bad[K.CORRUPTED_IMAGE].content
    assert sum(a != b for a, b in zip(corrupted, good, strict=True)) == 1
    with pytest.raises(SyntaxError, match="checksum"), Image.open(BytesIO(corrupted)) as image:
        image.verify()
    assert bad[K.HTML_IMAGE].content.startswith(b"<!DOCTYPE html>")
    assert bad[K.EMPTY_IMAGE].content == b""
    assert size_of(bad[K.WRONG_SIZE_IMAGE].content) == (1216, 1216)
    assert size_of(good) == (1280, 1280)


def test_a_url_may_be_dead_before_its_time(emulator: RunningEmulator, caller: Caller) -> None:
    """The injected form of an expired URL looks like the real one."""
    url = url_under(emulator, caller, once(K.EXPIRED_URL))
    reply = caller.get(url)
    assert (reply.status_code, "Request has expired" in reply.text) == (403, True)
    assert caller.get(url).status_code == 200


def test_a_redirect_leads_to_the_image(emulator: RunningEmulator, caller: Caller) -> None:
    """Without a target of its own, a redirect leads to the same image at another address."""
    url = url_under(emulator, caller, Fault(kind=K.REDIRECT, on="download"))
    reply = caller.get(url)
    assert reply.status_code == 302
    assert caller.get(reply.headers["location"]).status_code == 200


def test_a_redirect_loop_never_ends(emulator: RunningEmulator, caller: Caller) -> None:
    """Only a bound on redirects gets a client out of it."""
    url = url_under(emulator, caller, Fault(kind=K.REDIRECT_LOOP))
    following = httpx.Client(trust_env=False, follow_redirects=True, max_redirects=5)
    with following as http, pytest.raises(httpx.TooManyRedirects):
        http.get(url)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (K.RATE_LIMITED, 429),
        (K.RATE_LIMITED_NO_RETRY_AFTER, 429),
        (K.ERROR_500_BEFORE, 500),
        (K.ERROR_502_BEFORE, 502),
        (K.ERROR_503_BEFORE, 503),
        (K.ERROR_504_BEFORE, 504),
    ],
)
def test_a_download_is_refused_once(
    emulator: RunningEmulator, caller: Caller, kind: FaultKind, status: int
) -> None:
    """Errors of the image host pass; the URL stays good."""
    url = url_under(emulator, caller, once(kind))
    assert caller.get(url).status_code == status
    assert caller.get(url).status_code == 200


@pytest.mark.parametrize("kind", [K.RESET_BEFORE, K.RESET_AFTER])
def test_a_download_is_cut(emulator: RunningEmulator, caller: Caller, kind: FaultKind) -> None:
    """The connection is reset before the answer or in the middle of the image."""
    url = url_under(emulator, caller, once(kind))
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        caller.get(url)
    assert caller.get(url).status_code == 200


def test_a_download_hangs(emulator: RunningEmulator, caller: Caller) -> None:
    """No answer at all: the client's timeout has to end it."""
    url = url_under(emulator, caller, once(K.HUNG_BEFORE))
    with httpx.Client(timeout=0.2, trust_env=False) as hasty, pytest.raises(httpx.ReadTimeout):
        hasty.get(url)


def test_a_slow_download_takes_its_time_and_arrives_whole(
    emulator: RunningEmulator, caller: Caller
) -> None:
    """The bytes drip in over the duration of the fault."""
    url = url_under(emulator, caller, once(K.SLOW_DOWNLOAD, duration_s=0.5))
    started = time.monotonic()
    slow = caller.get(url).content
    assert time.monotonic() - started >= 0.4
    assert slow == caller.get(url).content
