"""Groups of similar classes, and the two-stage classifier that decides first for a group, then for a class in it.

Source: Zheng et al., Dataset Distillation Enhancing Long-Tail Learning, ICMSSP 2024 (the grouping hypothesis).
"""
