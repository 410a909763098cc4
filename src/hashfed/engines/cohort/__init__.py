"""A round's clients as one batch, on one device."""
