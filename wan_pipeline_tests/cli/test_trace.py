"""What `wan trace` tells of money."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from wan_pipeline_tests.cli.conftest import KITE, MADE

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder


def test_what_is_set_aside_is_told_beside_what_is_paid(doubtful: Folder) -> None:
    """A purchase in doubt has cost nothing yet, and its price is not free."""
    told = doubtful.wan("trace", MADE, COLUMNS="300").output
    assert "1 request, $0.00 paid, $0.03 set aside" in told
    found = json.loads(doubtful.wan("trace", MADE, "--json").stdout)
    assert (found["cost_usd"], found["reserved_usd"]) == ("0", "0.03")
    paid = doubtful.wan("trace", KITE, COLUMNS="300").output
    assert "1 request, $0.03 paid\n" in paid
