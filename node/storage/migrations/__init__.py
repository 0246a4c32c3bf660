"""The history of the index's tables, a file for each change; run by `node.storage.schema`."""
