"""The paper's experiments: which runs they take, how their settings are chosen, and what came out."""
