"""Texts as a folder that is prepared once, mapped into memory and shared by all processes."""
