"""Truly sparse layers: what training and inference cost falls with density."""
