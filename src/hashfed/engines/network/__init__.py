"""Rounds whose clients are on other machines, whatever carries the messages: the server's half."""
