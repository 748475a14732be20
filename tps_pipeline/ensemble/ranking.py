"""Which method is better: the order that ensembles take their methods in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from tps_pipeline import psc, tables


def ranking(scored: pa.Table, methods: Sequence[str], *, split: str) -> pa.Table:
    """Order methods by the challenge's score.

    Args:
        scored: `tables.PSC` of the methods.
        methods: Who is ranked; of methods with equal scores the earlier one is better.
        split: The split whose videos count.

    Returns:
        `tables.RANKING`; without a scored video the methods as they were given.
    """
    rows = scored.to_pandas().astype({"method": str})
    videos = dict(iter(rows[rows.split == split].groupby("method")))
    ranked = [{"method": name, "split": split, "videos": 0, "score": np.nan, "mean_psc": np.nan} for name in methods]
    for row in ranked:
        if row["method"] in videos:
            of_method = videos[row["method"]]
            score = psc.score(of_method.psc.to_numpy(), of_method.action_correct.to_numpy())
            row.update(videos=len(of_method), score=score, mean_psc=float(of_method.psc.mean()))
    columns = pd.DataFrame(ranked, columns=tables.RANKING.names)
    return tables.conform(columns.sort_values("score", ascending=False, kind="stable"), tables.RANKING)
