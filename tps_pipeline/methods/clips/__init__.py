"""Methods that name the states of everyone in a clip at once: for the whole video, or for the frames around one."""
