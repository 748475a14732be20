"""Everything that sees a clip before a network does: which frames, how they are read, what is done to them.

And the video's action, which is named from one. What states are read from clips stands in `tps_pipeline.methods`.
"""
