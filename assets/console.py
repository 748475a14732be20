"""What Dagster says on a terminal, where it is told by a run: of a mistake that has a sentence the sentence, no trace.

What has no sentence of its own is a fault in the code, and keeps its trace. The UI has the traces of all.
"""

import logging
from collections.abc import Iterator
from typing import Any

import dagster as dg
import dagster._core.execution.context_creation_job as creation
from dagster._loggers import default_system_loggers
from dagster._utils.log import create_console_logger

from tps_pipeline.errors import TpsError, tells_of_no_room

SAID_ELSEWHERE = {"log_level": "WARNING", "mistakes": False}
"""The configuration under which whoever started the run says itself what went wrong (`make run`)."""


def _below(kind: type) -> Iterator[str]:
    yield kind.__name__
    for each in kind.__subclasses__():
        yield from _below(each)


MISTAKES = {*_below(TpsError), "DagsterAssetCheckFailedError", "DagsterExecutionInterruptedError", "KeyboardInterrupt"}


@dg.logger({
    "log_level": dg.Field(str, default_value="DEBUG"),
    "name": dg.Field(str, default_value="dagster"),
    "mistakes": dg.Field(bool, default_value=True, description="Whether to tell of what a user can mend."),
})  # fmt: skip
def console(context: dg.InitLoggerContext) -> logging.Logger:
    """Dagster's own, with one line for what a user can mend."""
    config: dict[str, Any] = dict(context.logger_config)
    mistakes = config.pop("mistakes")
    made = create_console_logger(name=config["name"], level=config["log_level"])
    for handler in made.handlers:
        handler.addFilter(lambda record: _in_brief(record, mistakes=mistakes))
        if not mistakes:
            handler.setFormatter(_Plain("warning: %(message)s"))
    return made


class _Plain(logging.Formatter):
    """What was said, without the run, the step and the time that Dagster puts before it."""

    def format(self, record: logging.LogRecord) -> str:
        said = getattr(record, "dagster_meta", {}).get("orig_message")
        return super().format(logging.makeLogRecord(vars(record) | ({"msg": said, "args": ()} if said else {})))


def _in_brief(record: logging.LogRecord, *, mistakes: bool) -> bool:
    """Leave the trace out of what is said of a mistake; whether anything is said."""
    event = getattr(record, "dagster_meta", {}).get("dagster_event")
    error = getattr(event and event.event_specific_data, "error", None)
    if error is None:
        return mistakes or record.levelno < logging.ERROR or event is not None
    while error.cause is not None and error.cls_name not in MISTAKES:
        error = error.cause
    if error.cls_name not in MISTAKES and not tells_of_no_room(error.message):
        return True
    record.msg = f"{str(record.msg).partition(chr(10) * 2)[0]} {error.message.strip()}"
    return mistakes


def _default(instance: dg.DagsterInstance | None) -> list[tuple[dg.LoggerDefinition, dict[str, Any]]]:
    """What a run from a shell has that configures no logger; Dagster offers no other place to say so (1.13)."""
    level = (instance and instance.python_log_level) or "DEBUG"
    return [(console, {"log_level": level, "name": "dagster", "mistakes": True})]


if creation.default_system_loggers is default_system_loggers:  # pyright: ignore[reportPrivateImportUsage]
    # Else `assets.quiet` has put its own there.
    creation.default_system_loggers = _default  # pyright: ignore[reportPrivateImportUsage]
