"""Flower as the network between the server and nodes: its messages, and their app (``hashfed[flower]``)."""
