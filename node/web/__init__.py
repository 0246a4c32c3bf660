"""The review pages and the HTTP interface, on FastAPI."""
