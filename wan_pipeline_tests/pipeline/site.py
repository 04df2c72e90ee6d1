"""A whole installation for tests: data folder, settings, Dagster instance, emulator to buy from."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from wan_pipeline.definitions import build_defs
from wan_pipeline.defs.launch import JobOutcome, open_instance, run_job
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.settings import Settings
from wan_pipeline_tests.emulator_fixture import FAST, RunningEmulator

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import dagster as dg

    from wan_pipeline.emulator.plan import Fault
    from wan_pipeline.settings import DataLayout

__all__ = ["ASSETS", "Run", "Site", "settings_for", "supplied"]

ASSETS = ("prompts", "plan", "images", "image_metadata", "quality", "gallery")

UNHURRIED = {
    # The emulator at its highest speed-up allows far more than the published limits, and with a
    # base URL of our own nothing scales ours.
    "submissions_per_second": 5_000.0,
    "running_at_once": 40,
    "queries_per_second": 20_000.0,
    "task_patience_s": 60.0,
    "confirm_s": 0.0,
}


def settings_for(folder: Path, base_url: str, **changes: Any) -> Settings:
    """Settings that buy at `base_url` as fast as a test wants, under `folder`."""
    return Settings(**{**UNHURRIED, "data_dir": folder, "base_url": base_url, **changes})


@dataclass(frozen=True)
class Run:
    """A run of a job, as its instance remembers it."""

    outcome: JobOutcome
    events: list[dg.DagsterEvent]

    @property
    def materialized(self) -> dict[str, dg.AssetMaterialization]:
        """What the run materialized, by asset, in order."""
        return {
            event.asset_key.to_user_string(): event.step_materialization_data.materialization
            for event in self.events
            if event.is_step_materialization and event.asset_key is not None
        }

    @property
    def metadata(self) -> dict[str, dict[str, Any]]:
        """Metadata values by asset."""
        return {
            asset: {name: entry.value for name, entry in made.metadata.items()}
            for asset, made in self.materialized.items()
        }

    @property
    def data_versions(self) -> dict[str, str]:
        """Data version by asset."""
        return {
            asset: (made.tags or {})["dagster/data_version"]
            for asset, made in self.materialized.items()
        }

    @property
    def checks(self) -> dict[str, dg.AssetCheckEvaluation]:
        """Every check that was evaluated, by name."""
        return {
            event.event_specific_data.check_name: event.event_specific_data
            for event in self.events
            if event.event_type_value == "ASSET_CHECK_EVALUATION"
        }

    def kinds(self) -> list[str]:
        """One word per event of interest, in order, to see what came before what."""
        words: list[str] = []
        for event in self.events:
            if event.is_step_materialization and event.asset_key is not None:
                words.append(f"materialized {event.asset_key.to_user_string()}")
            elif event.is_step_failure:
                words.append(f"failed {event.step_key}")
            elif event.is_run_failure:
                words.append("run failed")
        return words


class Site:
    """One data folder and its Dagster instance."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self.layout: DataLayout = settings.layout
        self.layout.prompts_dir.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.instance = open_instance(self.settings)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.instance.dispose()

    @property
    def defs(self) -> dg.Definitions:
        """The definitions, pointed at this folder."""
        return build_defs(self.settings)

    @property
    def resources(self) -> Mapping[str, object]:
        """What ticks are given."""
        return {"wan": WanResource.from_settings(self.settings)}

    def write(self, file_name: str, text: str) -> Path:
        """Write a prompt file."""
        path = self.layout.prompts_dir / file_name
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, job: str, prompt_set: str) -> Run:
        """Run a job as `wan` does."""
        outcome = run_job(self.defs, self.instance, job, prompt_set=prompt_set)
        logged = self.instance.all_logs(outcome.run_id)
        events = [entry.dagster_event for entry in logged if entry.dagster_event is not None]
        return Run(outcome, events)

    def ledger(self) -> Ledger:
        """The ledger; to be closed."""
        return Ledger(self.layout.ledger, self.settings.profile.value)

    def rows(self, prompt_set: str) -> list[dict[str, Any]]:
        """Rows of the set's metadata table."""
        return pq.read_table(self.layout.metadata(prompt_set)).to_pylist()


@contextmanager
def supplied(folder: Path, *faults: Fault) -> Generator[tuple[Site, RunningEmulator]]:
    """A site, and a provider with these faults that it buys from."""
    plan = FAST.model_copy(update={"faults": faults})
    with (
        RunningEmulator(folder / "provider", plan) as provider,
        Site(folder / "data", settings_for(folder / "data", provider.base_url)) as site,
    ):
        yield site, provider
