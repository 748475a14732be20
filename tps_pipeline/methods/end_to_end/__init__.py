"""The method that finds people, parts and states itself, in one pass over a clip."""
