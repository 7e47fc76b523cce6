"""What the parts can do at best, with nothing of ours around them.

``python -m tests.bench.bare echo PORT``: a Litestar handler that decodes the same body with the same model and answers, on the
same server, with no key and no storage. ``… loop PORT SECONDS``: aiosmtplib on ten kept connections, the same message again and
again; prints ``{"count", "seconds"}`` after a short warm-up. This module is the yardsticks; each runs in a process of its own.
"""

import asyncio
import json
import sys
import time

import aiosmtplib
import uvloop
from litestar import Litestar, Response, post
from litestar.params import JSONBody

from service.server import serve
from service.uuid7 import uuid7
from tasks.email import Accepted, Email
from tests.bench.message import FROM, TO, composed

CONNECTIONS = 10
WARM_SECONDS = 0.3


@post("/send-email", status_code=202)
async def send_email(data: JSONBody[Email]) -> Response[Accepted]:
    """Answers like ours, and does nothing."""
    del data
    return Response(Accepted(uuid7(round(time.time() * 1000))), status_code=202)


async def echo(port: int) -> None:
    """Serves until it is killed."""
    app = Litestar([send_email], openapi_config=None, logging_config=None)
    await serve(app, host="127.0.0.1", port=port, stop=asyncio.Event())


async def loop(port: int, seconds: float) -> None:
    """Sends and counts."""
    message = composed("00000000-0000-7000-8000-000000000000").message
    count = 0
    is_over = False

    async def one() -> None:
        nonlocal count
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
            while not is_over:
                await client.sendmail(FROM, [TO], message)
                count += 1

    senders = [asyncio.create_task(one()) for _ in range(CONNECTIONS)]
    await asyncio.sleep(WARM_SECONDS)
    first, began = count, time.perf_counter()
    await asyncio.sleep(seconds)
    print(json.dumps({"count": count - first, "seconds": time.perf_counter() - began}))
    is_over = True
    await asyncio.gather(*senders)


if __name__ == "__main__":
    what, port_, *rest = sys.argv[1:]
    uvloop.run(echo(int(port_)) if what == "echo" else loop(int(port_), float(rest[0])))
