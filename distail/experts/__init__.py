"""Networks trained on the long-tailed data whose training paths distillation imitates, and the bank that keeps them.

`spec.py` says how experts train, `representation.py` and `classifier.py` train one epoch, `bank.py` keeps the snapshots
on disk, and `school.py` brings a bank to what a method needs.
"""
