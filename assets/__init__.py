"""The Dagster code location: the steps of `tps_pipeline.stages` as assets, and what schedules, watches and runs them.

Nothing here computes, reads a table or knows a method: a new step, network or method is made in the library alone.
"""

import warnings

import dagster as dg

# Backfill policies are "beta" since 2023, reconstruction metadata a "preview": saying so at every start helps nobody.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
