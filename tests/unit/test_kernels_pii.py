"""Redaction: what is found, what stays, and that spans and text tell the same story."""

import ipaddress
import time

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import kernels

pieces = st.sampled_from(
    ["a@b.com", "x.y+z@mail.example.org", "8.8.8.8", "10.0.0.1", "2a00:1450::1", *"@.: é漢\n", "1.2"]
)


def redact(texts: list[str], email: str | None = "<EMAIL>", ip: str | None = "<IP>") -> list[list[object]]:
    return [c.to_pylist() for c in kernels.redact(pa.array(texts, pa.large_string()), email=email, ip=ip)]


@given(st.lists(st.lists(st.one_of(pieces, st.text(max_size=5)), max_size=12).map("".join), max_size=5))
def test_spans_rebuild_the_text(texts: list[str]) -> None:
    new, rows, starts, ends, kinds = redact(texts)
    rebuilt = [text.encode() for text in texts]
    for row, start, end, kind in reversed(list(zip(rows, starts, ends, kinds, strict=True))):
        mark = {"email": b"<EMAIL>", "ip": b"<IP>"}[kind]  # type: ignore[index]
        rebuilt[row] = rebuilt[row][:start] + mark + rebuilt[row][end:]  # type: ignore[index,misc]
    assert [text.decode() for text in rebuilt] == new
    assert list(zip(rows, starts, strict=True)) == sorted(zip(rows, starts, strict=True))
    again = redact(new)  # type: ignore[arg-type]
    assert again[0] == new or "<EMAIL>" in str(new), "nothing is left to redact"


def is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return ip.is_global and not ip.is_multicast


# Blocks whose standing differs between versions of the registry that CPython carries.
CHANGED = [ipaddress.ip_network(n) for n in ("192.0.0.0/24", "2001::/23", "3fff::/20", "64:ff9b::/48", "5f00::/16")]


@given(st.one_of(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address), st.ip_addresses()))
def test_public_addresses_are_those_of_the_registry(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if any(address in block for block in CHANGED):
        return
    # Nothing of IPv6 outside 2000::/3 is assigned yet.
    assigned = address.version == 4 or 0x2000 <= int(address) >> 112 < 0x4000
    expected = assigned and is_public(str(address))
    assert redact([f"at {address}, "])[0] == ["at <IP>, " if expected else f"at {address}, "]


def test_each_kind_can_be_left_alone() -> None:
    text = "a@b.com at 8.8.8.8"
    assert redact([text], ip=None)[0] == ["<EMAIL> at 8.8.8.8"]
    assert redact([text], email=None) == [["a@b.com at <IP>"], [0], [11], [18], ["ip"]]
    assert redact([text], email=None, ip=None)[0] == [text]


@pytest.mark.parametrize("unit", ["a.a.a.", "@", "1", "1:", "a@a.", "1.1.1.", "2001:"])
def test_hostile_text_takes_linear_time(unit: str) -> None:
    column = pa.array([unit * (1_000_000 // len(unit))])
    start = time.process_time()
    kernels.redact(column, email="E", ip="I")
    assert time.process_time() - start < 1


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="row 1 of a text column is null, one of 1"):
        redact(["a", None])  # type: ignore[list-item]
