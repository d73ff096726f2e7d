"""Seconds since 1970 as dates, within the years that a date can hold."""

from datetime import datetime, timezone

LAST_TIME = 253_402_300_799  # the end of the year 9999, the last second that can be written as a date


def moment(seconds: float) -> datetime:
    """The time of a commit. A mirrored history may hold any number; the nearest date is taken."""
    return datetime.fromtimestamp(min(max(seconds, 0), LAST_TIME), timezone.utc)


def date(seconds: float) -> str:
    """A time as the clients parse it."""
    return moment(seconds).strftime("%Y-%m-%dT%H:%M:%S.000Z")
