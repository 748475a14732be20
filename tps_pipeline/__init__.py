"""Part-level action parsing of video: people, their ten parts, each part's state, and the video's action."""
