"""The whole way with a real relay: Debian's Postfix, STARTTLS, a password, and a mailbox that the email is read from."""

import email
import email.policy
import re
from collections.abc import Generator
from email.message import EmailMessage
from typing import Any, cast
from urllib.parse import quote

import httpx
import pytest

from tests.certificates import make_certificate
from tests.postfix import PASSWORD, USER, Postfix, running_postfix
from tests.processes import Stack, an_email, running_stack, until

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(40)]


@pytest.fixture(scope="module")
def postfix() -> Generator[Postfix, None, None]:
    with running_postfix() as made:
        yield made


def url(port: int, password: str = PASSWORD) -> str:
    return f"smtp://{USER}:{quote(password, safe='')}@localhost:{port}?ca={make_certificate().ca}"


async def post(http: httpx.AsyncClient, number: int) -> str:
    answer = await http.post("/send-email/", json=an_email(number))
    assert answer.status_code == 202, answer.text
    return answer.json()["result"]


async def until_state(http: httpx.AsyncClient, id_: str, state: str) -> dict[str, Any]:
    async def ask() -> dict[str, Any] | None:
        shown = (await http.get(f"/emails/{id_}")).json()
        return shown if shown["state"] == state else None

    return await until(ask, seconds=12, what=f"{id_} {state}")


def arrived(postfix: Postfix, message_id: str) -> list[EmailMessage]:
    """The emails of the mailbox that have this Message-ID."""
    found = [cast(EmailMessage, email.message_from_bytes(mail, policy=email.policy.default)) for mail in postfix.mails()]
    return [message for message in found if message["message-id"] == message_id]


async def check_arrival(postfix: Postfix, shown: dict[str, Any], number: int) -> EmailMessage:
    """The email is in the mailbox, once, with both parts readable."""
    await until(lambda: arrived(postfix, shown["message_id"]), what="the email in the mailbox")
    (message,) = arrived(postfix, shown["message_id"])
    assert (message["subject"], message["from"]) == (f"Receipt {number}", "shop@shop.example")
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().strip() == f"Thank you, number {number}."
    assert f"number <b>{number}</b>" in html.get_content()
    return message


def alarms(stack: Stack) -> list[str]:
    """The ERROR lines of the worker, as stderr has them."""
    return [line for worker in stack.workers for line in worker.text().splitlines() if " ERROR " in line]


async def test_an_email_is_read_from_the_mailbox_with_both_parts_and_our_message_id(postfix: Postfix) -> None:
    async with running_stack(url(postfix.port)) as stack, stack.http() as http:
        await stack.start_worker()
        shown = await until_state(http, await post(http, 1), "sent")
        message = await check_arrival(postfix, shown, 1)
        assert message["delivered-to"] == "ada@dest.example"
        assert message["return-path"] == "<shop@shop.example>"
        assert " with ESMTPSA " in re.sub(r"\s+", " ", message["received"]), "TLS and a password"
        assert re.fullmatch(r"250 2\.0\.0 Ok: queued as \w+", shown["last_reply"])
        assert shown["events"][-1]["tls"] == "TLSv1.3"
        assert alarms(stack) == []


async def test_a_wrong_password_holds_the_email_with_the_relays_words_until_it_is_right(postfix: Postfix) -> None:
    async with running_stack(url(postfix.port, "not the password")) as stack, stack.http() as http:
        worker = await stack.start_worker()
        id_ = await post(http, 2)
        shown = await until_state(http, id_, "held")
        assert "535 5.7.8 Error: authentication failed" in shown["why"]
        assert shown["last_event"] == "delivery_delayed"
        assert [(one["state"], one["attempts"]) for one in shown["recipients"]] == [("waiting", 0)]
        assert "failed" not in [event["what"] for event in shown["events"]]
        assert any("closed at auth" in line and "535 5.7.8" in line for line in alarms(stack)), worker.text()
        assert "not the password" not in worker.text()
        assert await worker.stop() == 0
        await stack.start_worker(SMTP_URL=url(postfix.port))
        shown = await until_state(http, id_, "sent")
        await check_arrival(postfix, shown, 2)


async def test_without_starttls_the_email_is_held_and_nothing_is_said_in_clear(postfix: Postfix) -> None:
    async with running_stack(url(postfix.clear_port)) as stack, stack.http() as http:
        worker = await stack.start_worker()
        shown = await until_state(http, await post(http, 3), "held")
        assert "STARTTLS" in shown["why"]
        assert [one["state"] for one in shown["recipients"]] == ["waiting"]
        assert any("STARTTLS" in line for line in alarms(stack)), worker.text()
        await worker.stop()
    assert arrived(postfix, shown["message_id"]) == []
    commands = re.findall(r"disconnect from localhost\[127\.0\.0\.1\] (.*)", await clear_log(postfix))
    assert commands
    assert {word.partition("=")[0] for line in commands for word in line.split()} <= {"ehlo", "quit", "commands"}


async def clear_log(postfix: Postfix) -> str:
    """The lines of the smtpd processes that speak without TLS, once they have told of the last connection's end."""
    found: list[str] = []

    def is_told() -> bool:
        found[:] = [line for line in postfix.log.splitlines() if "postfix/clear/smtpd" in line]
        opened = sum(": connect from" in line for line in found)
        return opened > 0 and opened == sum("disconnect from" in line for line in found)

    await until(is_told, what="the end of the connections in clear")
    return "\n".join(found)
