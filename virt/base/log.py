"""Logging of all daemons: one JSON line per event on standard error, with UTC time, level and logger name.

    log = log.get("virt.kube.informer")
    log.info("relisted", kind="pods", count=12)

Records of the standard library (aiohttp, grpc ...) go the same way.
"""

import json
import logging
import sys
from typing import Any

import structlog

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    structlog.processors.EventRenamer("msg"),
]


def setup(component: str) -> None:
    """Call once at the start of a daemon. ``component`` ("virt-api") is on every line."""
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lambda _logger, _method, event: {"component": component, **event},
                structlog.processors.JSONRenderer(serializer=json.dumps, default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # One line per request is noise at our rate of requests; failures are logged where they matter.
    for chatty in ("httpx", "httpx2", "httpcore", "httpcore2", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def get(name: str, **fields: Any) -> structlog.stdlib.BoundLogger:
    """A logger whose lines carry ``name`` and the given fields."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger.bind(**fields) if fields else logger
