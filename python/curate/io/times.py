"""Times in the forms in which data sets have them, as UTC datetimes.

    1577836800  1577836800000  "1577836800"   seconds, milli-, micro- or nanoseconds since 1970, told apart by size
    20200101  20200101000000                  digits of a date, or of a date and a time, as archives write them
    "2020-01-01T00:00:00Z"  "2020-01-01"      ISO 8601, with a zone or without
    "Wed, 01 Jan 2020 00:00:00 GMT"           the three forms of HTTP

Times without a zone are UTC. A number that is none of these (a year, a counter) gives no time.
"""

import email.utils
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_TIME = 64  # characters of a time as text
# Numbers below 10^11 are seconds (up to the year 5138), below 10^14 milliseconds, and so on.
_UNITS = ((10**11, 1), (10**14, 10**3), (10**17, 10**6), (10**20, 10**9))
_LEAST_SECONDS = 10**8  # of 1973; smaller numbers are years or counters


def parse_time(value: Any) -> datetime | None:
    """A number, a text, a date or a datetime as a UTC datetime; None where it is no time."""
    try:
        if isinstance(value, str):
            value = _time_of_text(value.strip()) if len(value) <= _LONGEST_TIME else None
        if isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            return _time_of_number(value)
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        return datetime(value.year, value.month, value.day, tzinfo=UTC) if isinstance(value, date) else None
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _time_of_number(value: int | float) -> datetime | None:
    """A time that is given as a number; None where it is too small or too large to be one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and (found := _time_of_digits(value)):
        return found
    unit = next((unit for limit, unit in _UNITS if abs(value) < limit), None)
    if unit is None or abs(value) < _LEAST_SECONDS:
        return None
    micros = value * 10**6 // unit if isinstance(value, int) else round(value * 10**6 / unit)
    return _EPOCH + timedelta(microseconds=micros)


def _time_of_digits(value: int) -> datetime | None:
    """YYYYMMDD or YYYYMMDDhhmmss of the years 1990 to 2099, as a number; None for any other number."""
    form = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}.get(len(text := str(value)) if abs(value) < 10**15 else 0)
    if form is None or not "1990" <= text[:4] <= "2099":
        return None
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC)
    except ValueError:
        return None


def _time_of_text(text: str) -> int | float | datetime | None:
    """What a text of at most _LONGEST_TIME characters gives: a number that is a time, or a datetime."""
    if re.fullmatch(r"-?[0-9]+", text):
        return int(text)
    if re.fullmatch(r"-?[0-9]+\.[0-9]*", text):
        return float(text)
    if text[:1].isalpha():
        return email.utils.parsedate_to_datetime(text)
    # A zone as a word or after a space, which ISO 8601 has not.
    text = re.sub(r"\s*(?:UTC|GMT|Z)$", "+00:00", text, flags=re.IGNORECASE)
    return datetime.fromisoformat(re.sub(r"\s+([+-][0-9:]+)$", r"\1", text))
