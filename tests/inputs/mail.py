"""What a client may put into an email: headers, addresses, bodies, files.

This module is the part of the table that the composing module and the addresses answer for.
"""

import base64
from collections.abc import Callable
from email import message_from_bytes
from email.header import decode_header, make_header
from email.utils import getaddresses
from typing import Any

from tasks.text import clean
from tests.inputs.probe import Case, Delivered, Probe, said
from tests.processes import LATER

HIDDEN = "=?utf-8?q?hi=0D=0ABcc:_x@y.example=0D=0A=0D=0Abody?="


def posted(kind: str, what: str, expected: str, **changes: Any) -> Case:
    """The answer to a good email with these fields replaced."""

    async def ask(probe: Probe) -> str:
        return said(await probe.post(**changes))

    return Case(kind, what, expected, ask)


def read_back(kind: str, what: str, wanted: Any, *look: Callable[[Delivered], Any], **changes: Any) -> Case:
    """The email is delivered, and every reader in ``look`` gives back exactly ``wanted``."""

    async def ask(probe: Probe) -> str:
        try:
            delivered = await probe.deliver(**changes)
        except AssertionError as error:
            return str(error)
        wrong = [found for found in (read(delivered) for read in look) if found != wanted]
        return f"delivered as {wrong[0]!r}" if wrong else "delivered exactly"

    return Case(kind, what, "delivered exactly", ask)


def subject(kind: str, text: str) -> Case:
    return read_back(kind, f"subject {shown(text)}", text, lambda d: str(d.python["subject"]), lambda d: d.rust.subject,
                     subject=text)  # fmt: skip


def header(kind: str, name: str, value: str) -> Case:
    return read_back(
        kind, f"{name}: {shown(value)}", value, lambda d: str(d.python[name]),
        lambda d: dict(d.rust.headers).get(name, [""])[0], headers={name: value},
    )  # fmt: skip


def display(kind: str, name: str) -> Case:
    quoted = '"' + name.replace("\\", r"\\").replace('"', r"\"") + '"'

    def python(delivered: Delivered) -> list[tuple[str, str]]:
        # Not by the new policy's own parser: up to CPython 3.12 it keeps the spaces between two encoded words of a name.
        raw = message_from_bytes(delivered.raw)["to"]
        return [(str(make_header(decode_header(name))), addr) for name, addr in getaddresses([raw])]

    def rust(delivered: Delivered) -> list[tuple[str, str]]:
        return [(one.display_name, one.address) for one in delivered.rust.to]

    wanted = [(name, "ada@dest.example"), ("", "bob@dest.example")]
    return read_back(kind, f"name {shown(name)}", wanted, python, lambda d: [(n or "", a) for n, a in rust(d)],
                     email_to=[f"{quoted} <ada@dest.example>", "bob@dest.example"])  # fmt: skip


def filename(kind: str, name: str, wanted: str) -> Case:
    def python(delivered: Delivered) -> str | None:
        return next(delivered.python.iter_attachments()).get_filename()

    return read_back(kind, f"filename {shown(name)}", wanted, python, lambda d: d.rust.attachments[0].filename,
                     attachments=[file(filename=name)])  # fmt: skip


def body(kind: str, text: str, what: str = "") -> Case:
    def python(delivered: Delivered) -> str:
        part = delivered.python.get_body(("plain",))
        assert part is not None
        return unix(part.get_content())

    message = {"text": text, "html": "<p>x"}
    return read_back(kind, f"text {what or shown(text)}", unix(text), python, lambda d: unix(d.rust.text_plain[0]),
                     message=message)  # fmt: skip


def file(**changes: str) -> dict[str, str]:
    return {"filename": "a.txt", "content": base64.b64encode(b"abc").decode(), **changes}


def unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def shown(text: str) -> str:
    plain = text.encode("unicode_escape").decode()
    return f"'{plain}'" if len(plain) <= 60 else f"'{plain[:40]}…' ({len(text)} characters)"


