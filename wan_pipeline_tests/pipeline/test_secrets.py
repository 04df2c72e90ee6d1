"""The API key goes to the provider and nowhere else."""

import logging
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline_tests.emulator_fixture import FAST, RunningEmulator
from wan_pipeline_tests.pipeline.site import Site, settings_for

KEY = "sk-recognisable-7f3a91c2e5"
NOT_YET = "http://127.0.0.1:9"

FAILING = FAST.model_copy(
    update={
        "api_key": KEY,
        "faults": (
            Fault(kind=FaultKind.ERROR_500_AFTER, prompt_contains="doubt"),
            Fault(kind=FaultKind.TASK_FAILED, prompt_contains="broken"),
            Fault(kind=FaultKind.REFUSED_400, prompt_contains="refused"),
            Fault(kind=FaultKind.RATE_LIMITED, on="create", first=1, retry_after_s=0),
        ),
    }
)


def texts_of(file: Path) -> str:
    """All that a file says, in compressed columns and database cells too."""
    found = file.read_bytes().decode("latin-1")
    if file.suffix == ".parquet":
        found += str(pq.read_table(file).to_pylist())
    if found.startswith("SQLite format 3"):
        with sqlite3.connect(file) as database:
            found += "\n".join(database.iterdump())
        database.close()
    return found


def files_with(key: str, folder: Path) -> list[str]:
    """Files anywhere below a folder in which the key is to be found."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    return [str(path) for path in files if key in texts_of(path)]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Site:
    """A real profile's road, with its key, to a server of our own; every logger speaks."""
    monkeypatch.setenv("VTRIX_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    return Site(
        tmp_path / "data",
        settings_for(tmp_path / "data", NOT_YET, profile="vtrix", price_usd="0.03"),
    )


_PLAIN_BODY = httpx.Response.aiter_raw


async def quoting(response: httpx.Response, *_: int) -> AsyncIterator[bytes]:
    """The provider's good answers, with the key quoted in each."""
    async for chunk in _PLAIN_BODY(response):
        yield chunk.replace(b'"status"', f'"quoted": "{KEY}", "status"'.encode(), 1)


def crash(_self: object, request: httpx.Request) -> httpx.Response:
    """A client that fails in an unforeseen way while it holds the request."""
    raise RuntimeError(f"unforeseen, with {request!r} and {request.headers!r} in hand")


def test_the_key_is_found_nowhere(
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not after a run with failures, not after a crash inside the client, in no file or output."""
    with RunningEmulator(tmp_path / "provider", FAILING) as provider:
        site.settings = site.settings.model_copy(update={"base_url": provider.base_url})
        with site:
            site.write("set.csv", "prompt,n\na good one,2\ndoubt,1\nbroken,1\nrefused,1\n")
            with monkeypatch.context() as patch:
                patch.setattr(httpx.Response, "aiter_raw", quoting)
                failing = site.run("build_dataset", "set")
            assert failing.outcome.failed_step == "gallery_every_request_stored"
            assert failing.metadata["images"]["images_new"] == 2

            site.write("set.csv", "prompt\nanother\n")
            with monkeypatch.context() as patch:
                patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", crash)
                crashed = site.run("build_dataset", "set")
            assert "unforeseen" in crashed.outcome.error

            events = "".join(
                str(entry)
                for run in site.instance.get_runs()
                for entry in site.instance.all_logs(run.run_id)
            )
        # The provider knew it by its key, so the key was in play all the time.
        assert provider.bill()["creates_accepted"] >= 3
        assert provider.downloads()
        assert not any(each["authorization"] for each in provider.downloads())
    output = capfd.readouterr()
    said = [output.out, output.err, events, caplog.text, crashed.outcome.error]
    assert [text for text in said if KEY in text] == []
    assert files_with(KEY, site.folder) == []
    # The answers are kept, and the key was in each of them.
    assert '"[API key]"' in texts_of(site.layout.ledger)


def test_a_search_for_the_key_would_find_it(tmp_path: Path) -> None:
    """The test above can fail: a key in a database cell or a compressed column is found."""
    import pyarrow as pa  # noqa: PLC0415

    pq.write_table(pa.table({"x": [KEY] * 1000}), tmp_path / "a.parquet", compression="zstd")
    with sqlite3.connect(tmp_path / "b.db") as database:
        database.execute("CREATE TABLE t (x TEXT)")
        database.execute("INSERT INTO t VALUES (?)", (KEY,))
    database.close()
    for number in range(20):
        (tmp_path / f"{number}.txt").write_text("nothing")
    assert len(files_with(KEY, tmp_path)) == 2
