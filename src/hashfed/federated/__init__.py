"""The federated core: pure functions from messages to messages, shared by all engines."""
