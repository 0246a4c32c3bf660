"""The listener: the service class provider that senders store into and ask for commitment."""
