"""Scoring: metrics, the protocol that trains students and tests them, and fairness against references."""
