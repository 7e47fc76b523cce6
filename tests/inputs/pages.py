"""What an operator meets: hostile texts on the pages and in the logs, forged actions, greedy searches.

This module is the part of the table that the pages and the log answer for.
"""

import json
import re
import time
from urllib.parse import quote

import httpx

from tests.inputs.mail import EMAIL
from tests.inputs.probe import Case, Probe, said
from tests.processes import until

SCRIPT = "<script>alert(1)</script>"
HANDLER = '"><img src=x onerror=alert(2)>'
LINK = "javascript:alert(4)"
HTML = f"{SCRIPT}<img src='https://evil.example/pixel.png'><a href='{LINK}'>x</a><iframe src='//evil.example'></iframe>"


async def _seeded(probe: Probe) -> dict[str, str]:
    """Ids of hostile emails: one failed with a hostile reply, one captured."""
    if not probe.ids:
        name = f'"{SCRIPT} \\"><img src=x onerror=alert(2)>" <hostile@dest.example>'
        failed = await probe.post(email_to=name, subject=f"{SCRIPT} {HANDLER} {LINK}", tags=[{"name": "a", "value": "b"}])
        email = {**EMAIL, "email_to": name, "subject": f"{SCRIPT} {HANDLER}", "message": {"text": SCRIPT, "html": HTML}}
        captured = await probe.tester.post("/send-email/", json=email)
        probe.ids = {"failed": failed.json()["result"], "captured": captured.json()["result"]}

        async def done() -> bool:
            states = [
                (await http.get(f"/emails/{id_}")).json()["state"]
                for http, id_ in ((probe.http, probe.ids["failed"]), (probe.tester, probe.ids["captured"]))
            ]
            return states == ["failed", "captured"]

        await until(done)
    return probe.ids


def page(what: str, path: str) -> Case:
    """A page that shows hostile text, as text."""

    async def ask(probe: Probe) -> str:
        ids = await _seeded(probe)
        answer = await probe.operator.get(path.format(**ids))
        text = answer.text
        live = re.findall(
            r"<script(?! src=\"/static/)|<img src=x|onerror=(?!alert\(2\)&gt;)|href=\"javascript:|\x1b|\u202e", text
        )
        policy = answer.headers["content-security-policy"]
        strict = "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        return f"{answer.status_code}, shown {'alert(' in text}, live {live}, strict policy {strict}"

    return Case("pages", f"hostile texts on {what}", "200, shown True, live [], strict policy True", ask)


async def _api_shows_text(probe: Probe) -> str:
    ids = await _seeded(probe)
    answer = await probe.http.get(f"/emails/{ids['failed']}")
    nosniff = answer.headers["x-content-type-options"] == "nosniff"
    return f"{answer.headers['content-type']}, nosniff {nosniff}, printable {answer.json()['last_reply'].isprintable()}"


async def _sandbox(probe: Probe) -> str:
    ids = await _seeded(probe)
    answer = await probe.operator.get(f"/mailbox/{ids['captured']}/html")
    policy = answer.headers["content-security-policy"]
    closed = "sandbox" in policy and "default-src 'none'" in policy and "http" not in policy and "allow-" not in policy
    outer = (await probe.operator.get(f"/mailbox/{ids['captured']}")).text
    [frame] = re.findall(r"<iframe[^>]*>", outer)
    attribute = re.search(r' sandbox(?:="([^"]*)")?[ >]', frame)
    return f"{answer.status_code}, closed {closed}, frame allows {(attribute[1] or 'nothing') if attribute else 'all'}"


def log_page(what: str, query: str, expected: str = "200, nothing of it") -> Case:
    """A search in the log page, and whether a foreign file came out of it."""

    async def ask(probe: Probe) -> str:
        link = probe.stack.log_dir / "api-7.jsonl"
        if not link.is_symlink():
            link.symlink_to("/etc/passwd")
        began = time.monotonic()
        answer = await probe.operator.get(f"/logs?{query}")
        slow = ", slow" if time.monotonic() - began > 3 else ""
        return f"{answer.status_code}, {'a foreign file' if 'root:x:0' in answer.text else 'nothing of it'}{slow}"

    return Case("log viewer", what, expected, ask)


async def _one_line(probe: Probe) -> str:
    """The relay's reply with escapes is in the log as one printable line."""
    await _seeded(probe)
    lines = [line for path in probe.stack.log_dir.glob("worker-*.jsonl") for line in path.read_text("ascii").splitlines()]
    told = [entry for entry in map(json.loads, lines) if "alert(3)" in entry["message"]]
    return f"{len(told)} line, printable {all(entry['message'].isprintable() for entry in told)}"


