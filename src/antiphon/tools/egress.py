"""Where a request may make us connect to: the policy for URLs that somebody else chose.

A name is resolved once, every address it has is judged, and the connection goes to one of those addresses: what the
name means later, or to another resolver, does not matter. This knows no HTTP; `antiphon.tools.mcp.http` obeys it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

from antiphon.errors import ConfigError, EgressRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Awaitable[list[str]]]

RESOLVE_TIMEOUT_S = 10.0

# Addresses that `ipaddress` takes for public and that clouds answer from within.
_INSIDE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's platform
        "100.64.0.0/10",  # shared by carriers (RFC 6598); 100.100.100.200 is Alibaba's metadata
        "192.88.99.0/24",  # 6to4 relays, gone (RFC 7526)
        "fec0::/10",  # site-local, gone (RFC 3879)
        "5f00::/16",  # segment routing (RFC 9602)
    )
)

# IPv6 addresses that are another way to write, or to reach, an IPv4 address: that one is judged.
_IS_IPV4 = (
    ipaddress.IPv6Network("::ffff:0:0/96"),  # mapped (RFC 4291)
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64 (RFC 6052): all that a machine without IPv4 sees
)


async def system_addresses(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system's resolver gives them.

    Raises:
        OSError: there are none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class EgressPolicy:
    """Which hosts may be connected to: those whose every address is public, and those that are allowed by name.

    ``allow`` has addresses, networks (``10.0.0.0/8``) and host names; a name there is allowed wherever it leads.
    """

    def __init__(self, allow: Iterable[str] = (), *, resolve: Resolver = system_addresses) -> None:
        self._names: set[str] = set()
        self._networks: list[Network] = []
        self._resolve = resolve
        for entry in allow:
            try:
                self._networks.append(ipaddress.ip_network(entry))
            except ValueError as error:
                if not is_host_name(entry):
                    raise ConfigError(
                        f"egress.allow: {entry!r} is not allowed; it must be an address, a network such as 10.0.0.0/8,"
                        " or a host name."
                    ) from error
                self._names.add(entry.lower().rstrip("."))

    def check_url(self, url: str) -> None:
        """Refuse what can be refused without asking a resolver.

        Raises:
            EgressRefused: the URL is not http or https, has no host, or its host is an address that is not allowed.
        """
        try:
            parts = urlsplit(url)
            host, usable = parts.hostname, parts.scheme in ("http", "https") and parts.port != 0
        except ValueError:
            host, usable = None, False
        if not usable or not host:
            raise EgressRefused("The URL must be http or https, with a host, such as https://example.com/mcp.")
        if (address := address_of(host)) is not None:
            self._judge(host, [address])

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses to connect to instead of ``host``, all of them judged.

        Raises:
            EgressRefused: one of them is not allowed.
            OSError: the name has no address, or nobody says which in time.
        """
        if (address := address_of(host)) is not None:
            return self._judge(host, [address])
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            texts = await self._resolve(host, port)
        found = [parsed for text in dict.fromkeys(texts) if (parsed := address_of(text)) is not None]
        if not found:
            raise OSError(f"{host} has no address")
        if host.lower().rstrip(".") in self._names:
            return [str(each) for each in found]
        return self._judge(host, found)

    def _judge(self, host: str, addresses: list[Address]) -> list[str]:
        for address in addresses:
            if not (self._is_allowed(address) or is_public(address)):
                # Not which address: whoever chose the name would learn what names mean in here.
                raise EgressRefused(
                    f"The host {host!r} does not lead to a public address, so a request may not connect to it. Whoever"
                    f' runs this server can allow it: [egress] allow = ["{host}"].'
                )
        return [str(address) for address in addresses]

    def _is_allowed(self, address: Address) -> bool:
        forms = [address, _as_ipv4(address)]
        return any(form in network for form in forms if form for network in self._networks)


def address_of(host: str) -> Address | None:
    """The address that a host is written as, in any way that resolvers take: ``0x7f.1`` and ``2130706433`` too.

    None if it is a name.
    """
    text = host.strip("[]").rstrip(".")
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    if not text or not text.isascii() or not all(part[:1].isdigit() for part in text.split(".")):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except (OSError, ValueError):
        return None


def is_public(address: Address) -> bool:
    """Whether an address belongs to the internet: neither to this machine, this network, a cloud nor a group."""
    if (same := _as_ipv4(address)) is not None:
        return is_public(same)
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    if any(address in network for network in _INSIDE if address.version == network.version):
        return False
    return isinstance(address, ipaddress.IPv4Address) or all(is_public(each) for each in _tunnelled_to(address))


def is_host_name(text: str) -> bool:
    """Whether a text can be the name of a host."""
    labels = text.rstrip(".").split(".")
    return len(text) < 254 and all(
        label and len(label) < 64 and label.replace("-", "a").replace("_", "a").isalnum() for label in labels
    )


def _as_ipv4(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv6Address) and any(address in network for network in _IS_IPV4):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _tunnelled_to(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Where packets to an address of 6to4 or Teredo come out."""
    ends = [] if address.sixtofour is None else [address.sixtofour]
    return ends if address.teredo is None else [*ends, *address.teredo]
