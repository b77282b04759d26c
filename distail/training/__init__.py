"""Supervised training: the loop of students, baselines and teachers, that of two mixed views, and single steps."""
