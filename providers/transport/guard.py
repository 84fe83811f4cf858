"""Which addresses a request may go to that a model, or a page, had a say in. Pure.

A name that leads inside (this machine, a private network, a cloud's metadata) would let whoever wrote it read what is
there: server-side request forgery. So what a name leads to is looked at, never the name.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

IpAddress = IPv4Address | IPv6Address
NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
METADATA = frozenset({"169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "192.0.0.192"})
"""Where clouds tell a machine its secrets."""


def address_fault(text: str, *, allow_private: bool = False) -> str:
    """Return why no request may go to an IP address, empty where it may.

    With `allow_private` it may go to this machine and to private networks; to a cloud's metadata never.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return "it is no address"
    for one in _meant(address):
        if fault := _fault(one, allow_private=allow_private):
            return fault
    return ""


def _meant(address: IpAddress) -> Iterator[IpAddress]:
    """Yield an address, and those that it stands for where it is made of another."""
    yield address
    if isinstance(address, IPv6Address):
        yield from (one for one in (address.ipv4_mapped, address.sixtofour) if one is not None)
        if address.teredo is not None:
            yield from address.teredo
        if any(address in network for network in NAT64) or int(address) >> 32 == 0:
            yield IPv4Address(int(address) & 0xFFFFFFFF)


def _fault(address: IpAddress, *, allow_private: bool) -> str:
    if str(address) in METADATA or address.is_link_local:
        return f"{address} is a link-local address, where clouds keep a machine's secrets"
    if address.is_multicast or address.is_unspecified:
        return f"{address} is not the address of a single machine"
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address in NAT64[0]):
        return ""  # what it stands for is looked at
    if address.is_loopback or address.is_private or not address.is_global:
        inside = "this machine" if address.is_loopback else "a private or reserved network"
        return "" if allow_private else f"{address} is {inside}"
    if isinstance(address, IPv6Address) and (address.is_site_local or address.is_reserved):
        return "" if allow_private else f"{address} is reserved"
    return ""
