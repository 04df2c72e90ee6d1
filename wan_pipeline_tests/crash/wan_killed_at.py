"""The `wan` command in a process that kills itself at a named point.

python -m wan_pipeline_tests.crash.wan_killed_at 'create.accepted#3' run kites
"""

from __future__ import annotations

import sys

from wan_pipeline.cli.app import app
from wan_pipeline_tests.crash.hooks import install
from wan_pipeline_tests.crash.points import Trap

if __name__ == "__main__":
    install(Trap(sys.argv.pop(1)))
    app()
