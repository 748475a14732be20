"""What names a video's action: the members, each from what it sees of the video, and their fusion."""
