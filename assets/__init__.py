"""The Dagster code location: one module a stage, each asset a thin call into `tps_pipeline`."""

import warnings

import dagster as dg

# Backfill policies are "beta" since 2023; saying so for each of some twenty assets helps nobody.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
