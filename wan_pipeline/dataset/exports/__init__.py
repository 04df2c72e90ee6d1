"""Releases in the forms that training code reads: Hugging Face, ImageFolder, WebDataset.

`export` is the entry. Image bytes go through untouched but for the provenance mark; nothing is ever
decoded. What a release is belongs to `dataset.release`, what a mark is to `dataset.provenance`.
"""
