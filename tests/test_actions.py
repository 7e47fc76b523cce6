"""What an operator does on the pages: every lever, one email or many, and what each answers."""

import re
from html import unescape
from pathlib import Path

import httpx
import pytest

from tasks import keys
from tasks.ledger import Ledger
from tasks.outcome import Outcome, Reply
from tasks.queue import Queue
from tasks.record import Delivery, Record, State
from tasks.store import Group
from tests.letters import a_letter, claim_one, put
from tests.pages import csrf, pages, sign_in, signed_in
from tests.test_pages import beat, failed
from web import actions
from web.deeds import label, note, possible, told


async def act(client: httpx.AsyncClient, path: str, **fields: str | list[str]) -> str:
    """Does it and gives the sentence that the next page shows, or the question."""
    token = csrf((await client.get("/status")).text)
    answer = await client.post(path, data={"csrf": token, **fields})
    if answer.status_code == 303:
        answer = await client.get(answer.headers["location"])
    assert answer.status_code == 200, answer.text
    found = re.search(r'role="status">([^<]*)<', answer.text) or re.search(r"<h1>([^<]*)</h1>", answer.text)
    assert found is not None
    return unescape(found[1])


async def states(ledger: Ledger, *ids: str) -> list[str]:
    found = [await ledger.record(id_) for id_ in ids]
    return [record.state for record in found if record is not None]


async def test_each_action_on_one_email_says_what_it_did_and_who_did_it(
    group: Group, queue: Queue, ledger: Ledger, tmp_path: Path
) -> None:
    id_ = (await put(queue)).id
    page = f"/status/emails/{id_}"
    async with signed_in(group, tmp_path) as client:
        assert await act(client, page, do="hold") == "It is held, and waits until you release it."
        assert await act(client, page, do="hold") == "It was held already."
        assert await act(client, page, do="release") == "It is released, to its old place."
        assert await act(client, page, do="cancel") == "Cancel 1 email? They cannot be brought back."
        assert await states(ledger, id_) == ["queued"]
        assert await act(client, page, do="cancel", sure="yes") == "It is cancelled and will not be sent."
        assert (await act(client, page, do="retry")).startswith("Its content is not kept any more")
        record = await ledger.record(id_)
        assert record is not None
        assert [(event.what, event.by) for event in (await ledger.events(record))[1:]] == [
            ("held", "operator"), ("resumed", "operator"), ("cancelled", "operator"),
        ]  # fmt: skip
        again = await failed(queue)
        assert await act(client, f"/status/emails/{again}", do="retry") == "It goes again, at once."
        assert await states(ledger, again) == ["queued"]


async def test_what_cannot_be_done_is_not_offered(group: Group, queue: Queue, tmp_path: Path) -> None:
    waiting, bad = (await put(queue)).id, ""
    async with signed_in(group, tmp_path) as client:

        async def offered(id_: str) -> list[str]:
            return re.findall(r'name="do" value="(\w+)"', (await client.get(f"/status/emails/{id_}")).text)

        assert await offered(waiting) == ["hold", "cancel"]
        await claim_one(queue)
        assert await offered(waiting) == ["cancel"]
        bad = await failed(queue)
        assert await offered(bad) == ["retry"]
        await group.command("DEL", keys.CONTENT + bad)
        assert await offered(bad) == []


async def test_ticked_emails_are_acted_on_and_counted(group: Group, queue: Queue, ledger: Ledger, tmp_path: Path) -> None:
    ids = [(await put(queue)).id for _ in range(4)]
    async with signed_in(group, tmp_path) as client:
        assert await act(client, "/status/emails", do="hold", which="ticked", id=ids[:2]) == "2 emails held."
        said = await act(client, "/status/emails", do="hold", which="ticked", id=[*ids[1:3], "0190-nope"])
        assert said == "1 email held, 1 so before, 1 gone."
        assert await states(ledger, *ids) == ["held", "held", "held", "queued"]
        question = await act(client, "/status/emails", do="cancel", which="ticked", id=ids)
        assert question == "Cancel 4 emails? They cannot be brought back."
        assert await act(client, "/status/emails", do="cancel", which="ticked", id=ids, sure="yes") == "4 emails cancelled."
        token = csrf((await client.get("/status")).text)
        none = await client.post("/status/emails", data={"csrf": token, "do": "hold", "which": "ticked"})
        assert none.status_code == 422
        assert "No email was ticked" in none.text


