"""Engines run the federated core: each plays the rounds of a run, in one process or over a network."""
