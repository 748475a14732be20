"""Methods that name the states of each person in a clip, by the clip, the others in it, and who is who."""
