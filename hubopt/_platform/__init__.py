"""Handles TensorFlow and the machine: private APIs, error messages, full disks."""
