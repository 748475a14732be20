"""The sample that the tests of the report share."""

from typing import Any

import pyarrow as pa
import pytest

from tests.report import report_sample


@pytest.fixture(scope="package")
def sample(tmp_path_factory: pytest.TempPathFactory):
    return report_sample.parse_videos(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="package")
def leaderboard(sample: dict[str, Any]) -> pa.Table:
    return report_sample.leaderboard(sample)
