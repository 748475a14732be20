"""The Dagster code location: one module a stage, each asset a thin call into `tps_pipeline`."""
