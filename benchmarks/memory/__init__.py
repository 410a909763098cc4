"""Peak memory of clients by budget, and of the server by the size of the cohort, in fresh processes."""
