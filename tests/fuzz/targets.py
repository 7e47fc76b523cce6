"""The targets: functions of any bytes that raise AssertionError, or anything but what is documented, where a promise breaks.

This module is what must hold; it needs no fuzzer.
"""

import base64
import email
import quopri
import re
from collections.abc import Callable
from email.message import Message

from tasks import address, custom, headers
from tasks.address import Address, parse
from tasks.classify import TEXT_LIMIT, classify, clean_text, parse_reply
from tasks.compose import Limits, compose
from tasks.email import Attachment, Content, Email
from tasks.errors import EmailInvalid
from tasks.logline import Cleaner, Entry, decode, encode, mask_links, readable
from web.logs import Wanted

LINES = re.compile(rb"(?:[\t\x20-\x7e]{0,998}\r\n)*")
LIMITS = Limits(max_message_bytes=200_000, max_recipients=5)
WIDE = Limits(max_message_bytes=200_000, max_recipients=5, smtputf8=True)
ID = "019abcde-0000-7000-8000-000000000001"
OURS = {"date", "message-id", "from", "to", "cc", "reply-to", "subject", "auto-submitted", "mime-version", "content-type",
        "content-transfer-encoding"}  # fmt: skip
_WORD = re.compile(r"=\?utf-8\?([qb])\?([^?]*)\?=")


def pieces(data: bytes, count: int) -> list[str]:
    """``data`` as texts: 0xff stands between them, since it is in no UTF-8. Lone surrogates come through, as in JSON."""
    parts = data.split(b"\xff", count - 1)
    parts += [b""] * (count - len(parts))
    return [_text(part) for part in parts]


def _text(part: bytes) -> str:
    try:
        return part.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return part.decode("latin-1")


def composing(data: bytes) -> None:
    """Any request: refused with printable reasons, or a message of clean lines that holds what was asked for, no more."""
    to, sender, subject, text, html, name, value, filename, kind, content_id, cc, flags = pieces(data, 12)
    attachments: list[Attachment] = []
    if "f" in flags:
        content = base64.b64encode(text.encode("utf-8", "replace")).decode()
        attachments = [Attachment(filename=filename, content=content, content_type=kind or "text/plain",
                                  content_id=content_id if "i" in flags else None)]  # fmt: skip
    request = Email(
        email_to=to.split("|"), email_from=sender, subject=subject,
        message=Content(text=text if "t" in flags else None, html=html if "h" in flags else None),
        cc=cc.split("|") if cc else [], headers={name: value} if name else {}, attachments=attachments,
    )  # fmt: skip
    try:
        made = compose(request, id=ID, at_ms=0, limits=WIDE if "8" in flags else LIMITS)
    except EmailInvalid as invalid:
        check_refusals(invalid)
        return
    raw = made.message
    assert LINES.fullmatch(raw) or made.utf8
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert b"\n" not in raw.replace(b"\r\n", b"")
    message = email.message_from_bytes(raw)
    wanted = [key.lower() for key in message]
    assert len(wanted) == len(set(wanted)), "a header twice"
    assert set(wanted) <= OURS | {name.lower()}
    assert unfolded(message, "Subject") == subject
    if name and name.lower() != "auto-submitted":
        assert unfolded(message, name) == value
    check_parts(message, request.message, attachments)


def check_refusals(invalid: EmailInvalid) -> None:
    """Every reason names its field and is short and printable."""
    assert invalid.errors
    for error in invalid.errors:
        assert (error.field + error.message).isprintable()
        assert len(error.message) < 400
        assert len(error.field) < 100


def check_parts(message: Message, content: Content, attachments: list[Attachment]) -> None:
    """One part for each text, one for each file, and what was in them; of HTML alone a text is made."""
    leaves = [part for part in message.walk() if not part.is_multipart()]
    files = [part for part in leaves if part["content-disposition"]]
    bodies = {part.get_content_subtype(): payload(part) for part in leaves if part not in files}
    assert [payload(part) for part in files] == [base64.b64decode(one.content) for one in attachments]
    assert len(leaves) - len(files) == len(bodies)
    assert ("html" in bodies) == bool(content.html)
    if content.text:
        assert lines(bodies["plain"].decode()) == lines(content.text)
    if content.html:
        assert lines(bodies["html"].decode()) == lines(content.html)


def lines(text: str) -> str:
    """With plain line ends; how many there are at the end is the composing module's business."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def payload(part: Message) -> bytes:
    found = part.get_payload(decode=True)
    assert isinstance(found, bytes)
    return found


def unfolded(message: Message, name: str) -> str:
    """A header's value, read by ten lines of our own: RFC 5322 unfolding, then RFC 2047."""
    raw = message[name]
    assert raw is not None
    return decoded(re.sub(r"\r?\n(?=[ \t])", "", str(raw)))


def decoded(raw: str) -> str:
    if "=?" not in raw:
        return raw
    assert re.fullmatch(r"(?:=\?utf-8\?[qb]\?[!-<>@-~]*(?:=[0-9A-F]{2}[!-<>@-~]*)*=*\?=(?: (?==\?))?)+", raw), raw
    found = b"".join(
        quopri.decodestring(word.encode(), header=True) if way == "q" else base64.b64decode(word)
        for way, word in _WORD.findall(raw)
    )
    return found.decode()


