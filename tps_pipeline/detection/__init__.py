"""Detectors: samples and augmentation, loss, training, and finding people and their parts."""
