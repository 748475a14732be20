"""Preloaded where networks train side by side: a step's process says nothing before it has read its run's settings.

Until then Dagster logs to a console of its own, at DEBUG: a line for each network, in the midst of what is shown.
"""

import dagster._core.execution.context_creation_job as creation


def _no_loggers(_: object) -> list[object]:
    """Events go to the instance all the same."""
    return []


creation.default_system_loggers = _no_loggers  # pyright: ignore[reportPrivateImportUsage]
