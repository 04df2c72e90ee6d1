"""Running jobs in this process, on a real Dagster instance, as `wan` does.

The same definitions that the UI loads; only who presses the button differs.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from filelock import FileLock

from wan_pipeline.dataset.atomic import write_atomic
from wan_pipeline.defs.dead_runs import process_tags
from wan_pipeline.defs.recording import is_of_the_history, recorded
from wan_pipeline.wan.errors import ConfigurationError, RunHistoryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wan_pipeline.settings import DataLayout, Settings

__all__ = ["JobOutcome", "open_instance", "run_job", "told_by"]

MAX_RETRIES_TAG = "dagster/max_retries"
INSTANCE_SETTINGS = "dagster.yaml"
DATABASE_FOLDERS = ("history", "schedules")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
INTERRUPTS = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """How a run ended.

    Attributes:
        run_id: the run, as the UI shows it.
        success: whether every step and blocking check passed.
        failed_step: the first step that failed, if any; a blocking check fails its own step.
        error_class: name of the exception that its code raised.
        error: its message.
        history_error: that Dagster could not keep what it did, if so.
    """

    run_id: str
    success: bool
    failed_step: str | None = None
    error_class: str = ""
    error: str = ""
    history_error: RunHistoryError | None = None

    @property
    def interrupted(self) -> bool:
        """Whether a person or a supervisor ended it."""
        return self.error_class in INTERRUPTS

    @property
    def unrecorded(self) -> bool:
        """Whether Dagster could not keep what it did; `error` says why and what to do."""
        return self.history_error is not None


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance of $DAGSTER_HOME if that is set, else the profile's own under its data folder.

    A folder without `dagster.yaml` gets a copy of the reviewed settings first. Processes that open
    a new folder at the same time take turns, since each would create its databases.

    Raises:
        ConfigurationError: what is written could not be kept, so nothing may be bought.
        RunHistoryError: the same, of the instance's databases, or the disk is full.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or settings.layout.dagster_home)
    try:
        _make_writable_folders(settings.layout, home)
        with FileLock(home / ".opening.lock"):
            if not (home / INSTANCE_SETTINGS).exists():
                write_atomic(home / INSTANCE_SETTINGS, _packaged_settings().read_bytes())
            with recorded(str(home)):
                _make_databases(home)
                return dg.DagsterInstance.from_config(str(home))
    except OSError as error:
        if error.errno in NO_SPACE:
            raise RunHistoryError(str(home), str(error)) from error
        raise ConfigurationError(
            f"{error.filename or settings.layout.root} cannot be written:"
            f" {error.strerror or type(error).__name__}. Make the data folder"
            f" {settings.layout.data_dir} and everything in it writable, or set WAN_DATA_DIR to a"
            " folder that is. Nothing was sent"
        ) from error


def run_job(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    job_name: str,
    *,
    prompt_set: str | None = None,
    images: Mapping[str, Any] | None = None,
    ops: Mapping[str, Mapping[str, Any]] | None = None,
) -> JobOutcome:
    """Run a job to its end, quietly; its log is in the instance.

    Where the instance fails, that is the run's end, whatever the job has done by then.

    Args:
        defs: the pipeline.
        instance: where the run is recorded.
        job_name: which of its jobs.
        prompt_set: the partition; None for a job whose assets have none.
        images: configuration of the asset `images`, as in `ImagesConfig`.
        ops: configuration of other assets, by name.
    """
    run_id = str(uuid.uuid4())
    try:
        with recorded(instance.root_directory):
            if prompt_set is not None:
                _know_partition(instance, prompt_set)
            job = defs.resolve_job_def(job_name)
            result = job.execute_in_process(
                instance=instance,
                partition_key=prompt_set,
                raise_on_error=False,
                run_config=_run_config(job, prompt_set, images=images, ops=ops),
                run_id=run_id,
                tags={
                    **process_tags(run_id),
                    # Should it be killed, a person runs it again; the daemon must not spend on its
                    # own.
                    MAX_RETRIES_TAG: "0",
                },
            )
    except RunHistoryError as error:
        return _unrecorded(run_id, error)
    failures = result.filter_events(lambda event: event.is_step_failure)
    if not failures:
        return _outcome_between_steps(instance, result)
    data = failures[0].step_failure_data
    error = data.error
    # Only Dagster's wrapping is taken off: our errors say what to do, what caused them does not.
    while error is not None and error.cause is not None and _is_dagsters(error.cls_name):
        error = error.cause
    told = data.user_failure_data.description if data.user_failure_data else None
    message = error.message.partition(": ")[2].strip() if error else ""
    if error is not None and is_of_the_history(error.cls_name):
        return _unrecorded(run_id, RunHistoryError(instance.root_directory, _told(error)))
    return JobOutcome(
        run_id=result.run_id,
        success=False,
        failed_step=failures[0].step_key,
        error_class=error.cls_name or "" if error else "",
        error=told or message,
    )


def told_by(instance: dg.DagsterInstance, outcome: JobOutcome, asset: str) -> dict[str, Any]:
    """Values of the metadata with which a run materialized an asset, by name.

    Raises:
        RunHistoryError: the instance cannot be read.
    """
    if outcome.unrecorded:
        return {}
    with recorded(instance.root_directory):
        records = instance.get_records_for_run(
            outcome.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
    for record in records:
        made = record.event_log_entry.asset_materialization
        if made is not None and made.asset_key == dg.AssetKey(asset):
            return {name: entry.value for name, entry in made.metadata.items()}
    return {}


def _know_partition(instance: dg.DagsterInstance, prompt_set: str) -> None:
    if not instance.has_dynamic_partition("prompt_set", prompt_set):
        instance.add_dynamic_partitions("prompt_set", [prompt_set])


def _run_config(
    job: dg.JobDefinition,
    prompt_set: str | None,
    *,
    images: Mapping[str, Any] | None,
    ops: Mapping[str, Mapping[str, Any]] | None,
) -> dict[str, Any]:
    """What the partition says, what was asked for beyond it, and no log on the screen."""
    own = job.partitioned_config
    of_partition = own is not None and prompt_set is not None
    config = {**(own.get_run_config_for_partition_key(prompt_set) if of_partition else {}), **QUIET}
    for name, values in {**(ops or {}), **({"images": images} if images else {})}.items():
        config["ops"] = {**config.get("ops", {}), name: {"config": dict(values)}}
    return config


def _outcome_between_steps(
    instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult
) -> JobOutcome:
    """How a run ended of which no step failed: well, or by what was raised between two of them."""
    for event in result.filter_events(lambda event: event.is_job_failure):
        error = event.job_failure_data.error
        if error is not None and is_of_the_history(error.cls_name):
            return _unrecorded(
                result.run_id, RunHistoryError(instance.root_directory, _told(error))
            )
    return JobOutcome(run_id=result.run_id, success=result.success)


def _told(error: Any) -> str:
    """The first line of a serialized error's message, without its class."""
    return (error.message.partition(": ")[2].strip().splitlines() or [""])[0]


