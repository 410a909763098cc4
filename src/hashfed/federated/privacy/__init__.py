"""Sums of which a server learns nothing but the total: masks, shares, and numbers as integers.

After Bell et al. 2020, "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead". One session sums
one vector of integers per client, modulo a power of two:

    1  ``client.advertise``  two fresh key pairs              → PublicKeys
       ``SecureSum``         who takes part, who neighbours whom → RosterPart
    2  ``client.share``      shares of its secrets, encrypted → KeyShares
       ``SecureSum``         routes them                      → Inbox
    3  ``client.mask``       its vector under masks           → MaskedVector
       ``SecureSum``         who is left                      → Survivors
    4  ``client.unmask``     one share for each neighbour     → Unmasking
       ``SecureSum.total``   the sum

Nothing here knows models, rows or transports, reads a file or a clock. ``cryptography`` is needed once a
session begins (``primitives``), not to import the package.
"""
