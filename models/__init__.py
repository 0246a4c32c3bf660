"""Training and what it ships. torch lives here and only here; the node never imports this."""
