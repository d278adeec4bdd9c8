"""How records reach trackers: one lane per tracker, so that none can hurt another."""
