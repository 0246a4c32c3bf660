"""Which instances were deleted after delivery."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "released",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("study_uid", sa.String(64), nullable=False, index=True),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Forget it: studies without files then fail when they are run again."""
    op.drop_table("released")
