"""What Dagster sees, thin: assets, checks, automation, resources, metadata. No logic lives here."""

import warnings

import dagster as dg

# Partitioned checks and freshness policies are marked preview or beta; they are used with open
# eyes, and the version of Dagster is pinned. Users need not read about it at every start.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
