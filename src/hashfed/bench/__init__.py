"""How many steps of clients a machine's device trains in a second, beside a plain loop and bare products."""
