"""Links and one-time codes, told from everything that only looks like one."""

import time

import pytest

from tasks.extract import MOST, codes, links

CODES = [
    ("Your code is 123456", ["123456"]),
    ("123456 is your verification code.", ["123456"]),
    ("Your login code: 4821", ["4821"]),
    ("Code: 2024", ["2024"]),
    ("G-482913 is your Google verification code", []),  # the prefix is part of a word of theirs; typed without it
    ("Use 482 913 to verify your account", ["482913"]),
    ("PIN 0042", ["0042"]),
    ("Your one-time password is A1B2C3.", ["A1B2C3"]),
    ("Recovery codes:\n\nABCD-1234\nEFGH-5678\n", ["ABCD-1234", "EFGH-5678"]),
    ("Enter this code to sign in:\n\n    *739201*\n\nIt is good for 10 minutes.", ["739201"]),
    ("Ihr Bestätigungscode lautet 884422.", ["884422"]),
    ("Tu código es 5544", ["5544"]),
    ("Votre code de vérification : 90210", ["90210"]),
    ("您的验证码是 314159", ["314159"]),
    ("Your code is 111222. It expires on 25 November 2026 at 14:30. Order 998877665544.", ["111222"]),
    ("Your code 111222 or 333444", ["111222", "333444"]),
    # none of these is one
    ("Thank you for your order 123456", []),
    ("You paid 1234 EUR, thank you. Your code was used.", []),
    ("Total: $12345. No code needed.", []),
    ("Call +49 30 123456 if the code does not come", []),
    ("We have changed the terms of the source code that you use; they hold from 2027 for customer 12345", []),
    ("Your code is below. Not yours? Then somebody mistyped an address, which happens every now and then: 12345", []),
    ("Use promo code SAVE2026", []),
    ("Zip code 10115", []),
    ("Verify at https://example.com/verify/123456?code=654321", []),
    ("code from 123456@example.com", []),
    ("At 12:3456 or 2026-11-25 the code ran out", []),
    ("ERROR code HELLO", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "found"), CODES, ids=[text[:30] for text, _ in CODES])
def test_codes_are_known_by_the_words_around_them(text: str, found: list[str]) -> None:
    assert codes("", text) == found


def test_a_subject_counts_and_html_alone_is_read() -> None:
    assert codes("482913 is your Acme code", "Hello") == ["482913"]
    assert codes("Sign in", None, "<style>.a{width:1234px}</style><p>Your code</p><h1>73 92</h1><b>739201</b>") == ["739201"]
    assert codes("Your code", "\n\n739201\n") == ["739201"]
    assert codes("Welcome", "\n\n739201\n") == []


LINKS = [
    ("See https://a.example/x?y=1&z=2.", None, ["https://a.example/x?y=1&z=2"]),
    ("(https://a.example/b_(c)), <https://d.example/>", None, ["https://a.example/b_(c)", "https://d.example/"]),
    ("https://a.example https://a.example", '<a href="https://a.example">x</a>', ["https://a.example"]),
    (None, "<A class=b HREF='https://a.example/?p=1&amp;q=2'>x</A><a href=https://c.example/d>y</a>",
     ["https://a.example/?p=1&q=2", "https://c.example/d"]),
    ("https://later.example", '<a href="https://first.example">x</a>', ["https://first.example", "https://later.example"]),
    (None, '<a href="javascript:alert(1)">x</a><a href="mailto:a@b.example">y</a><a href="/local">z</a><a>n</a>', []),
    (None, '<!-- <a href="https://no.example">x</a> --><img src="https://no.example/pixel.png">', []),
    ("ftp://no.example http://", None, []),
    (None, None, []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "html", "found"), LINKS)
def test_links_are_those_that_can_be_followed(text: str | None, html: str | None, found: list[str]) -> None:
    assert links(text, html) == found


@pytest.mark.parametrize("piece", ["<a ", "<a href=", "https://", "code 1234 ", "1234-", "A1B2-", "@", "(", "123 "])
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    assert len(links(text, text)) <= MOST
    codes(text, text)
    codes("", None, text)
    assert time.process_time() - started < 8
