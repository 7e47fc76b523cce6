"""The HTTP process: ``python -m service``.

This module is the wiring of one API process's start and end.
"""

import asyncio
import signal
import sys

import uvloop
from loguru import logger

from service import app
from service.clients import parse_api_keys
from service.server import AppNotStarted, CannotListen, PortTaken, serve
from tasks import garbage, log, parts
from tasks.errors import SettingsInvalid
from tasks.settings import Settings, changed, read

SWITCH_SECONDS = 0.0005
"""How long the event loop asks a thread that composes a large email for its turn; Python's own default is 5 ms."""


async def run(settings: Settings, service: app.Service) -> None:
    """Serves until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    log.loop_exception_handler(loop)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watch = asyncio.create_task(service.watch.run())
    unsafe = asyncio.create_task(_stop_when_unsafe(service, stop))
    try:
        await serve(
            service.app,
            host=settings.http_host,
            port=settings.http_port,
            stop=stop,
            on_listening=lambda: logger.info("listening on {}", settings.address),
        )
    finally:
        for task in (watch, unsafe):
            task.cancel()
        await asyncio.gather(watch, unsafe, return_exceptions=True)
    logger.info("the API process ends")
    if service.watch.why:
        raise SystemExit(2)


async def _stop_when_unsafe(service: app.Service, stop: asyncio.Event) -> None:
    await service.watch.unsafe.wait()
    logger.critical("{}", service.watch.why)
    stop.set()


def main() -> None:
    """Reads the settings, sets up the log, serves. Exits with 2 where a setting is wrong or the port is taken."""
    try:
        settings = read(checks={"API_KEYS": parse_api_keys})
        service = app.build(settings)
    except SettingsInvalid as error:
        for problem in error.problems:
            print(f"email-service: {problem}", file=sys.stderr)
        raise SystemExit(2) from None
    log.setup("api", settings.logs, settings.log_level, secrets=parts.secrets(settings))
    logger.info("settings that are not at their defaults: {}", changed(settings))
    garbage.tune()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        uvloop.run(run(settings, service))
    except (PortTaken, CannotListen, AppNotStarted) as error:
        logger.error("{}", error)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
