"""What a client may send over HTTP: JSON, types, sizes, heads, and too much of everything.

This module is the part of the table that the server, the edge and the guard answer for.
"""

import asyncio
import json
import pickle
from random import Random
from typing import Any

import httpx

from tests.inputs.mail import EMAIL, posted
from tests.inputs.probe import Case, Probe, said, statuses
from tests.processes import KEY, LATER, OTHER_KEY

HEAD = f"POST /send-email/ HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n".encode()
TYPED = HEAD + b"Content-Type: application/json\r\n"
GOOD = json.dumps(EMAIL).encode()


def raw(kind: str, what: str, expected: str, body: bytes) -> Case:
    """The answer to these bytes as a JSON body."""

    async def ask(probe: Probe) -> str:
        return said(await probe.raw(body))

    return Case(kind, what, expected, ask)


def sent(kind: str, what: str, expected: str, data: bytes, *, end: bool = False) -> Case:
    """The statuses of the answers to these bytes on a connection."""

    async def ask(probe: Probe) -> str:
        return statuses(await probe.talk(data, end=end, seconds=1.0))

    return Case(kind, what, expected, ask)


def asked(kind: str, what: str, expected: str, method: str, path: str, **options: Any) -> Case:
    """The answer to one request with the key."""

    async def ask(probe: Probe) -> str:
        return said(await probe.http.request(method, path, **options))

    return Case(kind, what, expected, ask)


def _json() -> list[Case]:
    kind = "JSON"
    bad = {
        "a lone surrogate": rb'{"subject": "\ud800"}', "a lone surrogate in a key": rb'{"\udfff": 1}',
        "invalid UTF-8": b'"\xff"', "overlong UTF-8": b'"\xc0\xaf"', "UTF-16": GOOD.decode().encode("utf-16"),
        "nesting of 1,000": b"[" * 1000,
        "nesting of 100,000": b'{"a":' * 100_000, "NaN": b'{"subject": NaN}', "Infinity": b'{"subject": -Infinity}',
        "a BOM": b"\xef\xbb\xbf" + GOOD, "trailing garbage": GOOD + b" x", "two values": GOOD + GOOD, "nothing": b"",
        "a space": b" ", "half": GOOD[:-5], "single quotes": b"{'subject': 'x'}", "a comment": b"/* */" + GOOD,
        "a raw newline in a string": GOOD.replace(b"Hello.", b"He\nllo."), "a NUL after it": GOOD + b"\x00",
    }  # fmt: skip
    cases = [raw(kind, what, "400 invalid_json", body) for what, body in bad.items()]
    cases += [
        raw(kind, "a 5,000-digit integer", "422 subject", GOOD.replace(b'"Hello"', b"1" * 5000)),
        raw(kind, "1e999", "422 subject", GOOD.replace(b'"Hello"', b"1e999")),
        raw(kind, "null", "422 body", b"null"),
        raw(kind, "[]", "422 body", b"[]"),
        raw(kind, "a string", "422 body", b'"x"'),
        raw(kind, "true", "422 body", b"true"),
        raw(kind, "{}", "422 email_to", b"{}"),
        raw(kind, "one key twice: the last counts", "202", GOOD.replace(b'{"e', b'{"email_to": "x@dest.example", "e', 1)),
        raw(kind, "one key twice, the first wrong", "422 email_to", GOOD.replace(b'{"e', b'{"email_to": 1, "e', 1)),
        posted(kind, "an unknown field", "422 emial", emial="x"),
        posted(kind, "an unknown field within", "422 message.txt", message={"text": "x", "txt": "y"}),
        posted(kind, "an unknown field with a line end", "422 a??Bcc: x", **{"a\r\nBcc: x": 1}),
        posted(kind, "a wrong type", "422 subject", subject=1),
        posted(kind, "a wrong type deep inside", "422 attachments[0].filename", attachments=[{"filename": 1, "content": ""}]),
        posted(kind, "null for a string", "422 subject", subject=None),
        posted(kind, "a list for an object", "422 message", message=["x"]),
        posted(kind, "an object for an address", "422 email_to", email_to={"a": "b"}),
        posted(kind, "10,000 recipients", "422 email_to", email_to=["a@b.example"] * 10_000),
        posted(kind, "a wrong word", "422 priority", priority="urgent"),
        posted(kind, "a moment without an offset", "422 send_at", send_at=LATER.removesuffix("Z")),
        posted(kind, "a tag with a space", "422 tags[0].name", tags=[{"name": "a b", "value": "c"}]),
    ]  # fmt: skip
    return cases


