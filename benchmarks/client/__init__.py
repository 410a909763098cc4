"""How long a client's round takes: against plain PyTorch, and against the bare matrix products."""
