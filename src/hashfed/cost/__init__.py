"""What a configuration costs one client in one round, and the largest model that a device can afford.

Nothing is trained: bytes come from messages without content, operations and memory from sizes. Memory can be
measured beside its prediction.
"""
