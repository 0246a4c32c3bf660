"""``lumbar-node bench``: figures of this node beside those of its peers, taken in one run."""
