"""Personal values: what is found, what stays, and that spans and text tell the same story."""

import ipaddress
import itertools
import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import kernels
from curate.redaction.kinds import BY_PATTERN, ON_DEMAND

KINDS = (*BY_PATTERN, *ON_DEMAND)
pieces = st.sampled_from(
    ["a@b.com", "x.y+z@mail.example.org", "8.8.8.8", "10.0.0.1", "2a00:1450::1", "+1 212-555-0143", "(212) 555-0143",
     "4111 1111 1111 1111", "514-69-0360", "DE89370400440532013000", "иван@пример.рф", "tel ", *"@.: é漢\n-/", "1.2"]
)  # fmt: skip


def redact(texts: list[str], kinds: tuple[str, ...] = KINDS, placeholder: str = "<{type}>") -> list[str]:
    column = pa.array(texts, pa.large_string())
    return kernels.replace_spans(  # type: ignore[no-any-return]
        column, *kernels.find_personal(column, kinds=kinds), placeholder=placeholder
    ).to_pylist()


@given(st.lists(st.lists(st.one_of(pieces, st.text(max_size=5)), max_size=12).map("".join), max_size=5))
def test_spans_rebuild_the_text(texts: list[str]) -> None:
    found = kernels.find_personal(pa.array(texts, pa.large_string()), kinds=KINDS)
    spans = list(zip(*(column.to_pylist() for column in found), strict=True))
    rebuilt = [text.encode() for text in texts]
    for row, start, end, kind in reversed(spans):
        rebuilt[row] = rebuilt[row][:start] + f"<{kind.upper()}>".encode() + rebuilt[row][end:]
    new = redact(texts)
    assert [text.decode() for text in rebuilt] == new
    assert [span[:2] for span in spans] == sorted(span[:2] for span in spans)
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in itertools.pairwise(spans)), "no overlaps"


@given(st.lists(st.one_of(pieces, st.just(" ")), max_size=20).map(" ".join))
def test_nothing_is_left_to_redact(text: str) -> None:
    once = redact([text])
    assert redact(once) == once


def is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return ip.is_global and not ip.is_multicast


# Blocks whose standing differs between versions of the registry that CPython carries, or that hold an IPv4 address.
CHANGED = [
    ipaddress.ip_network(n)
    for n in (
        "192.0.0.0/24",
        "2001::/23",
        "3fff::/20",
        "64:ff9b::/48",
        "fec0::/10",
        "64::/16",
        "100::/16",
        "5f00::/16",
        "::/16",
    )
]


@given(st.one_of(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address), st.ip_addresses()))
def test_public_addresses_are_those_of_the_registry(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if any(address in block for block in CHANGED):
        return
    # Nothing of IPv6 outside 2000::/3 is assigned yet: there an address must be written in full.
    full = "::" not in str(address) and len(str(address).replace(":", "")) >= 20
    assigned = address.version == 4 or 0x2000 <= int(address) >> 112 < 0x4000
    expected = (assigned or full) and is_public(str(address))
    assert redact([f"at {address}, "], ("ip",)) == ["at <IP>, " if expected else f"at {address}, "]


@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address))
def test_an_address_inside_ipv6_is_as_public_as_itself(address: ipaddress.IPv4Address) -> None:
    alone = redact([f"at {address}, "], ("ip",)) != [f"at {address}, "]
    for form in (
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        f"0:0:0:0:0:FFFF:{address}",
        f"::ffff:{int(address) >> 16:04x}:{int(address) & 0xFFFF:04x}",
    ):
        if form.startswith("::ffff:") and not any(c.isdigit() for c in form):
            continue  # a number is what is looked at
        assert (redact([f"at {form}, "], ("ip",)) == ["at <IP>, "]) == alone


@pytest.mark.parametrize(
    "unit", ["a.a.a.", "@", "1", "1:", "a@a.", "1.1.1.", "2001:", "1 2 3 4 5 ", "123 4567 89.01 ", "-----BEGIN "]
)
def test_hostile_text_takes_linear_time(unit: str) -> None:
    column = pa.array([unit * (1_000_000 // len(unit))])
    start = time.process_time()
    kernels.find_personal(column, kinds=KINDS)
    assert time.process_time() - start < 1


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="row 1 of a text column is null, one of 1"):
        redact(["a", None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match='no kind of personal data is named "mail": use one of email, ip, phone'):
        redact(["a"], ("mail",))
    with pytest.raises(ValueError, match=r"only \{type\} and \{n\} can stand in braces"):
        redact(["a"], placeholder="{x}")
