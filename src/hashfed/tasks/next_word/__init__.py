"""The next word of a text: the paper's task."""
