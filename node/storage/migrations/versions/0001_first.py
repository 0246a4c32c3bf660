"""The first tables: instances, conflicts, studies, deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "instances",
        sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
        sa.Column("series_uid", sa.String(64), nullable=False),
        sa.Column("study_uid", sa.String(64), nullable=False, index=True),
        sa.Column("sop_class_uid", sa.String(64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
    )
    op.create_table(
        "conflicts",
        sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("study_uid", sa.String(64), nullable=False, index=True),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
    )
    op.create_table(
        "studies",
        sa.Column("study_uid", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("job_id", sa.String(255)),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("first_received", MOMENT, nullable=False),
        sa.Column("last_received", MOMENT, nullable=False, index=True),
        sa.Column("instances", sa.Integer, nullable=False),
        sa.Column("summary", sa.Text),
    )
    op.create_table(
        "deliveries",
        sa.Column("job_id", sa.String(255), primary_key=True),
        sa.Column("destination", sa.String(64), primary_key=True),
        sa.Column("study_uid", sa.String(64), nullable=False, index=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables; what they held can be rebuilt from the archive, except the deliveries."""
    for name in ("deliveries", "studies", "conflicts", "instances"):
        op.drop_table(name)