def _unrecorded(run_id: str, error: RunHistoryError) -> JobOutcome:
    return JobOutcome(
        run_id=run_id,
        success=False,
        error_class=type(error).__name__,
        error=str(error),
        history_error=error,
    )


def _make_writable_folders(layout: DataLayout, home: Path) -> None:
    """Make the instance's folder, and see that it and all others that exist take files."""
    home.mkdir(parents=True, exist_ok=True)
    root = layout.root if layout.root.exists() else layout.data_dir
    for folder in (root, home, *layout.written):
        if folder.exists() and not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _make_databases(home: Path) -> None:
    """Make a new instance's databases beside their place and move them there when they are whole.

    Dagster makes them in place, table by table. A process killed meanwhile would leave a home that
    no later one can use. Only the default storage has such folders; others are left alone.
    """
    if all((home / folder).exists() for folder in DATABASE_FOLDERS):
        return
    scratch = home / ".new"
    shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed right here
    scratch.mkdir()
    shutil.copyfile(home / INSTANCE_SETTINGS, scratch / INSTANCE_SETTINGS)
    with dg.DagsterInstance.from_config(str(scratch)):
        pass
    for folder in DATABASE_FOLDERS:
        if (scratch / folder).exists() and not (home / folder).exists():
            (scratch / folder).rename(home / folder)
    shutil.rmtree(scratch)


def _is_dagsters(class_name: str | None) -> bool:
    return class_name is not None and class_name.startswith("Dagster")


def _packaged_settings() -> Path:
    """`dagster.yaml` beside this file in an installed package, in `deploy/` in a checkout."""
    installed = Path(__file__).with_name(INSTANCE_SETTINGS)
    if installed.exists():
        return installed
    return Path(__file__).parents[2] / "deploy" / INSTANCE_SETTINGS
