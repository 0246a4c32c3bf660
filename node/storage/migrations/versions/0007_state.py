"""The studies of one state, and those to release, without a look at the others."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the indexes."""
    op.drop_index("ix_studies_released_at", "studies")
    op.create_index("ix_studies_released_at", "studies", ["released_at", "state", "last_received"])
    op.create_index("ix_studies_state", "studies", ["state", "last_received"])


def downgrade() -> None:
    """Put them back."""
    op.drop_index("ix_studies_state", "studies")
    op.drop_index("ix_studies_released_at", "studies")
    op.create_index("ix_studies_released_at", "studies", ["released_at", "state"])
