"""How fast whole rounds are simulated: hashfed against other libraries for federated learning."""
