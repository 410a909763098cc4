"""The simulator: the rounds of a run in this process and its workers."""
