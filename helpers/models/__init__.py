"""Architectures and augmentation layers."""
