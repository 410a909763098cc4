"""The next item of somebody who had others: recommendation by sequences."""
