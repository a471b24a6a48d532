"""A BERT-style encoder with token ids in and a dictionary of outputs."""