async def _wrong_key_in_log(probe: Probe) -> str:
    """A key that would colour the terminal or forge a line."""
    key = b"Bearer ems_\xc2\x9b31m\xe2\x80\xae\\n2026"
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.3")
    async with httpx.AsyncClient(base_url=probe.stack.url, transport=transport) as http:
        answer = await http.get("/emails/x", headers={"authorization": key})
    lines = [line for path in probe.stack.log_dir.glob("api-?.jsonl") if not path.is_symlink()
             for line in path.read_text("ascii").splitlines()]  # fmt: skip
    told = [entry["message"] for entry in map(json.loads, lines) if "from 127.0.0.3" in entry["message"]]
    return f"{said(answer)}, {len(told)} line, printable {all(map(str.isprintable, told))}"


def action(what: str, expected: str, headers: dict[str, str], *, token: bool = False, session: bool = True) -> Case:
    """A POST that deletes a captured email, and whether it did."""

    async def ask(probe: Probe) -> str:
        ids = await _seeded(probe)
        path = f"/mailbox/{ids['captured']}"
        html = (await probe.operator.get(path)).text
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', html)
        data = {"csrf": found[1]} if token and found else {}
        client = probe.operator if session else probe.stranger
        answer = await client.post(f"{path}/delete", data=data, headers=headers)
        there = (await probe.operator.get(path)).status_code == 200
        return f"{answer.status_code}, {'still there' if there else 'deleted'}"

    return Case("actions", what, expected, ask)


def led(following: str) -> Case:
    """Where signing in leads."""

    async def ask(probe: Probe) -> str:
        answer = await probe.operator.get(f"/sign-in?next={quote(following)}")
        return f"{answer.status_code} {answer.headers.get('location')}"

    return Case("pages", f"next={following[:40]}", "303 /status", ask)


def rebound(what: str, expected: str, path: str, host: str, *, method: str = "GET") -> Case:
    """A request by a name that another site has given this address, with all that a browser would send."""

    async def ask(probe: Probe) -> str:
        return said(await probe.operator.request(method, path, headers={"host": host, "origin": f"http://{host}"}))

    return Case("actions", what, expected, ask)


CASES = [
    page("the status page", "/status"),
    page("an email's page", "/status/emails/{failed}"),
    page("the log page", "/logs?text=alert"),
    page("the mailbox", "/mailbox"),
    page("a captured email's page", "/mailbox/{captured}"),
    page("a search for it", f"/logs?text={quote(SCRIPT)}"),
    Case("pages", "hostile reply in the API", "application/json, nosniff True, printable True", _api_shows_text),
    Case("pages", "the HTML of a mail", "200, closed True, frame allows nothing", _sandbox),
    led("javascript:alert(1)"),
    led("//evil.example"),
    led("https://evil.example"),
    led("/\\evil.example"),
    led("/\tstatus"),
    Case("logs", "a reply with escapes", "1 line, printable True", _one_line),
    Case("logs", "a wrong key with escapes", "403 invalid_api_key, 1 line, printable True", _wrong_key_in_log),
    log_page("?file=../../etc/passwd", "file=../../etc/passwd"),
    log_page("?role=../../etc/passwd", "role=../../etc/passwd"),
    log_page("%2e%2e%2f", "role=%2e%2e%2f%2e%2e%2fetc%2fpasswd&level=%2e%2e"),
    log_page("NUL", "role=%00&text=%00&email=%00"),
    log_page("a symbolic link in the log directory", "role=api&text=root"),
    log_page("a huge search", f"text={'a' * 10_000}", "400, nothing of it"),
    log_page("a regular expression", f"text={quote('(a+)+$' * 20)}"),
    log_page("half a character", "text=%ff%fe%c3"),
    action("cross-site POST", "403, still there", {"origin": "https://evil.example"}, token=True),
    action("Origin: null", "403, still there", {"origin": "null"}, token=True),
    action("no token", "403, still there", {}),
    action("no session", "303, still there", {}, token=True, session=False),
    rebound("DNS rebinding, status page", "421 misdirected_request", "/status", "evil.example"),
    rebound("DNS rebinding with our port", "421 misdirected_request", "/logs", "evil.example:8014"),
    rebound("DNS rebinding, signing in", "421 misdirected_request", "/sign-in", "127.0.0.1.evil.example", method="POST"),
    rebound("health by another name", "200", "/health/live", "probe.internal"),
    rebound("the page by localhost", "200", "/status", "localhost"),
    action("from a page of ours", "303, deleted", {}, token=True),
]  # fmt: skip
