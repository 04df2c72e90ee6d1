"""Which addresses a result may be fetched from, decided when connecting, without sending."""

from __future__ import annotations

import socket
from typing import Any

import httpcore
import httpx
import pytest

from wan_pipeline.wan.download import Downloader
from wan_pipeline.wan.errors import DownloadError, ForbiddenUrlError
from wan_pipeline.wan.guard import (
    PublicAddressTransport,
    host_of,
    is_loopback_url,
    is_public_address,
)
from wan_pipeline.wan.retry import RetryPolicy
from wan_pipeline_tests.wan.client_fixture import Naps
from wan_pipeline_tests.wan.scripted_server import always, reply, scripted

PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_inside_are_not_public(address: str) -> None:
    """Loopback, private, link-local, shared, multicast, and IPv6 clothing of any of them."""
    assert not is_public_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    """Everything else."""
    assert is_public_address(address)


class Network:
    """A name service and a network in which every connection is only noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.connected: list[str] = []
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)
        monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", self._connect)

    def _getaddrinfo(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        kind = socket.SOCK_STREAM
        return [
            (socket.AF_INET, kind, 6, "", (address, port))
            for address in self.names.get(host, [host])
        ]

    async def _connect(self, host: str, *_: Any) -> Any:
        self.connected.append(host)
        raise httpcore.ConnectError("nobody is there")


async def fetch(url: str, api_host: str | None = None) -> None:
    """One GET through the guarded transport."""
    transport = PublicAddressTransport(limits=httpx.Limits(), api_host=api_host)
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.8", "169.254.169.254", "[::1]"])
async def test_literal_private_address_is_refused(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is connected to."""
    network = Network(monkeypatch)
    with pytest.raises(ForbiddenUrlError, match="not a public"):
        await fetch(f"http://{host}/latest/meta-data")
    assert network.connected == []


async def test_public_name_of_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name says nothing about where it leads; one private address among several is enough."""
    network = Network(
        monkeypatch, evil_example=["169.254.169.254"], mixed_example=["8.8.8.8", "10.0.0.1"]
    )
    for name in ("evil.example", "mixed.example"):
        with pytest.raises(ForbiddenUrlError, match=name):
            await fetch(f"https://{name}/1.png")
    assert network.connected == []


async def test_address_that_was_checked_is_the_one_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name service that answers differently the second time is not asked a second time."""
    network = Network(monkeypatch, good_example=["8.8.8.8", "1.1.1.1"])
    with pytest.raises(httpx.ConnectError):
        await fetch("http://good.example/1.png")
    assert network.connected == ["8.8.8.8", "1.1.1.1"]


async def test_api_host_may_be_inside_and_no_other_name_of_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is connected to is what that very name resolved to, once."""
    network = Network(
        monkeypatch,
        api_lan=["10.0.0.8", "fd00::8"],
        evil_example=["10.0.0.8"],
        sub_api_lan=["10.0.0.8"],
    )
    with pytest.raises(httpx.ConnectError):
        await fetch("http://api.lan:8081/1.png", "api.lan")
    assert network.connected == ["10.0.0.8", "fd00::8"]
    for other in ("evil.example", "sub.api.lan", "10.0.0.8", "127.0.0.1"):
        with pytest.raises(ForbiddenUrlError, match="not a public"):
            await fetch(f"http://{other}/1.png", "api.lan")
    assert len(network.connected) == 2


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://API.lan:8080/v1", "api.lan"),
        ("http://10.0.0.8", "10.0.0.8"),
        ("http://[FD00::8]:80", "fd00::8"),
        ("https://bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_host_of_a_url_is_spelled_as_it_is_resolved(url: str, host: str) -> None:
    """So that one host has one spelling."""
    assert host_of(url) == host


async def test_redirect_from_a_public_host_to_loopback_is_refused() -> None:
    """Every hop goes through the same check; the server on loopback is never asked."""
    async with scripted(always(reply(200, b"secret"))) as inside:
        hop = httpx.Response(302, headers={"location": f"{inside.url}/admin"})

        def outside(request: httpx.Request) -> httpx.Response:
            assert request.url.host == "cdn.example"
            return hop

        guarded = PublicAddressTransport(limits=httpx.Limits())
        public = httpx.MockTransport(outside)
        fetcher = Downloader(allow_private=False, sleep=Naps(), retry=RetryPolicy(attempts=1))
        async with fetcher:
            fetcher._client = httpx.AsyncClient(
                transport=guarded, mounts={"https://cdn.example": public}
            )
            with pytest.raises(ForbiddenUrlError, match="not a public address"):
                await fetcher.fetch("https://cdn.example/1.png", check=lambda _: None)
            await fetcher._client.aclose()
    assert inside.asked == []


async def test_name_that_cannot_be_resolved_is_a_download_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Among them names that the DNS encoding refuses."""

    def refuse(*_: Any, **__: Any) -> None:
        raise UnicodeError("label too long")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    fetcher = Downloader(allow_private=False, sleep=Naps(), retry=RetryPolicy(attempts=1))
    async with fetcher:
        with pytest.raises(DownloadError, match="cannot resolve"):
            await fetcher.fetch("http://somewhere.example/", check=lambda _: None)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.1.2.3", True),
        ("http://[::1]:8000/x", True),
        ("http://localhost", True),
        ("http://LOCALHOST:1", True),
        ("http://emulator.localhost", True),
        ("https://cloud.vtrix.ai", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://10.0.0.1", False),
        ("http://user:127.0.0.1@evil.example", False),
    ],
)
def test_loopback_urls_are_recognised(url: str, *, loopback: bool) -> None:
    """Only a provider on this very machine may send us to this machine."""
    assert is_loopback_url(url) is loopback
