"""People, parts and states drawn on pictures: one frame, a whole video, a sheet of them."""
