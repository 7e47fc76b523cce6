"""The mailbox: what it keeps and for how long, and the loopback SMTP server that fills it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator

import aiosmtplib
import pytest

from service import sink
from service.uuid7 import uuid7
from tasks import keys
from tasks.ledger import Ledger
from tasks.mailbox import Mail, Mailbox
from tasks.queue import Queue
from tasks.store import Group
from tests.letters import put
from tests.processes import free_port

NOW = 1_800_000_000_000
HOUR = 3_600_000


async def keep(mailbox: Mailbox, *ids: str, at: int = NOW) -> None:
    for n, id_ in enumerate(ids):
        await mailbox.keep(id_, b"m", client="shop", sender="a@b.example", to=["c@d.example"], at=at + n)


async def kept(mailbox: Mailbox) -> list[str]:
    return [mail.id for mail in (await mailbox.page(100)).heads]


async def test_an_email_comes_out_as_it_went_in(mailbox: Mailbox) -> None:
    message = bytes(range(256)) * 1000
    await mailbox.keep("1", message, client="shop", sender="", to=["ä@d.example", "b@d.example"], at=NOW, email="e")
    assert await mailbox.get("1") == Mail(
        id="1", message=message, client="shop", sender="", to=["ä@d.example", "b@d.example"], at=NOW, email="e"
    )
    assert await mailbox.get("2") is None


async def test_the_newest_are_kept_and_shown_first(mailbox: Mailbox) -> None:
    await keep(mailbox, *"abcdefghijkl")
    assert await kept(mailbox) == list("lkjihgfedc")
    assert await mailbox.count() == 10
    page = await mailbox.page(3, skip=2)
    assert [mail.id for mail in page.heads] == list("jih")
    assert (page.total, page.clients) == (10, ["shop"])


async def test_none_is_kept_longer_than_the_age(mailbox: Mailbox) -> None:
    await keep(mailbox, "old", at=NOW - HOUR - 1)
    await keep(mailbox, "just", at=NOW - HOUR)
    await keep(mailbox, "new", at=NOW)
    assert await kept(mailbox) == ["new", "just"]


async def test_what_leaves_takes_all_of_itself_along(mailbox: Mailbox, group: Group) -> None:
    await keep(mailbox, *(f"{n}" for n in range(30)))
    found = {key.decode() for key in await group.command("KEYS", "ems:mail*")}
    assert found == {keys.MAILBOX, f"{keys.MAILBOX}:shop", keys.MAILBOX_CLIENTS, *(f"{keys.MAIL}{n}" for n in range(20, 30))}
    assert await group.command("ZCARD", keys.MAILBOX) == 10


async def test_a_lower_limit_is_reached_with_the_next_email(mailbox: Mailbox, group: Group) -> None:
    await keep(mailbox, *"abcdefgh")
    await keep(Mailbox(group, limit=2, age=3600), "z", at=NOW + 100)
    assert await kept(mailbox) == ["z", "h"]


async def test_the_same_id_again_replaces_it(mailbox: Mailbox) -> None:
    await keep(mailbox, "a", "b")
    await mailbox.keep("a", b"second", client="shop", sender="x@y.example", to=[], at=NOW + 10)
    assert await kept(mailbox) == ["a", "b"]
    found = await mailbox.get("a")
    assert found is not None
    assert (found.message, found.to) == (b"second", [])


async def test_each_client_has_its_own_list_and_all_of_it_can_be_taken_out(mailbox: Mailbox, group: Group) -> None:
    for n in range(6):
        await mailbox.keep(
            f"{n}",
            b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nhi",
            client="ab"[n % 2],
            sender="",
            to=["x@y.example"],
            at=NOW + n,
        )
    page = await mailbox.page(2, client="b")
    assert ([head.id for head in page.heads], page.total, page.clients) == (["5", "3"], 3, ["a", "b"])
    assert (page.heads[0].subject, page.heads[0].size) == ("Grüße", 42)
    await mailbox.keep("5", b"m", client="a", sender="", to=[], at=NOW)  # the same id, another client's now
    assert [head.id for head in (await mailbox.page(9, client="b")).heads] == ["3", "1"]
    assert await mailbox.clear("b") == 2
    assert (await mailbox.page(9)).clients == ["a"]
    assert await mailbox.clear() == 4
    assert await group.command("KEYS", "ems:mail*") == []


async def test_one_can_be_taken_out(mailbox: Mailbox) -> None:
    await keep(mailbox, "a", "b")
    assert await mailbox.delete("a")
    assert not await mailbox.delete("a")
    assert await kept(mailbox) == ["b"]


async def test_an_email_without_its_entry_does_not_break_the_page(mailbox: Mailbox, group: Group) -> None:
    await keep(mailbox, "a", "b")
    await group.command("DEL", keys.MAIL + "a")
    assert await kept(mailbox) == ["b"]


# the SMTP server before it


@pytest.fixture
async def port(mailbox: Mailbox, ledger: Ledger) -> AsyncGenerator[int, None]:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    server = await sink.listen(sock, mailbox, ledger, max_bytes=100_000)
    yield server.sockets[0].getsockname()[1]
    server.close()


@contextlib.asynccontextmanager
async def client(port: int) -> AsyncGenerator[aiosmtplib.SMTP, None]:
    smtp = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, timeout=5)
    await smtp.connect()
    try:
        yield smtp
    finally:
        smtp.close()
        await asyncio.sleep(0)


async def test_what_it_answers_with_250_is_in_the_mailbox(port: int, mailbox: Mailbox) -> None:
    message = b"Subject: Hi\r\n\r\n.dot\r\nhello\xff\r\n"
    async with client(port) as smtp:
        _, said = await smtp.sendmail("a@b.example", ["c@d.example", "e@f.example"], message)
    assert said.startswith("2.0.0 Ok")
    [head] = (await mailbox.page(10)).heads
    found = await mailbox.get(head.id)
    assert found is not None
    assert (found.message, found.sender, found.to) == (message, "a@b.example", ["c@d.example", "e@f.example"])
    assert (found.client, found.email) == ("", "")


async def test_our_own_email_is_kept_under_its_id_with_its_client(port: int, mailbox: Mailbox, queue: Queue) -> None:
    id_ = (await put(queue)).id
    message = f"Subject: Hi\r\nMessage-ID: <{id_}@shop.example>\r\n\r\nhello\r\n".encode()
    async with client(port) as smtp:
        for _ in range(2):  # a second copy is no second email
            await smtp.sendmail("shop@shop.example", ["ada@dest.example"], message)
    [found] = (await mailbox.page(10)).heads
    assert (found.id, found.email, found.client) == (id_, id_, "shop")


@pytest.mark.parametrize(
    "head",
    [
        "Message-ID: <{id}@shop.example>",  # well formed, but nobody here has sent it
        "Message-ID: <x{id}@shop.example>",
        "X: y\r\n\r\nMessage-ID: <{id}@shop.example>",  # in the body
        "Message-ID: <../../etc@x>",
    ],
)
async def test_a_message_id_that_is_not_ours_proves_nothing(port: int, mailbox: Mailbox, head: str) -> None:
    async with client(port) as smtp:
        await smtp.sendmail("a@b.example", ["c@d.example"], head.format(id=uuid7(NOW)).encode() + b"\r\n\r\nhi\r\n")
    [found] = (await mailbox.page(10)).heads
    assert (found.email, found.client) == ("", "")


async def test_a_message_above_the_limit_is_refused_and_not_kept(port: int, mailbox: Mailbox) -> None:
    async with client(port) as smtp:
        with pytest.raises(aiosmtplib.SMTPException):
            await smtp.sendmail("a@b.example", ["c@d.example"], b"Subject: x\r\n\r\n" + b"y" * 70 + b"\r\n" * 200_000)
    assert await mailbox.count() == 0


async def test_addresses_beyond_ascii_are_taken(port: int, mailbox: Mailbox) -> None:
    async with client(port) as smtp:
        await smtp.ehlo()
        await smtp.mail("grüße@b.example", options=["SMTPUTF8"], encoding="utf-8")
        await smtp.rcpt("ñ@d.example", encoding="utf-8")
        await smtp.data(b"Subject: Hi\r\n\r\nhello\r\n")
    [found] = (await mailbox.page(10)).heads
    assert (found.sender, found.to) == ("grüße@b.example", ["ñ@d.example"])


async def test_while_redis_is_away_it_says_later(port: int, group: Group, mailbox: Mailbox) -> None:
    await group.command("REPLICAOF", "127.0.0.1", free_port())
    try:
        async with client(port) as smtp:
            with pytest.raises(aiosmtplib.SMTPDataError) as caught:
                await smtp.sendmail("a@b.example", ["c@d.example"], b"Subject: x\r\n\r\nhi\r\n")
    finally:
        await group.command("REPLICAOF", "NO", "ONE")
    assert (caught.value.code, caught.value.message[:5]) == (451, "4.3.0")
    assert await mailbox.count() == 0
