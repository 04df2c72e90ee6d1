"""A `dagster dev` of its own for tests: started like `make dev`, asked through GraphQL."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

__all__ = ["DevServer"]

CHECKOUT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
START_PATIENCE_S = 120.0
STOP_PATIENCE_S = 30.0
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
# A shell that starts jobs in the background lets them ignore SIGINT, by which `dagster dev` stops
# its children; then it would never end.
WITH_SIGINT = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)
LOADED = """{ workspaceOrError { ... on Workspace { locationEntries {
  locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
LAUNCH = """mutation ($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } } } }"""
TERMINATE = """mutation ($run: String!) { terminateRun(runId: $run) {
  __typename ... on TerminateRunFailure { message } ... on PythonError { message } } }"""
TAGS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { tags { key value } } } }"
REPEATS = """query ($run: String!) {
  runsOrError(filter: {tags: [{key: "dagster/parent_run_id", value: $run}]}) {
    ... on Runs { results { runId } } } }"""
STATUS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"


@dataclass(slots=True, kw_only=True)
class DevServer:
    """`wan pages dagster dev -w workspace.yaml` on free ports, as a context manager.

    Attributes:
        home: folder of the Dagster instance; its `dagster.yaml` is there.
        log: where its output goes.
        env: its environment.
    """

    home: Path
    log: Path
    env: Mapping[str, str]
    url: str = field(init=False)
    _process: subprocess.Popen[bytes] = field(init=False)

    def __enter__(self) -> Self:
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        pages = [str(BIN / "wan"), "pages", "--port", "0"]
        dagster = [*pages, str(BIN / "dagster"), "dev", "-w", "workspace.yaml"]
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", WITH_SIGINT, *dagster, "-h", "127.0.0.1", "-p", str(port)],
                cwd=CHECKOUT,
                env={
                    **self.env,
                    "DAGSTER_HOME": str(self.home),
                    "PATH": f"{BIN}{os.pathsep}{self.env['PATH']}",
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            self._await_loaded()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def launch(self, job: str, *, prompt_set: str) -> str:
        """Start a job for a prompt set, as the UI's launchpad does; the run's id."""
        params = {
            "selector": {
                "repositoryLocationName": "wan_pipeline",
                "repositoryName": "__repository__",
                "jobName": job,
            },
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": prompt_set}]},
        }
        answer = self._ask(LAUNCH, params=params)["launchPipelineExecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def terminate(self, run_id: str) -> None:
        """What the UI's button Terminate sends."""
        answer = self._ask(TERMINATE, run=run_id)["terminateRun"]
        assert answer["__typename"] == "TerminateRunSuccess", answer

    def status(self, run_id: str) -> str:
        """As the UI shows it."""
        return self._ask(STATUS, run=run_id)["runOrError"]["status"]

    def tags(self, run_id: str) -> dict[str, str]:
        """A run's tags, by key."""
        tags = self._ask(TAGS, run=run_id)["runOrError"]["tags"]
        return {tag["key"]: tag["value"] for tag in tags}

    def await_end(self, run_id: str, *, patience_s: float) -> str:
        """The status of a run once it has ended."""

        def ended() -> str | None:
            status = self.status(run_id)
            return status if status in ENDED else None

        return wait_for(ended, what=f"the end of run {run_id}", within_s=patience_s, every_s=0.1)

    def await_repeat(self, run_id: str, *, patience_s: float) -> str:
        """The run by which the daemon tries a dead one again."""
        repeats = wait_for(
            lambda: self._ask(REPEATS, run=run_id)["runsOrError"]["results"],
            what=f"another try of run {run_id}",
            within_s=patience_s,
            every_s=0.1,
        )
        return repeats[0]["runId"]

    def _ask(self, query: str, **variables: object) -> dict[str, Any]:
        answer = httpx.post(
            f"{self.url}/graphql",
            json={"query": query, "variables": variables},
            timeout=60,
            trust_env=False,
        ).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def _await_loaded(self) -> None:
        try:
            loads = wait_for(self._loads, what="the code", within_s=START_PATIENCE_S, every_s=0.25)
        except (TimeoutError, ChildProcessError) as error:
            said = self.log.read_text()[-3000:]
            raise RuntimeError(f"dagster dev did not come up, {error}: {said}") from error
        assert [load["__typename"] for load in loads] == ["RepositoryLocation"], loads

    def _loads(self) -> list[Any] | None:
        """What became of each code location, when all of them are through."""
        if self._process.poll() is not None:
            raise ChildProcessError(f"it ended with exit code {self._process.returncode}")
        try:
            entries = self._ask(LOADED)["workspaceOrError"]["locationEntries"]
        except httpx.TransportError:
            return None
        loads = [entry["locationOrLoadError"] for entry in entries]
        return loads if all(loads) else None

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            # Whoever is left of its session; it is ours alone.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
