"""The same rounds by other libraries: scripts for interpreters that have these, and need not have hashfed."""
