"""One JSON object per line on standard error: what every server of the control plane logs."""

import logging
import sys

import structlog


def log_as_json() -> None:
    """Set structlog up for this process. Secrets are SecretStr everywhere, so no line can hold one."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
