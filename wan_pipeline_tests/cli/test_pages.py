"""`wan pages`: what pages need is served on loopback, and nothing else, for as long as asked."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from wan_pipeline.layout import DataLayout
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

WAN = Path(sys.executable).with_name("wan")
ENDS_WITHIN_S = 10.0
SERVED = {
    "gallery/ki tes#1/index.html": "text/html; charset=utf-8",
    "gallery/ki tes#1/report.html": "text/html; charset=utf-8",
    "quality/狐.html": "text/html; charset=utf-8",
    "spend/index.html": "text/html; charset=utf-8",
    "spend/purchases.parquet": None,
    "reproductions/kites-v1/2026-11-24/index.html": "text/html; charset=utf-8",
    "images/ab/ab12.png": "image/png",
    "images/ab/ab12.webp": "image/webp",
    "thumbnails/320/ab/ab12.jpg": "image/jpeg",
}
KEPT = (
    "ledger.sqlite",
    "ledger.sqlite-wal",
    "dagster/dagster.yaml",
    "dagster/history/runs.db",
    "emulator/endpoint.json",
    "rescue/ids.jsonl",
    "metadata/kites.parquet",
    "releases/kites/v1/manifest.json",
    "exports/kites-v1/index.html",
    "gallery/.hidden/index.html",
    "gallery/.secret.html",
    "gallery/index.sqlite",
    "images/ab/note.html",
    "index.html",
)
ASK_ALL = """
import json, os, sys, httpx
url = os.environ["WAN_PAGES_URL"]
with httpx.Client(base_url=url, trust_env=False) as http:
    got = {path: http.get("/" + path) for path in json.load(sys.stdin)}
    told = {path: [each.status_code, each.text, dict(each.headers)] for path, each in got.items()}
    told["posted"] = [http.post("/spend/index.html").status_code, url, {}]
    foreign = http.get("/spend/index.html", headers={"Host": "evil.example"})
    told["evil"] = [foreign.status_code, "", {}]
print(json.dumps(told))
sys.exit(7)
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A profile's folder with all kinds of files, and the environment that points at it."""
    layout = DataLayout(tmp_path / "data", "emulator")
    for path in (*SERVED, *KEPT):
        file = layout.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"this is {path}", "utf-8")
    (layout.root / "gallery" / "link.html").symlink_to(layout.ledger)
    (layout.data_dir / "gallery").mkdir()
    (layout.data_dir / "gallery" / "above.html").write_text("this is above")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WAN_")}
    return {**kept, "WAN_DATA_DIR": str(layout.data_dir)}


def quoted(path: str) -> str:
    """As a link has it."""
    return path.replace(" ", "%20").replace("#", "%23")


def test_a_command_finds_what_pages_need_and_nothing_else(env: dict[str, str]) -> None:
    """It gets the address, its exit code comes through, and the server ends with it."""
    others = ("gallery/", "gallery", "", "images/ab", "gallery/link.html", "none.html", "/")
    around = (
        "gallery/../ledger.sqlite",
        "gallery/%2e%2e/ledger.sqlite",
        "gallery/..%2fledger.sqlite",
    )
    above = (
        "%2e%2e/gallery/above.html",
        "gallery/%2e%2e/%2e%2e/gallery/above.html",
        "gallery/%00.html",
    )
    asked = [*map(quoted, SERVED), *map(quoted, KEPT), *others, *around, *above]
    done = subprocess.run(
        [WAN, "pages", "--port", "0", sys.executable, "-c", ASK_ALL],
        env=env,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    told = json.loads(done.stdout)
    (posted, url, _), (evil, _, _) = told.pop("posted"), told.pop("evil")
    assert (posted, evil) == (405, 400)
    assert url.startswith("http://127.0.0.1:")
    for path, kind in SERVED.items():
        status, text, headers = told.pop(quoted(path))
        assert (status, text) == (200, f"this is {path}"), path
        assert kind is None or headers["content-type"] == kind
        assert headers["x-content-type-options"] == "nosniff"
    assert {path: status for path, (status, _, _) in told.items() if status != 404} == {}
    assert not [path for path, (_, text, _) in told.items() if "this is" in text]
    wait_for(lambda: not answers(url), what="the server's end", within_s=ENDS_WITHIN_S)


def answers(url: str) -> bool:
    """Whether the port is taken: one who hangs up, since it is ending, has it still."""
    try:
        with suppress(httpx.RemoteProtocolError, httpx.ReadError):
            httpx.get(url, trust_env=False)
    except httpx.ConnectError:
        return False
    return True


@pytest.fixture
def alone(env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`wan pages` by itself, and its address."""
    with subprocess.Popen(
        [WAN, "pages", "--port", "0"], env=env, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        said = server.stderr.readline()
        yield server, said.partition(" on ")[2].partition(",")[0]
        server.kill()


def test_alone_it_serves_until_interrupted(alone: tuple[subprocess.Popen[str], str]) -> None:
    """And a page that was written anew is seen at once; one that was not is not sent again."""
    server, url = alone
    with httpx.Client(base_url=url, trust_env=False) as http:
        first = http.get("/spend/index.html")
        assert first.headers["cache-control"] == "no-cache"
        again = http.get("/spend/index.html", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    server.send_signal(signal.SIGINT)
    assert server.wait(ENDS_WITHIN_S) == 0
    wait_for(lambda: not answers(url), what="the server's end", within_s=ENDS_WITHIN_S)


def test_it_ends_with_a_command_that_is_killed(env: dict[str, str]) -> None:
    """However that ends: a port that stays taken would keep the next one from starting."""
    code = "import os; print(os.getpid(), os.environ['WAN_PAGES_URL'], flush=True); input()"
    with subprocess.Popen(
        [WAN, "pages", "--port", "0", sys.executable, "-c", code],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        pid, url = command.stdout.readline().split()
        assert int(pid) == command.pid  # so a signal to `wan pages` is one to the command
        assert httpx.get(f"{url}/spend/index.html", trust_env=False).status_code == 200
        command.kill()
    wait_for(lambda: not answers(url), what="the server's end", within_s=ENDS_WITHIN_S)


def test_what_cannot_be_is_said(env: dict[str, str]) -> None:
    """A port that is taken, a folder that is not there, a command that nobody knows."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for given, changed, told in (
            (["--port", port], {}, f"port {port} of 127.0.0.1"),
            (["--port", "0"], {"WAN_PROFILE": "vtrix"}, "`wan plan` begins it"),
            (["--port", "0", "no-such-command"], {}, "there is no command no-such-command"),
        ):
            done = subprocess.run(
                [WAN, "pages", *given],
                env=env | changed,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 2, done.stderr
            assert told in done.stderr


def test_pages_that_somebody_else_serves_are_left_to_him(env: dict[str, str]) -> None:
    """The command runs, and is told what was set."""
    code = "import os; print(os.environ['WAN_PAGES_URL'])"
    done = subprocess.run(
        [WAN, "pages", sys.executable, "-c", code],
        env={**env, "WAN_PAGES_URL": "https://data.example/wan"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("https://data.example/wan\n", "")
