"""What logging costs the training, in figures: ``python3 tools/dev.py bench``."""
