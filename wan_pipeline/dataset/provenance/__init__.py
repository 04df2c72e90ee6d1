"""Say in an exported file that a model made it, which one, and where its record is.

`marking` is the entry. The pixels of a file and the stored original are never touched: what changes
is metadata around the compressed image data.
"""
