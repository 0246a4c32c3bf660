"""Where received files and the rows about them are kept; SQLAlchemy lives only here."""
