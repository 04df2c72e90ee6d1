"""An emulator at the highest speed-up, a workbench beside it, and a data folder for `wan`."""

from wan_pipeline_tests.cli.conftest import folder, provider
from wan_pipeline_tests.generation.conftest import bench, emulator

__all__ = ["bench", "emulator", "folder", "provider"]
