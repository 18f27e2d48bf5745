"""Stages of an export that are kept, and taken again."""
