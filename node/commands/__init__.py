"""The commands of ``lumbar-node``, a file for each kind of use; `node.cli` gathers them."""
