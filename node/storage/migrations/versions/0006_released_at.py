"""Which studies have been released, so that nobody has to look at the images of all."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add it, and fill it from the images."""
    op.add_column("studies", sa.Column("released_at", sa.DateTime(timezone=True)))
    op.create_index("ix_studies_released_at", "studies", ["released_at", "state"])
    op.execute(
        "UPDATE studies SET released_at = (SELECT MAX(released_at) FROM released "
        "WHERE released.study_uid = studies.study_uid) WHERE NOT EXISTS (SELECT 1 FROM instances "
        "WHERE instances.study_uid = studies.study_uid AND NOT EXISTS "
        "(SELECT 1 FROM released WHERE released.sha256 = instances.sha256))"
    )


def downgrade() -> None:
    """Forget it: the images say it too."""
    op.drop_index("ix_studies_released_at", "studies")
    op.drop_column("studies", "released_at")