async def test_all_that_a_filter_finds_are_acted_on_up_to_a_bound(
    group: Group, queue: Queue, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "BOUND", 5)
    ids = [(await put(queue, f"p{n % 2}@dest.example")).id for n in range(12)]
    async with signed_in(group, tmp_path) as client:
        every = {"which": "all", "state": "queued"}
        assert await act(client, "/status/emails", do="hold", q="P1@", **every) == "Hold 5 emails?"
        assert await act(client, "/status/emails", do="hold", q="P1@", sure="yes", **every) == (
            "5 emails held. There are more: do it again for the rest."
        )
        assert await act(client, "/status/emails", do="hold", q="p1@", sure="yes", **every) == "1 email held."
        assert await states(ledger, *ids) == ["queued", "held"] * 6
        assert await act(client, "/status/emails", do="hold", q="nobody", **every) == "There was no email to do this to."
        # without a state: wherever the verb makes sense
        assert await act(client, "/status/emails", do="release", which="all", q="dest", sure="yes") == (
            "5 emails released. There are more: do it again for the rest."
        )
        # a state in which the verb does nothing finds nobody
        assert await act(client, "/status/emails", do="retry", which="all", state="sent", sure="yes") == (
            "There was no email to do this to."
        )


async def test_the_queue_is_paused_and_goes_on(group: Group, queue: Queue, tmp_path: Path) -> None:
    await group.command("SET", keys.WORKER + "h:1", b'{"name":"h:1","host":"h","pid":1,"started":1,"at":1,"in_hand":0,"slots":1'
                        b',"carried":0,"connections":0,"memory":1}')  # fmt: skip
    await group.command("ZADD", keys.WORKERS, await queue.now(), "h:1")
    async with signed_in(group, tmp_path) as client:
        assert (await act(client, "/status/queue", do="pause")).startswith("The queue is paused.")
        page = (await client.get("/status")).text
        assert "Paused by an operator" in page
        assert page.count('value="resume"') == 2
        assert await act(client, "/status/queue", do="pause") == "The queue was paused already."
        assert await act(client, "/status/queue", do="resume") == "The queue goes on."
        assert await act(client, "/status/queue", do="resume") == "The queue was not paused."


async def test_a_relay_that_is_down_is_tried_now(group: Group, queue: Queue, tmp_path: Path) -> None:
    from tasks.beat import tell

    await tell(group, beat(await queue.now(), "r:25"))
    await queue.relay_down("r:25", Outcome("hold", "auth", Reply(535, "5.7.8 no", "5.7.8"), alarm=True))
    async with signed_in(group, tmp_path) as client:
        assert "Try the relay now" in (await client.get("/status")).text
        assert (await act(client, "/status/relay", relay="r:25")).startswith("The relay is tried now")
        assert await queue.relay_probe("r:25")
        await queue.relay_up("r:25")
        assert (await act(client, "/status/relay", relay="r:25")).startswith("The relay takes mail")
        token = csrf((await client.get("/status")).text)
        assert (await client.post("/status/relay", data={"csrf": token, "relay": "x:1"})).status_code == 404


PATHS = ["/status/emails/x", "/status/emails", "/status/queue", "/status/relay"]


