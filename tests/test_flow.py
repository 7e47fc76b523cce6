"""From the request to the relay's 250 and the answer to the client, with the real processes in between."""

import asyncio
import email
import email.policy
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast
from unittest.mock import ANY

import httpx
import pytest

from tasks import keys
from tests.processes import KEY, OTHER_KEY, ROOT, Stack, an_email, free_port, running_stack, running_valkey, until
from tests.relay import Close, Delay, ScriptedRelay, make_certificate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(40)]


@pytest.fixture
async def relay() -> AsyncGenerator[ScriptedRelay, None]:
    async with ScriptedRelay() as made:
        yield made


@pytest.fixture
async def stack(relay: ScriptedRelay) -> AsyncGenerator[Stack, None]:
    async with running_stack(f"smtp+plain://127.0.0.1:{relay.port}", RETRY_DELAYS="300ms", SMTP_CONNECTIONS="1") as made:
        yield made


async def post(http: httpx.AsyncClient, number: int = 0, **changes: Any) -> str:
    answer = await http.post("/send-email/", json=an_email(number, **changes))
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/emails/{answer.json()['result']}"
    return answer.json()["result"]


async def until_state(http: httpx.AsyncClient, id_: str, *states: str, seconds: float = 8) -> dict[str, Any]:
    async def ask() -> dict[str, Any] | None:
        shown = (await http.get(f"/emails/{id_}")).json()
        return shown if shown.get("state") in states else None

    return await until(ask, seconds=seconds, what=f"{id_} {states}")


def subjects(relay: ScriptedRelay) -> list[str]:
    return [read(taken.message)["subject"] for taken in relay.emails]


def read(message: bytes) -> EmailMessage:
    return cast(EmailMessage, email.message_from_bytes(message, policy=email.policy.default))


def told(number: int) -> str:
    return f"Receipt {number}"


