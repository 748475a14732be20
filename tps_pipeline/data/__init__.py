"""Reading, validating, writing and generating data sets."""
