"""The worker process: ``python -m tasks``.

This module is the wiring of one worker.
"""

import asyncio
import sys
from typing import NoReturn

import uvloop
from loguru import logger

from tasks import garbage, log, parts
from tasks.errors import SettingsInvalid
from tasks.settings import Settings, changed
from tasks.worker import MailWorker


async def work(settings: Settings) -> None:
    """Works until SIGTERM or SIGINT."""
    log.loop_exception_handler(asyncio.get_running_loop())
    built = parts.build(settings, parts.connect(settings))
    worker = MailWorker(built)
    try:
        await worker.async_run()
    except asyncio.CancelledError:
        pass  # a signal ended it
    finally:
        await worker.close()


def main() -> None:
    """Reads the settings, sets up the log, works. Exits with 2 where a setting is wrong."""
    try:
        settings = parts.read_for_worker()
    except SettingsInvalid as error:
        _refuse(error)
    log.setup("worker", settings.logs, settings.log_level, secrets=parts.secrets(settings))
    logger.info("settings that are not at their defaults: {}", changed(settings))
    garbage.tune()
    try:
        uvloop.run(work(settings))
    except SettingsInvalid as error:  # what only the running Redis could tell
        _refuse(error)


def _refuse(error: SettingsInvalid) -> NoReturn:
    for problem in error.problems:
        print(f"email-service: {problem}", file=sys.stderr)
    raise SystemExit(2) from None


if __name__ == "__main__":
    main()
