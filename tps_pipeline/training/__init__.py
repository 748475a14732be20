"""How any network is trained: the loop, its batches and its rates, and what a finished one leaves in its folder.

What is trained, and on what, is said by whoever calls `loop.fit`: detectors, the video's action, the methods.
"""
