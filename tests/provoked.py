"""A process of the product, unchanged but for trouble that is planted in it: ``python -m tests.provoked -m service``.

::

    -m service | -m tasks           as ``python -m`` runs them
    /path/of/arq SETTINGS           as that script runs

Planted are, as soon as the loop runs: a line of each level from libraries' loggers, a warning, an exception in a thread, in a
task that nobody awaits and in a callback; and for emails whose subject begins so, ``explode in the handler`` and ``explode in
the job``. This module is the saboteur of the logging tests.
"""

import asyncio
import gc
import logging
import runpy
import sys
import threading
import warnings
from typing import Any

from loguru import logger

from tasks import log

LIBRARIES = ("uvicorn.error", "uvicorn.access", "litestar", "arq.worker", "arq.jobs", "redis", "asyncio", "a.new.library")
LEVELS = ("INFO", "WARNING", "ERROR")
DONE = "everything is planted"


def plant() -> None:
    """Says and raises everything that needs no email."""
    loop = asyncio.get_running_loop()
    for name in LIBRARIES:
        for level in LEVELS:
            logging.getLogger(name).log(getattr(logging, level), "planted %s of %s", level, name)
    for level in LEVELS:
        logger.log(level, "planted {} of ours", level)
    warnings.warn("planted warning", RuntimeWarning, stacklevel=1)

    def in_thread() -> None:
        raise LookupError("planted in a thread")

    async def in_task() -> None:
        raise ArithmeticError("planted in a forgotten task")

    def in_callback() -> None:
        raise BufferError("planted in a callback")

    thread = threading.Thread(target=in_thread, name="planted")
    thread.start()
    thread.join()
    loop.call_soon(in_callback)
    loop.create_task(in_task(), name="planted")  # noqa: RUF006 (to be forgotten is its purpose)
    loop.call_later(0.05, gc.collect)
    loop.call_later(0.1, logger.info, DONE)


def plant_when_the_loop_runs() -> None:
    real = log.loop_exception_handler

    def wrapped(loop: asyncio.AbstractEventLoop) -> None:
        real(loop)
        loop.call_later(0.1, plant)

    log.loop_exception_handler = wrapped


def explode_in_the_handler() -> None:
    from service.accept import Acceptance

    real = Acceptance.accept

    async def accept(self: Acceptance, email: Any, *args: Any, **kwargs: Any) -> Any:
        if email.subject.startswith("explode in the handler"):
            raise ZeroDivisionError("planted in the handler")
        return await real(self, email, *args, **kwargs)

    Acceptance.accept = accept


def explode_in_the_job() -> None:
    from tasks.postman import Postman

    real = Postman._send

    async def send(self: Postman, claim: Any, *args: Any) -> Any:
        message = await self._message(claim)
        if claim.letter.subject.startswith("explode in the job"):
            raise ZeroDivisionError("planted in the job")
        del message
        return await real(self, claim, *args)

    Postman._send = send


def main() -> None:
    """Plants, then is the process that the command line names."""
    plant_when_the_loop_runs()
    if sys.argv[1] == "-m":
        explode_in_the_handler() if sys.argv[2] == "service" else explode_in_the_job()
        del sys.argv[1]
        runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
    else:
        explode_in_the_job()
        del sys.argv[0]
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
