"""Next words of trained runs: predicted once, or suggested while one types, as on a phone."""