async def test_the_seeds_request_arrives_with_both_parts_over_starttls_and_a_password(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    async with ScriptedRelay(tls=certificate, users={"us@er": "p@ss:w/rd"}) as relay:
        url = f"smtp://us%40er:p%40ss%3Aw%2Frd@localhost:{relay.port}?ca={certificate.ca}"
        async with running_stack(url) as stack, stack.http() as http:
            await stack.start_worker()
            id_ = await post(http, 7)
            shown = await until_state(http, id_, "sent")
            [taken] = relay.emails
            assert (taken.sender, taken.recipients) == ("shop@shop.example", ["ada@dest.example"])
            message = read(taken.message)
            assert message["subject"] == told(7)
            assert message["message-id"] == shown["message_id"]
            assert message.get_body(("plain",)).get_content().strip() == "Thank you, number 7."
            assert "<b>7</b>" in message.get_body(("html",)).get_content()
            assert shown["last_reply"].startswith("250")
            assert shown["events"][-1]["tls"] in {"TLSv1.2", "TLSv1.3"}
            assert [event["what"] for event in shown["events"]] == ["accepted", "sent"]
            texts = "".join(path.read_text() for path in stack.log_dir.glob("*.jsonl"))
            assert "p@ss:w/rd" not in texts + stack.workers[0].text()


async def test_an_idle_worker_picks_up_within_50_ms(stack: Stack, relay: ScriptedRelay) -> None:
    await stack.start_worker()
    async with stack.http() as http:
        await post(http, 0)
        await until(lambda: len(relay.emails) == 1)
        waits: list[float] = []
        for number in range(1, 12):
            await asyncio.sleep(0.11)
            began = time.monotonic()
            await post(http, number)
            await until(lambda number=number: len(relay.emails) == number + 1)
            waits.append(relay.emails[-1].at - began)
        assert sorted(waits)[len(waits) // 2] < 0.05, waits


async def test_a_later_is_retried_and_a_never_fails_with_the_relays_words(stack: Stack, relay: ScriptedRelay) -> None:
    relay.replies["RCPT"] = {
        "later@dest.example": "450 4.2.1 mailbox busy",
        "gone@dest.example": "550 5.1.1 no such user",
    }
    await stack.start_worker()
    async with stack.http() as http:
        id_ = await post(http, email_to=["ok@dest.example", "later@dest.example", "gone@dest.example"])
        shown = await until_state(http, id_, "deferred")
        states = {one["to"]: one["state"] for one in shown["recipients"]}
        assert states == {
            "ok@dest.example": "sent",
            "later@dest.example": "deferred",
            "gone@dest.example": "failed",
        }
        assert "450 4.2.1 mailbox busy" in shown["why"]
        assert shown["next_attempt_at"] is not None
        relay.replies.clear()
        shown = await until_state(http, id_, "partly_sent")
        assert [taken.recipients for taken in relay.emails] == [["ok@dest.example"], ["later@dest.example"]]
        assert {one["to"]: one["attempts"] for one in shown["recipients"]}["ok@dest.example"] == 1
        assert "550 5.1.1 no such user" in shown["why"]
        assert shown["next_attempt_at"] is None
        assert shown["text"].strip() == "Thank you, number 0."  # kept, so that it can be sent again
        relay.replies["RCPT"] = "550 5.1.1 no such user"
        refused = await post(http, 1, email_to="gone@dest.example")
        shown = await until_state(http, refused, "failed")
        assert shown["last_reply"] == "550 5.1.1 no such user"
        assert shown["last_event"] == "failed"


async def test_a_lost_answer_after_the_dot_is_uncertain_and_flagged(stack: Stack, relay: ScriptedRelay) -> None:
    relay.replies["DOT"] = [Close()]
    await stack.start_worker()
    async with stack.http() as http:
        held = await post(http, 1, on_uncertain="hold")
        shown = await until_state(http, held, "uncertain")
        assert (shown["flagged"], shown["next_attempt_at"]) == (True, None)
        assert "answer was lost" in shown["why"]
        relay.replies["DOT"] = [None, None, Close()]  # counted from the first email on
        other = await post(http, 2)
        await until_state(http, other, "sent")
        retried = await post(http, 3)
        shown = await until_state(http, retried, "uncertain")
        assert shown["flagged"]
        assert shown["next_attempt_at"] is not None


async def test_mail_waits_for_a_relay_that_is_down_and_arrives_once_and_in_order(stack: Stack, relay: ScriptedRelay) -> None:
    await relay.stop()
    worker = await stack.start_worker()
    async with stack.http() as http:
        ids = [await post(http, number) for number in range(100)]
        shown = await until_state(http, ids[0], "held")
        assert "refuses connections" in shown["why"]
        assert shown["last_event"] == "delivery_delayed"
        # everything is restarted in between
        await worker.stop(signal.SIGKILL)
        stack.valkey.stop(signal.SIGKILL)
        assert (await http.post("/send-email", json=an_email())).status_code == 503
        stack.valkey.start()
        await stack.apis[0].stop()
        stack.apis[0].start()
        await stack.wait_for_api(stack.ports[0])
        await stack.start_worker()
        await relay.start()
        for id_ in ids:
            await until_state(http, id_, "sent", seconds=20)
    assert subjects(relay) == [told(number) for number in range(100)]


async def test_a_thousand_emails_through_two_api_processes_arrive_in_the_order_of_their_answers(
    stack: Stack, relay: ScriptedRelay
) -> None:
    await stack.start_api()
    await stack.start_worker()
    async with stack.http(number=0) as first, stack.http(number=1) as second:
        for number in range(1000):
            await post((first, second)[number % 2], number)
        await until(lambda: len(relay.emails) == 1000, seconds=20)
    assert subjects(relay) == [told(number) for number in range(1000)]


async def test_a_killed_workers_mail_moves_again_and_a_terminated_one_finishes(stack: Stack, relay: ScriptedRelay) -> None:
    relay.replies["DOT"] = [Delay(1.0, "250 2.0.0 slow but sure")]
    worker = await stack.start_worker()
    async with stack.http() as http:
        past = await post(http, 1)
        await until(lambda: "DATA" in " ".join(relay.log))
        waiting = [await post(http, number) for number in (2, 3)]
        assert await worker.stop(signal.SIGTERM) == 0
        assert (await http.get(f"/emails/{past}")).json()["state"] == "sent"
        for id_ in waiting:
            assert (await http.get(f"/emails/{id_}")).json()["state"] == "queued"
        assert len(relay.emails) == 1
        await stack.start_worker()
        for id_ in waiting:
            await until_state(http, id_, "sent")
    assert subjects(relay) == [told(1), told(2), told(3)]


async def test_a_killed_workers_mail_moves_again_when_its_lease_ends(relay: ScriptedRelay) -> None:
    """Before the dot: sent, once. After it: uncertain, flagged, never sent again on its own within the wait."""
    relay.replies["MAIL"] = lambda line: Delay(60, "250 never") if "early@" in line else None
    relay.replies["DOT"] = Delay(60, "250 never")
    url = f"smtp+plain://127.0.0.1:{relay.port}"
    async with running_stack(url) as stack, stack.http() as http:
        worker = await stack.start_worker()
        early = await post(http, 1, email_from="early@shop.example")
        late = await post(http, 2)
        await until(lambda: any("early@" in line for line in relay.log))
        await until(lambda: any(line.startswith("DATA") for line in relay.log))
        await asyncio.sleep(0.3)  # for the body, the mark and the dot
        await worker.stop(signal.SIGKILL)
        relay.replies.clear()
        began = time.monotonic()
        await stack.start_worker()
        assert (await until_state(http, early, "sent", seconds=30))["flagged"] is False
        shown = await until_state(http, late, "uncertain", seconds=5)
        assert time.monotonic() - began < 20
        assert (shown["flagged"], shown["attempt"]) == (True, 1)
        assert "worker stopped" in shown["events"][-1]["text"]
    assert subjects(relay).count(told(1)) == 1
    assert subjects(relay).count(told(2)) <= 1


async def test_a_test_email_from_the_command_line_is_followed_to_its_end(stack: Stack, relay: ScriptedRelay) -> None:
    async def send(*args: str) -> tuple[int, str, list[str]]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "from service.cli import main; main()", "send", *args,
            cwd=ROOT, env=stack.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode().strip(), err.decode().splitlines()

    sender = ("--from", "Shop <shop@shop.example>")
    code, id_, lines = await send("ada@dest.example", *sender, "--wait", "0.3")
    assert (code, len(id_)) == (1, 36)
    assert [line[12:] for line in lines[:1]] == ["accepted"]
    assert lines[1:] == ["queued: in the normal lane", "No worker is running. Start one: `email-service worker`"]
    assert await send("ada@dest.example", *sender, "--wait", "0", "--html", "<p>x</p>") == (0, ANY, [])
    assert await send("ada", "b@dest.example", *sender) == (2, "", [ANY])

    relay.replies["RCPT"] = {"gone@dest.example": "550 5.1.1 no such mailbox"}
    await stack.start_worker()
    code, id_, lines = await send("ada@dest.example", "bob@dest.example", *sender, "--subject", "Trial", "--text", "works")
    assert (code, [line[12:] for line in lines]) == (0, ["accepted", *(
        f"sent for {name}@dest.example by 127.0.0.1:{relay.port} 250 2.0.0 Ok: queued as 000003" for name in ("ada", "bob")
    )])  # fmt: skip
    assert [taken.message for taken in relay.emails if b"Subject: Trial" in taken.message and b"works" in taken.message]
    code, id_, lines = await send("gone@dest.example", *sender)
    assert code == 1
    assert "550 5.1.1 no such mailbox" in lines[1]
    assert lines[2] == "failed: 550 5.1.1 no such mailbox: the address does not exist"


async def test_however_a_body_comes_it_gets_the_same_answer(stack: Stack) -> None:
    """In chunks it goes Litestar's own way, with a length the express lane's."""

    async def chunks(body: bytes) -> AsyncGenerator[bytes, None]:
        for at in range(0, len(body), 100):
            yield body[at : at + 100]

    key = {"idempotency-key": "k"}
    emails = (an_email(1), an_email(2), an_email(1, subject=None), an_email(1, email_to="nobody"), an_email(1, email_from="x@"),
              an_email(1, tags=[{"name": "é", "value": ""}]), an_email(1, expires_at="2001-01-01T00:00:00Z"))  # fmt: skip
    good = json.dumps(emails[0]).encode()
    cases: list[tuple[bytes, dict[str, str]]] = [(json.dumps(email).encode(), key) for email in emails]
    cases += [(raw, {}) for raw in (b"{", b"null", b"[]", b"{}", b'{"subject": "\xff"}', b"[" * 5000, good + b"x", b" ")]
    cases += [
        (good, {"authorization": ""}),
        (good, {"authorization": "Bearer nobodys-key-at-all"}),
        (good, {"idempotency-key": "x" * 257}),
    ]
    seen: set[int] = set()
    async with stack.http() as http:
        for body, more in cases:
            headers = {"content-type": "application/json", **more}
            whole = await http.post("/send-email/", content=body, headers=headers)
            parts = await http.post("/send-email/", content=chunks(body), headers=headers)
            assert "transfer-encoding" in parts.request.headers
            assert (whole.status_code, whole.json()) == (parts.status_code, parts.json())
            own = {"x-request-id", "date", "idempotent-replayed"}
            assert [item for item in sorted(whole.headers.items()) if item[0] not in own] == [
                item for item in sorted(parts.headers.items()) if item[0] not in own
            ]
            seen.add(whole.status_code)
        assert seen == {202, 400, 401, 403, 409, 422}
        assert (
            await http.get(f"/emails/{(await http.post('/send-email', json=an_email(1))).json()['result']}")
        ).status_code == 200


async def test_a_worker_that_is_given_its_own_email_again_waits_for_its_own_answer(stack: Stack, relay: ScriptedRelay) -> None:
    """Redis' clock was set and all leases ran out: the attempt that is under way knows best what becomes of the email."""
    relay.replies["DOT"] = [Delay(2.0, "250 2.0.0 slow but sure")]
    worker = await stack.start_worker(SMTP_CONNECTIONS="3")
    async with stack.http() as http:
        id_ = await post(http, 1)
        await until(lambda: "DATA" in " ".join(relay.log))
        await asyncio.sleep(0.3)  # for the body, the mark and the dot
        assert await stack.valkey.command("DEL", keys.LEASE + id_) == 1
        await stack.valkey.command("ZADD", keys.CLAIMED, "1", id_)
        await stack.valkey.command("LPUSH", keys.WAKE, "1")
        await until(lambda: stack.valkey.command("EXISTS", keys.LEASE + id_), what="a new lease")
        shown = await until_state(http, id_, "sent")
        assert (shown["flagged"], len(relay.emails), [event["what"] for event in shown["events"]][-1]) == (False, 1, "sent")
        assert await worker.stop() == 0
    assert " ERROR " not in worker.text()


async def test_arqs_own_worker_serves_the_normal_lane(stack: Stack, relay: ScriptedRelay) -> None:
    relay.replies["RCPT"] = {"later@dest.example": "450 4.2.1 busy"}
    arq = str(Path(sys.executable).parent / "arq")
    await stack.start_worker([arq, "tasks.worker.WorkerSettings"])
    async with stack.http() as http:
        ids = [await post(http, number) for number in range(20)]
        later = await post(http, 99, email_to="later@dest.example")
        for id_ in ids:
            await until_state(http, id_, "sent", seconds=15)
        await until_state(http, later, "deferred")
        relay.replies.clear()
        await until_state(http, later, "sent", seconds=15)
        assert await stack.workers[0].stop() == 0
    assert len(relay.emails) == 21


BAD: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("no key", {"headers": {"authorization": ""}}, 401, "missing_api_key", ""),
    ("a wrong key", {"headers": {"authorization": "Bearer wrong-key-0123456789"}}, 403, "invalid_api_key", ""),
    ("broken JSON", {"content": b'{"email_to":', "headers": {"content-type": "application/json"}}, 400, "invalid_json", ""),
    ("no body", {"content": b"", "headers": {"content-type": "application/json"}}, 400, "invalid_json", ""),
    ("a lone surrogate", {"content": b'"\\ud800"', "headers": {"content-type": "application/json"}}, 400, "invalid_json", ""),
    ("not UTF-8", {"content": b'"\xff"', "headers": {"content-type": "application/json"}}, 400, "invalid_json", ""),
    ("deep JSON", {"content": b"[" * 90000, "headers": {"content-type": "application/json"}}, 400, "invalid_json", ""),
    ("a form", {"data": {"email_to": "a@b.example"}}, 415, "unsupported_media_type", ""),
    ("a missing field", {"json": {"email_to": "a@b.example"}}, 422, "validation_error", "email_from"),
    ("an unknown field", {"json": an_email(emial="x")}, 422, "validation_error", "emial"),
    ("an empty message", {"json": an_email(message={})}, 422, "validation_error", "message"),
    ("an empty text", {"json": an_email(message={"text": ""})}, 422, "validation_error", "message"),
    ("a wrong type", {"json": an_email(subject=1)}, 422, "validation_error", "subject"),
    ("two addresses in one", {"json": an_email(email_to="a@b.example, c@d.example")}, 422, "validation_error", "email_to"),
    ("a second line", {"json": an_email(subject="a\r\nBcc: x@y.example")}, 422, "validation_error", "subject"),
    ("51 recipients", {"json": an_email(email_to=[f"a{n}@b.example" for n in range(51)])}, 422, "validation_error", "email_to"),
]


async def test_bad_requests_get_a_clear_4xx_and_nothing_is_queued(stack: Stack, relay: ScriptedRelay) -> None:
    await stack.start_worker()
    async with stack.http() as http, stack.http(OTHER_KEY) as other:
        for what, request, status, name, field in BAD:
            answer = await http.post("/send-email/", **request)
            body = answer.json()
            assert (answer.status_code, body["statusCode"], body["name"]) == (status, status, name), (what, body)
            assert isinstance(body["message"], str)
            assert body["message"], what
            if field:
                assert body["errors"][0]["field"].startswith(field), (what, body)
        refused = await other.post("/send-email", json=an_email(email_from="x@shop.example"))
        assert (refused.status_code, refused.json()["name"]) == (403, "invalid_from_address")
        assert "*@other.example" in refused.json()["message"]
        assert (await http.get("/nothing-here")).json()["name"] == "not_found"
        id_ = await post(http, 5)
        await until_state(http, id_, "sent")
        foreign = await other.get(f"/emails/{id_}")
        assert (foreign.status_code, foreign.json()["name"]) == (404, "not_found")
        assert (await http.get("/emails/not-an-id")).status_code == 404
    assert subjects(relay) == [told(5)]


async def test_redis_away_is_a_503_soon_and_the_service_recovers(stack: Stack, relay: ScriptedRelay) -> None:
    await stack.start_worker()
    async with stack.http() as http:
        await until_state(http, await post(http, 1), "sent")
        stack.valkey.stop(signal.SIGKILL)
        began = time.monotonic()
        answer = await http.post("/send-email/", json=an_email(2))
        assert time.monotonic() - began < 3
        assert (answer.status_code, answer.json()["name"]) == (503, "service_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        ready = await http.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert (await http.get("/health/live")).status_code == 200
        stack.valkey.start()
        await until_state(http, await post(http, 3), "sent")
        assert (await http.get("/health/ready")).status_code == 200
        assert stack.workers[0].popen is not None
        assert stack.workers[0].popen.poll() is None
    assert subjects(relay) == [told(1), told(3)]


async def test_a_frozen_redis_is_a_503_after_two_seconds(stack: Stack) -> None:
    assert stack.valkey.process is not None
    stack.valkey.process.send_signal(signal.SIGSTOP)
    async with stack.http() as http:
        began = time.monotonic()
        answer = await http.post("/send-email/", json=an_email())
        assert 1.5 < time.monotonic() - began < 4
        assert answer.status_code == 503
        stack.valkey.process.send_signal(signal.SIGCONT)
        await post(http)


async def test_an_idempotency_key_gives_the_first_answer_again(stack: Stack, relay: ScriptedRelay) -> None:
    await stack.start_worker()
    async with stack.http() as http:
        headers = {"idempotency-key": "order 17"}
        answers = await asyncio.gather(*(http.post("/send-email", json=an_email(1), headers=headers) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["result"] for answer in answers}) == 1
        assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
        other = await http.post("/send-email", json=an_email(2), headers=headers)
        assert (other.status_code, other.json()["name"]) == (409, "invalid_idempotent_request")
        await until_state(http, answers[0].json()["result"], "sent")
    assert subjects(relay) == [told(1)]


async def test_a_key_gives_the_first_answer_again_after_the_emails_own_end(stack: Stack) -> None:
    async with stack.http() as http, stack.http(OTHER_KEY) as other:
        headers = {"idempotency-key": "code 17"}
        soon = (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()
        first = await http.post("/send-email", json=an_email(expires_at=soon), headers=headers)
        assert first.status_code == 202
        await asyncio.sleep(2)
        again = await http.post("/send-email", json=an_email(expires_at=soon), headers=headers)
        assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (202, first.json(), "true")
        for who, key, body in (
            (http, "another", an_email(expires_at=soon)),
            (http, "code 17", an_email(1, expires_at=soon)),
            (other, "code 17", an_email(expires_at=soon)),
        ):
            refused = await who.post("/send-email", json=body, headers={"idempotency-key": key})
            assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "expires_at")


async def test_a_client_stops_and_repeats_its_own_emails_alone(stack: Stack, relay: ScriptedRelay) -> None:
    async with stack.http() as http, stack.http(OTHER_KEY) as other:
        id_ = await post(http, 1)
        for verb in ("cancel", "retry"):
            assert (await other.post(f"/emails/{id_}/{verb}")).status_code == 404
        for _ in range(2):  # twice is no error; Node's SDK says JSON and sends nothing
            answer = await http.post(f"/emails/{id_}/cancel", headers={"content-type": "application/json"})
            assert (answer.status_code, answer.json()) == (200, {"id": id_, "object": "email"})
        shown = (await http.get(f"/emails/{id_}")).json()
        assert (shown["state"], shown["last_event"], shown["events"][-1]["by"]) == ("cancelled", "canceled", "client shop")
        await stack.start_worker()
        relay.replies["RCPT"] = "550 5.1.1 no such user"
        id_ = await post(http, 2)
        await until_state(http, id_, "failed")
        relay.replies.clear()
        assert (await http.post(f"/emails/{id_}/retry", json={})).status_code == 200
        await until_state(http, id_, "sent")
        answer = await http.post(f"/emails/{id_}/cancel")
        assert (answer.status_code, answer.json()["name"]) == (409, "already_final")
    assert subjects(relay) == [told(2)]


async def test_mail_of_a_sender_with_its_own_relay_goes_there_and_waits_apart() -> None:
    async with ScriptedRelay() as main, ScriptedRelay() as own:
        url = f"smtp+plain://127.0.0.1:{main.port},smtp+plain://127.0.0.1:{own.port}?senders=*@own.example"
        async with running_stack(url) as stack, stack.http() as http:
            await own.stop()
            await stack.start_worker()
            waiting = await post(http, 1, email_from="me@own.example")
            await until_state(http, waiting, "held")
            await until_state(http, await post(http, 2), "sent")
            await own.start()
            await until_state(http, waiting, "sent", seconds=12)
    assert (subjects(main), subjects(own)) == ([told(2)], [told(1)])


async def test_a_second_relay_takes_over_while_the_first_is_down() -> None:
    async with ScriptedRelay() as first, ScriptedRelay() as second:
        url = f"smtp+plain://127.0.0.1:{first.port},smtp+plain://127.0.0.1:{second.port}"
        async with running_stack(url) as stack, stack.http() as http:
            await first.stop()
            await stack.start_worker()
            shown = await until_state(http, await post(http, 1), "sent")
            assert shown["recipients"][0]["relay"].endswith(str(second.port))


@pytest.mark.parametrize("module", ["service", "tasks"])
async def test_a_redis_that_may_evict_stops_the_start(tmp_path: Path, module: str) -> None:
    with running_valkey() as valkey:
        await valkey.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        made = Stack(tmp_path, valkey, "smtp+plain://127.0.0.1:9", HTTP_PORT=str(free_port()))
        process = await made.start_worker([sys.executable, "-m", module])
        assert await process.stop(0) == 2
        assert "maxmemory-policy allkeys-lru" in process.text()
        allowed = await made.start_worker([sys.executable, "-m", module], REDIS_ALLOW_EVICTION="yes")
        await asyncio.sleep(2.5)
        assert allowed.popen is not None
        assert allowed.popen.poll() is None
        await allowed.stop()


async def test_a_redis_that_is_nearly_full_takes_no_new_mail_and_finishes_the_old(stack: Stack, relay: ScriptedRelay) -> None:
    async with stack.http() as http:
        ids = [await post(http, number) for number in range(20)]
        used = int((await stack.valkey.info())["used_memory"])
        await stack.valkey.command("CONFIG", "SET", "maxmemory", str(int(used / 0.85)))

        async def refuses() -> bool:
            answer = await http.post("/send-email", json=an_email(99))
            return answer.status_code == 503 and answer.json()["name"] == "queue_full"

        await until(refuses)
        await stack.start_worker()
        for id_ in ids:
            await until_state(http, id_, "sent")
        await stack.valkey.command("CONFIG", "SET", "maxmemory", "0")

        async def accepts() -> bool:
            return (await http.post("/send-email", json=an_email(100))).status_code == 202

        await until(accepts)


async def test_capture_and_redirect_clients_reach_nobody_else(relay: ScriptedRelay) -> None:
    clients = f"shop:{KEY}::capture,other:{OTHER_KEY}::redirect:me@own.example"
    async with running_stack(f"smtp+plain://127.0.0.1:{relay.port}", API_KEYS=clients) as stack:
        await stack.start_worker()
        async with stack.http() as captured, stack.http(OTHER_KEY) as redirected:
            shown = await until_state(captured, await post(captured, 1), "captured")
            assert (shown["mode"], shown["last_event"]) == ("capture", "sent")
            shown = await until_state(redirected, await post(redirected, 2), "sent")
            assert shown["mode"] == "redirect:me@own.example"
    [taken] = relay.emails
    assert taken.recipients == ["me@own.example"]
    message = read(taken.message)
    assert (message["to"], message["x-original-to"]) == ("ada@dest.example", "ada@dest.example")


@pytest.mark.parametrize("module", ["service", "tasks"])
@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("HTTP_PORT", "many", "HTTP_PORT: must be a whole number"),
        ("MAX_AGE", "5 days", "MAX_AGE: must be a duration"),
        ("REDIS_URL", "http://x", "REDIS_URL: must start with redis://"),
        ("SMTP_URL_FILE", "/nowhere", "SMTP_URL: "),
        ("SMTP_URL", "smtp+plain://u:p@mail.example:25", "SMTP_URL: "),
        ("API_KEYS", "shop:short", "API_KEYS: entry 1: "),
    ],
)
async def test_a_wrong_setting_stops_the_start_with_one_line(
    tmp_path: Path, module: str, setting: str, value: str, says: str
) -> None:
    if (setting, module) in {("API_KEYS", "tasks"), ("SMTP_URL", "service")}:
        return  # each process validates what it uses
    with running_valkey() as valkey:
        made = Stack(tmp_path, valkey, "smtp+plain://127.0.0.1:9", **{setting: value})
        process = await made.start_worker([sys.executable, "-m", module], LOG_LEVEL="loud")
        assert await process.stop(0) == 2
    lines = [line for line in process.text().splitlines() if line.startswith("email-service: ")]
    assert any(line.startswith(f"email-service: {says}") for line in lines), process.text()
    assert any("LOG_LEVEL" in line for line in lines)
    assert len(lines) == 2
    assert "Traceback" not in process.text()
