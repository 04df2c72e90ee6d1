"""One look of a sensor and one tick of a schedule, as the daemon evaluates them."""

from datetime import UTC, datetime

import dagster as dg

from wan_pipeline_tests.pipeline.site import Site

NIGHT = datetime(2026, 1, 2, 2, tzinfo=UTC)


def look(site: Site) -> dg.SensorResult | dg.SkipReason:
    """One look of the sensor, without resolving what it asks for."""
    with dg.build_sensor_context(
        instance=site.instance, resources=site.resources, definitions=site.defs
    ) as context:
        return site.defs.resolve_sensor_def("new_prompt_files")(context)


def tick(site: Site, schedule: str, at: datetime = NIGHT) -> tuple[list[dg.RunRequest], str]:
    """One tick of a schedule as the daemon evaluates it: run requests and the skip message."""
    with dg.build_schedule_context(
        instance=site.instance,
        scheduled_execution_time=at,
        resources=site.resources,
        repository_def=site.defs.get_repository_def(),
    ) as context:
        data = site.defs.resolve_schedule_def(schedule).evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message or ""


def names(requests: list[dg.RunRequest]) -> list[str | None]:
    """Which sets are asked for."""
    return [request.partition_key for request in requests]
