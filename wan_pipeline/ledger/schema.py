"""Tables of the ledger, and how money and time are stored in them.

Money is whole nano-dollars (1e-9 USD) in the database and Decimal in code, so that sums are exact
on any database. Times are UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import sqlalchemy as sa

__all__ = [
    "SCHEMA_VERSION",
    "Usd",
    "UtcTime",
    "events",
    "images",
    "info",
    "metadata",
    "owners",
    "purchases",
]

SCHEMA_VERSION = 1
NANO = Decimal(10**9)


class Usd(sa.types.TypeDecorator[Decimal]):
    """Decimal US dollars with at most nine places, as a whole number of nano-dollars."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> int | None:
        """Refuse what cannot be stored exactly."""
        if value is None:
            return None
        nano = Fraction(value) * int(NANO)  # Decimal arithmetic would round a long value
        if nano.denominator != 1:
            raise ValueError(f"{value} USD has more than nine decimal places")
        return nano.numerator

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> Decimal | None:
        """Back to dollars, exactly."""
        return None if value is None else Decimal(value) / NANO


class UtcTime(sa.types.TypeDecorator[datetime]):
    """Timezone-aware UTC, also on SQLite, which keeps no zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse a time that does not know its zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no timezone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = sa.MetaData()

info = sa.Table(
    "info",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    comment="schema version; the request form that each base URL understood",
)

owners = sa.Table(
    "owners",
    metadata,
    sa.Column("owner_id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("machine", sa.Text, nullable=False, comment="host, boot and process namespace"),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("process_started", sa.Float, nullable=False, comment="a pid may be used again"),
    sa.Column("lease_expires_at", UtcTime, nullable=False),
    comment="who works on unfinished purchases; a dead or expired owner's rows are taken up again",
)

purchases = sa.Table(
    "purchases",
    metadata,
    sa.Column("profile", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("owner_id", sa.Text),
    sa.Column("request", sa.Text, nullable=False, comment="canonical JSON"),
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("bought_by_set", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False, comment="the run that wrote the intent"),
    sa.Column("code_version", sa.Text, nullable=False),
    sa.Column("dialect", sa.Text, nullable=False),
    sa.Column("form", sa.Text, comment="layout of the create body"),
    sa.Column("price_usd", Usd, nullable=False, comment="per image, at the time of the intent"),
    sa.Column("reserved_usd", Usd, nullable=False),
    sa.Column("cost_usd", Usd, comment="null until the provider or the price table tells"),
    sa.Column("cost_source", sa.Text),
    sa.Column("discount", sa.Text),
    sa.Column("task_id", sa.Text),
    sa.Column("created_at", UtcTime, nullable=False, comment="of the intent"),
    sa.Column("submitted_at", UtcTime),
    sa.Column("completed_at", UtcTime),
    sa.Column("deadline_at", UtcTime, comment="task record and result URLs die"),
    sa.Column("error_code", sa.Text),
    sa.Column("error_message", sa.Text),
    sa.Column("error_kind", sa.Text),
    sa.Column("actual_prompt", sa.Text),
    sa.Column("provider_metadata", sa.Text),
    sa.Column("final_answer", sa.Text, comment="the final poll's body as received"),
    sa.Index("purchases_by_state", "profile", "state"),
    sa.Index("purchases_by_task", "profile", "task_id"),
)

images = sa.Table(
    "images",
    metadata,
    sa.Column("profile", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("image_index", sa.Integer, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("url_expires_at", UtcTime, nullable=False),
    sa.Column("job_id", sa.Text),
    sa.Column("image_id", sa.Text, comment="SHA-256 of the bytes"),
    sa.Column("path", sa.Text, comment="relative to the profile's data folder"),
    sa.Column("format", sa.Text),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("width", sa.Integer),
    sa.Column("height", sa.Integer),
    sa.Column("problem", sa.Text),
    sa.Column("stored_at", UtcTime),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column(
        "seq",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("image_index", sa.Integer),
    sa.Column("from_state", sa.Text),
    sa.Column("to_state", sa.Text, nullable=False),
    sa.Column("owner_id", sa.Text),
    sa.Column("detail", sa.Text),
    sa.Index("events_by_request", "profile", "request_id"),
    comment="append-only: one row per transition",
)
