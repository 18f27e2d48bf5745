"""Attacks on hubopt: kills at random moments and files with random damage."""
