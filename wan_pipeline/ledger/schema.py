"""Tables of the ledger, the same on every database.

A change here is a new `SCHEMA_VERSION` and a step in `migrations`. What `attempt` means, above and
below 0, is told in `series`.
"""

from __future__ import annotations

import sqlalchemy as sa

from wan_pipeline.ledger.columns import AnyText, Usd, UtcTime

__all__ = [
    "SCHEMA_VERSION",
    "accounts",
    "events",
    "images",
    "info",
    "metadata",
    "owners",
    "pace",
    "purchases",
    "slots",
    "spending",
]

SCHEMA_VERSION = 3
# In an event's detail, before what a provider reported as a cost.
UNREADABLE_COST = " by the price; what was reported cannot be read: "
metadata = sa.MetaData()

info = sa.Table(
    "info",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", AnyText, nullable=False),
    comment="schema version; the ledger's id; how each base URL understood the request forms",
)

owners = sa.Table(
    "owners",
    metadata,
    sa.Column("owner_id", sa.Text, primary_key=True),
    sa.Column("run_id", AnyText, nullable=False),
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
    sa.Column("attempt", sa.Integer, primary_key=True, comment="below 0: a reproduction"),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("owner_id", sa.Text),
    sa.Column("request", AnyText, nullable=False, comment="canonical JSON"),
    sa.Column("n", sa.Integer, nullable=False),
    sa.Column("bought_by_set", AnyText, nullable=False, comment="or a series of reproductions"),
    sa.Column("run_id", AnyText, nullable=False, comment="the run that wrote the intent"),
    sa.Column("code_version", sa.Text, nullable=False),
    sa.Column("dialect", sa.Text, nullable=False),
    sa.Column("form", AnyText, comment="layout of the create body"),
    sa.Column("price_usd", Usd, nullable=False, comment="per image, at the time of the intent"),
    sa.Column("reserved_usd", Usd, nullable=False),
    sa.Column("cost_usd", Usd, comment="null until the provider or the price table tells"),
    sa.Column("cost_source", sa.Text),
    sa.Column("discount", AnyText),
    sa.Column("task_id", AnyText),
    sa.Column("created_at", UtcTime, nullable=False, comment="of the intent"),
    sa.Column("submitted_at", UtcTime),
    sa.Column("completed_at", UtcTime),
    sa.Column("deadline_at", UtcTime, comment="task record and result URLs die"),
    sa.Column("error_code", AnyText),
    sa.Column("error_message", AnyText),
    sa.Column("error_kind", AnyText),
    sa.Column("actual_prompt", AnyText),
    sa.Column("provider_metadata", AnyText),
    sa.Column("final_answer", AnyText, comment="the final poll's body as received"),
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
    sa.Column("url", AnyText, nullable=False),
    sa.Column("url_expires_at", UtcTime, nullable=False),
    sa.Column("job_id", AnyText),
    sa.Column("image_id", sa.Text, comment="SHA-256 of the bytes"),
    sa.Column("path", sa.Text, comment="relative to the profile's data folder"),
    sa.Column("format", sa.Text),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("width", sa.Integer),
    sa.Column("height", sa.Integer),
    sa.Column("problem", AnyText),
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
    sa.Column("detail", AnyText),
    sa.Column("who", AnyText, comment="the person who decided, where one did"),
    sa.Index("events_by_request", "profile", "request_id"),
    comment="append-only: one row per transition",
)

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("profile", sa.Text, primary_key=True),
    comment="one row per account; who checks a cap, takes a turn or appends an event holds it",
)

spending = sa.Table(
    "spending",
    metadata,
    sa.Column("profile", sa.Text, primary_key=True),
    sa.Column("day", sa.Text, primary_key=True, comment="UTC day of the intent, YYYY-MM-DD"),
    sa.Column("prompt_set", AnyText, primary_key=True, comment="the set that bought"),
    sa.Column("run_id", AnyText, primary_key=True, comment="the run that wrote the intent"),
    sa.Column("committed_usd", Usd, nullable=False, comment="paid plus reserved"),
    comment="what the purchases sum up to, kept in the transaction that changes them",
)

pace = sa.Table(
    "pace",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("next_at_us", sa.BigInteger, nullable=False, comment="first free moment"),
    sa.Column("paused_until_us", sa.BigInteger, nullable=False),
    sa.Column("longest_pause_us", sa.BigInteger, nullable=False),
    sa.Column("pauses_in_a_row", sa.Integer, nullable=False),
    comment="who may ask when; microseconds since 1970 on the database server's clock",
)

slots = sa.Table(
    "slots",
    metadata,
    sa.Column(
        "ticket",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("profile", sa.Text, nullable=False),
    sa.Column("owner_id", sa.Text, nullable=False),
    sa.Column("granted", sa.Boolean, nullable=False),
    sqlite_autoincrement=True,
    comment="tasks at the provider, and who waits for room, in the order of asking",
)