def addresses(data: bytes) -> None:
    """Any text: one address that means the same wherever it is read again, or a printable reason."""
    text, pattern = pieces(data, 2)
    for smtputf8 in (False, True):
        try:
            found = parse(text, smtputf8=smtputf8)
        except ValueError as error:
            check_reason(error)
            continue
        check_address(found, smtputf8)
    try:
        address.check_pattern(pattern)
    except ValueError as error:
        check_reason(error)
    else:
        address.matches("ada@dest.example", pattern)


def check_address(found: Address, smtputf8: bool) -> None:
    addr = found.addr
    assert not re.search(r"[\s<>()\[\],;:\\\"\x00-\x1f\x7f]", addr)
    assert addr.count("@") == 1
    assert len(addr.encode()) <= 254
    assert addr.isascii() or smtputf8
    local, _, host = addr.partition("@")
    assert len(local.encode()) <= 64
    assert host.isascii()
    assert host == host.lower()
    assert all(0 < len(label) <= 63 for label in host.split("."))
    again = parse(addr, smtputf8=smtputf8)
    assert (again.addr, again.name) == (addr, None)
    assert "*" in addr or address.matches(addr, addr)  # in a pattern a star stands for something
    assert address.matches(addr, f"*@{host}")
    if not addr.isascii():
        return
    line = headers.addresses("To", [found, Address(None, "eve@shop.example", "eve@shop.example")])
    assert LINES.fullmatch(line.encode("ascii"))
    whole = re.sub(r"\r\n(?=[ \t])", "", line).removeprefix("To: ").removesuffix("\r\n")
    assert whole.endswith(f"{addr}>, eve@shop.example" if found.name else f"{addr}, eve@shop.example")


def check_reason(error: ValueError) -> None:
    assert str(error).isprintable()
    assert len(str(error)) < 400


def header_text(data: bytes) -> None:
    """Any name and value: lines that read back, or a printable reason."""
    name, value, word = pieces(data, 3)
    for made in (lambda: headers.unstructured("X-Text", value), lambda: custom.header_line(name, value)):
        try:
            line = made()
        except ValueError as error:
            check_reason(error)
            continue
        check_line(line, value)
    try:
        line = headers.parameters("Content-Disposition", "attachment", {"filename": word})
    except ValueError as error:
        check_reason(error)
    else:
        assert LINES.fullmatch(line.encode("ascii"))
        found = email.message_from_string(line + "\r\n").get_filename()
        assert found is not None


def check_line(line: str, value: str) -> None:
    assert LINES.fullmatch(line.encode("ascii"))
    assert re.fullmatch(r"[^\r\n]*(?:\r\n[ \t][^\r\n]*)*\r\n", line)
    assert not re.search(r"\r\n[ \t]+\r\n", line), "a line of nothing but spaces may be taken for the end of the head"
    name, _, rest = line.removesuffix("\r\n").partition(":")
    assert headers.check_name(name) is None
    assert decoded(re.sub(r"\r\n(?=[ \t])", "", rest).removeprefix(" ")) == value


def replies(data: bytes) -> None:
    """Any reply: kept as one short printable line, and judged at every stage without fail."""
    code = int.from_bytes(data[:2], "big") % 700
    text = data[2:].decode("utf-8", "surrogateescape")
    reply = parse_reply(code, text, queue_id=bool(code % 2))
    for kept in (reply.text, reply.enhanced or "", reply.queue_id or ""):
        assert kept.isprintable()
        assert len(kept) <= TEXT_LIMIT
    assert clean_text(reply.text) == reply.text.strip()
    for stage in ("greeting", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "dot"):
        outcome = classify(stage, reply, any_accepted=bool(code % 3), relay_accepted=bool(code % 5))
        assert outcome.said.isprintable()
        assert outcome.kind in ("ok", "defer", "fail", "hold", "uncertain")
        if 400 <= code < 500:
            assert outcome.kind not in ("ok", "fail"), "a 4xx is never final"
        if stage == "dot" and not 200 <= code < 600:
            assert outcome.kind == "uncertain"


def log_lines(data: bytes) -> None:
    """Any line in a log file: a record that may be shown as it is, or none. Any text on its way there: one printable line."""
    entry = decode(data)
    if entry is not None:
        check_entry(entry)
        assert decode(encode(entry).removesuffix(b"\n")) == entry
    wanted = Wanted("INFO", "a", "", "")
    for found in wanted.among(data + b"\n" + encode(SAMPLE) + data, "api", 0):
        check_entry(found)
    text = data.decode("utf-8", "surrogateescape")
    clean = Cleaner(["canary-secret"]).clean(text)
    assert clean.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", clean)
    assert "canary-secret" not in clean
    assert len(clean) <= 4096
    mask_links(text)


SAMPLE = Entry(time="2026-11-25T10:00:00.000000Z", level="INFO", role="api", slot=0, pid=1, logger="a", message="a")


def check_entry(entry: Entry) -> None:
    unseen = r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    assert not re.search(unseen, readable(entry))
    assert "\n" not in entry.message + entry.logger + entry.email + entry.request + entry.role
    encode(entry)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "composing": composing,
    "addresses": addresses,
    "header_text": header_text,
    "replies": replies,
    "log_lines": log_lines,
}
