"""What runs and models are worth: reads tapes, stored sessions and datasets, changes none."""
