"""Everything Dagster loads, in one list.

`build_defs` is the one road: the UI, the daemon, the command line and the tests all take it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from wan_pipeline.defs.assets.exports import exports
from wan_pipeline.defs.assets.gallery import gallery
from wan_pipeline.defs.assets.image_metadata import image_metadata
from wan_pipeline.defs.assets.images import images
from wan_pipeline.defs.assets.plan import plan
from wan_pipeline.defs.assets.prompts import prompts
from wan_pipeline.defs.assets.release import release
from wan_pipeline.defs.assets.spend import spend
from wan_pipeline.defs.automation import jobs, schedules, sensors
from wan_pipeline.defs.checks import checks
from wan_pipeline.defs.money_checks import money_checks
from wan_pipeline.defs.progress import ProgressSink
from wan_pipeline.defs.release_checks import release_checks
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["build_defs", "defs"]


def build_defs(
    settings: Settings | None = None, *, resources: Mapping[str, object] | None = None
) -> dg.Definitions:
    """Assemble the pipeline.

    Args:
        settings: where to buy and where things lie; from the environment when None.
        resources: replacements, by resource name.
    """
    return dg.Definitions(
        assets=[prompts, plan, images, image_metadata, gallery, spend, release, exports],
        asset_checks=[*checks, *money_checks, *release_checks],
        jobs=jobs,
        schedules=schedules,
        sensors=[
            *sensors,
            dg.AutomationConditionSensorDefinition(
                "follow_up", target=dg.AssetSelection.assets("gallery")
            ),
        ],
        resources={
            "wan": WanResource.from_settings(settings or Settings()),
            "progress": ProgressSink(),
            **(resources or {}),
        },
        # Waiting for a provider needs no process of its own, and a step that does costs seconds.
        executor=dg.in_process_executor,
    )


defs = build_defs()
