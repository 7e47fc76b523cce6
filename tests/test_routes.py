"""Which relays an email may go to."""

from tasks.relay import parse_relays
from tasks.routes import choose, routes_of

RELAYS = parse_relays(
    "smtp://a.example,smtp://b.example?senders=*@shop.example,smtp://c.example?senders=*@shop.example,smtp://d.example"
)


def test_relays_with_the_same_senders_are_one_route_and_the_rest_the_main_one() -> None:
    own, main = routes_of(RELAYS)
    assert (own.senders, own.relays) == (["*@shop.example"], ["b.example:587", "c.example:587"])
    assert (main.name, main.relays) == ("main", ["a.example:587", "d.example:587"])
    assert own.name != "main"


def test_a_sender_finds_its_route_and_everybody_else_the_main_one() -> None:
    routes = routes_of(RELAYS)
    assert choose(routes, "x@SHOP.example") == routes[0].name
    assert choose(routes, "x@other.example") == "main"
    assert choose([], "x@shop.example") == "main"
