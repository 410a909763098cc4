"""Files of interactions: a reader for each format."""