def _header_injection() -> list[Case]:
    kind = "header injection"
    places: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
        "subject": lambda text: ("subject", {"subject": text}),
        "sender's name": lambda text: ("email_from", {"email_from": f"{text} <a@shop.example>"}),
        "recipient's name": lambda text: ("email_to", {"email_to": f"{text} <a@shop.example>"}),
        "header": lambda text: ("headers.X-A", {"headers": {"X-A": text}}),
        "filename": lambda text: ("attachments[0].filename", {"attachments": [file(filename=text)]}),
        "content id": lambda text: ("attachments[0].content_id", {"attachments": [file(content_id=text)]}),
    }
    breaks = ["\r", "\n", "\r\n", "\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"]
    cases: list[Case] = []
    for name, place in places.items():
        for char in breaks:
            field, changes = place(f"a{char}Bcc: x@y.example")
            cases.append(posted(kind, f"{name} with {shown(char)}", f"422 {field}", **changes))
    return cases


def _names_and_headers() -> list[Case]:
    cases = [
        subject("encoded-word smuggling", HIDDEN),
        display("encoded-word smuggling", HIDDEN),
        header("encoded-word smuggling", "X-A", HIDDEN),
        filename("encoded-word smuggling", "=?utf-8?q?x=0D=0Ay?=.exe", "=?utf-8?q?x=0D=0Ay?=.exe"),
        subject("encoded-word smuggling", "=?iso-2022-jp?b?GyRC?= =?utf-8?b?//8=?="),
    ]
    bad_names = ("X-A\r\nBcc", "X A", "X-A:", "", "X-Ü", "X" * 100, "X-A\x00", "X-A\t")
    cases += [posted("header names", shown(name), f"422 headers.{clean(name)}", headers={name: "x"}) for name in bad_names]
    reserved = ("From", "To", "Cc", "Bcc", "Sender", "Return-Path", "Message-ID", "Date", "MIME-Version", "Content-Type",
                "Content-Transfer-Encoding", "Received", "DKIM-Signature", "ARC-Seal", "Resent-To", "Authentication-Results",
                "bCC", "Subject", "Reply-To")  # fmt: skip
    cases += [posted("reserved headers", name, f"422 headers.{name}", headers={name: "x@y.example"}) for name in reserved]
    references = " ".join(f"<{n}.abcdef0123456789@shop.example>" for n in range(30))
    leave = "<mailto:leave@shop.example?subject=leave>, <https://shop.example/" + "l" * 300 + ">"
    cases += [
        header("structured headers", "References", references),
        header("structured headers", "In-Reply-To", "<a@shop.example>"),
        header("structured headers", "List-Unsubscribe", leave),
        posted("structured headers", "a word over 900", "422 headers.References", headers={"References": f"<{'a' * 1000}@b>"}),
        posted("structured headers", "text", "422 headers.References", headers={"References": "<a@b> text"}),
        posted("structured headers", "encoded", "422 headers.References", headers={"References": "<=?utf-8?q?x?=@b>"}),
        posted("structured headers", "a URL alone", "422 headers.List-Unsubscribe",
               headers={"List-Unsubscribe": "https://shop.example/leave"}),
        posted("structured headers", "one click without a URL", "422 headers.List-Unsubscribe-Post",
               headers={"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}),
    ]  # fmt: skip
    names = ("Doe, John", 'The "best" shop', "me@home", "(comment)", "Käthe, Zoë", "x" * 79, "é" * 100, "a  b", "日本太郎",
             "فاطمة الزهراء", "🎉 Party 🎉", "back\\slash", "a; b: c", "'quoted'", "=", "?=")  # fmt: skip
    return cases + [display("display names", name) for name in names]


def _characters() -> list[Case]:
    cases: list[Case] = []
    for char in ("\x00", "\x01", "\x1b", "\x7f", "\x80", "\x9f"):
        cases += [
            posted("control characters", f"subject with {shown(char)}", "422 subject", subject=f"a{char}"),
            posted("control characters", f"name with {shown(char)}", "422 email_to", email_to=f"a{char} <a@b.example>"),
            posted("control characters", f"text with {shown(char)}", "422 message.text", message={"text": f"a{char}"}),
            posted("control characters", f"html with {shown(char)}", "422 message.html", message={"html": f"a{char}"}),
        ]
    for char in ("\u202a", "\u202e", "\u2066", "\u2069"):
        cases += [
            posted("bidi overrides", f"subject with {shown(char)}", "422 subject", subject=f"a{char}"),
            posted("bidi overrides", f"name with {shown(char)}", "422 email_to", email_to=f"a{char} <a@b.example>"),
            posted("bidi overrides", f"filename with {shown(char)}", "422 attachments[0].filename",
                   attachments=[file(filename=f"a{char}fdp.exe")]),
            body("bidi overrides", f"a{char}b\n"),
        ]  # fmt: skip
    texts = ("", " ", "   ", "trailing  ", " leading", "a\tb", "\t", "two  spaces", "é  ", " é", "日本語" * 60, "x " * 150)
    return cases + [subject("spaces", text) for text in texts]


def _bodies() -> list[Case]:
    texts = ["a\rb", "a\nb", "a\n.\r\nb", "a\r\n.\nb", ".\n..\n...\n", "From me\nFrom you", "x" * 5000, "Grüße", "日本語",
             "trailing \n\t\n  \n", "a\r\n.\r\nMAIL FROM:<x@y.example>\r\n", "=3D =\n", "👩‍👩‍👧‍👦", " ", "\n"]  # fmt: skip
    cases = [body("bodies", text) for text in texts]

    async def boundary(probe: Probe) -> str:
        old = await probe.deliver()
        mark = old.python.get_boundary() or ""
        new = await probe.deliver(message={"text": f"--{mark}\n--{mark}--\n", "html": f"<p>--{mark}--"})
        parts = [part.get_content_type() for part in new.python.iter_parts()]
        same = new.python.get_boundary() == mark
        return "the boundary is taken again" if same else f"delivered, parts {' '.join(parts)}"

    expected = "delivered, parts text/plain text/html"
    return [*cases, Case("boundary", "that of an email before, inside the body", expected, boundary)]


def _files() -> list[Case]:
    types = ('application/pdf; name="x.exe"', "html; charset=utf-7", "text/html; charset=utf-7", "multipart/mixed",
             "message/rfc822", "pdf", "", "a/b/c", "text/plain\r\nX: y", "tëxt/plain")  # fmt: skip
    cases = [posted("MIME type", shown(text), "422 attachments[0].content_type", attachments=[file(content_type=text)])
             for text in types]  # fmt: skip
    wrong = ("abc", "a-_b", "YWJj\n", "YWJj YWJj", "YQ=", "====", "YW=j", "ÄÄÄÄ", "data:text/plain;base64,YWJj")
    cases += [posted("base64", shown(content), "422 attachments[0].content", attachments=[file(content=content)])
              for content in wrong]  # fmt: skip

    async def huge(probe: Probe) -> str:
        answer = await probe.post(attachments=[file(content="A" * 1_400_000)])
        text = answer.json()["message"]
        return f"{said(answer)}, with limit and size" if "1000000 bytes" in text and "14" in text else text

    cases.append(Case("base64", "1.4 MB where 1 MB is allowed", "422 message, with limit and size", huge))
    cases += [
        filename("filenames", "/etc/passwd", "passwd"),
        filename("filenames", "C:\\windows\\a.txt", "a.txt"),
        filename("filenames", "..\\..\\a.txt", "a.txt"),
        filename("filenames", 'a"b;c.txt', 'a"b;c.txt'),
        filename("filenames", ".htaccess", ".htaccess"),
        filename("filenames", "e\u0301té.pdf", "été.pdf"),
        filename("filenames", "日本語.pdf", "日本語.pdf"),
        filename("filenames", "n" * 150, "n" * 150),
    ]
    for name in ("a\x00.txt", "", "n" * 300, "é" * 76, "..", "dir/", " ", "a\nb", "a\u202etxt.exe"):
        cases.append(posted("filenames", shown(name), "422 attachments[0].filename", attachments=[file(filename=name)]))
    return cases


def _addresses() -> list[Case]:
    wrong = (
        "b@x.example>\r\nRCPT TO:<e@x.example", "b@x.example> SIZE=1", "a@b.example, d@e.example", "", " ", "<>", "@",
        "<@relay.example:a@b.example>", '"a b"@x.example', "a@[127.0.0.1]", "a@127.0.0.1", f"{'a' * 65}@x.example",
        f"a@{'b.' * 126}example", f"a@{'b' * 64}.example", "a..b@x.example", ".a@x.example", "a.@x.example", "a@localhost",
        "a@x..example", "a@.example", "a@x.example.", "a b@x.example", "a@x.exam ple", "group: a@b.example;", "a@b@c.example",
        "a@b.example (comment)", "name a@b.example", "<a@b.example", "a@b.example>", "a@-x.example", "a@x_y.example",
        "a%b@c.example\n", "a@b.example\x00", "postmaster", "a@xn--0.example", "a\u200b@b.example",
    )  # fmt: skip
    cases = [posted("addresses", shown(text), "422 email_to", email_to=text) for text in wrong]
    cases += [posted("addresses", f"cc {shown(text)}", "422 cc[0]", cc=[text]) for text in ("", "a@b.example, c@d.example")]
    cases.append(posted("addresses", "from two at once", "422 email_from", email_from="a@b.example, c@d.example"))
    cases.append(posted("addresses", "reply_to empty", "422 reply_to", reply_to=""))

    def on_the_wire(delivered: Delivered) -> object:
        return delivered.recipients, str(delivered.python["to"])

    idn = "jose@xn--exmple-cua.example"
    cases += [
        read_back("IDN", "jose@exämple.example", ([idn], idn), on_the_wire, email_to="jose@exämple.example"),
        read_back("IDN", "JOSE@EXÄMPLE.example", ([f"JOSE{idn[4:]}"], f"JOSE{idn[4:]}"), on_the_wire,
                  email_to="JOSE@EXÄMPLE.example"),
        read_back("IDN", shown("a@b\u3002example"), (["a@b.example"], "a@b.example"), on_the_wire, email_to="a@b\u3002example"),
        posted("IDN", shown("a@exam\u200bple.example"), "422 email_to", email_to="a@exam\u200bple.example"),
        posted("non-ASCII local part", "josé@example.com", "422 email_to", email_to="josé@example.com"),
    ]  # fmt: skip

    async def kept(probe: Probe) -> str:
        id_ = (await probe.post(email_to="jose@exämple.example", send_at=LATER)).json()["result"]
        shown_ = (await probe.http.get(f"/emails/{id_}")).json()
        await probe.http.post(f"/emails/{id_}/cancel")
        return f"{shown_['to'][0]}, {shown_['recipients'][0]['to']}"

    cases.append(Case("IDN", "both forms are kept", f"jose@exämple.example, {idn}", kept))

    async def sender(probe: Probe) -> str:
        answer = await probe.other.post("/send-email/", json={**EMAIL, "email_from": "x@shop.example"})
        names = "*@other.example" in answer.json()["message"]
        return f"{answer.status_code} {answer.json()['name']}{', names the allowed ones' if names else ''}"

    cases.append(Case("sender", "not allowed for this key", "403 invalid_from_address, names the allowed ones", sender))
    many = [f"a{n}@dest.example" for n in range(51)]
    cases += [
        posted("recipients", "51", "422 email_to", email_to=many),
        posted("recipients", "51 over three fields", "422 email_to", email_to=many[:17], cc=many[17:34], bcc=many[34:]),
        read_back("recipients", "the same one twice", ["ada@dest.example"], lambda d: d.recipients,
                  email_to=["ada@dest.example", "Ada <ada@DEST.example>"], bcc="ada@dest.example"),
        posted("recipients", "none", "422 email_to", email_to=[]),
    ]  # fmt: skip
    return cases


EMAIL = {
    "email_to": "ada@dest.example",
    "email_from": "shop@shop.example",
    "subject": "Hello",
    "message": {"text": "Hello."},
}
CASES = [*_header_injection(), *_names_and_headers(), *_characters(), *_bodies(), *_files(), *_addresses()]
