"""Part-level action parsing of video: people, their ten parts, each part's state, and the video's action."""

__version__ = "0.2.0"
