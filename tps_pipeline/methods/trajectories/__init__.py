"""Methods that name states from where a person's parts go over time; no pixel is read."""
