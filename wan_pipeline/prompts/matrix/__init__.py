"""Prompt matrices: a YAML file of templates and axes as one more kind of prompt file.

::

    YAML text -> tree -> schema -> resolve -> count, ceiling -> rows
                                      └── wildcards, sampling

The number of prompts follows from the sizes of the axes and is held against the ceiling before a
single row is made. Rows then go the way of the rows of every other prompt file.
"""
