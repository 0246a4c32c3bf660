"""How far each walk through an archive came."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "backfills",
        sa.Column("run", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("wanted", sa.Text, nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("listed_at", MOMENT),
        sa.Column("ended_at", MOMENT),
    )
    op.create_table(
        "backfill_studies",
        sa.Column("run", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("study_uid", sa.String(64)),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("ix_backfill_studies_state", "backfill_studies", ["run", "state", "name"])
    op.create_table(
        "backfill_files",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("files", sa.Text, nullable=False),
    )
    op.create_index("ix_backfill_files_study", "backfill_files", ["run", "name"])


def downgrade() -> None:
    """Drop them; what was brought in stays, and a new walk skips it."""
    for name in ("backfill_files", "backfill_studies", "backfills"):
        op.drop_table(name)
