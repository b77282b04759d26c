"""Machinery that methods share: selecting real images, features, initial images."""
