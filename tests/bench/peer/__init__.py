"""The peer: what a web project has when it builds this itself, with the parts that most do it with.

::

    POST ──▶ FastAPI, uvicorn ── task.delay() ──▶ Redis ──▶ Celery, prefork, 4 processes ── smtplib ──▶ relay

It runs in its own virtual environment (``requirements.in`` is what it asks for, ``requirements.txt`` what that is today, with
hashes) and is started with this folder as its current one. It is written as the documentation of its parts shows it: ``def``
for a route that blocks, ``EmailStr`` for addresses, uvloop and httptools, no result backend, Celery's own prefetching.

This package is the service that ours is measured against.
"""
