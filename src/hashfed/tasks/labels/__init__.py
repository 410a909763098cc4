"""Labels of sets of features: extreme classification."""
