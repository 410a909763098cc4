"""Types of the messages of Flower in which the steps of a round travel."""

DECLARE, HASH, TRAIN = "query.declare", "query.hash", "train"
