"""Logging that reaches its file every time: one call in every process, and everything that is said anywhere is in it.

::

    our code                 logger.info("fixed text {}", value) ─────────────┐
    uvicorn, arq, redis, …   logging.Logger.callHandlers ─┐                   │
    warnings                 logging.captureWarnings ─────┤                   ▼
    uncaught exceptions      sys, threading, asyncio ─────┴─▶ loguru ──▶ Sink.write ──▶ LOG_DIR/{role}-{slot}.jsonl
                                                                              └───────▶ stderr, readable

Ids travel with ``logger.contextualize(email=id, request=id)`` or ``logger.bind(...)``; other bound values are not written.
Values never belong into the fixed text itself: with arguments it is a format string. In a ``__del__`` or a signal handler use
``logging.getLogger(...)``: loguru refuses to be called from within itself, which is where those may run.

Standard logging is taken over at ``Logger.callHandlers``, because that is the one place that every logger passes, whenever
it is made, whatever handlers it is given and whether it propagates; a handler on the root sees nothing of uvicorn or Litestar.
Mail never waits for a log: where the file cannot be written, records go to stderr alone, one warning a minute says why, and
the file is tried again every second; how many records it lacks is its next line.

This module is the only one that sets up loguru and ``logging``.
"""

import asyncio
import logging
import logging.config
import os
import re
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from loguru import logger

from tasks.logline import LEVELS, Cleaner, Level, level_of
from tasks.logsink import Raised, Sink
from tasks.secret import Secret

_QUIET = {"mail.log": "WARNING", "markdown_it": "INFO", "asyncio": "INFO", "httpcore": "INFO", "hpack": "INFO"}
"""Libraries whose lower levels are a line for every byte, or hold whole messages."""


def setup(role: str, log_dir: Path, level: str = "INFO", *, stderr: bool = True, secrets: Sequence[Secret] = ()) -> Path:
    """Sends everything this process logs, warns of or dies from to one file of its own and, readable, to stderr.

    To be called first in every process, after any fork; again is harmless, and the last call counts. ``role`` is a word such
    as ``api`` or ``worker``; ``level`` the least severe that is kept; ``secrets`` are hidden wherever they occur. Every
    handler that loguru or ``logging`` had before is gone.

    Gives the file's path. It does not raise where the directory cannot be made or written: see above. Raises ValueError for
    a role or level that is none.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", role):
        raise ValueError(f"a log role is a lower-case word, not {role!r}")
    level = level.upper()
    if level not in LEVELS:
        raise ValueError(f"LOG_LEVEL is one of {', '.join(LEVELS)}, not {level!r}")
    logger.remove()
    cleaner = Cleaner(secret.reveal() for secret in secrets)
    sink = Sink(role, log_dir, cleaner, stderr=stderr, takes_info=LEVELS.index(level) <= LEVELS.index("INFO"))
    logger.add(sink, format=sink.format, level=level, diagnose=False, backtrace=False, catch=True, enqueue=False)
    Sink.current = sink
    os.register_at_fork(after_in_child=_reopener(weakref.ref(sink)))
    _take_over_logging(sink, level)
    _take_over_hooks(sink)
    return sink.path


def say_nothing() -> None:
    """For commands, which print what they have to say."""
    logger.remove()


def loop_exception_handler(loop: asyncio.AbstractEventLoop) -> None:
    """Makes the loop log what nobody awaited: exceptions of forgotten tasks and of callbacks, once each, as ERROR."""

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        where = context.get("task") or context.get("future") or context.get("handle") or context.get("transport")
        name = where.get_name() if isinstance(where, asyncio.Task) else type(where).__name__
        # Through logging, which copes with being called by the garbage collector in the middle of a log call.
        logging.getLogger("asyncio").error("%s (%s)", context.get("message", "no message"), name, exc_info=error)

    loop.set_exception_handler(report)


def _reopener(sink: "weakref.ref[Sink]") -> Callable[[], None]:
    def reopen() -> None:
        if (alive := sink()) is not None:
            alive.reopen()

    return reopen


def _report(sink: Sink, level: Level, name: str, text: str, exc: Raised | None) -> None:
    if not sink.later(level, name, text, exc):
        logger.bind(logger=name).opt(exception=cast("Any", exc)).log(level, "{}", text)


def _take_over_logging(sink: Sink, level: str) -> None:
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception as error:  # noqa: BLE001  a wrong log call in a library
            text = f"a log call that fails ({type(error).__name__}) in {record.pathname}, line {record.lineno}"
        exc = record.exc_info
        _report(sink, level_of(record.levelno), record.name, text, cast("Raised", exc) if exc and exc[0] else None)

    class Reclaim(logging.config.DictConfigurator):
        def configure(self) -> None:
            super().configure()
            _clear(level)

    logging.Logger.callHandlers = call_handlers
    logging.config.dictConfigClass = Reclaim
    logging.captureWarnings(True)
    _clear(level)


def _clear(level: str) -> None:
    """Every logger that there is: no handlers, nothing held back, and the root's level."""
    logging.disable(logging.NOTSET)
    for name in list(logging.root.manager.loggerDict):
        each = logging.getLogger(name)
        each.handlers.clear()
        each.propagate, each.disabled = True, False
        each.setLevel(logging.NOTSET)
    for name, floor in _QUIET.items():
        logging.getLogger(name).setLevel(max(getattr(logging, floor), getattr(logging, level)))
    # A root without handlers would get one from the next basicConfig(); this one is never called.
    logging.root.handlers[:] = [logging.NullHandler()]
    logging.root.setLevel(level)


def _take_over_hooks(sink: Sink) -> None:
    def process(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, where)
        else:
            _report(sink, "CRITICAL", "uncaught", "an exception ends the process", (kind, error, where))

    def thread(args: threading.ExceptHookArgs) -> None:
        if not issubclass(args.exc_type, SystemExit):
            name = args.thread.name if args.thread else "?"
            error = args.exc_value or args.exc_type()
            _report(sink, "ERROR", "uncaught", f"an exception ends thread {name}", (args.exc_type, error, args.exc_traceback))

    def unraisable(args: "sys.UnraisableHookArgs") -> None:
        error = args.exc_value or args.exc_type()
        text = args.err_msg or "an exception was ignored"
        _report(sink, "ERROR", "uncaught", text, (args.exc_type, error, args.exc_traceback))

    sys.excepthook = process
    threading.excepthook = thread
    sys.unraisablehook = unraisable
