"""Tasks: what turns people's data into examples, and scores into metrics."""
