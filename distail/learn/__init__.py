"""Training networks on a distilled set, by any of the three label protocols."""
