"""Labels of other tools: read into one neutral form (`neutral.py`), from which one writer makes a data folder.

One module a format: how to read it, how to write it, or both. What no format knows of another stands in `neutral.py`,
videos in `footage.py`, our own layout in `data_folder.py`.
"""
