"""How each delivery is proven, what destinations were asked to vouch for, deleted results."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Count what was delivered so far as proven by its status: nothing more was asked then."""
    for name, kind in (("proof", sa.String(16)), ("proof_note", sa.Text())):
        op.add_column("deliveries", sa.Column(name, kind, nullable=False, server_default=""))
    op.execute("UPDATE deliveries SET proof = 'status' WHERE state = 'delivered'")
    op.create_table(
        "pledges",
        sa.Column("transaction_uid", sa.String(64), primary_key=True),
        sa.Column("turn", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("report", sa.Text()),
    )
    op.create_table(
        "deleted_results",
        sa.Column("job_id", sa.String(255), primary_key=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Forget it: every delivery then counts as proven, and deleted results as never made."""
    op.drop_table("deleted_results")
    op.drop_table("pledges")
    op.drop_column("deliveries", "proof_note")
    op.drop_column("deliveries", "proof")
