"""The engine over a network: hashfed's rounds as messages of Flower (``hashfed[flower]``)."""
