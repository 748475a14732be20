"""Dagster's history while it is kept open: others see each event at once, and what is kept open is let go of."""

from pathlib import Path

import dagster as dg

from assets.history import kept_open


@dg.asset
def one() -> int:
    """Nothing but an event."""
    return 1


def test_others_see_events_at_once_and_files_are_closed_afterwards(tmp_path: Path):
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance, dg.DagsterInstance.from_config(str(tmp_path)) as ui:
        with kept_open(instance):
            runs = [dg.materialize([one], instance=instance).run_id for _ in range(2)]
            seen = [record.dagster_run for record in ui.get_run_records()]
            assert {run.run_id for run in seen} == {*runs}
            assert all(run.is_success for run in seen)
            assert ui.get_latest_materialization_event(dg.AssetKey("one"))
            assert all(len(ui.all_logs(run)) == len(instance.all_logs(run)) > 5 for run in runs)
        assert not [*tmp_path.rglob("*.db-wal")]  # the last to close a file takes its log in
        assert dg.materialize([one], instance=instance).success
        assert len(ui.get_run_records()) == 3


def test_a_history_elsewhere_is_left_alone():
    with dg.DagsterInstance.ephemeral() as instance, kept_open(instance):
        assert dg.materialize([one], instance=instance).success