@pytest.mark.parametrize("path", PATHS)
async def test_no_action_without_a_session_and_its_token(group: Group, queue: Queue, tmp_path: Path, path: str) -> None:
    async with pages(group, tmp_path) as client:
        assert (await client.post(path, data={"do": "pause"})).headers["location"] == "/sign-in"
        await sign_in(client, group)
        assert (await client.post(path, data={"do": "pause"})).status_code == 403
        token = csrf((await client.get("/status")).text)
        evil = await client.post(path, data={"do": "pause", "csrf": token}, headers={"origin": "http://evil.example"})
        assert evil.status_code == 403
        assert not (await Ledger(group, queue).figures()).paused


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/status/queue", {"do": "stop"}),
        ("/status/emails", {"do": "send", "which": "all", "state": "failed"}),
        ("/status/emails", {"do": "retry", "which": "all"}),  # all there are, of any state: nobody means that
        ("/status/emails", {}),
    ],
)
async def test_what_no_form_asks_is_refused(group: Group, tmp_path: Path, path: str, fields: dict[str, str]) -> None:
    async with signed_in(group, tmp_path) as client:
        token = csrf((await client.get("/status")).text)
        assert (await client.post(path, data={"csrf": token, **fields})).status_code == 400


async def test_a_note_of_another_session_or_of_nobody_is_not_shown(group: Group, tmp_path: Path) -> None:
    async with pages(group, tmp_path) as client, pages(group, tmp_path) as other:
        await sign_in(client, group)
        await sign_in(other, group)
        token = csrf((await client.get("/status")).text)
        where = (await client.post("/status/queue", data={"csrf": token, "do": "pause"})).headers["location"]
        assert "The queue is paused." in (await client.get(where)).text
        for browser, path in ((other, where), (client, "/status?did=pause+done"), (client, "/status?did=%00é" + "x" * 600)):
            page = await browser.get(path)
            assert page.status_code == 200
            assert 'class="done"' not in page.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (note("cancel", ["too_late"]), "Too late: the relay may have it already."),
        (note("retry", ["busy"]), "An attempt runs just now. Try again in a moment."),
        (note("retry", ["gone"]), "There is no such email any more."),
        (note("retry", {"done": 1}), "1 email goes again."),
        (
            note("retry", {"done": 1200, "empty": 3}),
            "1,200 emails go again, 3 without content, which only their clients can send again.",
        ),
        (note("cancel", {"too_late": 2, "sent": 1}), "0 emails cancelled, 1 had ended, 2 too late, the relay may have them."),
        (note("delete", {"done": 1}), "1 email deleted from the mailbox."),
        ("", ""),
        ("explode done", ""),
        ("retry nonsense", ""),
    ],
)  # fmt: skip
def test_every_answer_has_its_words(text: str, words: str) -> None:
    assert told(text) == words


@pytest.mark.parametrize(
    ("state", "fields", "verbs", "words"),
    [
        ("scheduled", {"next_at": 1}, ["retry", "hold", "cancel"], "Try now"),
        ("queued", {}, ["hold", "cancel"], ""),
        ("sending", {}, ["cancel"], ""),
        ("deferred", {"next_at": 1}, ["retry", "hold", "cancel"], "Try now"),
        ("held", {"held_for": "relay"}, ["release", "cancel"], ""),
        ("uncertain", {"next_at": 1}, ["retry", "hold", "cancel"], "Try now"),
        ("uncertain", {}, ["retry"], "Send again"),
        ("sent", {}, [], ""),
        ("captured", {}, [], ""),
        ("partly_sent", {}, ["retry"], "Send again"),
        ("failed", {}, ["retry"], "Send again"),
        ("failed", {"content_kept": False}, [], ""),
        ("expired", {}, ["retry"], "Send again"),
        ("cancelled", {"content_kept": False}, [], ""),
    ],
)
def test_each_state_allows_what_makes_sense(state: State, fields: dict[str, object], verbs: list[str], words: str) -> None:
    record = Record(
        letter=a_letter(), deliveries=[Delivery(to="a@b.example")], state=state, lane="normal", accepted=1,
        **fields,  # type: ignore[arg-type]
    )  # fmt: skip
    assert possible(record) == verbs
    if words:
        assert label("retry", record) == words