def _types_and_sizes() -> list[Case]:
    types = {"none": None, "text/plain": "text/plain", "a form": "application/x-www-form-urlencoded",
             "JSON in UTF-16": "application/json; charset=utf-16", "JSON patch": "application/json-patch+json"}  # fmt: skip
    cases = [
        sent("content type", what, "415", HEAD + (f"Content-Type: {kind}\r\n".encode() if kind else b"")
             + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(GOOD) + GOOD)
        for what, kind in types.items()
    ]  # fmt: skip
    cases += [
        asked("content encoding", word, "415 unsupported_media_type", "POST", "/send-email/", content=GOOD,
              headers={"content-type": "application/json", "content-encoding": word})
        for word in ("gzip", "deflate", "br", "identity, gzip", "x")
    ]  # fmt: skip
    over = 2_000_001
    cases += [
        sent("size", "over the limit, by its length alone", "413", TYPED + b"Content-Length: %d\r\n\r\n" % over),
        sent("size", "1 TB announced", "413", TYPED + b"Content-Length: 1000000000000\r\n\r\n"),
        sent("size", "over the limit, chunked", "413",
             TYPED + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n%b\r\n" % (b" " * 65_536) * 40),
        sent("size", "a length that is too small: the rest is no request", "400",
             TYPED + b"Content-Length: %d\r\n\r\n" % (len(GOOD) - 9) + GOOD),
        sent("size", "a length that is too large: nothing is taken", "closed",
             TYPED + b"Content-Length: %d\r\n\r\n" % (len(GOOD) + 9) + GOOD, end=True),
        sent("size", "a length of -1", "400", TYPED + b"Content-Length: -1\r\n\r\n"),
        raw("size", "no limit is passed by spaces", "413 request_entity_too_large", b" " * over + GOOD),
        raw("size", "100,000 custom headers", "422 body",
            b'{"headers": {' + b",".join(b'"X-%d": "y"' % n for n in range(100_000)) + b"}}"),
    ]  # fmt: skip
    return cases


def _heads() -> list[Case]:
    kind = "HTTP"
    get = b"GET /emails/x HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    close = b"Connection: close\r\n\r\n"
    key = f"Bearer {KEY}".encode()
    auth = b"Authorization: " + key + b"\r\n"
    length = b"Content-Length: %d\r\n" % len(GOOD)
    cases = [
        sent(kind, "Content-Length with Transfer-Encoding", "400",
             TYPED + length + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get + auth + close),
        sent(kind, "Transfer-Encoding with Content-Length", "400",
             TYPED + b"Transfer-Encoding: chunked\r\n" + length + b"\r\n0\r\n\r\n" + get + auth + close),
        sent(kind, "two Content-Lengths", "400", TYPED + length + b"Content-Length: 3\r\n\r\n" + GOOD),
        sent(kind, "Transfer-Encoding: xchunked", "400", TYPED + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        sent(kind, "two Authorization headers", "400", get + auth + b"Authorization: Bearer x\r\n" + close),
        sent(kind, "two equal Authorization headers", "400", get + auth + auth + close),
        sent(kind, "no key", "401", get + close),
        sent(kind, "a whole URL as target, by a name of ours", "401",
             b"GET http://localhost/emails/x HTTP/1.1\r\nHost: x\r\n" + close),
        sent(kind, "a page by a whole URL with a foreign name, Host ours", "421",
             b"GET http://evil.example/status HTTP/1.1\r\nHost: 127.0.0.1\r\n" + close),
        sent(kind, "an empty key", "401", get + b"Authorization: Bearer \r\n" + close),
        sent(kind, "Basic", "401", get + b"Authorization: Basic eDp5\r\n" + close),
        sent(kind, "a non-ASCII key", "403", get + b"Authorization: Bearer \xc3\xa4\xff" + b"x" * 20 + b"\r\n" + close),
        sent(kind, "a key of 30 kB", "403", get + b"Authorization: Bearer " + b"x" * 30_000 + b"\r\n" + close),
        sent(kind, "lower-case bearer", "404", get + b"authorization: bearer " + KEY.encode() + b"\r\n" + close),
        sent(kind, "BEARER", "404", get + b"AUTHORIZATION: BEARER " + KEY.encode() + b"\r\n" + close),
        sent(kind, "a 100 kB header", "431", get + b"X: " + b"a" * 100_000 + b"\r\n" + close),
        sent(kind, "5,000 headers", "431", get + b"".join(b"X%d: y\r\n" % n for n in range(5000)) + close),
        sent(kind, "a NUL in a header", "400", get + b"X: a\x00b\r\n" + close),
        sent(kind, "no Host", "400", b"GET / HTTP/1.1\r\n\r\n"),
        sent(kind, "two Hosts", "400", get + b"Host: y\r\n" + close),
        sent(kind, "bare LF", "400", b"GET / HTTP/1.1\nHost: x\n\n"),
        sent(kind, "TLS", "400", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 3),
        asked(kind, "an unknown method", "405 method_not_allowed", "PUT", "/send-email/"),
        asked(kind, "GET where POST is meant", "405 method_not_allowed", "GET", "/send-email/"),
    ]  # fmt: skip
    paths = (
        "/../../etc/passwd",
        "/emails/..%2f..%2fetc%2fpasswd",
        "/static/../../README.md",
        "/static/%2e%2e/session.py",
        "/docs-assets/..%2f..%2fpasswd",
        "/emails/%00",
        "/%ff%00",
        "//evil.example/emails/x",
        "/emails/" + "a" * 9000,
    )
    rest = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + auth + close
    cases += [sent(kind, f"path {path[:40]}", "404", b"GET " + path.encode() + rest) for path in paths]
    for value in ("", "a" * 257, "ä" * 3, "a\tb"):
        cases.append(asked("HTTP", f"Idempotency-Key {value[:9]!r}", "422 Idempotency-Key", "POST", "/send-email/", json=EMAIL,
                           headers={"Idempotency-Key": value.encode()}))  # fmt: skip
    return cases


def _anything(random: Random, depth: int = 0) -> Any:
    """Any JSON value, often with our own fields' names in it."""
    names = ["email_to", "email_from", "subject", "message", "text", "headers", "attachments", "tags", "send_at", "\x00", "é"]
    flat = [
        None,
        True,
        0,
        -1,
        10**30,
        1.5,
        "",
        "a@b.example",
        "\r\n",
        "\ud83d\ude00",
        "x" * 300,
        "\x1b",
        LATER,
    ]
    if depth > 3 or random.random() < 0.4:
        return random.choice(flat)
    if random.random() < 0.3:
        return [_anything(random, depth + 1) for _ in range(random.randrange(4))]
    return {random.choice(names): _anything(random, depth + 1) for _ in range(random.randrange(6))}


async def _random(probe: Probe) -> str:
    random = Random(4)
    words: set[str] = set()
    for _ in range(300):
        value = _anything(random)
        body = {**EMAIL, random.choice(list(EMAIL)): value} if random.random() < 0.5 else value
        words.add(said(await probe.raw(json.dumps(body).encode())))
    wrong = sorted(word for word in words if word[0] == "5" or "another shape" in word)
    return f"{len(words) > 5} {wrong}"


async def _other_body(probe: Probe) -> str:
    key = {"idempotency-key": "a-key-of-the-table"}
    first = await probe.http.post("/send-email/", json=EMAIL, headers=key)
    second = await probe.http.post("/send-email/", json={**EMAIL, "subject": "Other"}, headers=key)
    return f"{said(first)}, {said(second)}"


async def _wrong_keys(probe: Probe) -> str:
    """From another address of this machine, since right keys and the other cases come from the first one."""
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with httpx.AsyncClient(base_url=probe.stack.url, transport=transport) as http:
        answers = [await http.get("/emails/x", headers={"authorization": f"Bearer guess-{n:016}"}) for n in range(30)]
        right = await http.get("/emails/x", headers={"authorization": f"Bearer {KEY}"})
    words = [said(answer) for answer in answers]
    once = len({answer.content for answer in answers[:20]}) == 1 and "retry-after" in answers[-1].headers
    return f"{words[0]}, later {words[-1]}, always the same {once}, right key {said(right)}"


async def _flood(probe: Probe) -> str:
    answers = await asyncio.gather(*(probe.limited.get("/emails/x") for _ in range(60)))
    words = [said(answer) for answer in answers]
    headers = answers[-1].headers
    has_all = all(f"ratelimit-{word}" in headers for word in ("limit", "remaining", "reset", "policy"))
    over = next(answer for answer in answers if answer.status_code == 429)
    return f"{words.count('404 not_found')} 404, rest {said(over)}, headers {has_all and 'retry-after' in over.headers}"


async def _one_victim(probe: Probe) -> str:
    email = {**EMAIL, "email_to": "victim@dest.example", "send_at": LATER}
    answers: list[httpx.Response] = []
    for _ in range(3):
        answers.append(await probe.narrow.post("/send-email/", json=email))
        if answers[-1].status_code == 202:
            await probe.http.post(f"/emails/{answers[-1].json()['result']}/cancel")
    return f"{' '.join(map(said, answers))}, names it {'victim@dest.example' in answers[-1].json()['message']}"


async def _full(probe: Probe) -> str:
    waits = (await probe.post(send_at=LATER)).json()["result"]
    answer = await probe.narrow.post("/send-email/", json=EMAIL)
    await probe.http.post(f"/emails/{waits}/cancel")
    return f"{said(answer)}, retry-after {'retry-after' in answer.headers}"


async def _pickle(probe: Probe) -> str:
    """A job that would make a file if anybody unpickled it, planted where arq's own format expects one."""
    mark = probe.stack.folder / "executed"
    class_ = type("Bomb", (), {"__reduce__": lambda _: (open, (str(mark), "w"))})
    globals()["Bomb"] = class_
    class_.__module__, class_.__qualname__ = __name__, "Bomb"
    job = pickle.dumps({"t": 1, "f": "send", "a": (class_(),), "k": {}, "et": 1})
    id_ = "00000000-0000-7000-8000-000000000000"
    await probe.stack.valkey.command("SET", f"arq:job:{id_}", job)
    await probe.stack.valkey.command("ZADD", "arq:queue", "1", id_)
    await probe.deliver()
    gone = await probe.stack.valkey.command("ZSCORE", "arq:queue", id_) is None
    return f"executed {mark.exists()}, taken away {gone}, mail flows"


async def _foreign(probe: Probe) -> str:
    """Every client route with the id of another client's email."""
    id_ = (await probe.post(send_at=LATER)).json()["result"]
    ways = [("GET", f"/emails/{id_}"), ("POST", f"/emails/{id_}/cancel"), ("POST", f"/emails/{id_}/retry")]
    answers = [await probe.other.request(method, path) for method, path in ways]
    state = (await probe.http.get(f"/emails/{id_}")).json()["state"]
    await probe.http.post(f"/emails/{id_}/cancel")
    return f"{' '.join(str(answer.status_code) for answer in answers)}, still {state}"


async def _one_key_two_clients(probe: Probe) -> str:
    key = {"idempotency-key": "a-key-of-two"}
    first = await probe.http.post("/send-email/", json=EMAIL, headers=key)
    second = await probe.other.post("/send-email/", json={**EMAIL, "email_from": "x@other.example"}, headers=key)
    return f"{said(first)} {said(second)}, two ids {first.json() != second.json()}"


async def _secrets(probe: Probe) -> str:
    """Nothing of this table's keys and contents in the log lines that it made, and each line whole and printable."""
    text = "".join(path.read_text("ascii") for path in probe.stack.log_dir.glob("*.jsonl"))
    leaks = [word for word in (KEY, OTHER_KEY, "the-operators-password", "Hello.", "Thank you, number") if word in text]
    lines = [json.loads(line) for line in text.splitlines()]
    return f"{len(leaks)} leaks, all lines printable {all(line['message'].isprintable() for line in lines)}"


CASES = [
    *_json(),
    Case("JSON", "300 random values: many answers, none 5xx or in another shape", "True []", _random),
    *_types_and_sizes(),
    *_heads(),
    Case("idempotency", "one key, two bodies", "202, 409 invalid_idempotent_request", _other_body),
    Case("idempotency", "one key, two clients", "202 202, two ids True", _one_key_two_clients),
    Case("brute force, flooding", "30 wrong keys, then the right one",
         "403 invalid_api_key, later 429 rate_limit_exceeded, always the same True, right key 404 not_found", _wrong_keys),
    Case("brute force, flooding", "60 requests where 20 a minute are allowed",
         "20 404, rest 429 rate_limit_exceeded, headers True", _flood),
    Case("brute force, flooding", "one victim", "202 202 429 rate_limit_exceeded, names it True", _one_victim),
    Case("brute force, flooding", "the queue is full", "503 queue_full, retry-after True", _full),
    Case("pickle", "a pickled job in Redis", "executed False, taken away True, mail flows", _pickle),
    Case("other clients' mail", "its id on every route", "404 404 404, still scheduled", _foreign),
    Case("secrets", "this table's own logs", "0 leaks, all lines printable True", _secrets),
]  # fmt: skip
