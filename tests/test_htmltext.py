"""HTML becomes text that people can read, and hostile HTML costs no more than its length."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.htmltext import MAX_HTML, to_text

GOLDEN = Path(__file__).parent / "golden"

CASES = [
    ("", ""),
    ("   ", ""),
    ("Hello", "Hello\n"),
    ("<p>One<p>Two", "One\n\nTwo\n"),
    ("<p>a\n  b\t c</p>", "a b c\n"),
    ("one<br>two<br/>three", "one\ntwo\nthree\n"),
    ("<div>one</div><div>two</div>", "one\ntwo\n"),
    ("<b>bo</b>ld <i>it</i>", "bold it\n"),
    ("a<hr>b", "a\n\n---\n\nb\n"),
    ("<ul><li>a<li>b</ul>c", "* a\n* b\n\nc\n"),
    ("<ol start=3><li>a</li><li>b</li></ol>", "3. a\n4. b\n"),
    ("<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>", "* a\n  * b\n* c\n"),
    ("<li>alone", "* alone\n"),
    ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc\n"),
    ("<a href='https://x.de/?a=1&amp;b'>go</a>!", "go (https://x.de/?a=1&b)!\n"),
    ("<a href=https://x.de>https://x.de</a>", "https://x.de\n"),
    ("<a href='mailto:a@x.de'>a@x.de</a>", "a@x.de\n"),
    ("<a href='https://x.de'><img alt='Logo' src=x></a>", "Logo (https://x.de)\n"),
    ("<a href='https://x.de'></a>", "https://x.de\n"),
    ("<a href='#top'>top</a> <a name=x>y</a> <a href=javascript:alert(1)>z</a>", "top y z\n"),
    ("<a href=https://x.de>a<a href=https://y.de>b", "a (https://x.de)b (https://y.de)\n"),
    ("<pre>a\n  b\n\nc</pre>d", "a\n  b\n\nc\n\nd\n"),
    ("&lt;b&gt; &amp;amp; &euml; &#8364; &#x20AC; &nosuch; &copy 1&nbsp;2", "<b> &amp; ë € € &nosuch; © 1 2\n"),
    ("&#0;&#xD800;&#99999999;&#11;x", "��&#99999999;x\n"),
    ("1 < 2 <3 >", "1 < 2 <3 >\n"),
    ("a<!-- no -->b<!-->c<!--->d<!doctype x>e<?php f ?>g</>h", "abcdegh\n"),
    ("<!--[if mso]><p>Outlook</p><![endif]-->x<![if !mso]>y<![endif]>", "xy\n"),
    ("<script>a<b</script><style>p{}</style><title>t</title>x", "x\n"),
    ("<SCRIPT>a</scriptx></SCRIPT >x", "x\n"),
    ("<head><meta charset=utf-8><base href=x></head>x", "x\n"),
    ("<head><meta><body>x", "x\n"),
    ("<div style='display: none'>pre <div>nested</div> header</div>x", "x\n"),
    ('<span STYLE="color:red;DISPLAY:NONE">p</span>x', "x\n"),
    ("<div style='max-height:0px'>p</div><div style='max-height:0.5em'>x</div>", "x\n"),
    ("<div style='visibility:hidden'>p</div><div style='mso-hide:all'>q</div>x", "x\n"),
    ("<p hidden>p<p>x<p class='hidden'>y<p aria-hidden=true title='is hidden '>z", "x\n\ny\n\nz\n"),
    ("<img style='display:none' alt=pixel>x<input hidden>y", "xy\n"),
    ("<p style='display:none'>p<h1>x</h1>", "x\n"),
    ("<a title='>' href=\"https://x.de\">go</a>", "go (https://x.de)\n"),
    ("<p it's>x</p> it's", "x\n\nit's\n"),
    ('<p class="open>x</p>y', "x\n\ny\n"),
    ("x<a href='y", "x\n"),
    ("x\x00\x0b\x85\ud800y\x1bz", "x yz\n"),
]


@pytest.mark.parametrize(("html", "text"), CASES)
def test_html_reads_as_text(html: str, text: str) -> None:
    assert to_text(html) == text


def test_a_whole_mail_reads_as_text() -> None:
    html = (GOLDEN / "reset.html").read_text(encoding="utf-8")
    assert to_text(html) == (GOLDEN / "reset.txt").read_text(encoding="utf-8")


HOSTILE = [
    "<", "<a", "<a ", '<a "', "<a ='", "<a b='\" c=\"'", "<!--", "<![", "<?", "</", "<div>", "<ul><li>x", "<ol>", "&", "&#",
    "&#9", "9", " ", "<p a= ", "<script>", "<style><", "<a href=x>", "<p hidden>", "<p style='", "<br>", "<pre>\n", "</p>",
    "<title></titl", "<td><table>", "\n", "<p style='display:'>", "<b hidden='", "<template>",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_long_runs_of_anything_take_linear_time(piece: str) -> None:
    for html in (piece * (200_000 // len(piece)), "<a " + piece * 30_000, "&#" + piece * 30_000):
        begun = time.perf_counter()
        to_text(html)
        assert time.perf_counter() - begun < 3  # a quadratic scan takes minutes


def test_what_is_too_long_to_read_is_marked() -> None:
    assert to_text("x" * (MAX_HTML + 1)) == "x" * MAX_HTML + "\n[…]\n"


pieces = st.sampled_from(
    [
        "<",
        ">",
        "</",
        "<p",
        "<a href=",
        "'",
        '"',
        "<!--",
        "-->",
        "&#",
        "&amp",
        ";",
        "<li>",
        "<ol>",
        "</ol>",
        "<script>",
        "hidden",
    ]
)


@settings(deadline=None, max_examples=500)
@given(st.lists(st.one_of(pieces, st.text(st.characters(), max_size=8)), max_size=30).map("".join))
def test_nothing_raises_and_no_control_character_comes_out(html: str) -> None:
    text = to_text(html)
    assert not set(text) & {chr(code) for code in range(32) if code not in (9, 10)}
    assert text == "" or text.endswith("\n")
    text.encode()
