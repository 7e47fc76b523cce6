"""What was composed, as Perl's Email::MIME reads it: a third parser, with no code of CPython's or of the one in Rust."""

import base64
import functools
import hashlib
import json
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import fast_mail_parser
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.email import Attachment, Content
from tests.processes import missing
from tests.test_compose import BODIES, FILENAMES, GOLDENS, file, made

pytestmark = pytest.mark.system
SCRIPT = Path(__file__).with_name("mime_tree.pl")
QUIET = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Perl:
    """The reader, kept running."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            ["perl", str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def read(self, message: bytes) -> dict[str, Any]:
        """One message's headers and parts."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"%d\n" % len(message) + message)
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline() or self.said())

    def said(self) -> str:
        """Why it ended."""
        assert self.process.stderr is not None
        raise AssertionError(self.process.stderr.read().decode())

    def close(self) -> None:
        """Ends it; it must not have complained."""
        assert self.process.communicate()[1] == b""


@functools.cache
def is_installed() -> bool:
    """Whether Perl has Email::MIME."""
    if shutil.which("perl") is None:
        return False
    return subprocess.run(["perl", "-MEmail::MIME", "-e", "1"], check=False, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def perl() -> Generator[Perl, None, None]:
    if not is_installed():
        missing("Perl's Email::MIME: apt-get install libemail-mime-perl")
    reader = Perl()
    yield reader
    reader.close()


def shape(part: dict[str, Any]) -> object:
    return {part["type"]: [shape(child) for child in part["parts"]]} if part.get("parts") else part["type"]


def leaves(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [leaf for child in part["parts"] for leaf in leaves(child)] if part.get("parts") else [part]


def body(part: dict[str, Any]) -> bytes:
    return base64.b64decode(part["body"])


def text(part: dict[str, Any]) -> str:
    return unix(body(part).decode())


def unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


TREES = {
    "text": "text/plain",
    "html": {"multipart/alternative": ["text/plain", "text/html"]},
    "both": {"multipart/alternative": ["text/plain", "text/html"]},
    "everything": {
        "multipart/mixed": [
            {"multipart/alternative": ["text/plain", {"multipart/related": ["text/html", "image/png"]}]},
            "application/pdf",
            "application/octet-stream",
        ]
    },
}


@pytest.mark.parametrize("name", GOLDENS)
def test_the_tree_is_the_one_that_was_meant(perl: Perl, name: str) -> None:
    assert shape(perl.read(made(**GOLDENS[name]).message)["tree"]) == TREES[name]


def test_names_subject_and_headers_read_back(perl: Perl) -> None:
    found = perl.read(made(**GOLDENS["both"]).message)
    assert found["headers"]["subject"] == ["Bestätigung für Zoë =?utf-8?q?x?="]
    assert found["headers"]["x-campaign"] == ["Frühling"]
    assert found["addresses"]["To"] == [
        ["Zoë, Ünit", "zoe@xn--exmple-cua.com"],
        ["Doe, Bob", "bob@shop.example"],
        ["", "eve@shop.example"],
    ]
    assert found["addresses"]["Reply-To"] == [["", "help@shop.example"]]
    assert "bcc" not in found["headers"]


@pytest.mark.parametrize("content", BODIES)
def test_a_body_reads_back(perl: Perl, content: str) -> None:
    found = leaves(perl.read(made(message=Content(text=content, html=content)).message)["tree"])
    assert [(part["type"], text(part)) for part in found] == [("text/plain", unix(content)), ("text/html", unix(content))]


@pytest.mark.parametrize(("filename", "name"), FILENAMES)
def test_a_file_reads_back(perl: Perl, filename: str, name: str) -> None:
    data = bytes(range(256)) * 3
    part = leaves(perl.read(made(attachments=[file(data, filename=filename)]).message)["tree"])[-1]
    assert (part["disposition"], body(part)) == ("attachment", data)
    assert part["filename"] == name


# --- an ordinary world's emails

WORLD = ("日本 太郎", "فاطمة الزهراء", "🎉 Party & Co. 🎉", "Zoë, Ünit", 'The "best" shop', "Ольга Иванова", "שרה כהן")


@pytest.mark.parametrize("name", WORLD)
def test_names_of_the_world_read_back_in_two_readers(perl: Perl, name: str) -> None:
    quoted = name.replace('"', r"\"")
    composed = made(email_to=[f'"{quoted}" <ada@dest.example>', "bob@dest.example"], email_from=f'"{quoted}" <a@shop.example>')
    wanted = [[name, "ada@dest.example"], ["", "bob@dest.example"]]
    found = perl.read(composed.message)["addresses"]
    assert (found["To"], found["From"]) == (wanted, [[name, "a@shop.example"]])
    rust = fast_mail_parser.parse_email(composed.message).to
    assert [[one.display_name or "", one.address] for one in rust] == wanted


@pytest.mark.parametrize("subject", ["Your order " * 28, "ご注文の確認 " * 43, "🎉" * 300, "تأكيد الطلب " * 25, "x" * 300])
def test_a_subject_of_three_hundred_characters_reads_back_in_two_readers(perl: Perl, subject: str) -> None:
    assert len(subject) >= 299
    message = made(subject=subject).message
    assert perl.read(message)["headers"]["subject"] == [subject]
    assert fast_mail_parser.parse_email(message).subject == subject


def test_a_pdf_of_fifteen_megabytes_reads_back_in_two_readers(perl: Perl) -> None:
    data = b"%PDF-1.7\n" + bytes(range(256)) * 58_600
    content = base64.b64encode(data).decode()
    attached = Attachment(filename="Rechnung für 日本.pdf", content=content, content_type="application/pdf")
    message = made(attachments=[attached]).message
    part = leaves(perl.read(message)["tree"])[-1]
    wanted = ("application/pdf", "Rechnung für 日本.pdf", hashlib.sha256(data).hexdigest())
    assert (part["type"], part["filename"], part["sha256"]) == wanted
    rust = fast_mail_parser.parse_email(message).attachments[0]
    assert (rust.filename, bytes(rust.content) == data) == ("Rechnung für 日本.pdf", True)


def test_a_newsletter_with_inline_images_reads_back_in_two_readers(perl: Perl) -> None:
    images = {f"image{n}@shop.example": bytes([n]) * 3000 for n in range(5)}
    html = "<h1>Frühling</h1>" + "".join(f"<img src='cid:{id_}' alt='🌷'>" for id_ in images) + "<p>wörd</p>" * 500
    attachments = [
        file(data, filename=f"{n}.png", content_type="image/png", content_id=id_)
        for n, (id_, data) in enumerate(images.items())
    ]
    message = made(message=Content(text="Frühling", html=html), attachments=attachments).message
    tree = perl.read(message)["tree"]
    related = {"multipart/related": ["text/html", *["image/png"] * 5]}
    assert shape(tree) == {"multipart/alternative": ["text/plain", related]}
    plain, page, *pictures = leaves(tree)
    assert (text(plain), text(page)) == ("Frühling", html)
    assert {part["id"].strip("<>"): body(part) for part in pictures} == images
    assert {part["disposition"] for part in pictures} == {"inline"}
    rust = fast_mail_parser.parse_email(message)
    assert unix(rust.text_html[0]) == html
    assert {one.content_id.strip("<>"): bytes(one.content) for one in rust.attachments} == images


line = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\u202a\u202b\u202c\u202d\u202e"
                             "\u2066\u2067\u2068\u2069"), max_size=120)  # fmt: skip


@QUIET
@given(subject=line, content=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=300))
def test_any_subject_and_body_read_back(perl: Perl, subject: str, content: str) -> None:
    found = perl.read(made(subject=subject, message=Content(text=content, html="<p>x")).message)
    assert found["headers"]["subject"] == [subject]
    assert text(leaves(found["tree"])[0]) == unix(content)
