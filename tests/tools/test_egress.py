"""Where a request may make us connect to: which addresses are public, in whatever way they are written."""

import asyncio
import ipaddress
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.errors import ConfigError, EgressRefused
from antiphon.tools.egress import EgressPolicy, address_of, is_public

INSIDE = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/29"),
    *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
    *("::/128", "::1/128", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "2001:db8::/32", "100::/64"),
    *("fd00:ec2::254/128", "::ffff:127.0.0.0/104", "64:ff9b::a00:0/104", "2002:7f00::/24", "2002:c0a8::/32"),
]
OUTSIDE = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8"]


def inside(network: str) -> st.SearchStrategy[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    return st.ip_addresses(network=network)


any_inside = st.sampled_from(INSIDE).flatmap(inside)
ipv4_inside = st.sampled_from([each for each in INSIDE if ":" not in each]).flatmap(inside)


def written(address: int, form: str) -> str:
    """An IPv4 address in one of the ways that resolvers take."""
    parts = [address >> shift & 255 for shift in (24, 16, 8, 0)]
    return {
        "decimal": str(address),
        "hexadecimal": hex(address),
        "octal": "0" + oct(address)[2:],
        "octal parts": ".".join("0" + oct(part)[2:] for part in parts),
        "hexadecimal parts": ".".join(hex(part) for part in parts),
        "short": f"{parts[0]}.{address & 0xFF_FFFF}",
        "mapped": f"::ffff:{ipaddress.IPv4Address(address)}",
        "mapped, hexadecimal": f"::ffff:{address >> 16:x}:{address & 0xFFFF:x}",
        "dotted at its end": f"{ipaddress.IPv4Address(address)}.",
    }[form]


FORMS = st.sampled_from(
    ["decimal", "hexadecimal", "octal", "octal parts", "hexadecimal parts", "short", "mapped", "mapped, hexadecimal"]
    + ["dotted at its end"]
)


@given(any_inside)
@example(ipaddress.ip_address("169.254.169.254"))
@example(ipaddress.ip_address("fd00:ec2::254"))
def test_no_address_of_this_machine_this_network_or_a_cloud_is_public(address: ipaddress.IPv4Address) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(ipv4_inside, FORMS)
def test_writing_an_address_otherwise_does_not_help(address: ipaddress.IPv4Address, form: str) -> None:
    host = written(int(address), form)
    url = f"http://[{host}]/mcp" if ":" in host else f"http://{host}:8000/mcp"
    with pytest.raises(EgressRefused):
        EgressPolicy().check_url(url)


@given(st.ip_addresses(v=4), FORMS.filter(lambda form: "mapped" not in form))
def test_an_address_is_read_as_the_system_reads_it(address: ipaddress.IPv4Address, form: str) -> None:
    host = written(int(address), form)
    system = socket.getaddrinfo(host.rstrip("."), 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    assert str(address_of(host)) == system[0][4][0]


@pytest.mark.parametrize("host", ["example.com", "localhost", "1.2.3.4.example.com", "1password.com", "a.b-c.d_e"])
def test_a_name_is_no_address(host: str) -> None:
    assert address_of(host) is None


@pytest.mark.parametrize(
    "url", ["ftp://example.com/", "file:///etc/passwd", "example.com", "http://", "http://[::1", "//x"]
)
def test_what_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(EgressRefused, match="must be http or https"):
        EgressPolicy().check_url(url)


@given(any_inside)
def test_what_is_allowed_may_be_reached(address: ipaddress.IPv4Address) -> None:
    assert asyncio.run(EgressPolicy([str(address)]).addresses(str(address), 80)) == [str(address)]
    assert asyncio.run(EgressPolicy(["0.0.0.0/0", "::/0"]).addresses(str(address), 80)) == [str(address)]


def resolving(*answers: list[str]) -> EgressPolicy:
    """A policy whose resolver gives these answers one after the other, as a name does that is to deceive."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0)

    return EgressPolicy(["10.1.0.0/16", "inside.example"], resolve=resolve)


@pytest.mark.parametrize("answer", [["127.0.0.1"], ["8.8.8.8", "169.254.169.254"], ["8.8.8.8", "::1"]])
def test_a_name_with_one_address_inside_is_refused_and_its_address_is_not_told(answer: list[str]) -> None:
    with pytest.raises(EgressRefused, match=r"The host 'evil\.example' does not lead to a public address") as refused:
        asyncio.run(resolving(answer).addresses("evil.example", 443))
    assert answer[-1] not in str(refused.value)


def test_a_name_leads_to_the_addresses_it_was_judged_by() -> None:
    assert asyncio.run(resolving(["8.8.8.8", "10.1.2.3", "8.8.8.8"]).addresses("a.example", 443)) == [
        *("8.8.8.8", "10.1.2.3")
    ]


def test_a_name_that_is_allowed_may_lead_inside() -> None:
    assert asyncio.run(resolving(["192.168.1.5"]).addresses("Inside.Example.", 443)) == ["192.168.1.5"]


def test_a_name_without_an_address_cannot_be_reached() -> None:
    with pytest.raises(OSError, match="has no address"):
        asyncio.run(resolving([]).addresses("nowhere.example", 443))


@pytest.mark.parametrize("entry", ["", "http://host/", "10.0.0.0/33", "a b", "host:80"])
def test_an_entry_that_is_neither_address_nor_name_is_refused(entry: str) -> None:
    with pytest.raises(ConfigError, match="must be an address, a network"):
        EgressPolicy([entry])
