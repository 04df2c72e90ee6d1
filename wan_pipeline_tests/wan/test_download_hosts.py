"""Fetching result images: only where we may go, and by whose proxy."""

from __future__ import annotations

import pytest

from wan_pipeline.wan.errors import (
    ConfigurationError,
    DownloadError,
    ForbiddenUrlError,
)
from wan_pipeline.wan.retry import RetryPolicy
from wan_pipeline_tests.wan.client_fixture import (
    IMAGE,
    any_bytes,
    downloader,
)
from wan_pipeline_tests.wan.scripted_server import always, reply, scripted

FORBIDDEN = [
    "file:///etc/passwd",
    "ftp://127.0.0.1/1.png",
    "data:image/png;base64,AAAA",
    "gopher://127.0.0.1:70/",
    "//127.0.0.1/1.png",
    "1.png",
    "",
    "http:///1.png",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:x/",
    "http://xn--/",
    "http://\0/",
    "http://" + "é" * 80 + ".example/",
]


@pytest.mark.parametrize("url", FORBIDDEN, ids=ascii)
async def test_url_that_is_no_web_address_is_refused(url: str) -> None:
    """With a typed error, so that one odd answer ends no batch."""
    async with downloader() as fetcher:
        with pytest.raises(ForbiddenUrlError):
            await fetcher.fetch(url, check=any_bytes)


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://xn--/",
        "http://[",
    ],
)
async def test_redirect_to_no_web_address_is_refused(location: str) -> None:
    """The same for every hop."""
    answer = reply(302, Location=location)
    async with scripted(always(answer)) as server, downloader() as fetcher:
        with pytest.raises(DownloadError):
            await fetcher.fetch(server.url, check=any_bytes)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that names no proxy yet."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
async def test_downloads_take_the_proxy_that_creates_take(
    environment: pytest.MonkeyPatch, variable: str
) -> None:
    """Where only the proxy gets out, what was bought must come in; it resolves the host itself."""
    url = "http://images.invalid/1.png?Signature=x"
    async with scripted(always(reply(200, IMAGE))) as proxy:
        environment.setenv(variable, proxy.url.removeprefix("http://"))
        async with downloader(allow_private=False) as fetcher:
            assert await fetcher.fetch(url, check=any_bytes) == IMAGE
    (asked,) = proxy.asked
    assert asked.target == url
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.1.2.3", "[fd00::1]"])
async def test_addresses_inside_are_not_asked_of_a_proxy(
    environment: pytest.MonkeyPatch, host: str
) -> None:
    """A result URL with one in it is refused all the same."""
    async with scripted(always(reply(200, IMAGE))) as proxy:
        environment.setenv("HTTP_PROXY", proxy.url)
        async with downloader(allow_private=False) as fetcher:
            with pytest.raises(ForbiddenUrlError, match="not a public address"):
                await fetcher.fetch(f"http://{host}/1.png", check=any_bytes)
    assert proxy.asked == []


async def test_api_host_inside_is_asked_of_the_proxy_that_creates_take(
    environment: pytest.MonkeyPatch,
) -> None:
    """Its results lie where the creates went."""
    async with scripted(always(reply(200, IMAGE))) as proxy:
        environment.setenv("HTTP_PROXY", proxy.url)
        async with downloader(allow_private=False, api_host="10.1.2.3") as fetcher:
            assert await fetcher.fetch("http://10.1.2.3:81/1.png", check=any_bytes) == IMAGE
            with pytest.raises(ForbiddenUrlError, match="not a public address"):
                await fetcher.fetch("http://10.1.2.4/1.png", check=any_bytes)
    assert len(proxy.asked) == 1


async def test_loopback_and_no_proxy_hosts_are_fetched_directly(
    environment: pytest.MonkeyPatch,
) -> None:
    """The stand-in provider needs no proxy, nor does what NO_PROXY names."""
    async with scripted(always(reply(500))) as proxy, scripted(always(reply(200, IMAGE))) as host:
        environment.setenv("HTTP_PROXY", proxy.url)
        environment.setenv("NO_PROXY", "images.invalid")
        async with downloader(retry=RetryPolicy(attempts=1)) as fetcher:
            assert await fetcher.fetch(host.url, check=any_bytes) == IMAGE
            with pytest.raises(DownloadError, match="no connection could be made"):
                await fetcher.fetch("http://images.invalid/1.png", check=any_bytes)
    assert proxy.asked == []


async def test_proxy_that_cannot_be_used_is_a_wrong_setting(
    environment: pytest.MonkeyPatch,
) -> None:
    """Found out before anything is bought."""
    environment.setenv("HTTPS_PROXY", "gopher://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY"):
        async with downloader():
            pass


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_loopback_is_refused_when_the_provider_is_elsewhere(host: str) -> None:
    """Nothing is connected to, by address or by a name that resolves to it."""
    async with scripted(always(reply(200, IMAGE))) as server:
        url = server.url.replace("127.0.0.1", host)
        async with downloader(allow_private=False) as fetcher:
            with pytest.raises(ForbiddenUrlError, match="not a public address"):
                await fetcher.fetch(url, check=any_bytes)
    assert server.asked == []


async def test_result_on_the_host_of_the_api_is_fetched_wherever_that_is() -> None:
    """By its very name, on any port; the same machine by another name is refused."""
    inside = downloader(allow_private=False, api_host="localhost")
    async with scripted(always(reply(200, IMAGE))) as server, inside as fetcher:
        named = server.url.replace("127.0.0.1", "LOCALHOST")
        assert await fetcher.fetch(named, check=any_bytes) == IMAGE
        with pytest.raises(ForbiddenUrlError, match="not a public address"):
            await fetcher.fetch(server.url, check=any_bytes)
    assert len(server.asked) == 1
