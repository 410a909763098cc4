"""What the server asks of nodes, by name."""

JOIN, DECLARE, HASH, TRAIN, EVALUATE = "query.join", "query.declare", "query.hash", "train", "evaluate"
USED = "used"
"""In a request to train with error feedback: for each of its clients, the round of its last update that the
server used; 0 where there is none."""
