"""Postgres as Dagster's storage, by the configuration that containers get."""

import shutil

import pytest

from tests.orchestration.workplace import ROOT, Workplace

psycopg2 = pytest.importorskip("psycopg2", reason="make test-orchestration installs it")


def test_runs_are_kept_in_postgres(workplace: Workplace, postgres: str) -> None:
    shutil.copy(ROOT / "docker" / "dagster.yaml", workplace.folder / "home" / "dagster.yaml")
    workplace.env["TPS_POSTGRES"] = postgres
    workplace.materialize("shards")
    workplace.materialize("videos", "train-000...test-000")
    with psycopg2.connect(postgres) as connection, connection.cursor() as cursor:
        cursor.execute("select status from runs")
        assert cursor.fetchall() == [("SUCCESS",), ("SUCCESS",)]
        cursor.execute("select partition from dynamic_partitions order by id")
        assert [row[0] for row in cursor.fetchall()] == ["train-000", "val-000", "test-000"]
