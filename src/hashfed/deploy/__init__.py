"""Starting Flower's own programs, and what they need: processes, certificates, keys, the app's folder."""
